"""The module against an API of a few canned answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.modules import cluster_addresses

RunModule = Callable[..., dict[str, Any]]
NODE = {"metadata": {"name": "runner-1"}, "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.31"}]}}
SLICE = {"ports": [{"port": 6443, "protocol": "TCP"}], "endpoints": [{"addresses": ["10.0.0.11"]}]}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A cluster with these nodes and slices."""

    def make(nodes: list[dict[str, Any]], slices: list[dict[str, Any]], fails: bool = False) -> None:
        def call_api(path: str, _method: str, **_rest: Any) -> Any:
            if fails:
                raise OSError("refused")
            return SimpleNamespace(data=json.dumps({"items": nodes if path == "/api/v1/nodes" else slices}).encode())

        monkeypatch.setattr(cluster_addresses, "api_client", lambda _module: SimpleNamespace(call_api=call_api))

    return make


def test_addresses_are_told_as_policies_take_them(run_module: RunModule, cluster: Callable[..., None]) -> None:
    cluster([NODE], [SLICE])
    result = run_module(cluster_addresses.main, {"kubeconfig": "/k"}, check=True)
    assert result["api_servers"] == [{"ipBlock": {"cidr": "10.0.0.11/32"}}]
    assert result["api_endpoints"] == [
        {"to": [{"ipBlock": {"cidr": "10.0.0.11/32"}}], "ports": [{"protocol": "TCP", "port": 6443}]}
    ]
    assert (result["nodes"], result["changed"]) == (["10.0.0.31/32"], False)


@pytest.mark.parametrize(
    ("nodes", "slices", "fails"), [([], [SLICE], False), ([NODE], [], False), ([NODE], [SLICE], True)]
)
def test_what_is_not_known_is_no_empty_list(
    run_module: RunModule,
    cluster: Callable[..., None],
    nodes: list[dict[str, Any]],
    slices: list[dict[str, Any]],
    fails: bool,
) -> None:
    """A rule without peers would open the port to all."""
    cluster(nodes, slices, fails)
    result = run_module(cluster_addresses.main, {"kubeconfig": "/k"})
    assert result["failed"] and result["msg"].startswith("The addresses of the cluster are not known: found ")
