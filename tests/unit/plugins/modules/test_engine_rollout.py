"""The module against a cluster that lives in memory: jobs that take their time, engines that lose their cache when
stopped under one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.drain_plan import UNREGISTER, UNREGISTERED
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.readiness import (
    ROLLOUT_ANNOTATION,
    with_taint,
    without_taint,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.rollout_plan import (
    CHECKPOINT_ANNOTATION,
    RESTORE_ANNOTATION,
    Progress,
    notes,
    read_progress,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._names import ENGINE_TAINT
from ansible_collections.runnerfleet.baremetal.plugins.modules import engine_rollout

RunModule = Callable[..., dict[str, Any]]
NODES = ("runner-1", "runner-2", "runner-3")
ARGUMENTS = {"kubeconfig": "/k", "pools": ["runner"], "drain_timeout": 30, "start_timeout": 1, "proof_timeout": 0}


class Killed(BaseException):
    """What a SIGKILL looks like from inside."""


class MemoryCluster:
    """Three nodes with an engine each that runs the template `old`, while the DaemonSet wants `new`.

    `jobs` says how many looks at its runner a node's job still takes. Each call counts as one; with `kill` the process
    dies at that call, before it has an effect, or after it.
    """

    def __init__(self) -> None:
        self.node_objects = {name: self._node(name) for name in NODES}
        self.pods = {name: self._pod(name, "old", 0) for name in NODES}
        self.cached = dict.fromkeys(NODES, 40_000)  # bytes
        self.canary = dict.fromkeys(NODES, 1.0)
        self.checkpoints: dict[str, list[dict[str, Any]]] = {}  # by pod, where it says so
        self.restores = dict.fromkeys(NODES, 0)
        self.obeyed: list[str] = []  # what engines found in their node's annotations when they started
        self.mute: set[str] = set()  # nodes whose pod never says what became of its canary
        self.jobs = dict.fromkeys(NODES, 0)
        self.idle: dict[str, dict[str, Any]] = {}
        self.deaf: set[str] = set()  # nodes whose engine never answers again
        self.careless: set[str] = set()  # nodes whose engine loses its cache whatever one does
        self.calls, self.kill, self.kill_after = 0, 0, False
        self.starts = 0
        self.killed_jobs: list[str] = []
        self.down: list[set[str]] = []  # which nodes were without an engine, at each stop

    @staticmethod
    def _node(name: str) -> dict[str, Any]:
        return {
            "metadata": {"name": name, "annotations": {}},
            "spec": {},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        }

    @staticmethod
    def _pod(node: str, revision: str, number: int) -> dict[str, Any]:
        return {
            "metadata": {
                "name": f"engine-{node}-{number}",
                "uid": f"uid-{node}-{number}",
                "creationTimestamp": f"2026-01-01T00:00:{number:02}Z",
                "labels": {"controller-revision-hash": revision},
                "ownerReferences": [{"kind": "DaemonSet", "name": "engines"}],
            },
            "spec": {"nodeName": node},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        }

    def _runner_pod(self, node: str) -> dict[str, Any]:
        meta = {
            "name": f"job-{node}",
            "uid": f"uid-job-{node}",
            "namespace": "r",
            "annotations": {},
            "ownerReferences": [{"kind": "Runner", "name": "x"}],
        }
        return self.idle.setdefault(node, {"metadata": meta, "spec": {"nodeName": node}})

    def call(self, name: str, *arguments: Any) -> Any:
        self.calls += 1
        if self.calls == self.kill and not self.kill_after:
            raise Killed(name)
        result = getattr(self, f"_{name}")(*arguments)
        if self.calls == self.kill:
            raise Killed(name)
        return result

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *arguments: self.call(name, *arguments)

    def _nodes(self) -> list[dict[str, Any]]:
        return list(self.node_objects.values())

    def _daemonsets(self) -> list[dict[str, Any]]:
        return [{"metadata": {"name": "engines", "uid": "d", "generation": 1}, "status": {"observedGeneration": 1}}]

    def _revisions(self) -> list[dict[str, Any]]:
        return [
            {
                "metadata": {"labels": {"controller-revision-hash": name}, "ownerReferences": [{"uid": "d"}]},
                "revision": number,
                "data": {"spec": {"template": {"image": name}}},
            }
            for number, name in enumerate(("old", "new"))
        ]

    def _engine_pods(self, node: str = "") -> list[dict[str, Any]]:
        return [pod for name, pod in self.pods.items() if node in ("", name)]

    def _runner_pods(self, node: str) -> list[dict[str, Any]]:
        if self.jobs[node] <= 0:
            self.idle.pop(node, None)
            return []
        runner = self._runner_pod(node)
        if UNREGISTER in runner["metadata"]["annotations"]:
            self.jobs[node] -= 1
        return [runner]

    def _runner(self, pod: dict[str, Any]) -> dict[str, Any]:
        return {"metadata": {}, "spec": {"repository": "lab/example"}}

    def _gauges(self, pod: str) -> dict[str, float]:
        node = next(name for name, item in self.pods.items() if item["metadata"]["name"] == pod)
        canary = {} if node in self.mute else {"canary": self.canary[node]}
        canary["restores"] = self.restores[node]
        return {"clients": float(self.jobs[node] > 0), "bytes": self.cached[node], **canary}

    def _mark(self, node: str, progress: Progress | None) -> None:
        item = self.node_objects[node]
        item["spec"]["taints"] = with_taint(item) if progress else without_taint(item)
        found = item["metadata"]["annotations"] | notes(read_progress(item), progress)
        item["metadata"]["annotations"] = {key: value for key, value in found.items() if value is not None}

    def _state(self, pod: str) -> dict[str, Any]:
        return {"checkpoints": self.checkpoints[pod]} if pod in self.checkpoints else {}

    def _unregister(self, pod: dict[str, Any]) -> None:
        pod["metadata"]["annotations"][UNREGISTER] = "T"

    def _release(self, pod: dict[str, Any]) -> None:
        raise AssertionError("these are not of a scale set")

    def _remove(self, pod: dict[str, Any]) -> None:
        name = pod["metadata"]["name"]
        for node, runner in list(self.idle.items()):
            if runner["metadata"]["name"] == name:
                self.killed_jobs.append(name)
                self.jobs[node] = 0
                return
        for node, item in self.pods.items():
            if item["metadata"]["name"] == name:
                self.down.append(
                    {n for n, one in self.pods.items() if one["metadata"].get("deletionTimestamp")} | {node}
                )
                if self.jobs[node] or node in self.careless:
                    self.cached[node] = 0
                    self.canary[node] = 0.0
                item["metadata"]["deletionTimestamp"] = "T"

    def _stopped(self, pod: str, uid: str, container: str, timeout: float) -> tuple[bool, int | None]:
        for node, item in list(self.pods.items()):
            if item["metadata"]["uid"] == uid:
                assert item["metadata"].get("deletionTimestamp"), "waits for a pod that nobody has asked to stop"
                self.starts += 1
                found = self.node_objects[node]["metadata"]["annotations"]
                self.obeyed += [
                    f"{node} {key}={found[key]}" for key in (CHECKPOINT_ANNOTATION, RESTORE_ANNOTATION) if key in found
                ]
                self.restores[node] += RESTORE_ANNOTATION in found
                self.pods[node] = self._pod(node, "new", self.starts)
                if node in self.deaf:
                    self.pods[node]["status"]["conditions"] = []
                return True, 0
        return True, None

    def tainted(self) -> list[str]:
        return [
            name
            for name, node in self.node_objects.items()
            if any(t["key"] == ENGINE_TAINT for t in node["spec"].get("taints") or [])
        ]

    def stale(self) -> list[str]:
        return [
            name for name, pod in self.pods.items() if pod["metadata"]["labels"]["controller-revision-hash"] == "old"
        ]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> MemoryCluster:
    """What the module connects to."""
    made = MemoryCluster()
    monkeypatch.setattr(engine_rollout, "connect", lambda _module: made)
    monkeypatch.setattr(engine_rollout, "INTERVAL", 0.001)
    return made


def test_check_then_real_then_nothing(run_module: RunModule, cluster: MemoryCluster) -> None:
    """The dry run lists what would roll and why, and the real one is told the same."""
    cluster.jobs["runner-2"] = 5
    foretold = run_module(engine_rollout.main, ARGUMENTS, check=True)
    assert cluster.stale() == list(NODES) and cluster.tainted() == [] and cluster.starts == 0
    assert foretold["changed"] and foretold["planned"][0] == "runner-1: engine pod engine-runner-1-0: image changed"
    real = run_module(engine_rollout.main, ARGUMENTS)
    assert (real["planned"], real["diff"]) == (foretold["planned"], foretold["diff"])
    assert [item["node"] for item in real["rolled"]] == list(NODES)
    assert (
        real["rolled"][1]["engines"][0]["before"]
        == {"bytes": 40000, "canary": 1, "restores": 0}
        == real["rolled"][1]["engines"][0]["after"]
    )
    assert (
        cluster.stale() == []
        and cluster.tainted() == []
        and cluster.killed_jobs == []
        and set(cluster.cached.values()) == {40_000}
    )
    assert all(len(nodes) == 1 for nodes in cluster.down)
    again = run_module(engine_rollout.main, ARGUMENTS)
    assert not again["changed"] and again["planned"] == [] and cluster.starts == 3


def _calls_of_a_roll() -> int:
    return 110  # more than a roll takes; the test says so when it is not


@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after the call"])
def test_killed_at_every_call_the_next_run_finishes(
    after: bool, run_module: RunModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No job ended, no cache lost, no taint and no note left, wherever it died."""
    monkeypatch.setattr(engine_rollout, "INTERVAL", 0)
    steps: set[str] = set()
    for call in range(1, _calls_of_a_roll()):
        made = MemoryCluster()
        made.jobs["runner-2"] = 3
        made.kill, made.kill_after = call, after
        monkeypatch.setattr(engine_rollout, "connect", lambda _module, made=made: made)
        try:
            run_module(engine_rollout.main, ARGUMENTS)
        except Killed as killed:
            steps.add(str(killed))
        else:
            assert {"mark", "remove", "stopped", "gauges", "unregister", "runner_pods", "engine_pods"} <= steps
            return
        assert "failed" not in run_module(engine_rollout.main, ARGUMENTS), f"call {call}"
        assert made.stale() == [] and made.tainted() == [] and made.killed_jobs == [], f"call {call}"
        assert set(made.cached.values()) == {40_000} and not any(map(read_progress, made.node_objects.values())), (
            f"call {call}"
        )
        assert not run_module(engine_rollout.main, ARGUMENTS)["changed"], f"call {call}"
    raise AssertionError("a roll takes more calls than were tried")


def test_a_lost_cache_stops_the_roll_until_it_is_known(run_module: RunModule, cluster: MemoryCluster) -> None:
    """The node keeps its taint, the next run says so again, and a person ends it."""
    cluster.careless = {"runner-1"}
    first = run_module(engine_rollout.main, ARGUMENTS)
    assert first["failed"] and first["lost"] == ["runner-1"] and cluster.tainted() == ["runner-1"]
    assert (
        "engines: the canary step, which was cached before the stop, had to run anew" in first["msg"]
        and "Not begun: runner-2, runner-3" in first["msg"]
    )
    second = run_module(engine_rollout.main, ARGUMENTS)
    assert (
        second["failed"]
        and not second["changed"]
        and "lost in an earlier roll" in second["msg"]
        and cluster.starts == 1
    )
    third = run_module(engine_rollout.main, {**ARGUMENTS, "accept_cache_loss": ["runner-1"]})
    assert "failed" not in third and cluster.tainted() == [] and cluster.stale() == []


def test_what_is_not_known_is_said_and_stops_nothing(
    run_module: RunModule, cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state without a canary, as an earlier release left it, can be rolled; the bytes still count."""
    warned: list[str] = []
    monkeypatch.setattr(engine_rollout.AnsibleModule, "warn", lambda _module, text, **_more: warned.append(text))
    cluster.mute = set(NODES)
    result = run_module(engine_rollout.main, ARGUMENTS)
    assert "failed" not in result and [item["engines"][0]["cache"] for item in result["rolled"]] == ["not known"] * 3
    assert len(warned) == 3 and warned[0].startswith(
        "runner-1: engines: it is not known whether its cache came through"
    )
    cluster.careless = {"runner-1"}
    again = run_module(engine_rollout.main, {**ARGUMENTS, "restart_older_than": "2027-01-01T00:00:00Z"})
    assert again["failed"] and "it has 0 bytes, expected at least 80 % of half of the 40000" in again["msg"]


def test_an_engine_that_does_not_come_back_stops_the_roll(run_module: RunModule, cluster: MemoryCluster) -> None:
    """Its node keeps the taint; once it answers the next run goes on and proves its cache."""
    cluster.deaf = {"runner-1"}
    result = run_module(engine_rollout.main, {**ARGUMENTS, "start_timeout": 0})
    assert result["failed"] and "does not answer 0 seconds after it was started anew" in result["msg"]
    assert cluster.tainted() == ["runner-1"] and cluster.stale() == ["runner-2", "runner-3"] and result["lost"] == []
    cluster.pods["runner-1"]["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    result = run_module(engine_rollout.main, ARGUMENTS)
    assert result["rolled"][0]["node"] == "runner-1" and result["rolled"][0]["engines"][0]["before"]["bytes"] == 40_000
    assert cluster.tainted() == [] and cluster.stale() == []


def test_a_node_in_use_is_let_alone_unless_told(run_module: RunModule, cluster: MemoryCluster) -> None:
    """Its jobs end, never its engine under them."""
    cluster.jobs["runner-1"] = 10**6
    result = run_module(engine_rollout.main, {**ARGUMENTS, "drain_timeout": 0})
    assert result["failed"] and "runner-1: job-runner-1: whether it has a job is not known" in result["msg"]
    assert cluster.starts == 0 and cluster.tainted() == [] and cluster.killed_jobs == []
    result = run_module(engine_rollout.main, {**ARGUMENTS, "drain_timeout": 0, "end_jobs": True})
    assert (
        "failed" not in result and cluster.killed_jobs == ["job-runner-1"] and set(cluster.cached.values()) == {40_000}
    )


def test_a_runner_that_left_the_list_is_removed(run_module: RunModule, cluster: MemoryCluster) -> None:
    """Its controller has said that it has no job."""
    cluster.jobs["runner-1"] = 10**6
    cluster._runner_pod("runner-1")["metadata"]["annotations"] = {UNREGISTER: "T", UNREGISTERED: "T"}
    assert "failed" not in run_module(engine_rollout.main, ARGUMENTS)
    assert cluster.killed_jobs == ["job-runner-1"]  # a pod without a job, in truth


def test_several_at_once_after_the_canary(run_module: RunModule, cluster: MemoryCluster) -> None:
    """The first node alone."""
    run_module(engine_rollout.main, {**ARGUMENTS, "max_unavailable": "2"})
    assert cluster.down[0] == {"runner-1"} and cluster.stale() == []


def test_a_silent_node_is_passed_over(run_module: RunModule, cluster: MemoryCluster) -> None:
    """Nothing on it can be stopped clean."""
    cluster.node_objects["runner-2"]["status"]["conditions"][0]["status"] = "Unknown"
    result = run_module(engine_rollout.main, ARGUMENTS)
    assert result["not_reporting"] == ["runner-2"] and cluster.stale() == ["runner-2"] and "failed" not in result


def test_a_restart_by_time_ends_where_it_was_reached(run_module: RunModule, cluster: MemoryCluster) -> None:
    """What was started since is left alone."""
    run_module(engine_rollout.main, ARGUMENTS)
    asked = {**ARGUMENTS, "restart_older_than": "2026-01-01T00:00:03Z"}
    assert [item["node"] for item in run_module(engine_rollout.main, asked)["rolled"]] == ["runner-1", "runner-2"]
    assert not run_module(engine_rollout.main, asked)["changed"]


def requests(cluster: MemoryCluster) -> list[str]:
    """What stands in the nodes' annotations beside the roll's own note."""
    return [
        key
        for node in cluster.node_objects.values()
        for key in node["metadata"]["annotations"]
        if key != ROLLOUT_ANNOTATION
    ]


RESTORE = {
    **ARGUMENTS,
    "request": "restore",
    "restart_older_than": "2027-01-01T00:00:00Z",
    "checkpoint": "20260131T120000Z",
}


def test_a_request_is_there_when_an_engine_starts_and_only_then(run_module: RunModule, cluster: MemoryCluster) -> None:
    """Node by node, with the roll's own note; a checkpoint by its time, a restore by a name of its own each time."""
    result = run_module(engine_rollout.main, RESTORE)
    assert "failed" not in result and {item["engines"][0]["cache"] for item in result["rolled"]} == {"kept"}
    assert [item.split()[0] for item in cluster.obeyed] == list(NODES) and requests(cluster) == []
    assert all(item.endswith("Z 20260131T120000Z") for item in cluster.obeyed)
    cluster.obeyed.clear()
    cluster.node_objects["runner-3"]["metadata"]["annotations"][CHECKPOINT_ANNOTATION] = (
        "17"  # a person's, which is obeyed as well
    )
    run_module(engine_rollout.main, {**RESTORE, "request": "checkpoint", "nodes": ["runner-1", "runner-2"]})
    assert [item.partition("=")[0] for item in cluster.obeyed] == [
        f"{node} {CHECKPOINT_ANNOTATION}" for node in ("runner-1", "runner-2")
    ]
    assert float(cluster.obeyed[0].partition("=")[2]) > 1.7e9
    run_module(engine_rollout.main, {**RESTORE, "request": "none", "nodes": ["runner-3"]})
    assert cluster.obeyed[-1] == f"runner-3 {CHECKPOINT_ANNOTATION}=17" and requests(cluster) == [CHECKPOINT_ANNOTATION]


def test_a_restore_that_did_not_come_about_is_told(
    run_module: RunModule, cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine went on with what it had."""
    monkeypatch.setattr(cluster, "restores", {**dict.fromkeys(NODES, 0)}, raising=False)
    monkeypatch.setattr(
        cluster,
        "_gauges",
        lambda _pod: {"clients": 0.0, "bytes": 40_000.0, "canary": 1.0, "restores": 0.0},
        raising=False,
    )
    result = run_module(engine_rollout.main, RESTORE)
    assert (
        "engines: no checkpoint was restored" in result["msg"]
        and requests(cluster) == []
        and cluster.tainted() == ["runner-1"]
    )


@pytest.mark.parametrize("request_", ["checkpoint", "restore"])
@pytest.mark.parametrize(
    "trouble", ["in use", "does not stop", "does not answer", "API at the stop", "API after the stop"]
)
def test_a_request_does_not_outlive_a_roll_that_stopped(
    request_: str, trouble: str, run_module: RunModule, cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stopped it."""

    def refuse(*_arguments: Any) -> Any:
        raise ConnectionError("refused")

    more: dict[str, Any] = {}
    if trouble == "in use":
        cluster.jobs["runner-1"], more = 10**6, {"drain_timeout": 0}
    elif trouble == "does not stop":
        monkeypatch.setattr(cluster, "_stopped", lambda *_arguments: (False, None), raising=False)
    elif trouble == "does not answer":
        cluster.deaf, more = {"runner-1"}, {"start_timeout": 0}
    else:
        monkeypatch.setattr(cluster, "_remove" if trouble == "API at the stop" else "_stopped", refuse, raising=False)
    result = run_module(engine_rollout.main, {**RESTORE, "request": request_, **more})
    assert result["failed"] and requests(cluster) == []


@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after the call"])
def test_a_request_of_a_killed_run_goes_with_the_next_one(
    after: bool, run_module: RunModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plain roll-out finishes what was begun, and restores nothing that was not begun."""
    monkeypatch.setattr(engine_rollout, "INTERVAL", 0)
    for call in range(1, 200):
        made = MemoryCluster()
        made.kill, made.kill_after = call, after
        monkeypatch.setattr(engine_rollout, "connect", lambda _module, made=made: made)
        try:
            run_module(engine_rollout.main, RESTORE)
        except Killed:
            pass
        else:
            return
        asked = len(made.obeyed)
        assert "failed" not in run_module(engine_rollout.main, ARGUMENTS), f"call {call}"
        assert requests(made) == [] and made.tainted() == [] and len(made.obeyed) <= asked + 1, f"call {call}"
    raise AssertionError("a roll takes more calls than were tried")


@pytest.mark.parametrize(
    ("known", "wanted", "said"),
    [
        pytest.param([], "", "engine-runner-2-0 has none", id="none at all"),
        pytest.param([{"name": "a", "bad": True}], "", "engine-runner-2-0 has none", id="only a bad one"),
        pytest.param([{"name": "a"}], "b", "expected b on each engine: engine-runner-2-0 has a", id="another one"),
        pytest.param([{"name": "a", "bad": True}], "a", "", id="a bad one by its name"),
        pytest.param([{"name": "a"}], "", "", id="the newest"),
        pytest.param(None, "b", "", id="it does not say"),
    ],
)
@pytest.mark.parametrize("check", [True, False])
def test_a_checkpoint_that_is_not_there_stops_nothing(
    check: bool, known: Any, wanted: str, said: str, run_module: RunModule, cluster: MemoryCluster
) -> None:
    """The dry run says so too."""
    if known is not None:
        cluster.checkpoints = {"engine-runner-2-0": known}
    result = run_module(engine_rollout.main, {**RESTORE, "checkpoint": wanted}, check=check)
    assert said in result.get("msg", "") and ("failed" in result) == bool(said)
    assert not said or (cluster.starts == 0 and requests(cluster) == [] and cluster.tainted() == [])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param({"nodes": ["runner-9"]}, "found no engine node runner-9", id="a node that is not there"),
        pytest.param(
            {"accept_cache_loss": ["runner-9"]}, "found no engine node runner-9", id="a lost one that is not there"
        ),
        pytest.param({"min_kept_percent": 101}, "found 101, expected 0 to 100", id="more than all"),
        pytest.param({"max_unavailable": "none"}, "expected a number of nodes", id="none at once"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], said: str, run_module: RunModule, cluster: MemoryCluster) -> None:
    """Refused before anything is done."""
    result = run_module(engine_rollout.main, {**ARGUMENTS, **arguments})
    assert result["failed"] and said in result["msg"] and cluster.starts == 0


def test_an_api_that_does_not_answer_is_told(
    run_module: RunModule, cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the look, and in the middle."""

    def refuse(*_arguments: Any) -> None:
        raise ConnectionError("refused")

    monkeypatch.setattr(cluster, "_remove", refuse, raising=False)
    result = run_module(engine_rollout.main, ARGUMENTS)
    assert "runner-1: the cluster's API did not answer as expected, run again: ConnectionError" in result["msg"]
    monkeypatch.setattr(cluster, "_nodes", refuse, raising=False)
    assert "did not answer" in run_module(engine_rollout.main, ARGUMENTS)["msg"]
