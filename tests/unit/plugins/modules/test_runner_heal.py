"""The module against a cluster that lives in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners import api as runners_api
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners import heal_run
from ansible_collections.runnerfleet.baremetal.plugins.modules import runner_heal

from tests.unit.plugins.module_utils._runners.things import deployment, listener, pod, runner, scale_set, thing
from tests.unit.plugins.module_utils._runners.worlds import MemoryApi

SETS = f"{runners_api.SCALE_SETS}/namespaces/arc-runners"
ARGUMENTS = {"kubeconfig": "/k", "ask_github": False, "timeout": 0}


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> MemoryApi:
    """A set with a runner that failed; its listener runs."""
    made = MemoryApi(
        {
            f"{SETS}/autoscalingrunnersets/small": scale_set(),
            f"{SETS}/ephemeralrunners/r": runner(status={"phase": "Failed", "ready": False}),
            f"{runners_api.SCALE_SETS}/namespaces/arc-systems/autoscalinglisteners/small-listener": listener(),
            "/api/v1/namespaces/arc-systems/pods/small-listener": pod("small-listener"),
            "/apis/apps/v1/namespaces/arc-systems/deployments/controller": deployment(),
            "/api/v1/namespaces/arc-runners/secrets/github": thing("github"),
            "/api/v1/nodes/runner-1": thing("runner-1"),
        }
    )
    monkeypatch.setattr(runner_heal, "api_client", lambda _module: made)
    monkeypatch.setattr(heal_run, "POLL", 0)
    return made


def test_it_heals_once(memory: MemoryApi, run_module: Callable[..., Any]) -> None:
    """In check mode it says the same, and does nothing; a second run has nothing to do."""
    checked = run_module(runner_heal.main, ARGUMENTS, check=True)
    assert checked["changed"] and memory.wrote() == []
    done = run_module(runner_heal.main, {**ARGUMENTS, "timeout": 60})
    assert (
        done["changed"]
        and done["actions"] == checked["actions"]
        and memory.wrote() == [("DELETE", "ephemeralrunners/r")]
    )
    again = run_module(runner_heal.main, ARGUMENTS)
    assert not again["changed"] and again["actions"] == [] and len(memory.wrote()) == 1


def test_what_does_not_heal_is_told_with_what_was_done(memory: MemoryApi, run_module: Callable[..., Any]) -> None:
    pods = "/api/v1/namespaces/arc-systems/pods/small-listener"
    memory.objects.pop(pods)
    memory.objects.pop("/api/v1/namespaces/arc-runners/secrets/github")
    result = run_module(runner_heal.main, ARGUMENTS)
    assert result["failed"] and result["changed"] and len(result["actions"]) == 2
    assert "not healed after 0 seconds, waited for:" in result["msg"] and "it has no pod" in result["msg"]
    assert "Secret github, is not there. create the Secret" in result["msg"]
