"""What memory engines get where nobody said it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.memory import (
    KEPT_PERCENT,
    LEAST,
    MIB,
    OVERHEAD,
    STEP,
    engine_memory,
    leftover,
    memory_now,
)
from hypothesis import given
from hypothesis import strategies as st

GIB = 1024 * MIB
MEDIUM = {"name": "medium", "replicas": 4, "resources": {"requests": {"memory": "4Gi"}}}
LARGE = {"name": "large", "pool": "large", "replicas": 1, "resources": {"limits": {"memory": "8Gi"}}}
SET = {"name": "set", "size": "2c-8g"}


def machine(memory: Any) -> dict[str, Any]:
    """A node as the API has it."""
    return {"metadata": {"name": "n"}, "status": {"allocatable": {"memory": memory}}}


def memory(
    *machines: Any,
    pool: str = "runner",
    hosts: int = 2,
    versions: int = 1,
    now: int = 0,
    runners: Any = (MEDIUM, LARGE),
) -> int:
    return engine_memory(pool, [machine(item) for item in machines], hosts, versions, list(runners), {}, "runner", now)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(memory("64Gi", "64Gi"), 64 * GIB - 8 * GIB - OVERHEAD, id="two of four runners on each"),
        pytest.param(memory("64Gi", "32Gi"), 32 * GIB - 8 * GIB - OVERHEAD, id="the smallest machine"),
        pytest.param(memory("64Gi", pool="large", hosts=1), 56 * GIB - OVERHEAD, id="a limit is a request too"),
        pytest.param(
            memory("64Gi", "64Gi", hosts=4), 64 * GIB - 4 * GIB - OVERHEAD, id="machines that have not joined yet count"
        ),
        pytest.param(memory("64Gi", versions=2, runners=()), 32 * GIB - STEP, id="two versions share"),
        pytest.param(memory("65888720Ki", runners=()), 62 * GIB + 512 * MIB, id="as kubelets tell it"),
        pytest.param(memory("8Gi"), LEAST, id="runners that leave nothing"),
        pytest.param(memory(), LEAST, id="no machine yet"),
        pytest.param(memory("64Gi", runners=(), now=60 * GIB), 60 * GIB, id="what is there fits and stays"),
        pytest.param(memory("64Gi", runners=(), now=40 * GIB), 64 * GIB - OVERHEAD, id="far more is possible now"),
        pytest.param(
            memory("32Gi", runners=(), now=60 * GIB), 32 * GIB - OVERHEAD, id="what is there does not fit any more"
        ),
        pytest.param(memory("64Gi", runners=[SET]), 31 * GIB + 768 * MIB, id="a scale set that takes what is left"),
        pytest.param(
            memory("64Gi", runners=[SET, {**SET, "max": 4}]), 23 * GIB + 768 * MIB, id="and one that does not"
        ),
        pytest.param(memory("64Gi", runners=[{**SET, "max": 3}]), 48 * GIB - OVERHEAD, id="a scale set with a number"),
    ],
)
def test_memory(found: int, expected: int) -> None:
    assert found == expected


SIZES = st.integers(0, 2048 * GIB)


@given(st.lists(SIZES, max_size=4), st.integers(0, 9), st.integers(1, 3), SIZES, st.integers(0, 50))
def test_what_is_possible_fits_and_a_second_look_changes_nothing(
    sizes: list[int], hosts: int, versions: int, each: int, count: int
) -> None:
    runners = [{"name": "a", "replicas": count, "resources": {"requests": {"memory": each}}}]
    found = memory(*sizes, hosts=hosts, versions=versions, runners=runners)
    taken = -(-count // max(hosts, 1)) * each
    assert found % STEP == 0 and found >= LEAST
    assert found == LEAST or found * versions + taken + OVERHEAD <= min(sizes)
    assert memory(*sizes, hosts=hosts, versions=versions, runners=runners, now=found) == found


@given(SIZES, SIZES)
def test_what_engines_have_is_changed_only_for_a_reason(size: int, now: int) -> None:
    fresh, found = memory(size, runners=()), memory(size, runners=(), now=now)
    assert found == fresh or (found == now and fresh * KEPT_PERCENT <= now * 100 <= fresh * 100)


def daemonset(pool: str, memory_asked: str) -> dict[str, Any]:
    containers = [{"name": "x"}, {"name": "engine", "resources": {"requests": {"memory": memory_asked}}}]
    return {
        "metadata": {"labels": {"runnerfleet.dev/pool": pool}},
        "spec": {"template": {"spec": {"containers": containers}}},
    }


def test_what_engines_have() -> None:
    daemonsets = [
        daemonset("runner", "4Gi"),
        daemonset("large", "8Gi"),
        daemonset("large", "16Gi"),
        daemonset("runner", "4096Mi"),
    ]
    assert [memory_now(daemonsets, pool) for pool in ("runner", "large", "other")] == [4 * GIB, 0, 0]


def deployed(pool: str, version: str, **status: int) -> dict[str, Any]:
    labels = {
        "runnerfleet.dev/pool": pool,
        "app.kubernetes.io/version": version,
        "app.kubernetes.io/managed-by": "runnerfleet",
    }
    counts = {
        "desiredNumberScheduled": 0,
        "currentNumberScheduled": 0,
        "numberMisscheduled": 0,
        "observedGeneration": 2,
    }
    return {
        "metadata": {"name": f"{pool}-{version}", "labels": labels, "generation": 2},
        "status": {**counts, **status},
    }


@pytest.mark.parametrize(
    ("item", "goes"),
    [
        pytest.param(deployed("old", "1"), True, id="of a pool that is gone"),
        pytest.param(deployed("runner", "0"), True, id="of a version that is gone"),
        pytest.param(deployed("runner", "1"), False, id="wanted, though no machine has joined yet"),
        pytest.param(deployed("old", "1", desiredNumberScheduled=1), False, id="a machine should run it"),
        pytest.param(deployed("old", "1", currentNumberScheduled=1), False, id="a machine runs it"),
        pytest.param(deployed("old", "1", numberMisscheduled=1), False, id="a machine runs it that should not"),
        pytest.param(deployed("old", "1", observedGeneration=1), False, id="nobody has looked at it yet"),
        pytest.param(
            {"metadata": {"name": "x", "labels": {}}, "status": deployed("a", "1")["status"]},
            False,
            id="somebody else's",
        ),
    ],
)
def test_what_is_left_over(item: dict[str, Any], goes: bool) -> None:
    assert leftover([item], {("runner", "1")}) == ([item["metadata"]["name"]] if goes else [])
