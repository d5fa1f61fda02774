"""What a roll-out would stop and why, from objects as the API describes them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.readiness import (
    ROLLOUT_ANNOTATION,
    with_taint,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.rollout_plan import (
    STEPS,
    CacheVerdict,
    Progress,
    RolloutError,
    RolloutPlan,
    at_once,
    batches,
    changes,
    judge_cache,
    judge_restore,
    plan,
    read_gauges,
    read_progress,
    read_state,
    wanted_revisions,
    with_intended,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._names import ENGINE_TAINT
from hypothesis import given
from hypothesis import strategies as st

METRICS = """\
# HELP dagger_connected_clients Number of currently connected clients
# TYPE dagger_connected_clients gauge
dagger_connected_clients 2
dagger_local_cache_entries 4333
dagger_local_cache_total_disk_size_bytes 7.340032e+07
dagger_local_cache_total_disk_size_bytes_of_others 7
runnerfleet_engine_canary{node="runner-1",version="0.21.8",instance="0"} 1
runnerfleet_engine_persisted_results{node="runner-1",version="0.21.8",instance="0"} 4333
runnerfleet_engine_wipes_total{node="runner-1",version="0.21.8",instance="0"} 1
runnerfleet_engine_wipes_total{node="runner-1",version="0.21.8",instance="1"} 2
runnerfleet_engine_checkpoints{node="a } b"} 3
"""


def engine(image: str = "engine:v1", config: str = "a", memory: str = "1Gi", secret: str = "x") -> dict[str, Any]:
    """A pod template."""
    env = [{"name": "HTTPS_PROXY", "value": secret}]
    container = {"name": "engine", "image": image, "env": env, "resources": {"limits": {"memory": memory}}}
    return {"metadata": {"annotations": {"runnerfleet.dev/engine-config": config}}, "spec": {"containers": [container]}}


def pod(
    node: str, revision: str = "new", created: str = "2026-01-02T00:00:00Z", daemonset: str = "ds"
) -> dict[str, Any]:
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
    notes = {ROLLOUT_ANNOTATION: progress.to_json()} if progress else {}
    return {
        "metadata": {"name": name, "annotations": notes},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


def revision(number: int, name: str, template: dict[str, Any]) -> dict[str, Any]:
    """A ControllerRevision."""
    meta = {"labels": {"controller-revision-hash": name}, "ownerReferences": [{"uid": "ds-uid"}]}
    return {"metadata": meta, "revision": number, "data": {"spec": {"template": {"$patch": "replace", **template}}}}


DAEMONSET = {"metadata": {"name": "ds", "uid": "ds-uid", "generation": 2}, "status": {"observedGeneration": 2}}
TEMPLATES = {"ds": {"old": engine(), "new": engine(image="engine:v2", config="b")}}


def test_gauges_are_summed_over_their_labels_and_others_left_out() -> None:
    """Instances are summed; what is no figure of ours is not read."""
    assert read_gauges(METRICS) == {
        "clients": 2,
        "bytes": 73400320,
        "canary": 1,
        "persisted_results": 4333,
        "wipes": 3,
        "checkpoints": 3,
    }
    assert read_gauges("dagger_local_cache_total_disk_size_bytes -1\ndagger_connected_clients x\n") == {}


QUIET = {"wipes": 1, "restores": 2, "missed": 3}  # counters of a state with a past


def figures(size: float, entries: int = 0, **more: float) -> dict[str, float]:
    """What an engine said; its entries, as the real one counted them, are read from its page like everything else."""
    lines = [f"dagger_local_cache_entries {entries}", f"dagger_local_cache_total_disk_size_bytes {size}"]
    names = {"wipes": "wipes_total", "restores": "restores_total", "missed": "clean_stop_missed_total"}
    lines += [f"runnerfleet_engine_{names.get(key, key)} {value}" for key, value in {**QUIET, **more}.items()]
    return read_gauges("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        # A real engine v0.21.8: whole caches, all of them called lost by their entries.
        pytest.param(
            figures(20779008, 6482), figures(20779008, 4333, canary=1), CacheVerdict("kept"), id="three sessions before"
        ),
        pytest.param(
            figures(20779008, 7915), figures(20779008, 4354, canary=1), CacheVerdict("kept"), id="a session at the tick"
        ),
        pytest.param(
            figures(2000000, 9606),
            figures(4000000, 4335, canary=1),
            CacheVerdict("kept"),
            id="three sessions at the tick",
        ),
        pytest.param(
            figures(4000000, 4333), figures(2000000, 4333, canary=1), CacheVerdict("kept"), id="counted twice before"
        ),
        pytest.param(
            figures(20779008, 6223), figures(20779008, 4333, canary=1), CacheVerdict("kept"), id="probes only"
        ),
        pytest.param(figures(0, 4325), figures(0, 4325, canary=1), CacheVerdict("kept"), id="nothing was cached"),
        # And real losses, some of which the probes' sessions had filled up again.
        pytest.param(figures(2000000, 4325), figures(0, 4325, canary=0), "canary step", id="wiped and refilled"),
        pytest.param(
            figures(2000000, 4325), figures(0, 4325, canary=1), "it has 0 bytes", id="wiped, whatever the canary says"
        ),
        pytest.param(
            figures(2000000, 4325), figures(0, 7877), "it has 0 bytes", id="wiped, with a session there, no canary"
        ),
        pytest.param(
            figures(2000000), figures(2000000, wipes=2, canary=1), "dropped its cache", id="the engine's log said so"
        ),
        pytest.param(figures(2000000), figures(2000000, restores=3, canary=1), "from a checkpoint", id="restored"),
        pytest.param(
            figures(2000000), figures(2000000, missed=4, canary=1), "not stopped clean", id="exit 0, and not clean"
        ),
        pytest.param(
            figures(10**9),
            figures(399999999, canary=1),
            "expected at least 80 % of half",
            id="less than the margin allows",
        ),
        pytest.param(
            figures(10**9), figures(400000000, canary=1), CacheVerdict("kept"), id="just what the margin allows"
        ),
        pytest.param(
            figures(2000000, persisted_results=4333),
            figures(2000000, persisted_results=0, canary=1),
            "wrote no result",
            id="nothing written",
        ),
        pytest.param(
            figures(10**9, persisted_bytes=9e8),
            figures(10**9, persisted_bytes=1e8, canary=1),
            "it has 100000000",
            id="a tenth written",
        ),
        pytest.param(
            figures(10**8, persisted_bytes=9e8),
            figures(10**8, persisted_bytes=1e8, canary=1),
            CacheVerdict("kept"),
            id="pruned since",
        ),
        pytest.param(
            figures(10**8, persisted_results=9999),
            figures(10**8, persisted_results=4325, canary=1),
            CacheVerdict("kept"),
            id="fewer results",
        ),
        pytest.param(figures(2000000), {**QUIET, "canary": 1}, "do not say how many now", id="no page of the engine"),
        # What cannot be known is called so.
        pytest.param(figures(2000000), figures(4000000), "not known", id="no canary in this state yet"),
        pytest.param({}, figures(2000000, canary=0), "not known", id="it was dead before"),
        pytest.param(
            {"bytes": 2000000.0},
            figures(2000000, canary=1),
            CacheVerdict("kept"),
            id="counters that were not known before",
        ),
        pytest.param({"bytes": 0.0}, {"bytes": 0.0}, "not known", id="a new engine beside an old program"),
    ],
)
def test_what_became_of_a_cache(
    before: dict[str, float], after: dict[str, float], expected: CacheVerdict | str
) -> None:
    """By the canary, the counters and the bytes; never by entries."""
    found = judge_cache(before, after, 80)
    if isinstance(expected, CacheVerdict):
        assert found == expected
    elif expected == "not known":
        assert found.cache == expected and found.reason
    else:
        assert found.cache == "lost" and expected in found.reason


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
    found = judge_restore({"restores": 1}, after)
    assert found.cache == ("lost" if said else "kept") and said in found.reason


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param(engine(), engine(), [], id="nothing"),
        pytest.param(
            engine(), engine(image="engine:v2"), ["spec.containers.engine.image: engine:v1 -> engine:v2"], id="image"
        ),
        pytest.param(
            engine(), engine(config="b"), ["metadata.annotations.runnerfleet.dev/engine-config changed"], id="config"
        ),
        pytest.param(
            engine(), engine(memory="2Gi"), ["spec.containers.engine.resources.limits.memory: 1Gi -> 2Gi"], id="memory"
        ),
        pytest.param(
            engine(),
            engine(secret="y"),
            ["spec.containers.engine.env.HTTPS_PROXY.value changed"],
            id="no value of a variable",
        ),
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
    assert [(item.node, item.needed, item.not_reporting) for item in found] == [
        ("a", True, False),
        ("b", False, False),
        ("c", True, True),
    ]
    config, image = (
        "metadata.annotations.runnerfleet.dev/engine-config changed",
        "spec.containers.engine.image: engine:v1 -> engine:v2",
    )
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
    progress = Progress(
        "stop", "T", "", {"ds": {"uid": "u", "pod": "p", "grace": 60, "bytes": 4.0}}, "restore", "c", True
    )
    assert read_progress(node("a", progress)) == progress
    assert read_progress(node("a")) is None
    for text in ("{", "[]", '{"step": "stop", "more": 1}'):
        found = read_progress({"metadata": {"annotations": {ROLLOUT_ANNOTATION: text}}})
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
    assert plan([node("a")], [pod("a")], found)[0].stale[0].reasons == (
        "spec.containers.engine.image: engine:v2 -> engine:v3",
    )
    same = {"metadata": {"name": "ds"}, "spec": {"template": {**TEMPLATES["ds"]["new"], "status": None}}}
    assert with_intended(TEMPLATES, [same]) == TEMPLATES


@pytest.mark.parametrize(
    ("daemonset", "revisions"),
    [
        pytest.param(
            {**DAEMONSET, "status": {"observedGeneration": 1}},
            [revision(1, "old", engine())],
            id="changed a moment ago",
        ),
        pytest.param(DAEMONSET, [], id="no template yet"),
    ],
)
def test_a_change_that_the_cluster_has_not_seen_is_waited_for(
    daemonset: dict[str, Any], revisions: list[dict[str, Any]]
) -> None:
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
    plans = [RolloutPlan(name, False, ()) for name in "abcde"]
    assert [[item.node for item in batch] for batch in batches(plans, canary, number)] == expected
    assert batches([], canary, number) == []


def test_a_roll_that_goes_on_has_had_its_canary() -> None:
    """The nodes that are half done are finished together."""
    plans = [RolloutPlan("a", False, (), Progress()), RolloutPlan("b", False, ())]
    assert len(batches(plans, True, 2)) == 1


@pytest.mark.parametrize(
    ("wanted", "nodes", "expected"), [("1", 9, 1), ("3", 9, 3), ("25%", 9, 2), ("10%", 9, 1), ("100%", 9, 9)]
)
def test_how_many_at_once(wanted: str, nodes: int, expected: int) -> None:
    """A share is rounded down, and never to nothing."""
    assert at_once(wanted, nodes) == expected


@pytest.mark.parametrize("wanted", ["0", "-1", "half", "0%"])
def test_how_many_at_once_refused(wanted: str) -> None:
    """With what was expected."""
    with pytest.raises(ValueError, match="expected a number of nodes"):
        at_once(wanted, 3)


def test_the_taint_is_set_once() -> None:
    """Beside those of others."""
    other = {"key": "other", "effect": "NoSchedule"}
    once = with_taint({"spec": {"taints": [other]}})
    assert once == [other, {"key": ENGINE_TAINT, "effect": "NoSchedule"}]
    assert with_taint({"spec": {"taints": once}}) == once


HOSTILE = [
    *(
        "[1]",
        "5",
        '"x"',
        "null",
        "[" * 100000,
        '{"engines": []}',
        '{"engines": 5}',
        '{"engines": {"a": 1}}',
        '{"step": {"x": 1}}',
    ),
    '{"step": ["lost"]}',
    *(
        '{"step": "nonsense"}',
        '{"since": 5}',
        '{"request": "checkpoint", "asking": true}',
        '{"checkpoint": "a b"}',
        '{"asking": "yes"}',
    ),
    *(
        '{"engines": {"a": {"uid": "u", "pod": "../x"}}}',
        '{"engines": {"a": {"uid": "u", "pod": "p", "bytes": "NaN"}}}',
        '{"problem": {}, "step": 1}',
    ),
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:40])
def test_a_note_that_cannot_be_one_begins_anew(text: str) -> None:
    """A node can write its own annotations: it must not stop a look at the others, nor a roll."""
    found = read_progress({"metadata": {"annotations": {ROLLOUT_ANNOTATION: text}}})
    assert found == Progress()


def test_a_note_is_bounded_and_steers_no_terminal() -> None:
    note = {"step": "lost", "problem": "\x1b[2J" + "x" * 9999, "engines": {"a": {"uid": "u", "pod": "p", "grace": 1e9}}}
    found = read_progress({"metadata": {"annotations": {ROLLOUT_ANNOTATION: json.dumps(note)}}})
    assert found and "\x1b" not in found.problem and len(found.problem) <= 1000 and found.engines["a"]["grace"] == 86400


WORDS = ["step", "engines", "uid", "pod", "checkpoints", "name", "bytes"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner),
    max_leaves=12,
)


@given(JSON)
def test_whatever_a_node_says_is_read_or_left(value: Any) -> None:
    text = json.dumps(value)
    progress = read_progress({"metadata": {"annotations": {ROLLOUT_ANNOTATION: text}}})
    assert (
        progress
        and progress.step in STEPS
        and all(entry["uid"] and entry["pod"] for entry in progress.engines.values())
    )
    for item in read_state(text).get("checkpoints", []):
        assert item["name"] and isinstance(item.get("bytes", 0), (int, float))


def test_a_pods_story_is_its_checkpoints() -> None:
    good = {"name": "20260131T120000Z", "version": "0.21.11", "bytes": 5, "method": "btrfs", "bad": False}
    told = {
        "checkpoints": ["x", 5, {"name": "../../etc"}, {"bytes": 1}, {**good, "more": [], "method": "\x1b[2Jxfs"}],
        "events": [],
    }
    assert read_state(json.dumps(told)) == {"checkpoints": [{**good, "method": "[2Jxfs"}]}
    assert read_state("{") == read_state("[]") == read_state('{"checkpoints": 5}') == {}


@pytest.mark.parametrize("value", ["1e400", "nan", "-inf", "inf", "-1"])
def test_a_gauge_that_is_no_number_is_not_known(value: str) -> None:
    assert read_gauges(f"dagger_connected_clients {value}\n") == {}
