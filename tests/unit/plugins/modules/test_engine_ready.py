"""The module against a cluster that lives in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.readiness import ROLLOUT_ANNOTATION
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._names import ENGINE_TAINT, POOL_LABEL
from ansible_collections.runnerfleet.baremetal.plugins.modules import engine_ready

VERSION = "0.21.8"
ARGUMENTS = {"kubeconfig": "/k", "versions": {"runner": [VERSION]}, "timeout": 0}
RunModule = Callable[..., dict[str, Any]]


class MemoryCluster:
    """Two nodes; `answers` are those whose engine is Ready."""

    api = None  # what an explanation reads: nothing here
    pools = ("runner",)

    def __init__(self, answers: set[str], conflicts: int = 0) -> None:
        self.answers, self.conflicts = answers, conflicts
        self.stored = {name: self._node(name) for name in ("runner-1", "runner-2")}

    @staticmethod
    def _node(name: str) -> dict[str, Any]:
        return {
            "metadata": {"name": name, "resourceVersion": "1", "labels": {POOL_LABEL: "runner"}},
            "spec": {
                "taints": [{"key": "other", "effect": "NoSchedule"}, {"key": ENGINE_TAINT, "effect": "NoSchedule"}]
            },
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        }

    def nodes(self) -> list[dict[str, Any]]:
        return list(self.stored.values())

    def engine_pods(self) -> list[dict[str, Any]]:
        return [
            {
                "metadata": {"name": f"engine-{name}", "labels": {"app.kubernetes.io/version": VERSION}},
                "spec": {"nodeName": name},
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": str(name in self.answers)}]},
            }
            for name in self.stored
        ]

    def daemonsets(self) -> list[dict[str, Any]]:
        return []

    def set_taints(self, node: dict[str, Any], taints: list[Any]) -> bool:
        if self.conflicts:
            self.conflicts -= 1
            return False
        node["spec"]["taints"] = taints
        return True

    def last_line(self, pod: dict[str, Any]) -> str:
        return "lock is held"

    def tainted(self) -> list[str]:
        return [name for name, node in self.stored.items() if len(node["spec"]["taints"]) == 2]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Callable[..., MemoryCluster]:
    def make(*answers: str, conflicts: int = 0) -> MemoryCluster:
        made = MemoryCluster(set(answers), conflicts)
        monkeypatch.setattr(engine_ready, "connect", lambda _module: made)
        monkeypatch.setattr(engine_ready, "INTERVAL", 0)
        return made

    return make


def test_lifts_the_taint_once(run_module: RunModule, cluster: Callable[..., MemoryCluster]) -> None:
    made = cluster("runner-1", "runner-2")
    first = run_module(engine_ready.main, ARGUMENTS)
    assert first["changed"] and first["untainted"] == ["runner-1", "runner-2"] and made.tainted() == []
    again = run_module(engine_ready.main, ARGUMENTS)
    assert not again["changed"] and again["ready"] == ["runner-1", "runner-2"]


def test_check_mode_reports_and_lifts_nothing(run_module: RunModule, cluster: Callable[..., MemoryCluster]) -> None:
    made = cluster("runner-1")
    result = run_module(engine_ready.main, ARGUMENTS, check=True)
    assert result["changed"] and result["untainted"] == ["runner-1"] and result["waiting"] == ["runner-2"]
    assert "failed" not in result and made.tainted() == ["runner-1", "runner-2"]


def test_a_dead_engine_keeps_its_taint_and_is_named(
    run_module: RunModule, cluster: Callable[..., MemoryCluster]
) -> None:
    made = cluster("runner-1")
    result = run_module(engine_ready.main, ARGUMENTS)
    assert result["failed"] and made.tainted() == ["runner-2"]
    assert "1 engine nodes did not answer within" in result["msg"]
    assert (
        "runner-2: engine 0.21.8: pod engine-runner-2" in result["msg"]
        and "last log line: lock is held" in result["msg"]
    )
    assert (
        "could not read /api/v1/namespaces/dagger/pods" in result["msg"]
    )  # the cluster is asked why, and its answer is part of the error


def test_a_node_that_changed_meanwhile_is_read_again(
    run_module: RunModule, cluster: Callable[..., MemoryCluster]
) -> None:
    made = cluster("runner-1", "runner-2", conflicts=1)
    result = run_module(engine_ready.main, {**ARGUMENTS, "timeout": 30})
    assert result["changed"] and made.tainted() == []


def test_no_engine_node_is_an_error(run_module: RunModule, cluster: Callable[..., MemoryCluster]) -> None:
    cluster().stored.clear()
    result = run_module(engine_ready.main, ARGUMENTS)
    assert result["failed"] and "expected at least one engine node" in result["msg"]


def test_an_engine_that_stopped_for_good_gets_its_taint_back(
    run_module: RunModule, cluster: Callable[..., MemoryCluster]
) -> None:
    """Once, and only where it does not answer."""
    made = cluster("runner-1", "runner-2")
    run_module(engine_ready.main, ARGUMENTS)
    made.answers = {"runner-1"}
    assert run_module(engine_ready.main, ARGUMENTS, check=True)["tainted"] == [] and made.tainted() == []
    result = run_module(engine_ready.main, ARGUMENTS)
    assert (
        result["failed"] and result["changed"] and result["tainted"] == ["runner-2"] and made.tainted() == ["runner-2"]
    )
    assert result["diff"] == {"before": "", "after": f"runner-2: {ENGINE_TAINT}\n"}
    assert run_module(engine_ready.main, ARGUMENTS)["tainted"] == []


def test_a_node_in_a_roll_out_is_left_to_it(run_module: RunModule, cluster: Callable[..., MemoryCluster]) -> None:
    """Neither let in when its engine answers, nor waited for when it does not."""
    made = cluster("runner-1")
    for node in made.stored.values():
        node["metadata"]["annotations"] = {ROLLOUT_ANNOTATION: "{}"}
    result = run_module(engine_ready.main, ARGUMENTS)
    assert "failed" not in result and not result["changed"] and result["rolling"] == ["runner-1", "runner-2"]
    assert made.tainted() == ["runner-1", "runner-2"]
