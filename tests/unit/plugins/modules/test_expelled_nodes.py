"""The module against an API that knows nodes, pods, tokens, requests and policies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nodes import policies
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nodes import requests as nodes_requests
from ansible_collections.runnerfleet.baremetal.plugins.modules import expelled_nodes, node_credentials

from tests.unit.plugins.module_utils._nodes.test_credentials import CLIENT_SIGNER, pem, request
from tests.unit.plugins.modules.test_node_credentials import REQUESTS, SECRETS, Api, RunModule

POLICY = f"{policies.GROUP}/validatingadmissionpolicies/{policies.EXPELLED}"


@pytest.fixture
def run(run_module: RunModule, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Run one of the modules against an API."""

    def call(api: Api, module: Any = expelled_nodes, check: bool = False, **arguments: Any) -> dict[str, Any]:
        monkeypatch.setattr(module, "api_client", lambda _module: api)
        return run_module(module.main, {"kubeconfig": str(tmp_path / "kubeconfig"), **arguments}, check=check)

    return call


@pytest.fixture
def api() -> Api:
    """A cluster with runner-1 and runner-2, a pod on runner-1 with a Secret, and what runner-1 asks for."""
    made = Api(nodes=("runner-1", "runner-2"))
    pod = {
        "metadata": {"name": "p", "namespace": "arc"},
        "spec": {"nodeName": "runner-1", "imagePullSecrets": [{"name": "registry"}]},
    }
    made.objects["/api/v1/pods/p"] = pod
    asked = request(pem(), user="system:node:runner-1", signer=CLIENT_SIGNER)
    made.objects[f"{REQUESTS}/csr-x"] = asked
    return made


def test_first_the_rule_then_the_node(run: Callable[..., dict[str, Any]], api: Api) -> None:
    run(api, node_credentials, names=["runner-9"], state="present")
    result = run(api, names=["runner-1", "runner-9"])
    assert result["changed"] and result["expelled"] == ["runner-1", "runner-9"] and result["deleted"] == ["runner-1"]
    assert result["knew"] == {"runner-1": {"secrets": ["arc/registry"], "accounts": []}}
    assert "/api/v1/nodes/runner-1" not in api.objects and "/api/v1/nodes/runner-2" in api.objects
    assert api.verdict("csr-x") == "Denied" and api.under(SECRETS) == []
    writes = [line for line in api.asked if line.split()[0] in ("PATCH", "DELETE", "PUT")]
    assert writes.index(f"PATCH {POLICY}") < writes.index("DELETE /api/v1/nodes/runner-1")
    again = run(api, names=["runner-1", "runner-9"])
    assert not again["changed"] and again["expelled"] == again["deleted"] == []


def test_a_name_that_is_put_out_gets_no_token_and_is_told(run: Callable[..., dict[str, Any]], api: Api) -> None:
    """Though it has no Node any more: by the cluster's policy, where the inventory has forgotten it."""
    run(api, names=["runner-1"])
    told = run(
        api, node_credentials, names=["runner-1", "runner-3", "runner-4"], state="present", expelled=["runner-3"]
    )
    assert list(told["tokens"]) == ["runner-4"] and sorted(told["expelled"]) == ["runner-1", "runner-3"]
    back = run(api, names=[])
    assert back["changed"] and back["readmitted"] == ["runner-1"]
    assert list(run(api, node_credentials, names=["runner-1"], state="present")["tokens"]) == ["runner-1"]


def test_nobody_was_put_out_and_nobody_is(run: Callable[..., dict[str, Any]], api: Api) -> None:
    assert not run(api, names=[])["changed"] and {line.split()[0] for line in api.asked} == {"GET"}


def test_a_dry_run_says_what_would_be(run: Callable[..., dict[str, Any]], api: Api) -> None:
    result = run(api, check=True, names=["runner-1"])
    assert (
        result["changed"]
        and result["deleted"] == ["runner-1"]
        and result["knew"]["runner-1"]["secrets"] == ["arc/registry"]
    )
    assert POLICY not in api.objects and "/api/v1/nodes/runner-1" in api.objects and api.verdict("csr-x") == "none"


def test_no_node_goes_before_the_rule_holds(
    run: Callable[..., dict[str, Any]], api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be made again by its kubelet."""
    monkeypatch.setattr(nodes_requests.time, "sleep", lambda _seconds: None)
    api.deaf = 3
    assert run(api, names=["runner-1"])["deleted"] == ["runner-1"]
    api.deaf = 10**6
    clock = iter(range(1000))
    monkeypatch.setattr(nodes_requests.time, "monotonic", lambda: next(clock))
    result = run(api, names=["runner-1", "runner-2"])
    assert "runner-1 may still write: found, 60 s after" in result["msg"] and "/api/v1/nodes/runner-2" in api.objects


def test_a_cluster_without_such_policies_is_told(run: Callable[..., dict[str, Any]], api: Api) -> None:
    api.kinds = False
    result = run(api, names=["runner-1"])
    assert result["failed"] and "Kubernetes 1.30 or newer" in result["msg"] and "/api/v1/nodes/runner-1" in api.objects
    assert "found 'Runner_1'" in run(api, names=["Runner_1"])["msg"]
    api.down = 1000
    assert "did not answer as expected" in run(api, names=["runner-1"])["msg"]
