"""The module against an API of a few canned answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.modules import runner_capacity

RunModule = Callable[..., dict[str, Any]]
NODE = {
    "metadata": {"name": "runner-1", "labels": {"node-restriction.kubernetes.io/runnerfleet-pool": "runner"}},
    "spec": {"taints": [{"key": "runnerfleet.dev/pool", "value": "runner", "effect": "NoSchedule"}]},
    "status": {
        "allocatable": {"cpu": "8", "memory": "32Gi", "ephemeral-storage": "500Gi", "pods": "110"},
        "conditions": [{"type": "Ready", "status": "True"}],
    },
}


def pod(namespace: str, cpu: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "namespace": namespace},
        "spec": {"nodeName": "runner-1", "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]},
        "status": {"phase": "Running"},
    }


@pytest.fixture(autouse=True)
def cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node, an engine, and a runner that does not count."""
    answers = {"/api/v1/nodes": [NODE], "/api/v1/pods": [pod("dagger", "2"), pod("arc-runners", "6")]}

    def call_api(path: str, _method: str, **_rest: Any) -> Any:
        return SimpleNamespace(data=json.dumps({"items": answers[path]}).encode())

    monkeypatch.setattr(runner_capacity, "api_client", lambda _module: SimpleNamespace(call_api=call_api))


def test_what_is_left_beside_the_engine_is_shared(run_module: RunModule) -> None:
    runners = [
        {"name": "small", "pool": "runner", "size": "1c-2g"},
        {"name": "large", "pool": "runner", "size": {"cpu": 2, "memory": "8Gi"}, "max": "1"},
        {"name": "lost", "pool": "elsewhere", "size": "1c-2g"},
    ]
    result = run_module(runner_capacity.main, {"kubeconfig": "/k", "runners": runners}, check=True)
    assert result["max"] == {"small": 4, "large": 1, "lost": 0} and not result["changed"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"size": "4c"}, "runners, small: found '4c'"),
        ({"max": "all"}, "runners, small: found max 'all', expected auto"),
    ],
)
def test_what_is_no_size_or_number_is_told(run_module: RunModule, change: dict[str, Any], told: str) -> None:
    runners = [{"name": "small", "pool": "runner", "size": "1c-2g", **change}]
    result = run_module(runner_capacity.main, {"kubeconfig": "/k", "runners": runners})
    assert result["failed"] and result["msg"].startswith(told)
