"""Which pools and runner sizes fit a machine."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight import sizing as preflight_sizing
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.hardware import hardware_from
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet import planner as _planner

from .test_sizing import VALUES

POOLS = [{"name": "support", "group": "s"}, {"name": "runner", "group": "r", "engine": True}]
FLOORS = {
    kind: (preflight_sizing.MINIMUM[kind], preflight_sizing.RECOMMENDED[kind]) for kind in preflight_sizing.MINIMUM
}
BIG = {"vcpus": 64, "memory_bytes": "256GB", "drives": [{"name": "nvme0n1", "size_bytes": "3.84TB"}]}


def plan(hardware: dict[str, Any], **values: Any) -> dict[str, Any]:
    return _planner.machine_plan("box", hardware_from(hardware), POOLS, {**VALUES, **values}, FLOORS, [])


def place(machine: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [item for item in machine["places"] if item["place"] == name]
    return found  # type: ignore[no-any-return]


def test_a_big_machine_fits_everywhere_and_says_what_runs_out() -> None:
    machine = plan(BIG)
    assert [item["place"] for item in machine["places"] if item["fits"]] == ["support", "runner", "control_plane"]
    runner = place(machine, "runner")
    # 64 CPUs less 1 reserved and half of one for the engine, at a quarter each; 110 pods less those of the node itself
    # come first.
    assert runner["runners"] == [{"name": "medium", "fits": 107, "limited_by": "pods"}]
    assert runner["bottleneck"] == {"of_each": 107, "lacking": {"pods": "1"}}


def test_what_is_short_is_told_with_its_amount() -> None:
    pools = [
        {"name": "m", "resources": {"requests": {"cpu": 2, "memory": "4Gi"}}},
        {"name": "l", "resources": {"requests": {"cpu": 8}}},
    ]
    runner = place(plan({**BIG, "vcpus": 24}, runner_pools_pools=pools), "runner")
    assert [item["fits"] for item in runner["runners"]] == [11, 2]
    # 23 CPUs beside reservations and engine carry two of each (20), the third pair lacks 7.
    assert runner["bottleneck"] == {"of_each": 2, "lacking": {"cpu": "7"}}


@pytest.mark.parametrize(
    ("hardware", "expected"),
    [
        ({**BIG, "vcpus": 1}, ["support"]),
        ({**BIG, "drives": []}, ["support", "control_plane"]),
        ({**BIG, "drives": [{"name": "n", "size_bytes": "4TB", "boot": True}]}, ["support", "control_plane"]),
        ({"vcpus": 1, "memory_bytes": "1GB"}, []),
    ],
    ids=["one CPU", "no drive", "only a boot drive", "too small for all"],
)
def test_where_a_machine_does_not_fit(hardware: dict[str, Any], expected: list[str]) -> None:
    assert [item["place"] for item in plan(hardware)["places"] if item["fits"]] == expected


def test_a_runner_that_is_too_big_leaves_the_place_tight() -> None:
    pools = [{"name": "giant", "resources": {"requests": {"cpu": 100}}}]
    machine = plan(BIG, runner_pools_pools=pools)
    assert place(machine, "runner")["fits"] and place(machine, "runner")["runners"][0]["fits"] == 0
    text = _planner.plan_table([machine])
    assert "tight  giant: 0 (cpu)" in text and "runner giant: 100 CPUs" in text


def test_the_table_has_a_line_for_each_place_and_each_reason() -> None:
    lines = _planner.plan_table([plan({"vcpus": 1, "memory_bytes": "1GB"})]).splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["machine", "vCPUs"], ["box", "1"]]
    assert sum(" no" in line[:80] for line in lines) >= 3
    assert any("1 vCPUs online and usable, expected at least 2 for runner" in line for line in lines)
