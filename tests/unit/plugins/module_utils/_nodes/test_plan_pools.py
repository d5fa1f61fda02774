"""Labels and taints of pools: tables, and the promise that a plan that was carried out leaves nothing to plan."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._api_names import EFFECTS
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nodes import plan_pools as pools
from hypothesis import given
from hypothesis import strategies as st

START = {"key": pools.ENGINE_TAINT, "effect": "NoSchedule"}
CORDON = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


def node(
    labels: dict[str, str] | None = None,
    owned: list[str] | None = None,
    taints: list[dict[str, Any]] | None = None,
    claims: str = "",
) -> dict[str, Any]:
    """A Node object as the API lists it."""
    fields = {"f:metadata": {"f:labels": {f"f:{key}": {} for key in owned or []}}}
    return {
        "metadata": {
            "name": "runner-1",
            "uid": "u-1",
            "resourceVersion": "7",
            "labels": labels or {},
            "annotations": {pools.TAINTS_ANNOTATION: claims} if claims else {},
            "managedFields": [
                {"manager": "kubelet", "operation": "Update", "fieldsV1": {"f:metadata": {"f:labels": {"f:arch": {}}}}},
                {"manager": pools.FIELD_MANAGER, "operation": "Apply", "fieldsV1": fields},
            ],
        },
        "spec": {"taints": taints} if taints else {},
    }


def carried_out(before: dict[str, Any], plan: pools.NodePlan) -> dict[str, Any]:
    """What the API makes of a plan."""
    labels = dict(before["metadata"]["labels"])
    owned = list(pools.owned_labels(before["metadata"]))
    if plan.labels is not None:
        labels = {key: value for key, value in labels.items() if key not in owned} | plan.labels
        owned = list(plan.labels)
    taints = before["spec"].get("taints") if plan.taints is None else plan.taints
    claims = before["metadata"]["annotations"].get(pools.TAINTS_ANNOTATION, "") if plan.claims is None else plan.claims
    return node(labels, owned, taints, claims)


RUNNER = {"name": "runner", "nodes": ["runner-1"], "engine": True}
WANTED = pools.wanted_nodes([RUNNER])["runner-1"]
LABELS = {pools.POOL_LABEL: "runner", "node-role.kubernetes.io/runner": ""}
POOL = {"key": pools.POOL_TAINT, "value": "runner", "effect": "NoSchedule"}


def test_a_new_node_gets_everything_and_keeps_what_others_set() -> None:
    """The start-up taint and a cordon are not ours."""
    plan = pools.plan_node(node({"arch": "amd64"}, taints=[START, CORDON]), WANTED)
    assert plan.labels == LABELS
    assert plan.taints == [START, CORDON, POOL]
    assert plan.claims == ""
    assert plan.before == {"labels": {}, "taints": []}
    assert plan.after == {"labels": dict(sorted(LABELS.items())), "taints": ["runnerfleet.dev/pool=runner:NoSchedule"]}


TABLE: list[tuple[str, dict[str, Any], bool, bool]] = [
    ("as it should be", node({**LABELS, "arch": "amd64"}, list(LABELS), [START, POOL]), False, False),
    ("order of taints", node(LABELS, list(LABELS), [POOL, CORDON]), False, False),
    ("right values of others", node(LABELS, [], [POOL]), True, False),
    ("another value", node({**LABELS, pools.POOL_LABEL: "support"}, list(LABELS), [POOL]), True, False),
    ("a stale label", node({**LABELS, "size": "large"}, [*LABELS, "size"], [POOL]), True, False),
    ("no taint", node(LABELS, list(LABELS)), False, True),
    ("taint of another pool", node(LABELS, list(LABELS), [{**POOL, "value": "support"}]), False, True),
    (
        "a claimed taint that is stale",
        node(LABELS, list(LABELS), [POOL, CORDON], f'["{CORDON["key"]}:NoSchedule"]'),
        False,
        True,
    ),
    ("a claim without its taint", node(LABELS, list(LABELS), [POOL], '["gone:NoSchedule"]'), False, True),
    ("a broken note", node(LABELS, list(LABELS), [POOL], "{"), False, True),
]


@pytest.mark.parametrize(("found", "labels", "taints"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_what_differs(found: dict[str, Any], labels: bool, taints: bool) -> None:
    """Only differences are written, and then there are none."""
    plan = pools.plan_node(found, WANTED)
    assert (plan.labels is not None, plan.taints is not None) == (labels, taints)
    assert plan.empty is not (labels or taints)
    assert pools.plan_node(carried_out(found, plan), WANTED).empty


def test_a_support_node_loses_the_pool_taint() -> None:
    """A node that moved out of an engine's pool."""
    wanted = pools.wanted_nodes([{"name": "support", "nodes": ["runner-1"]}])["runner-1"]
    assert pools.plan_node(node(LABELS, list(LABELS), [POOL, START]), wanted).taints == [START]


WORDS = st.sampled_from(["a", "b", "example.org/c", "example.org/d", pools.POOL_LABEL])
TAINT_KEYS = st.sampled_from(["a", "example.org/c", pools.POOL_TAINT, pools.ENGINE_TAINT])
TAINTS = st.lists(
    st.builds(
        lambda key, value, effect: {"key": key, "value": value, "effect": effect},
        TAINT_KEYS,
        st.sampled_from(["", "x"]),
        st.sampled_from(EFFECTS),
    ),
    unique_by=lambda taint: (taint["key"], taint["effect"]),
    max_size=5,
)
LABEL_SETS = st.dictionaries(WORDS, st.sampled_from(["", "x", "runner"]), max_size=4)


@given(
    LABEL_SETS,
    st.sets(WORDS),
    TAINTS,
    st.lists(st.sampled_from(["a:NoSchedule", "example.org/c:NoExecute"])),
    LABEL_SETS,
    TAINTS,
    st.booleans(),
)
def test_a_second_plan_is_empty_and_others_keep_theirs(
    labels: dict[str, str],
    owned: set[str],
    taints: list[dict[str, Any]],
    claims: list[str],
    more_labels: dict[str, str],
    more_taints: list[dict[str, Any]],
    engine: bool,
) -> None:
    """Whatever lies on the node and whatever is wanted."""
    own = [taint for taint in more_taints if taint["key"] not in (pools.POOL_TAINT, pools.ENGINE_TAINT)]
    pool = {
        "name": "runner",
        "nodes": ["runner-1"],
        "engine": engine,
        "taints": own,
        "labels": {k: v for k, v in more_labels.items() if k not in LABELS},
    }
    wanted = pools.wanted_nodes([pool])["runner-1"]
    before = node(labels, [key for key in labels if key in owned], taints, json.dumps(claims) if claims else "")
    after = carried_out(before, pools.plan_node(before, wanted))
    assert pools.plan_node(after, wanted).empty
    assert all(after["metadata"]["labels"].get(key) == value for key, value in wanted.labels.items())
    for key, value in labels.items():
        if key not in owned and key not in wanted.labels:
            assert after["metadata"]["labels"][key] == value
    left = after["spec"].get("taints") or []
    assert [taint for taint in left if taint["key"] == pools.ENGINE_TAINT] == [
        taint for taint in taints if taint["key"] == pools.ENGINE_TAINT
    ]
    assert len({(taint["key"], taint["effect"]) for taint in left}) == len(left)


BAD: list[tuple[list[dict[str, Any]], str]] = [
    ([{"name": "a", "nodes": ["n"]}, {"name": "b", "nodes": ["n"]}], "node n is in the pools a and b"),
    ([{"name": "a", "nodes": []}, {"name": "a", "nodes": []}], "stated twice"),
    ([{"name": "no spaces", "nodes": []}], "label's value"),
    ([{"name": "a", "nodes": [], "labels": {pools.POOL_LABEL: "b"}}], "set by itself"),
    ([{"name": "a", "nodes": [], "labels": {"k": "not a value!"}}], "at most 63"),
    ([{"name": "a", "nodes": [], "taints": [START]}], "set by itself"),
    ([{"name": "a", "nodes": [], "taints": [{"key": "k", "effect": "Sometimes"}]}], "NoExecute"),
    (
        [
            {
                "name": "a",
                "nodes": [],
                "taints": [{"key": "k", "effect": "NoExecute"}, {"key": "k", "effect": "NoExecute", "value": "v"}],
            }
        ],
        "same key",
    ),
]


@pytest.mark.parametrize(("given_pools", "expected"), BAD, ids=[row[1] for row in BAD])
def test_bad_pools_are_refused(given_pools: list[dict[str, Any]], expected: str) -> None:
    """With the pool's name and what was found."""
    with pytest.raises(ValueError, match=expected):
        pools.wanted_nodes(given_pools)


def test_a_bare_true_means_the_word() -> None:
    """As in every Kubernetes manifest."""
    assert pools.pool_labels({"name": "a", "labels": {"k": True, "n": 1}})["k"] == "true"
