"""What a pool can carry: against a table of fleets, and as a property."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.runner_capacity import (
    Wanted,
    asked,
    place,
    rooms,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.runner_size import Amounts, Size, parse
from hypothesis import given, settings
from hypothesis import strategies as st

GIB = 1024**3
POOL = {"node-restriction.kubernetes.io/runnerfleet-pool": "runner"}


def room(cpu: int, memory: int, disk: int = 1000, pods: int = 110) -> Amounts:
    return Amounts(cpu * 1000, memory * GIB, disk * GIB, pods)


@pytest.mark.parametrize(
    ("nodes", "wanted", "expected"),
    [
        # nothing there, nothing fits
        ([], [Wanted("small", parse("2c-8g"))], {"small": 0}),
        ([room(1, 64)], [Wanted("small", parse("2c-8g"))], {"small": 0}),
        # one size: what each node has room for, by whichever resource ends first
        ([room(16, 64), room(16, 64)], [Wanted("small", parse("2c-8g"))], {"small": 16}),
        ([room(16, 20), room(16, 64)], [Wanted("small", parse("2c-8g"))], {"small": 10}),
        ([room(16, 64, disk=50)], [Wanted("small", parse("2c-8g"))], {"small": 2}),
        ([room(16, 64, pods=3)], [Wanted("small", parse("2c-8g"))], {"small": 3}),
        # two nodes with half of it each carry none
        ([room(2, 8), room(2, 8)], [Wanted("large", parse("4c-16g"))], {"large": 0}),
        # shared by the part of the pool, and not by number
        (
            [room(16, 64), room(16, 64)],
            [Wanted("small", parse("2c-8g")), Wanted("large", parse("8c-32g"))],
            {"small": 8, "large": 2},
        ),
        # what is stated comes first, and is told as it is
        (
            [room(16, 64)],
            [Wanted("small", parse("2c-8g")), Wanted("large", parse("8c-32g"), most=1)],
            {"small": 4, "large": 1},
        ),
        ([room(16, 64)], [Wanted("large", parse("8c-32g"), most=5)], {"large": 5}),
        # what waits at any time is kept
        ([room(16, 64)], [Wanted("a", parse("8c-32g"), least=2), Wanted("b", parse("2c-8g"))], {"a": 2, "b": 0}),
        ([room(2, 8)], [Wanted("large", parse("8c-32g"), least=1)], {"large": 1}),
    ],
)
def test_a_table_of_fleets(nodes: list[Amounts], wanted: list[Wanted], expected: dict[str, int]) -> None:
    assert place(nodes, wanted).most == expected


NODES = st.lists(
    st.builds(room, st.integers(0, 64), st.integers(0, 256), st.integers(0, 400), st.integers(0, 30)), max_size=6
)
SIZES = st.lists(
    st.builds(
        lambda cpu, memory, disk: Size(str(cpu), f"{memory}Gi", f"{disk}Gi"),
        st.integers(1, 9),
        st.integers(1, 40),
        st.integers(1, 60),
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=200, deadline=None)
@given(NODES, SIZES)
def test_never_more_than_fits_and_never_one_too_few(nodes: list[Amounts], sizes: list[Size]) -> None:
    """All runners at once lie on nodes that have room for them, and where they lie no node has room for another."""
    wanted = [Wanted(f"size-{number}", size) for number, size in enumerate(sizes)]
    placement = place(nodes, wanted)
    for left, node in zip(placement.left, nodes, strict=True):
        assert all(0 <= rest <= had for rest, had in zip(left.values(), node.values(), strict=True))
        assert not any(one.size.amounts.fits(left) for one in wanted)
    for index in range(4):
        taken = sum(one.size.amounts.values()[index] * placement.most[one.name] for one in wanted)
        assert (
            sum(node.values()[index] - left.values()[index] for node, left in zip(nodes, placement.left, strict=True))
            == taken
        )


@settings(max_examples=100, deadline=None)
@given(NODES, SIZES)
def test_one_size_has_all_that_each_node_has_room_for(nodes: list[Amounts], sizes: list[Size]) -> None:
    takes = sizes[0].amounts.values()
    each = [min(has // one for has, one in zip(node.values(), takes, strict=True)) for node in nodes]
    assert place(nodes, [Wanted("size", sizes[0])]).most == {"size": sum(each)}


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 400), st.integers(1, 8), st.integers(1, 8))
def test_two_sizes_have_a_like_part_of_a_pool(cpu: int, one: int, other: int) -> None:
    """Of one node and one resource: neither is more than one runner of the larger size ahead."""
    most = place(
        [room(cpu, 10**6, 10**6, 10**6)], [Wanted("one", Size(str(one), "1")), Wanted("other", Size(str(other), "1"))]
    ).most
    assert abs(most["one"] * one - most["other"] * other) <= max(one, other) + min(one, other)


@settings(max_examples=100, deadline=None)
@given(NODES, SIZES)
def test_another_node_takes_nothing_away_from_the_whole(nodes: list[Amounts], sizes: list[Size]) -> None:
    one = [Wanted("size", sizes[0])]
    assert place([*nodes, room(16, 64)], one).most["size"] >= place(nodes, one).most["size"]


def node(
    name: str, pool: str = "runner", ready: str = "True", taints: Any = (), unschedulable: bool = False
) -> dict[str, Any]:
    """A node with 16 CPUs, 64 GiB and its pool's taint."""
    own = {"key": "runnerfleet.dev/pool", "value": pool, "effect": "NoSchedule"}
    return {
        "metadata": {"name": name, "labels": {next(iter(POOL)): pool}},
        "spec": {"taints": [own, *taints], "unschedulable": unschedulable},
        "status": {
            "allocatable": {"cpu": "15500m", "memory": "64Gi", "ephemeral-storage": f"{900 * GIB}", "pods": "110"},
            "conditions": [{"type": "Ready", "status": ready}],
        },
    }


def pod(where: str, cpu: str, memory: str, phase: str = "Running", **spec: Any) -> dict[str, Any]:
    """A pod of one container."""
    container = {"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}}
    return {"spec": {"nodeName": where, "containers": [container], **spec}, "status": {"phase": phase}}


def test_what_a_node_has_for_runners_is_what_others_leave() -> None:
    nodes = [node("runner-1"), node("runner-2"), node("support-1", pool="support")]
    pods = [pod("runner-1", "2", "8Gi"), pod("runner-1", "1", "1Gi", phase="Succeeded"), pod("support-1", "1", "1Gi")]
    pods.append({"spec": {"containers": []}, "status": {"phase": "Pending"}})  # nowhere yet
    assert rooms(nodes, pods, "runner") == [
        Amounts(13500, 56 * GIB, 900 * GIB, 109),
        Amounts(15500, 64 * GIB, 900 * GIB, 110),
    ]


@pytest.mark.parametrize(
    "bad",
    [
        node("runner-1", ready="False"),
        node("runner-1", ready="Unknown"),
        node("runner-1", unschedulable=True),
        node("runner-1", taints=[{"key": "runnerfleet.dev/engine-not-ready", "effect": "NoSchedule"}]),
        node("runner-1", taints=[{"key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule"}]),
    ],
)
def test_a_node_that_takes_no_runners_has_no_room(bad: dict[str, Any]) -> None:
    assert rooms([bad], [], "runner") == []


def test_a_taint_that_is_a_wish_takes_no_room() -> None:
    wish = {"key": "site/later", "effect": "PreferNoSchedule"}
    assert len(rooms([node("runner-1", taints=[wish])], [], "runner")) == 1


def test_what_a_pod_asks_for_is_what_the_scheduler_counts() -> None:
    def container(cpu: str, **more: Any) -> dict[str, Any]:
        return {"resources": {"requests": {"cpu": cpu}}, **more}

    plain = {"spec": {"containers": [container("1"), container("500m")]}}
    assert asked(plain) == Amounts(1500, 0, 0, 1)
    assert asked({"spec": {**plain["spec"], "initContainers": [container("3"), container("2")]}}).cpu_millis == 3000
    sidecar = [container("1", restartPolicy="Always"), container("3")]
    assert asked({"spec": {**plain["spec"], "initContainers": sidecar}}).cpu_millis == 4000
    assert asked({"spec": {**plain["spec"], "initContainers": sidecar[:1]}}).cpu_millis == 2500
    assert asked({"spec": {**plain["spec"], "overhead": {"cpu": "100m"}}}).cpu_millis == 1600
    assert asked({"spec": {**plain["spec"], "resources": {"requests": {"cpu": "4"}}}}).cpu_millis == 4000
