"""The module against an API with requests to serve, nodes and policies."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import basic
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nodes import policies
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nodes.credentials import SERVING_SIGNER
from ansible_collections.runnerfleet.baremetal.plugins.modules import node_certificates
from cryptography import x509

from tests.unit.plugins.module_utils._nodes.test_credentials import COMMON, OF_SERVING, ORGANIZATION, pem, request
from tests.unit.plugins.modules.test_node_credentials import REQUESTS, Api, RunModule

LIFE = f"{policies.GROUP}/mutatingadmissionpolicies/{policies.LIFE}"
KUBELET_CONFIG = "/api/v1/namespaces/kube-system/configmaps/kubelet-config"


@pytest.fixture
def run(run_module: RunModule, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Run the module against an API."""

    def call(api: Api, addresses: dict[str, list[str]], check: bool = False, **arguments: Any) -> dict[str, Any]:
        monkeypatch.setattr(node_certificates, "api_client", lambda _module: api)
        given = {"kubeconfig": str(tmp_path / "k"), "addresses": addresses, "client_seconds": 2592000, **arguments}
        return run_module(node_certificates.main, given, check=check)

    return call


def asks(api: Api, node: str, address: str, user: str = "") -> None:
    """A kubelet's request to serve."""
    names = [x509.DNSName(node), x509.IPAddress(ipaddress.ip_address(address))]
    text = pem(subject=[(ORGANIZATION, "system:nodes"), (COMMON, f"system:node:{node}")], names=names)
    made = request(text, user or f"system:node:{node}", SERVING_SIGNER, OF_SERVING)
    made["metadata"]["name"] = f"csr-{node}"
    api.objects[f"{REQUESTS}/csr-{node}"] = made


def test_names_and_addresses_of_the_inventory_are_approved(run: Callable[..., dict[str, Any]]) -> None:
    """And those of others left to people, undenied: an address may be missing in the inventory."""
    api = Api()
    asks(api, "a", "192.0.2.1")
    asks(api, "b", "192.0.2.1")
    asks(api, "c", "192.0.2.3", user="system:node:a")
    asks(api, "stranger", "192.0.2.4")
    result = run(api, {"a": ["192.0.2.1"], "b": ["192.0.2.2"], "c": ["192.0.2.3"]})
    assert result["approved"] == ["a"] and result["changed"] and result["limited"]
    assert [line.split(":")[0] for line in result["left"]] == ["a", "b"]
    assert {name: api.verdict(f"csr-{name}") for name in ("a", "b", "c", "stranger")} == {
        "a": "Approved",
        "b": "none",
        "c": "none",
        "stranger": "none",
    }
    again = run(api, {"a": ["192.0.2.1"]})
    assert not again["changed"] and again["approved"] == []


def test_a_host_name_is_resolved_here(run: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api()
    asks(api, "a", "192.0.2.1")
    monkeypatch.setattr(
        node_certificates.socket,
        "getaddrinfo",
        lambda name, _port: [(0, 0, 0, "", ("192.0.2.1", 0))] if name == "a.x" else [],
    )
    assert run(api, {"a": ["other.x"]})["approved"] == []
    assert run(api, {"a": ["a.x"]})["approved"] == ["a"]


def test_the_life_of_client_certificates_is_limited_once(run: Callable[..., dict[str, Any]]) -> None:
    api = Api()
    foretold = run(api, {}, check=True)
    assert foretold["changed"] and LIFE not in api.objects
    assert run(api, {})["changed"] and "expirationSeconds: 2592000" in str(api.objects[LIFE])
    assert not run(api, {})["changed"] and run(api, {}, client_seconds=86400)["changed"]
    api.kinds = False
    old = run(api, {})
    assert not old["changed"] and not old["limited"]
    assert "expected at least 600" in run(api, {}, client_seconds=60)["msg"]


def test_a_node_that_has_just_joined_is_waited_for(
    run: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where kubelets ask at all, and not for longer than is said; an old node is not waited for."""
    api = Api(nodes=("a", "b"))
    api.objects["/api/v1/nodes/a"]["metadata"]["creationTimestamp"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    api.objects["/api/v1/nodes/b"]["metadata"]["creationTimestamp"] = "2020-01-01T00:00:00Z"
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            asks(api, "a", "192.0.2.1")

    monkeypatch.setattr(node_certificates.time, "sleep", sleep)
    addresses = {"a": ["192.0.2.1"], "b": ["192.0.2.2"]}
    assert run(api, addresses, wait=60)["approved"] == [] and slept == []
    api.objects[KUBELET_CONFIG] = {"data": {"kubelet": "serverTLSBootstrap: true\n"}}
    assert run(api, addresses, wait=60)["approved"] == ["a"] and len(slept) == 3
    del api.objects[f"{REQUESTS}/csr-a"]
    clock = iter(range(1000))
    monkeypatch.setattr(node_certificates.time, "monotonic", lambda: next(clock))
    warned: list[str] = []
    monkeypatch.setattr(basic.AnsibleModule, "warn", lambda _module, text: warned.append(text))
    result = run(api, addresses, wait=5)
    assert result["approved"] == [] and result["unserved"] == ["a"] and 3 < len(slept) < 10
    assert "new nodes have not asked for a certificate to serve with within 5 s: a" in warned[0]


def test_an_api_that_does_not_answer_is_told(run: Callable[..., dict[str, Any]]) -> None:
    api = Api()
    api.down = 1000
    assert "did not answer as expected" in run(api, {})["msg"]
