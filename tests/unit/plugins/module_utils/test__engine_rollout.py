"""What a roll-out would stop and why, from objects as the API describes them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine_ready import ROLL_ANNOTATION, TAINT, with_taint
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine_rollout import (
    UNREGISTER,
    UNREGISTERED,
    NodePlan,
    Progress,
    RolloutError,
    at_once,
    batches,
    changes,
    farewell,
    lost_cache,
    not_restored,
    plan,
    read_gauges,
    read_progress,
    wanted_revisions,
    with_intended,
)

METRICS = """\
# HELP dagger_connected_clients Number of currently connected clients
# TYPE dagger_connected_clients gauge
dagger_connected_clients 2
dagger_local_cache_entries 41
dagger_local_cache_total_disk_size_bytes 7.340032e+07
dagger_local_cache_entries_of_others 7
runnerfleet_engine_wipes_total{node="runner-1",version="0.21.8",instance="0"} 1
runnerfleet_engine_wipes_total{node="runner-1",version="0.21.8",instance="1"} 2
runnerfleet_engine_checkpoints{node="a } b"} 3
"""


def engine(image: str = "engine:v1", config: str = "a", memory: str = "1Gi", secret: str = "x") -> dict[str, Any]:
    """A pod template."""
    env = [{"name": "HTTPS_PROXY", "value": secret}]
    container = {"name": "engine", "image": image, "env": env, "resources": {"limits": {"memory": memory}}}
    return {"metadata": {"annotations": {"runnerfleet.dev/engine-config": config}}, "spec": {"containers": [container]}}


def pod(node: str, revision: str = "new", created: str = "2026-01-02T00:00:00Z", daemonset: str = "ds") -> dict[str, Any]:
    """An engine pod."""
    return {
        "metadata": {
            "name": f"{daemonset}-{node}",
            "uid": f"uid-{node}",
            "labels": {"controller-revision-hash": revision},
            "creationTimestamp": created,
            "ownerReferences": [{"kind": "DaemonSet", "name": daemonset}],
        },
        "spec": {"nodeName": node},
    }


def node(name: str, progress: Progress | None = None, ready: str = "True") -> dict[str, Any]:
    """A node."""
    notes = {ROLL_ANNOTATION: progress.to_json()} if progress else {}
    return {"metadata": {"name": name, "annotations": notes}, "status": {"conditions": [{"type": "Ready", "status": ready}]}}


def revision(number: int, name: str, template: dict[str, Any]) -> dict[str, Any]:
    """A ControllerRevision."""
    meta = {"labels": {"controller-revision-hash": name}, "ownerReferences": [{"uid": "ds-uid"}]}
    return {"metadata": meta, "revision": number, "data": {"spec": {"template": {"$patch": "replace", **template}}}}


DAEMONSET = {"metadata": {"name": "ds", "uid": "ds-uid", "generation": 2}, "status": {"observedGeneration": 2}}
TEMPLATES = {"ds": {"old": engine(), "new": engine(image="engine:v2", config="b")}}


def test_gauges_are_summed_over_their_labels_and_others_left_out() -> None:
    """Instances are summed; what is no figure of ours is not read."""
    assert read_gauges(METRICS) == {"clients": 2, "entries": 41, "bytes": 73400320, "wipes": 3, "checkpoints": 3}
    assert read_gauges("dagger_local_cache_entries -1\ndagger_connected_clients x\n") == {}


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        pytest.param({"entries": 40, "bytes": 900}, {"entries": 40, "bytes": 900}, "", id="all of it"),
        pytest.param({"entries": 40, "bytes": 900}, {"entries": 36, "bytes": 800}, "", id="a sweep of the collector"),
        pytest.param({"entries": 40, "bytes": 900}, {"entries": 0, "bytes": 0}, "it has 0 entries", id="none of it"),
        pytest.param({"entries": 40, "bytes": 900}, {"entries": 40, "bytes": 100}, "it has 100 bytes", id="a tenth of it"),
        pytest.param({"entries": 40}, {}, "do not say how many now", id="nobody knows"),
        pytest.param({}, {"entries": 3}, "", id="it was dead before"),
        pytest.param({"entries": 0, "bytes": 0}, {"entries": 0, "bytes": 0}, "", id="a new engine"),
        pytest.param({"entries": 4, "wipes": 1}, {"entries": 9, "wipes": 2}, "dropped its cache", id="wiped and filled again"),
        pytest.param({"entries": 4, "restores": 0}, {"entries": 4, "restores": 1}, "from a checkpoint", id="restored"),
        pytest.param({"entries": 4}, {"entries": 4, "missed": 1}, "not stopped clean", id="not stopped clean"),
    ],
)
def test_a_lost_cache_is_seen(before: dict[str, float], after: dict[str, float], said: str) -> None:
    """And one that came through is not called lost."""
    found = lost_cache(before, after, 80)
    assert (said in found) if said else found == ""


@pytest.mark.parametrize(
    ("after", "said"),
    [
        pytest.param({"restores": 2}, "", id="restored"),
        pytest.param({"restores": 1}, "no checkpoint was restored", id="kept what it had"),
        pytest.param({"restores": 1, "wipes": 1}, "cache was dropped", id="wiped"),
    ],
)
def test_a_restore_has_to_be_seen(after: dict[str, float], said: str) -> None:
    """Where one was asked for."""
    assert said in not_restored({"restores": 1}, after) and bool(said) == bool(not_restored({"restores": 1}, after))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param(engine(), engine(), [], id="nothing"),
        pytest.param(engine(), engine(image="engine:v2"), ["spec.containers.engine.image: engine:v1 -> engine:v2"], id="image"),
        pytest.param(engine(), engine(config="b"), ["metadata.annotations.runnerfleet.dev/engine-config changed"], id="config"),
        pytest.param(engine(), engine(memory="2Gi"), ["spec.containers.engine.resources.limits.memory: 1Gi -> 2Gi"], id="memory"),
        pytest.param(engine(), engine(secret="y"), ["spec.containers.engine.env.HTTPS_PROXY.value changed"], id="no value of a variable"),
        pytest.param({"a": 1}, {"$patch": "replace", "b": [1]}, ["a changed", "b changed"], id="keys that come and go"),
    ],
)
def test_changes_are_told_by_their_place(old: Any, new: Any, expected: list[str]) -> None:
    """Values only where they are no secret."""
    assert changes(old, new) == expected


def test_what_is_stale_is_planned_with_its_reason() -> None:
    """And nothing is, where nothing differs."""
    nodes = [node("b"), node("a"), node("c", ready="Unknown")]
    assert not any(item.needed for item in plan(nodes, [pod("a"), pod("b")], TEMPLATES))
    found = plan(nodes, [pod("a", "old"), pod("b"), pod("c", "ancient"), pod("d", daemonset="foreign")], TEMPLATES)
    assert [(item.node, item.needed, item.silent) for item in found] == [("a", True, False), ("b", False, False), ("c", True, True)]
    config, image = "metadata.annotations.runnerfleet.dev/engine-config changed", "spec.containers.engine.image: engine:v1 -> engine:v2"
    assert found[0].lines() == [f"a: engine pod ds-a: {config}; {image}"]
    assert "too old" in found[2].lines()[0]


def test_a_restart_is_asked_for_by_time() -> None:
    """So that the second run with the same time does not restart what the first one did."""
    pods = [pod("a", created="2026-01-01T00:00:00Z"), pod("b", created="2026-01-03T00:00:00Z")]
    found = plan([node("a"), node("b")], pods, TEMPLATES, "2026-01-02T00:00:00Z")
    assert [item.needed for item in found] == [True, False]


def test_a_roll_that_began_is_finished_first() -> None:
    """Even where its pods are not stale any more."""
    found = plan([node("a"), node("b", Progress("stop", "T"))], [pod("a", "old"), pod("b")], TEMPLATES)
    assert [item.node for item in found] == ["b", "a"]
    assert found[0].lines() == ["b: finish the roll of T, which was at step stop"]


def test_progress_survives_its_annotation() -> None:
    """And what cannot be read begins anew."""
    progress = Progress("stop", "T", "", {"ds": {"uid": "u", "pod": "p", "entries": 4.0}})
    assert read_progress(node("a", progress)) == progress
    assert read_progress(node("a")) is None
    for text in ("{", "[]", '{"step": "stop", "more": 1}'):
        found = read_progress({"metadata": {"annotations": {ROLL_ANNOTATION: text}}})
        assert found is not None and found.engines == {}


def test_the_newest_template_comes_last() -> None:
    """Whatever order the cluster lists them in: going back to an older template gives it a new number."""
    found = wanted_revisions([DAEMONSET], [revision(3, "old", engine()), revision(2, "new", engine(image="engine:v2"))])
    assert list(found["ds"]) == ["new", "old"]
    assert changes(found["ds"]["old"], engine()) == []


def test_what_a_dry_run_would_make_stale() -> None:
    """A DaemonSet that stays as it is, or is not there yet, makes nothing stale."""
    intended = {"metadata": {"name": "ds"}, "spec": {"template": engine(image="engine:v3", config="b")}}
    found = with_intended(TEMPLATES, [intended, {**intended, "metadata": {"name": "new"}}])
    assert plan([node("a")], [pod("a")], found)[0].stale[0].reasons == ("spec.containers.engine.image: engine:v2 -> engine:v3",)
    same = {"metadata": {"name": "ds"}, "spec": {"template": {**TEMPLATES["ds"]["new"], "status": None}}}
    assert with_intended(TEMPLATES, [same]) == TEMPLATES


@pytest.mark.parametrize(
    ("daemonset", "revisions"),
    [
        pytest.param({**DAEMONSET, "status": {"observedGeneration": 1}}, [revision(1, "old", engine())], id="changed a moment ago"),
        pytest.param(DAEMONSET, [], id="no template yet"),
    ],
)
def test_a_change_that_the_cluster_has_not_seen_is_waited_for(daemonset: dict[str, Any], revisions: list[dict[str, Any]]) -> None:
    """Nothing is called up to date by mistake."""
    with pytest.raises(RolloutError, match="has not looked at the DaemonSet ds"):
        wanted_revisions([daemonset], revisions)


@pytest.mark.parametrize(
    ("canary", "number", "expected"),
    [
        pytest.param(True, 2, [["a"], ["b", "c"], ["d", "e"]], id="one ahead"),
        pytest.param(False, 2, [["a", "b"], ["c", "d"], ["e"]], id="none ahead"),
        pytest.param(True, 9, [["a"], ["b", "c", "d", "e"]], id="all the rest"),
    ],
)
def test_batches(canary: bool, number: int, expected: list[list[str]]) -> None:
    """The canary goes alone."""
    plans = [NodePlan(name, False, ()) for name in "abcde"]
    assert [[item.node for item in batch] for batch in batches(plans, canary, number)] == expected
    assert batches([], canary, number) == []


def test_a_roll_that_goes_on_has_had_its_canary() -> None:
    """The nodes that are half done are finished together."""
    plans = [NodePlan("a", False, (), Progress()), NodePlan("b", False, ())]
    assert len(batches(plans, True, 2)) == 1


@pytest.mark.parametrize(("wanted", "nodes", "expected"), [("1", 9, 1), ("3", 9, 3), ("25%", 9, 2), ("10%", 9, 1), ("100%", 9, 9)])
def test_how_many_at_once(wanted: str, nodes: int, expected: int) -> None:
    """A share is rounded down, and never to nothing."""
    assert at_once(wanted, nodes) == expected


@pytest.mark.parametrize("wanted", ["0", "-1", "half", "0%"])
def test_how_many_at_once_refused(wanted: str) -> None:
    """With what was expected."""
    with pytest.raises(ValueError, match="expected a number of nodes"):
        at_once(wanted, 3)


@pytest.mark.parametrize(
    ("kind", "notes", "deleted", "expected"),
    [
        pytest.param("Runner", [], False, "unregister", id="legacy"),
        pytest.param("Runner", [UNREGISTER], False, "", id="legacy, asked"),
        pytest.param("Runner", [UNREGISTER, UNREGISTERED], False, "remove", id="legacy, off the list"),
        pytest.param("Runner", [], True, "", id="stopping"),
        pytest.param("EphemeralRunner", [], False, "release", id="scale set"),
        pytest.param("Job", [], False, "", id="of others: only waited for"),
    ],
)
def test_how_a_runner_is_asked_to_leave(kind: str, notes: list[str], deleted: bool, expected: str) -> None:
    """Never by a deletion that the service has not agreed to."""
    meta: dict[str, Any] = {"ownerReferences": [{"kind": kind, "name": "r"}], "annotations": dict.fromkeys(notes, "T")}
    if deleted:
        meta["deletionTimestamp"] = "T"
    assert farewell({"metadata": meta}) == expected


def test_the_taint_is_set_once() -> None:
    """Beside those of others."""
    other = {"key": "other", "effect": "NoSchedule"}
    once = with_taint({"spec": {"taints": [other]}})
    assert once == [other, {"key": TAINT, "effect": "NoSchedule"}]
    assert with_taint({"spec": {"taints": once}}) == once
