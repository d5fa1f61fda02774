"""The module against a cluster that lives in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners import api as runners_api
from ansible_collections.runnerfleet.baremetal.plugins.modules import runner_status

from tests.unit.plugins.module_utils._runners.things import deployment, pod, runner, scale_set, thing
from tests.unit.plugins.module_utils._runners.worlds import MemoryApi, Refused

SETS = f"{runners_api.SCALE_SETS}/namespaces/arc-runners"
ARGUMENTS = {"kubeconfig": "/k", "ask_github": False}


def test_it_tells_and_changes_nothing(monkeypatch: pytest.MonkeyPatch, run_module: Callable[..., Any]) -> None:
    memory = MemoryApi(
        {
            f"{SETS}/autoscalingrunnersets/small": scale_set(),
            f"{SETS}/ephemeralrunners/r": runner(status={"phase": "Failed", "ready": False}),
            "/apis/apps/v1/namespaces/arc-systems/deployments/controller": deployment(),
            "/api/v1/namespaces/arc-runners/secrets/github": thing("github"),
            "/api/v1/namespaces/arc-runners/pods/r": pod(),
            "/api/v1/nodes/runner-1": thing("runner-1"),
        }
    )
    monkeypatch.setattr(runner_status, "api_client", lambda _module: memory)
    result = run_module(runner_status.main, ARGUMENTS)
    assert not result["changed"] and memory.wrote() == []
    assert [pool["listener"] for pool in result["pools"]] == ["missing"]
    kinds = {problem["kind"]: problem for problem in result["problems"]}
    assert set(kinds) == {"listener_missing", "runner_failed"}
    assert kinds["runner_failed"]["heals"] and kinds["runner_failed"]["next"].endswith("delete EphemeralRunner r")
    assert len([line for line in result["lines"] if line.startswith("! ")]) == 2


def test_a_cluster_without_pools(monkeypatch: pytest.MonkeyPatch, run_module: Callable[..., Any]) -> None:
    monkeypatch.setattr(runner_status, "api_client", lambda _module: MemoryApi({}))
    result = run_module(runner_status.main, ARGUMENTS)
    assert (result["pools"], result["problems"], len(result["lines"])) == ([], [], 1)


def test_an_api_that_refuses_is_told(monkeypatch: pytest.MonkeyPatch, run_module: Callable[..., Any]) -> None:
    def refuse(*_arguments: Any, **_more: Any) -> Any:
        raise Refused(403)

    memory = MemoryApi({})
    monkeypatch.setattr(memory, "call_api", refuse)
    monkeypatch.setattr(runner_status, "api_client", lambda _module: memory)
    result = run_module(runner_status.main, ARGUMENTS)
    assert result["failed"] and "HTTP 403" in result["msg"]
