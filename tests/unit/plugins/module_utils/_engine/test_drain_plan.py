"""Who uses a node, from what the API says of the pods and runners of both controllers."""

from __future__ import annotations

from calendar import timegm
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.drain_plan import (
    REFUSED,
    UNREGISTER,
    UNREGISTERED,
    EngineUse,
    choose_nodes,
    deregistration_step,
    foretell,
    lines,
    node_changes,
    runner_use,
    still_in_use,
    waited_for,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._names import ENGINE_TAINT, POOL_LABEL

NOW = timegm((2026, 11, 28, 6, 13, 5, 0, 0, 0))
START, SINCE = "2026-11-28T06:00:00Z", "2026-11-28T06:01:02Z"


def pod(kind: str = "", *notes: str, deleted: bool = False, **spec: Any) -> dict[str, Any]:
    """A pod on runner-1 that belongs to an object of that kind."""
    meta: dict[str, Any] = {"name": "r-x7k2p", "namespace": "arc-runners", "annotations": dict.fromkeys(notes, "T")}
    if kind:
        meta["ownerReferences"] = [{"kind": kind, "name": "r-x7k2p"}]
    if deleted:
        meta["deletionTimestamp"] = SINCE
    return {
        "metadata": meta,
        "spec": {"nodeName": "runner-1", **spec},
        "status": {"phase": "Running", "startTime": START},
    }


def ephemeral(deleted: bool = False, manager: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    """An EphemeralRunner whose status was written by its controller first, and by the listener later."""
    fields = {f"f:{name}": {} for name in status}
    meta: dict[str, Any] = {
        "managedFields": [
            {"time": START, "fieldsV1": {"f:status": {"f:ready": {}, "f:runnerId": {}}}},
            {"time": SINCE, "fieldsV1": {"f:status": fields}, **(manager or {})},
        ]
    }
    if deleted:
        meta["deletionTimestamp"] = SINCE
    return {"metadata": meta, "status": {"ready": True, "phase": "Pending", **status}}


JOB = {"jobRepositoryName": "lab/example", "workflowRunId": 4711, "jobDisplayName": "build"}
OLD, NEW = {**JOB, "jobRequestId": 17}, {**JOB, "jobId": "d2a3"}  # of releases without and with jobId
LEGACY = {"metadata": {}, "spec": {"repository": "lab/example"}, "status": {"phase": "Running", "workflow": None}}
WORKFLOW = {"repository": "lab/other", "runID": "5", "job": "test"}
FILLED = {
    "metadata": {"managedFields": [{"time": SINCE, "fieldsV1": {"f:status": {"f:workflow": {"f:job": {}}}}}]},
    "spec": {"organization": "lab"},
    "status": {"workflow": WORKFLOW},
}


@pytest.mark.parametrize(
    ("item", "runner", "state", "said"),
    [
        pytest.param(
            pod("EphemeralRunner"),
            ephemeral(**OLD),
            "busy",
            f"lab/example, run 4711, job build, since {SINCE} (12 min)",
            id="scale set",
        ),
        pytest.param(
            pod("EphemeralRunner"),
            ephemeral(**NEW),
            "busy",
            f"lab/example, run 4711, job build, since {SINCE} (12 min)",
            id="scale set with jobId",
        ),
        pytest.param(
            pod("EphemeralRunner"),
            ephemeral(jobId="d2a3", workflowRunId=4711, manager={"time": "soon"}),
            "busy",
            "repository not known, run 4711, job not known, since when is not known",
            id="what is not known is said",
        ),
        pytest.param(
            pod("EphemeralRunner"), ephemeral(phase="Pending"), "idle", f"idle, its pod runs since {START}", id="idle"
        ),
        pytest.param(
            pod("EphemeralRunner"), ephemeral(phase="Running"), "idle", "idle", id="idle, as older releases say it"
        ),
        pytest.param(
            pod("EphemeralRunner"),
            ephemeral(deleted=True),
            "leaving",
            f"asked to leave, and the service has not let it go yet, its pod runs since {START} (13 min)",
            id="asked",
        ),
        pytest.param(
            pod("EphemeralRunner", deleted=True), ephemeral(deleted=True), "leaving", "asked to leave", id="stopping"
        ),
        pytest.param(pod("EphemeralRunner"), {}, "idle", "idle", id="its object is gone"),
        pytest.param(
            pod("Runner"),
            LEGACY,
            "unknown",
            "whether it has a job is not known until its controller asks, registered for lab/example, its pod",
            id="legacy",
        ),
        pytest.param(pod("Runner", UNREGISTER), LEGACY, "leaving", "asked to leave", id="legacy, asked"),
        pytest.param(
            pod("Runner", UNREGISTER, REFUSED),
            LEGACY,
            "busy",
            f"the service says that it has a job, registered for lab/example, run and job are not known to the cluster,"
            f" its pod runs since {START} (13 min)",
            id="legacy, refused by the service",
        ),
        pytest.param(
            pod("Runner"),
            FILLED,
            "busy",
            f"lab/other, run 5, job test, since {SINCE} (12 min)",
            id="legacy with a workflow",
        ),
        pytest.param(pod("Job"), {}, "other", f"a pod that is no runner, it runs since {START}", id="of others"),
        pytest.param(pod(), {}, "other", "a pod that is no runner", id="of nobody"),
    ],
)
def test_what_a_runner_does(item: dict[str, Any], runner: dict[str, Any], state: str, said: str) -> None:
    """As far as the cluster knows it."""
    use = runner_use(item, runner)
    assert use.state == state and use.text(NOW).startswith(f"r-x7k2p: {said}")
    assert lines([use], NOW)[0].startswith("runner-1: waits for r-x7k2p: ")


@pytest.mark.parametrize(
    ("item", "runner", "expected"),
    [
        pytest.param(pod("Runner"), LEGACY, "unregister", id="legacy"),
        pytest.param(pod("Runner"), FILLED, "unregister", id="legacy, busy: the service is asked all the same"),
        pytest.param(pod("Runner", UNREGISTER), LEGACY, "", id="legacy, asked"),
        pytest.param(pod("Runner", UNREGISTER, UNREGISTERED), LEGACY, "remove", id="legacy, off the list"),
        pytest.param(pod("Runner", deleted=True), LEGACY, "", id="stopping"),
        pytest.param(pod("EphemeralRunner"), ephemeral(), "release", id="scale set"),
        pytest.param(pod("EphemeralRunner"), ephemeral(**OLD), "", id="scale set, busy: it leaves with its job"),
        pytest.param(pod("EphemeralRunner"), ephemeral(deleted=True), "", id="scale set, asked"),
        pytest.param(pod("EphemeralRunner", deleted=True), {}, "", id="scale set, stopping"),
        pytest.param(pod("Job"), {}, "", id="of others: only waited for"),
    ],
)
def test_how_a_runner_is_asked_to_leave(item: dict[str, Any], runner: dict[str, Any], expected: str) -> None:
    """Never by a deletion of its pod that the service has not agreed to."""
    assert deregistration_step(item, runner) == expected == runner_use(item, runner).step


def test_words_of_others_cannot_steer_a_terminal() -> None:
    """A job is called what its author likes."""
    use = runner_use(pod("EphemeralRunner"), ephemeral(**{**OLD, "jobDisplayName": "a\x1b[2J\nb" + "c" * 500}))
    told = use.text(NOW)
    assert "\x1b" not in told and "\n" not in told and len(told) < 400
    assert use.as_dict() == {
        "node": "runner-1",
        "runner": "r-x7k2p",
        "state": "busy",
        "repository": "lab/example",
        "run": "4711",
        "since": SINCE,
        "job": use.job.name,
    }


def test_a_key_changes_with_what_happens_and_not_with_the_clock() -> None:
    idle, busy = runner_use(pod("EphemeralRunner"), ephemeral()), runner_use(pod("EphemeralRunner"), ephemeral(**OLD))
    assert idle.key != busy.key == runner_use(pod("EphemeralRunner"), ephemeral(**OLD)).key
    assert EngineUse("n", "e", 1).key != EngineUse("n", "e", 2).key


def test_who_is_waited_for() -> None:
    """What runs on the nodes; of one engine's runners those that mount its sockets, in whatever place below."""
    here, elsewhere, done = pod(), pod(nodeName="runner-2"), pod()
    done["status"]["phase"] = "Succeeded"
    assert waited_for([here, elsewhere, done], ["runner-1", "runner-3"]) == [here]
    mounts = [
        pod(volumes=[{"emptyDir": {}}, {"hostPath": {"path": path}}])
        for path in ("/run/e/1.2", "/run/e/1.2/", "/run/e/1.2/s", "/run/e/1.20")
    ]
    assert waited_for([here, *mounts], ["runner-1"], "/run/e/1.2") == mounts[:3]


def test_what_is_told_at_the_deadline() -> None:
    """Each by its node, at most so many, and what can be done."""
    busy = runner_use(pod("EphemeralRunner"), ephemeral(**OLD))
    told = still_in_use([busy, EngineUse("runner-2", "e", None)], NOW, 60, [])
    assert told.startswith(
        "still in use after 60 seconds, its engines run on: runner-1: r-x7k2p: lab/example, run 4711"
    )
    assert "runner-2: e does not say how many clients" in told and "drain_timeout" in told and "end_jobs" in told
    assert "and 10 more" in still_in_use([busy] * 60, NOW, 60, [])
    assert "Expected the deleted runner pods to end: x" in still_in_use([busy], NOW, 60, ["x"])


def test_what_a_dry_run_says() -> None:
    uses = [
        runner_use(item, runner)
        for item, runner in (
            (pod("EphemeralRunner"), ephemeral()),
            (pod("EphemeralRunner"), ephemeral(**OLD)),
            (pod("Runner"), LEGACY),
        )
    ]
    told = foretell(uses, NOW)
    assert [line.rpartition(": ")[2] for line in told] == ["ask whether it may go", "wait", "ask whether it may go"]


def node(name: str, pool: str = "runner", cordoned: bool = False, *taints: str) -> dict[str, Any]:
    spec = {"unschedulable": cordoned, "taints": [{"key": key, "effect": "NoSchedule"} for key in taints]}
    return {"metadata": {"name": name, "labels": {POOL_LABEL: pool}}, "spec": spec}


def test_nodes_by_name_and_by_pool() -> None:
    nodes = [node("b"), node("a"), node("c", "large"), node("d", "other")]
    assert [n["metadata"]["name"] for n in choose_nodes(nodes, ["d"], ["large"])] == ["c", "d"]
    assert [n["metadata"]["name"] for n in choose_nodes(nodes, [], ["runner"])] == ["a", "b"]
    with pytest.raises(ValueError, match="found neither, expected names"):
        choose_nodes(nodes, [], [])
    with pytest.raises(ValueError, match="nodes: the cluster has no x, y; pools: the cluster has no z"):
        choose_nodes(nodes, ["y", "a", "x"], ["z"])


def test_what_is_written_to_nodes() -> None:
    """Only what differs; the taint where an engine takes it off again."""
    engines = [{"spec": {"nodeName": name}} for name in ("a", "b", "c")]
    nodes = [node("a"), node("b", "runner", True, ENGINE_TAINT), node("c", "runner", True), node("d")]
    found = node_changes(nodes, engines, True)
    assert [line for change in found for line in change.lines()] == [
        "a: cordon",
        f"a: taint {ENGINE_TAINT}",
        f"c: taint {ENGINE_TAINT}",
        "d: cordon",
    ]
    assert (found[0].before, found[0].after) == ("uncordoned", f"cordoned, {ENGINE_TAINT}")
    back = node_changes(nodes, engines, False)
    assert [(change.node, change.taint, change.lines()) for change in back] == [
        ("b", False, ["b: uncordon"]),
        ("c", False, ["c: uncordon"]),
    ]
