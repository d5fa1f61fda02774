"""The module against a cluster that lives in memory, whose service alone knows which runner has a job; and the action
plugin around it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.action import runner_drain as action
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.drain_plan import (
    REFUSED,
    UNREGISTER,
    UNREGISTERED,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._names import ENGINE_TAINT
from ansible_collections.runnerfleet.baremetal.plugins.modules import runner_drain

RunModule = Callable[..., dict[str, Any]]
ARGUMENTS = {"kubeconfig": "/k", "nodes": ["runner-1"], "drain_timeout": 30}
STATUS = {"jobRequestId": 17, "jobRepositoryName": "lab/example", "workflowRunId": 4711, "jobDisplayName": "build"}


class MemoryCluster:
    """Two nodes with an engine each, and one of support. A runner's job takes so many looks at the pods."""

    def __init__(self) -> None:
        self.stored = {name: self._node(name) for name in ("runner-1", "runner-2", "support-1")}
        self.pods: dict[str, dict[str, Any]] = {}
        self.jobs: dict[str, int] = {}  # what the service knows
        self.told: set[str] = set()  # runners whose job the listener has written down
        self.gone: set[str] = set()  # EphemeralRunners that were deleted
        self.clients = {"runner-1": [0.0], "runner-2": [0.0]}  # of each engine, look by look
        self.killed: list[str] = []
        self.writes = 0

    @staticmethod
    def _node(name: str) -> dict[str, Any]:
        return {
            "metadata": {"name": name},
            "spec": {},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        }

    def add(self, name: str, kind: str, node: str = "runner-1", job: int = 0, told: bool = False) -> None:
        """A runner; without a job it stays for ever."""
        meta = {
            "name": name,
            "uid": f"uid-{name}",
            "namespace": "arc-runners",
            "annotations": {},
            "ownerReferences": [{"kind": kind, "name": name}] if kind else [],
        }
        volumes = [{"hostPath": {"path": "/run/e/1"}}]
        self.pods[name] = {
            "metadata": meta,
            "spec": {"nodeName": node, "volumes": volumes},
            "status": {"phase": "Running", "startTime": "2026-11-28T06:00:00Z"},
        }
        self.jobs[name] = job
        if told:
            self.told.add(name)

    def all_nodes(self) -> list[dict[str, Any]]:
        return list(self.stored.values())

    def engine_pods(self, node: str = "") -> list[dict[str, Any]]:
        return [
            {
                "metadata": {"name": f"engine-{name}", "uid": f"uid-{name}"},
                "spec": {"nodeName": name},
                "status": {"conditions": [{"type": "Ready", "status": "True"}]},
            }
            for name in self.clients
            if node in ("", name)
        ]

    def gauges(self, pod: str) -> dict[str, float]:
        left = self.clients[pod.removeprefix("engine-")]
        return {"clients": left.pop(0) if len(left) > 1 else left[0]}

    def runner_pods(self, node: str = "") -> list[dict[str, Any]]:
        """Jobs go on; a runner leaves with its job."""
        for name in list(self.pods):
            if self.jobs[name]:
                self.jobs[name] -= 1
                if not self.jobs[name]:
                    del self.pods[name]
        return [pod for pod in self.pods.values() if node in ("", pod["spec"]["nodeName"])]

    def runner(self, pod: dict[str, Any]) -> dict[str, Any]:
        name = pod["metadata"]["name"]
        meta = {"deletionTimestamp": "T"} if name in self.gone else {}
        return {"metadata": meta, "spec": {"repository": "lab/example"}, "status": STATUS if name in self.told else {}}

    def release(self, pod: dict[str, Any]) -> None:
        name = pod["metadata"]["name"]
        self.gone.add(name)
        if not self.jobs[name]:
            self.pods.pop(name, None)

    def unregister(self, pod: dict[str, Any]) -> None:
        name = pod["metadata"]["name"]
        pod["metadata"]["annotations"] |= dict.fromkeys(
            (UNREGISTER, REFUSED) if self.jobs[name] else (UNREGISTER, UNREGISTERED), "T"
        )

    def remove(self, pod: dict[str, Any]) -> None:
        name = pod["metadata"]["name"]
        if self.jobs.get(name):
            self.killed.append(name)
        self.pods.pop(name, None)

    def set_closed(self, node: str, closed: bool, taint: bool = False) -> None:
        self.writes += 1
        self.stored[node]["spec"]["unschedulable"] = closed
        if taint:
            self.stored[node]["spec"]["taints"] = [{"key": ENGINE_TAINT, "effect": "NoSchedule"}]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> MemoryCluster:
    made = MemoryCluster()
    monkeypatch.setattr(runner_drain, "connect", lambda _module: made)
    monkeypatch.setattr(runner_drain, "INTERVAL", 0.001)
    monkeypatch.setattr(runner_drain, "LEAST", 0)
    return made


def full(cluster: MemoryCluster) -> None:
    """Runners of each kind on a node, and one of the other node."""
    cluster.add("set-idle", "EphemeralRunner")
    cluster.add("set-busy", "EphemeralRunner", job=5, told=True)
    cluster.add("set-late", "EphemeralRunner", job=4)
    cluster.add("old-idle", "Runner")
    cluster.add("old-busy", "Runner", job=6)
    cluster.add("other", "", job=3)
    cluster.add("set-elsewhere", "EphemeralRunner", "runner-2")


def test_check_then_real_then_nothing(run_module: RunModule, cluster: MemoryCluster) -> None:
    """Idle ones leave, busy ones finish, whatever the cluster knows of them; the other node is left alone."""
    full(cluster)
    foretold = run_module(runner_drain.main, ARGUMENTS, check=True)
    assert foretold["changed"] and not foretold["done"] and cluster.writes == 0 and not cluster.gone
    assert foretold["planned"][:2] == ["runner-1: cordon", f"runner-1: taint {ENGINE_TAINT}"]
    assert {item["runner"]: item["state"] for item in foretold["waiting"]} == {
        "set-idle": "idle",
        "set-busy": "busy",
        "set-late": "idle",
        "old-idle": "unknown",
        "old-busy": "unknown",
        "other": "other",
    }
    real = run_module(runner_drain.main, ARGUMENTS)
    assert real["changed"] and real["done"] and real["waiting"] == [] and cluster.killed == []
    assert real["diff"] == foretold["diff"]
    assert sorted(real["asked"]) == ["old-busy", "old-idle", "set-idle", "set-late"]
    assert list(cluster.pods) == ["set-elsewhere"] and not cluster.stored["runner-2"]["spec"]
    assert cluster.stored["runner-1"]["spec"]["unschedulable"]
    again = run_module(runner_drain.main, ARGUMENTS)
    assert again["done"] and not again["changed"] and again["planned"] == [] and cluster.writes == 1
    assert not run_module(runner_drain.main, ARGUMENTS, check=True)["changed"]


def test_a_node_without_an_engine_is_only_cordoned(run_module: RunModule, cluster: MemoryCluster) -> None:
    """Nothing would take the taint off again."""
    result = run_module(runner_drain.main, {**ARGUMENTS, "nodes": ["support-1"]})
    assert result["planned"] == ["support-1: cordon"] and "taints" not in cluster.stored["support-1"]["spec"]


def test_several_nodes_are_one_wait(run_module: RunModule, cluster: MemoryCluster) -> None:
    cluster.add("a", "EphemeralRunner", job=4, told=True)
    cluster.add("b", "EphemeralRunner", "runner-2", job=8, told=True)
    result = run_module(runner_drain.main, {**ARGUMENTS, "nodes": ["runner-1", "runner-2"]})
    assert result["done"] and cluster.killed == [] and cluster.writes == 2


def test_clients_of_engines_are_waited_for(run_module: RunModule, cluster: MemoryCluster) -> None:
    """Whoever they are, when no runner is left."""
    cluster.clients["runner-1"] = [2.0, 1.0, 0.0]
    assert run_module(runner_drain.main, ARGUMENTS)["done"] and cluster.clients["runner-1"] == [0.0]
    cluster.clients["runner-1"] = [2.0]
    late = run_module(runner_drain.main, {**ARGUMENTS, "drain_timeout": 0})
    assert late["failed"] and "runner-1: engine-runner-1 has 2 clients" in late["msg"]


def test_at_the_deadline_it_names_who_is_left_and_stays_cordoned(run_module: RunModule, cluster: MemoryCluster) -> None:
    """No job is ended, unless that was asked for."""
    cluster.add("set-busy", "EphemeralRunner", job=10**6, told=True)
    cluster.add("old-busy", "Runner", job=10**6)
    result = run_module(runner_drain.main, {**ARGUMENTS, "drain_timeout": 0})
    assert result["failed"] and result["changed"] and not result["done"] and cluster.killed == []
    assert "still in use after 0 seconds" in result["msg"] and "The nodes stay cordoned" in result["msg"]
    assert "runner-1: set-busy: lab/example, run 4711, job build" in result["msg"]
    assert cluster.stored["runner-1"]["spec"]["unschedulable"] and len(result["waiting"]) == 2
    ended = run_module(runner_drain.main, {**ARGUMENTS, "drain_timeout": 0, "end_jobs": True})
    assert ended["done"] and ended["ended"] == cluster.killed == ["old-busy", "set-busy"] and "set-busy" in cluster.gone


def test_pods_that_do_not_end(run_module: RunModule, cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not said that jobs run on, when their pods were deleted."""
    monkeypatch.setattr("ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.drain_run.ENDING", 0)
    monkeypatch.setattr(cluster, "remove", lambda _pod: None)
    cluster.add("set-busy", "EphemeralRunner", job=10**6, told=True)
    result = run_module(runner_drain.main, {**ARGUMENTS, "drain_timeout": 0, "end_jobs": True})
    assert result["failed"] and "Expected the deleted runner pods to end: set-busy" in result["msg"]


def test_a_node_that_does_not_report_is_not_waited_for(
    run_module: RunModule, cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing on it can end."""
    warned: list[str] = []
    monkeypatch.setattr(runner_drain.AnsibleModule, "warn", lambda _module, text, **_more: warned.append(text))
    cluster.stored["runner-1"]["status"]["conditions"][0]["status"] = "Unknown"
    cluster.add("set-busy", "EphemeralRunner", job=10**6, told=True)
    result = run_module(runner_drain.main, ARGUMENTS)
    assert result["done"] and result["not_reporting"] == ["runner-1"] and "runner-1" in warned[0]
    assert cluster.stored["runner-1"]["spec"]["unschedulable"] and cluster.killed == []


def test_returned(run_module: RunModule, cluster: MemoryCluster) -> None:
    """Its taint is its engine's to take off."""
    run_module(runner_drain.main, ARGUMENTS)
    back = {**ARGUMENTS, "state": "returned"}
    assert run_module(runner_drain.main, back, check=True)["planned"] == ["runner-1: uncordon"]
    result = run_module(runner_drain.main, back)
    assert result["changed"] and not cluster.stored["runner-1"]["spec"]["unschedulable"]
    assert cluster.stored["runner-1"]["spec"]["taints"] and not run_module(runner_drain.main, back)["changed"]


def test_only_runners_of_one_directory(run_module: RunModule, cluster: MemoryCluster) -> None:
    """As those of an engine version that leaves: the node goes on with the others."""
    cluster.add("leaves", "EphemeralRunner")
    cluster.add("stays", "EphemeralRunner")
    cluster.pods["stays"]["spec"]["volumes"] = []
    cluster.clients["runner-1"] = [1.0]
    result = run_module(runner_drain.main, {**ARGUMENTS, "directory": "/run/e/1"})
    assert result["done"] and list(cluster.pods) == ["stays"] and cluster.writes == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"nodes": []}, "found neither, expected names of the nodes"),
        ({"nodes": ["runner-1", "runner-9"]}, "nodes: the cluster has no runner-9"),
        ({"pools": ["huge"]}, "pools: the cluster has no huge"),
    ],
)
def test_refused(run_module: RunModule, cluster: MemoryCluster, arguments: dict[str, Any], said: str) -> None:
    result = run_module(runner_drain.main, {**ARGUMENTS, **arguments})
    assert result["failed"] and said in result["msg"] and cluster.writes == 0


def test_a_part_ends_when_something_else_is_waited_for(
    run_module: RunModule, cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it fails only when the parts together have waited long enough."""
    cluster.add("set-busy", "EphemeralRunner", job=10**6, told=True)
    monkeypatch.setattr(runner_drain, "LEAST", 10**6)  # the first part is not held up by it
    first = run_module(runner_drain.main, {**ARGUMENTS, "poll": 20})
    monkeypatch.setattr(runner_drain, "LEAST", 0)
    assert (
        not first["done"] and "failed" not in first and "waits for set-busy: lab/example, run 4711" in first["lines"][0]
    )
    cluster.add("old-idle", "Runner", "runner-1", job=10**6)
    second = run_module(runner_drain.main, {**ARGUMENTS, "poll": 20, "seen": first["waits_for"]})
    assert not second["done"] and len(second["waits_for"]) == 2 and second["asked"] == ["old-idle"]
    last = run_module(runner_drain.main, {**ARGUMENTS, "poll": 20, "seen": second["waits_for"], "waited": 30})
    assert last["failed"] and "still in use after 30 seconds" in last["msg"]


class Display:
    """What a person sees."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def display(self, line: str) -> None:
        self.lines.append(line)


def drained(
    monkeypatch: pytest.MonkeyPatch, parts: list[Mapping[str, Any]], seconds: float, check: bool = False
) -> Any:
    """The action plugin's result, what it displayed and what it called, where each part of the module takes so long."""
    clock, calls, display = [0.0], [], Display()
    monkeypatch.setattr(action.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(action.ActionBase, "run", lambda *_all: {})
    plugin = action.ActionModule.__new__(action.ActionModule)
    plugin._task = SimpleNamespace(args={"nodes": ["n"]}, check_mode=check)
    plugin._display = display
    answers = iter(parts)

    def execute(module_args: dict[str, Any], task_vars: Any) -> dict[str, Any]:
        calls.append(module_args)
        clock[0] += seconds
        return dict(next(answers))

    monkeypatch.setattr(plugin, "_execute_module", execute)
    return plugin.run(None, {}), display.lines, calls


def part(*names: str, **more: Any) -> dict[str, Any]:
    """A part of the module's answer."""
    lines = [f"n: waits for {name}" for name in names]
    return {"waits_for": list(names), "lines": lines, "done": not names, "changed": False, "planned": [], **more}


def test_it_tells_changes_at_once_and_the_same_each_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [
        part("a", "b", changed=True, planned=["n: cordon"], diff={"before": "x"}, asked=["b"]),
        part("a", asked=["b"]),
        part("a"),
        part("a"),
        part(asked=["c"], diff={"before": ""}),
    ]
    result, shown, calls = drained(monkeypatch, parts, 30)
    a, b = "n: waits for a", "n: waits for b"
    assert shown == [a, b, a, a]  # twice when it changed, not after 30 seconds, once more after 60
    assert [call["waited"] for call in calls] == [0, 30, 60, 90, 120]
    assert [call["seen"] for call in calls] == [[], ["a", "b"], ["a"], ["a"], ["a"]]
    assert result["changed"] and result["done"] and result["asked"] == ["b", "c"]
    assert result["planned"] == ["n: cordon"] and result["diff"] == {"before": "x"}


def test_a_failure_ends_it_and_keeps_what_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [part("a", changed=True, planned=["n: cordon"]), {"failed": True, "msg": "still in use", "changed": False}]
    result, _shown, calls = drained(monkeypatch, parts, 30)
    assert result["failed"] and result["changed"] and result["planned"] == ["n: cordon"] and len(calls) == 2


def test_a_dry_run_is_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    result, shown, calls = drained(monkeypatch, [part("a", changed=True)], 1, check=True)
    assert result["changed"] and shown == [] and len(calls) == 1


def test_a_long_list_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    _result, shown, _calls = drained(monkeypatch, [part(*map(str, range(60))), part()], 1)
    assert len(shown) == 51 and shown[-1] == "and 10 more"
