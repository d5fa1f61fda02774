"""The module against a pod that answers as it is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.modules import network_policy_proof

RunModule = Callable[..., dict[str, Any]]
ARGUMENTS = {
    "kubeconfig": "/k",
    "namespace": "c",
    "pod": "p",
    "open_port": 1,
    "closed_port": 2,
    "patience": 0,
    "timeout": 0,
}


class RefusedError(Exception):
    """What the client raises."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


@pytest.fixture
def pod(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A pod whose ports answer with these codes; one that does not answer is an error of the way there."""

    def make(opened: int = 200, closed: int = 200, ready: str = "True") -> None:
        def call_api(path: str, _method: str, **_rest: Any) -> Any:
            if "/proxy/" not in path:
                status = {"conditions": [{"type": "Ready", "status": ready}]}
                return SimpleNamespace(data=json.dumps({"status": status, "items": []}).encode(), status=200)
            code = opened if ":1/" in path else closed
            if code != 200:
                raise RefusedError(code)
            return SimpleNamespace(data=b"OK", status=200)

        monkeypatch.setattr(network_policy_proof, "api_client", lambda _module: SimpleNamespace(call_api=call_api))
        monkeypatch.setattr(network_policy_proof.time, "sleep", lambda _seconds: None)

    return make


def test_one_port_out_of_reach_is_the_proof(run_module: RunModule, pod: Callable[..., None]) -> None:
    pod(closed=503)
    result = run_module(network_policy_proof.main, ARGUMENTS)
    assert (result["verdict"], result["changed"]) == ("held", False)


def test_a_pod_that_is_within_reach_is_an_error(run_module: RunModule, pod: Callable[..., None]) -> None:
    pod()
    result = run_module(network_policy_proof.main, ARGUMENTS)
    assert result["failed"] and result["verdict"] == "open"
    assert "does not hold them" in result["msg"] and "read the logs of its pods" in result["msg"]


def test_in_a_network_of_others_it_is_a_warning(
    run_module: RunModule, pod: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: list[str] = []
    monkeypatch.setattr(network_policy_proof.AnsibleModule, "warn", lambda _module, text, **_more: warned.append(text))
    pod()
    result = run_module(network_policy_proof.main, {**ARGUMENTS, "required": False})
    assert "failed" not in result and result["verdict"] == "open"
    assert len(warned) == 1 and "does not hold them" in warned[0] and "Use a pod network that holds them" in warned[0]


@pytest.mark.parametrize("told", [{"ready": "False", "closed": 503}, {"opened": 503, "closed": 503}])
def test_a_pod_that_nobody_reaches_proves_nothing(
    run_module: RunModule, pod: Callable[..., None], told: dict[str, Any]
) -> None:
    pod(**told)
    result = run_module(network_policy_proof.main, ARGUMENTS)
    assert result["failed"] and result["verdict"] == "unknown"
    assert "did not answer the API server within 0 seconds" in result["msg"]


def test_who_may_not_ask_is_told(run_module: RunModule, pod: Callable[..., None]) -> None:
    pod(closed=403)
    result = run_module(network_policy_proof.main, ARGUMENTS)
    assert result["failed"] and "did not answer as expected: HTTP 403" in result["msg"]
