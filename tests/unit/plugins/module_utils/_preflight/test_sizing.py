"""What is too small, and what fits."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight import sizing
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.findings import Finding
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.hardware import Hardware, HardwareDrive
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.sizing import (
    MINIMUM,
    NODE_PODS,
    RECOMMENDED,
    Floor,
    Resources,
    Runner,
    SizingPlan,
)
from hypothesis import given
from hypothesis import strategies as st

GB, GIB, MIB = 10**9, 2**30, 2**20
NVME = HardwareDrive("nvme1n1", 400 * GB, transport="nvme")
BOOT = HardwareDrive("nvme0n1", 480 * GB, transport="nvme", in_use="boot drive (/)", boot=True)
GOOD = Hardware(4, 16 * GB, (BOOT, NVME))
BIG = Hardware(16, 64 * GIB, (NVME,))
PLAN = SizingPlan(
    engine=Resources(4000, 16 * GIB),
    runners=(Runner("small", Resources(1000, 2 * GIB), 4), Runner("large", Resources(4000, 16 * GIB), 1)),
    reserved=Resources(500, GIB),
    eviction_bytes=500 * MIB,
)


def judge(
    machine: Hardware,
    role: str = "runner",
    plan: SizingPlan | None = None,
    named: tuple[str, ...] = (),
    **floors: Floor,
) -> list[Finding]:
    minimum, recommended = floors.get("minimum", MINIMUM[role]), floors.get("recommended", RECOMMENDED[role])
    return sizing.sizing_findings("host", role, machine, minimum, recommended, plan, named)


def codes(findings: list[Finding]) -> list[str]:
    return [finding.code for finding in findings]


def nvme(*sizes: int) -> tuple[HardwareDrive, ...]:
    return tuple(replace(NVME, name=f"nvme{number}n1", size_bytes=size) for number, size in enumerate(sizes))


@pytest.mark.parametrize(
    ("machine", "role", "expected"),
    [
        pytest.param(GOOD, "runner", [], id="as recommended"),
        pytest.param(Hardware(512, 4 * 2**40, (NVME,)), "runner", [], id="512 cores"),
        pytest.param(replace(GOOD, vcpus=2), "runner", ["vcpus_below_recommended"], id="vCPUs exactly at the floor"),
        pytest.param(replace(GOOD, vcpus=1), "runner", ["vcpus_below_minimum"], id="a vCPU under"),
        pytest.param(replace(GOOD, vcpus=3), "runner", ["vcpus_below_recommended"], id="between the floors"),
        pytest.param(replace(GOOD, memory_bytes=14720000000), "runner", [], id="memory 8 % under what is recommended"),
        pytest.param(replace(GOOD, memory_bytes=14719999999), "runner", ["memory_below_recommended"], id="a byte less"),
        pytest.param(
            replace(GOOD, memory_bytes=8 * GB), "runner", ["memory_below_recommended"], id="memory exactly at the floor"
        ),
        pytest.param(
            replace(GOOD, memory_bytes=7759462 * 1024), "runner", ["memory_below_recommended"], id="sold as 8 GB, in kB"
        ),
        pytest.param(
            replace(GOOD, memory_bytes=7360000000),
            "runner",
            ["memory_below_recommended"],
            id="the last byte of the tolerance",
        ),
        pytest.param(
            replace(GOOD, memory_bytes=7359999999), "runner", ["memory_below_minimum"], id="a byte under the tolerance"
        ),
        pytest.param(
            replace(GOOD, drives=nvme(400 * GB - 1)),
            "runner",
            ["nvme_below_recommended"],
            id="a byte under what is recommended",
        ),
        pytest.param(
            replace(GOOD, drives=nvme(100 * GB)), "runner", ["nvme_below_recommended"], id="NVMe exactly at the floor"
        ),
        pytest.param(
            replace(GOOD, drives=nvme(100 * GB - 1)), "runner", ["nvme_below_minimum"], id="NVMe a byte under"
        ),
        pytest.param(replace(GOOD, drives=nvme(200 * GB, 200 * GB)), "runner", [], id="two drives count together"),
        pytest.param(replace(GOOD, drives=()), "runner", ["nvme_missing"], id="no drive"),
        pytest.param(replace(GOOD, drives=(BOOT,)), "runner", ["nvme_missing"], id="only a boot drive"),
        pytest.param(replace(GOOD, drives=(replace(NVME, in_use="swap"),)), "runner", ["nvme_missing"], id="in use"),
        pytest.param(
            replace(GOOD, drives=(replace(NVME, transport="sata"),)), "runner", ["nvme_missing"], id="no NVMe"
        ),
        pytest.param(
            Hardware(1, 2 * GB),
            "support",
            ["vcpus_below_recommended", "memory_below_recommended"],
            id="a small support node",
        ),
        pytest.param(Hardware(2, 4 * GB), "support", [], id="support needs no NVMe"),
        pytest.param(
            Hardware(1, 1839999999),
            "support",
            ["vcpus_below_recommended", "memory_below_minimum"],
            id="support, a byte under",
        ),
        pytest.param(
            Hardware(1, 4 * GB), "control_plane", ["vcpus_below_minimum"], id="a control plane has a floor of its own"
        ),
        pytest.param(Hardware(2, 4 * GB), "control_plane", [], id="control plane"),
        pytest.param(
            Hardware(0, 0),
            "runner",
            ["vcpus_below_minimum", "memory_below_minimum", "nvme_missing"],
            id="nothing at all",
        ),
        pytest.param(replace(GOOD, vcpus_offline=4), "runner", ["cpus_offline"], id="offline CPUs"),
        pytest.param(
            replace(GOOD, vcpus=2, vcpus_offline=2),
            "runner",
            ["vcpus_below_recommended", "cpus_offline"],
            id="half offline",
        ),
        pytest.param(replace(GOOD, hugepages_bytes=GIB), "runner", ["hugepages_reserved"], id="huge pages"),
        pytest.param(
            replace(GOOD, cpu_limit_millis=4000, memory_limit_bytes=16 * GB),
            "runner",
            [],
            id="limits that limit nothing",
        ),
        pytest.param(
            replace(GOOD, cpu_limit_millis=1999),
            "runner",
            ["vcpus_below_minimum", "cgroup_limited"],
            id="a cgroup just under 2 CPUs",
        ),
        pytest.param(
            replace(GOOD, memory_limit_bytes=7359999999),
            "runner",
            ["memory_below_minimum", "cgroup_limited"],
            id="a cgroup's memory",
        ),
    ],
)
def test_floors(machine: Hardware, role: str, expected: list[str]) -> None:
    assert codes(judge(machine, role)) == expected


@pytest.mark.parametrize(
    ("drives", "named", "expected"),
    [
        pytest.param((NVME, BOOT), ("nvme1n1",), [], id="named"),
        pytest.param((NVME,), ("other",), ["nvme_missing"], id="another is named"),
        pytest.param((), ("gone",), ["nvme_missing"], id="a named drive that is not there"),
        pytest.param((replace(NVME, transport="virtio"),), ("nvme1n1",), ["drive_not_nvme"], id="named, and no NVMe"),
        pytest.param((BOOT,), ("nvme0n1",), ["nvme_missing"], id="the boot drive, even if it is named"),
        pytest.param(
            (replace(NVME, size_bytes=50 * GB), replace(NVME, name="b")),
            ("nvme1n1",),
            ["nvme_below_minimum"],
            id="one of two",
        ),
        pytest.param(
            (replace(NVME, transport="", size_bytes=50 * GB),),
            ("nvme1n1",),
            ["drive_not_nvme", "nvme_below_minimum"],
            id="slow and small",
        ),
    ],
)
def test_named_drives(drives: tuple[HardwareDrive, ...], named: tuple[str, ...], expected: list[str]) -> None:
    assert codes(judge(replace(GOOD, drives=drives), named=named)) == expected


def test_a_missing_drive_says_why_each_does_not_count() -> None:
    drives = (
        BOOT,
        replace(NVME, in_use="mounted at /data"),
        replace(NVME, name="sda", transport="sata"),
        replace(BOOT, name="x", in_use=""),
    )
    (finding,) = judge(replace(GOOD, drives=drives))
    assert finding.found == "nvme0n1: boot drive (/); nvme1n1: mounted at /data; sda: sata; x: boot drive"
    assert (finding.subject, finding.severity) == ("host", "error")
    assert [judge(replace(GOOD, drives=()), named=named)[0].found for named in ((), ("a",))] == [
        "no NVMe drive",
        "none of the named drives",
    ]


def test_sizes_that_look_alike_are_told_to_the_byte() -> None:
    (finding,) = judge(replace(GOOD, drives=nvme(100 * GB - 1)))
    assert finding.found == "99999999999 bytes on nvme0n1" and "at least 100000000000 bytes" in finding.expected


def test_no_floor_for_nvme() -> None:
    none, some = Floor(1, 1), Floor(1, 1, GB)
    assert codes(judge(replace(GOOD, drives=()), minimum=none, recommended=none)) == []
    assert codes(judge(replace(GOOD, drives=()), minimum=none, recommended=some)) == ["nvme_below_recommended"]
    assert codes(judge(replace(GOOD, drives=()), "support", minimum=some, recommended=some)) == ["nvme_missing"]


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({}, Floor(2, 8 * GB, 100 * GB)),
        ({"memory": "16Gi", "nvme": None}, Floor(2, 16 * GIB, 100 * GB)),
        ({"vcpus": "3", "nvme": 0}, Floor(3, 8 * GB, 0)),
    ],
    ids=["nothing", "one key", "two keys"],
)
def test_a_floor_is_replaced_key_by_key(stated: dict[str, Any], expected: Floor) -> None:
    assert sizing.floor_from(MINIMUM["runner"], stated) == expected


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ({"memory": "lots"}, "recommended.memory: found 'lots', expected a quantity such as 8GB"),
        ({"vcpus": 1.5}, "recommended.vcpus: found 1.5, expected a whole number"),
        ({"ram": 1}, "recommended.ram: found an unknown key, expected one of vcpus, memory, nvme"),
        ("8GB", "recommended: found '8GB', expected a mapping"),
    ],
    ids=["size", "half a vCPU", "key", "no mapping"],
)
def test_a_floor_that_is_none(stated: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        sizing.floor_from(MINIMUM["runner"], stated, "recommended")


def test_a_plan_is_read() -> None:
    stated = {
        "engine": {"cpu": 4, "memory": "16Gi"},
        "runners": [
            {"name": "small", "cpu": "1000m", "memory": "2Gi", "max": 4},
            {"name": "large", "cpu": "4", "memory": 16 * GIB},
        ],
        "reserved": {"cpu": "500m", "memory": "1Gi"},
        "eviction": {"memory": "500Mi"},
    }
    assert sizing.plan_from(stated) == PLAN


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({}, SizingPlan()),
        ({"engine": None, "eviction": {"memory": None}, "max_pods": None}, SizingPlan()),
        ({"eviction": {"memory": "5%"}}, SizingPlan(eviction_bytes=0, eviction_share=Fraction(1, 20))),
        ({"eviction": {"memory": "0%"}}, SizingPlan(eviction_bytes=0)),
        ({"eviction": {"memory": "100%"}}, SizingPlan(eviction_bytes=0)),
        ({"engine": {"cpu": 1}, "max_pods": 250}, SizingPlan(engine=Resources(1000, 0), max_pods=250)),
    ],
    ids=["nothing", "nulls", "a share", "no threshold", "kubelet's other way to say none", "some of it"],
)
def test_what_a_plan_leaves_out(stated: dict[str, Any], expected: SizingPlan) -> None:
    assert sizing.plan_from(stated) == expected


RUNNER = {"name": "a", "cpu": 1, "memory": "1Gi"}


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        (
            {"engine": {"memory": "lots"}},
            "plan.engine.memory: found 'lots', expected a quantity such as 8GB, 7.5Gi or 1500m",
        ),
        ({"engine": {"cpu": "2GB"}}, "plan.engine.cpu: found '2GB', expected a number of CPUs such as 2 or 1500m"),
        ({"reserved": {"disk": 1}}, "plan.reserved.disk: found an unknown key, expected one of cpu, memory"),
        ({"engine": 5}, "plan.engine: found 5, expected a mapping"),
        ({"engnie": {}}, "plan.engnie: found an unknown key"),
        ({"runners": {"a": 1}}, r"plan.runners: found \{'a': 1\}, expected a list"),
        ({"runners": [RUNNER, {"name": "b", "cpu": 1}]}, r"plan.runners\[1\].memory: found nothing, expected a value"),
        ({"runners": [{**RUNNER, "cpu": "x"}]}, r"plan.runners\[0\].cpu: found 'x', expected a number of CPUs"),
        ({"runners": [{**RUNNER, "max": -1}]}, r"plan.runners\[0\].max: found -1, expected a whole number"),
        ({"runners": [RUNNER, RUNNER]}, "plan.runners: found a 2 times, expected each name once"),
        ({"max_pods": "many"}, "plan.max_pods: found 'many', expected a whole number"),
        ({"eviction": {"memory": "101%"}}, "plan.eviction.memory: found '101%', expected a share between 0% and 100%"),
        ({"eviction": {"memory": "some"}}, "plan.eviction.memory: found 'some', expected a quantity"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_plan_that_is_none(stated: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        sizing.plan_from(stated)


@pytest.mark.parametrize(
    ("machine", "plan", "expected"),
    [
        pytest.param(BIG, None, Resources(16000, 64 * GIB - 100 * MIB, 110), id="no plan"),
        pytest.param(BIG, PLAN, Resources(15500, 63 * GIB - 500 * MIB, 110), id="reservations"),
        pytest.param(
            replace(BIG, hugepages_bytes=4 * GIB), PLAN, Resources(15500, 59 * GIB - 500 * MIB, 110), id="huge pages"
        ),
        pytest.param(
            replace(BIG, cpu_limit_millis=6000, memory_limit_bytes=8 * GIB),
            PLAN,
            Resources(5500, 7 * GIB - 500 * MIB, 110),
            id="cgroup",
        ),
        pytest.param(
            Hardware(1, 1000),
            SizingPlan(eviction_bytes=0, eviction_share=Fraction(1, 3), max_pods=9),
            Resources(1000, 667, 9),
            id="a share",
        ),
        pytest.param(
            Hardware(1, GIB),
            SizingPlan(reserved=Resources(2000, 2 * GIB)),
            Resources(0, 0, 110),
            id="more reserved than there is",
        ),
    ],
)
def test_allocatable(machine: Hardware, plan: SizingPlan | None, expected: Resources) -> None:
    assert sizing.allocatable(machine, plan) == expected


def test_capacity() -> None:
    assert sizing.capacity(BIG, PLAN) == {
        "engine": {"cpu_millis": 4000, "memory_bytes": 16 * GIB},
        "runners": [
            {"name": "small", "cpu_millis": 1000, "memory_bytes": 2 * GIB, "max": 4, "fits": 11, "limited_by": "cpu"},
            {"name": "large", "cpu_millis": 4000, "memory_bytes": 16 * GIB, "max": 1, "fits": 2, "limited_by": "cpu"},
        ],
        "left": {"cpu_millis": 3500, "memory_bytes": 23 * GIB - 500 * MIB, "pods": 102},
        "bottleneck": "cpu",
    }


@pytest.mark.parametrize(
    ("machine", "max_pods", "fits", "limited_by"),
    [
        (Hardware(3, 64 * GIB), 110, 3, "cpu"),
        (Hardware(64, 3 * GIB), 110, 3, "memory"),
        (Hardware(64, 64 * GIB), 5, 2, "pods"),
        (Hardware(64, 64 * GIB), 2, 0, "pods"),
        (Hardware(3, 3 * GIB), 110, 3, "cpu"),
    ],
    ids=["cpu", "memory", "pods", "fewer pods than the node's own", "a tie is cpu"],
)
def test_what_limits(machine: Hardware, max_pods: int, fits: int, limited_by: str) -> None:
    plan = SizingPlan(runners=(Runner("a", Resources(1000, GIB)),), eviction_bytes=0, max_pods=max_pods)
    found = sizing.capacity(machine, plan)
    assert (found["runners"][0]["fits"], found["runners"][0]["limited_by"]) == (fits, limited_by)
    assert found["bottleneck"] == limited_by


def test_without_runners_nothing_runs_out_first() -> None:
    assert sizing.capacity(BIG, SizingPlan())["bottleneck"] is None


SMALL = SizingPlan(runners=(Runner("a", Resources(1000, GIB), 3),), eviction_bytes=0)


@pytest.mark.parametrize(
    ("machine", "plan", "expected"),
    [
        pytest.param(Hardware(3, 3 * GIB), SMALL, [], id="exactly"),
        pytest.param(Hardware(2, 3 * GIB), SMALL, ["plan_cpu_exceeded"], id="a CPU short"),
        pytest.param(Hardware(3, 3 * GIB - 1), SMALL, ["plan_memory_exceeded"], id="a byte short"),
        pytest.param(
            Hardware(3, 3 * GIB, hugepages_bytes=1), SMALL, ["plan_memory_exceeded"], id="a byte of huge pages"
        ),
        pytest.param(Hardware(3, 3 * GIB, cpu_limit_millis=2999), SMALL, ["plan_cpu_exceeded"], id="a cgroup"),
        pytest.param(Hardware(3, 3 * GIB), replace(SMALL, eviction_bytes=1), ["plan_memory_exceeded"], id="eviction"),
        pytest.param(
            Hardware(3, 3 * GIB), replace(SMALL, reserved=Resources(1, 0)), ["plan_cpu_exceeded"], id="reserved"
        ),
        pytest.param(
            Hardware(3, 3 * GIB), replace(SMALL, max_pods=NODE_PODS + 3), [], id="as many pods as there may be"
        ),
        pytest.param(
            Hardware(3, 3 * GIB), replace(SMALL, max_pods=NODE_PODS + 2), ["plan_pods_exceeded"], id="a pod too many"
        ),
        pytest.param(
            Hardware(2, GIB - 1),
            SMALL,
            ["plan_runner_does_not_fit", "plan_cpu_exceeded", "plan_memory_exceeded"],
            id="not even one",
        ),
        pytest.param(
            Hardware(3, 3 * GIB),
            replace(SMALL, max_pods=2),
            ["plan_runner_does_not_fit", "plan_pods_exceeded"],
            id="no room for a pod",
        ),
        pytest.param(
            Hardware(3, 3 * GIB),
            replace(SMALL, runners=(*SMALL.runners, Runner("off", Resources(9000, 9 * GIB), 0))),
            [],
            id="none of it",
        ),
        pytest.param(
            Hardware(3, 3 * GIB), replace(SMALL, engine=Resources(3001, 0)), ["engine_does_not_fit"], id="engine: CPU"
        ),
        pytest.param(
            Hardware(3, 3 * GIB),
            replace(SMALL, engine=Resources(0, 3 * GIB + 1)),
            ["engine_does_not_fit"],
            id="engine: memory",
        ),
        pytest.param(
            Hardware(3, 3 * GIB),
            replace(SMALL, engine=Resources(3000, 3 * GIB)),
            ["plan_runner_does_not_fit", "plan_cpu_exceeded", "plan_memory_exceeded"],
            id="only the engine fits",
        ),
    ],
)
def test_plans(machine: Hardware, plan: SizingPlan, expected: list[str]) -> None:
    floor = Floor(0, 0, 0)
    findings = judge(machine, "support", plan, minimum=floor, recommended=floor)
    assert [code for code in codes(findings) if code not in ("hugepages_reserved", "cgroup_limited")] == expected


def test_a_plan_that_does_not_fit_is_told_in_numbers() -> None:
    (engine,) = judge(Hardware(8, 16 * GIB, (NVME,)), plan=PLAN)
    assert engine.found == "4 CPUs and 16.0 GiB"
    assert engine.expected == "at most 7500m CPUs and 14.5 GiB, which is allocatable"
    large, cpu, memory = judge(Hardware(8, 32 * GIB, (NVME,)), plan=PLAN)
    assert (large.subject, large.found) == ("host runner large", "4 CPUs and 16.0 GiB")
    assert large.expected == "at most 3500m CPUs and 14.5 GiB, which is left beside the engine"
    assert cpu.found == "engine and 4 x small, 1 x large ask for 12 CPUs"
    assert (memory.found, memory.expected) == (
        "engine and 4 x small, 1 x large ask for 40.0 GiB",
        "at most 30.5 GiB, which is allocatable",
    )


CPUS, SIZES = st.integers(0, 20000), st.integers(0, 64 * GIB)
RESOURCES = st.builds(Resources, CPUS, SIZES)
RUNNERS = st.lists(
    st.builds(Runner, st.sampled_from("abc"), RESOURCES, st.integers(0, 9)), max_size=3, unique_by=lambda one: one.name
)
SHARES = st.fractions(0, Fraction(99, 100), max_denominator=100)
PLANS = st.builds(SizingPlan, RESOURCES, RUNNERS.map(tuple), RESOURCES, st.integers(0, 250), SIZES, SHARES)
MACHINES = st.builds(Hardware, st.integers(0, 512), st.integers(0, 2**41), st.just(()), st.just(0), SIZES, CPUS, SIZES)


def exceeds(machine: Hardware, plan: SizingPlan) -> bool:
    """Whether a plan cannot run, summed up the long way."""
    node = sizing.allocatable(machine, plan)
    cpu = plan.engine.cpu_millis + sum(runner.size.cpu_millis for runner in plan.runners for _each in range(runner.max))
    memory = plan.engine.memory_bytes + sum(
        runner.size.memory_bytes for runner in plan.runners for _each in range(runner.max)
    )
    return (
        cpu > node.cpu_millis
        or memory > node.memory_bytes
        or sum(runner.max for runner in plan.runners) + NODE_PODS > node.pods
    )


def test_nothing_fits_beside_an_engine_that_does_not_fit_not_even_what_asks_for_no_memory() -> None:
    (told,) = sizing.capacity(
        Hardware(4, 0), SizingPlan(engine=Resources(0, 1), runners=(Runner("a", Resources(1, 0)),))
    )["runners"]
    assert (told["fits"], told["limited_by"]) == (0, "memory")


@given(MACHINES, PLANS)
def test_what_fits_fits_and_one_more_does_not(machine: Hardware, plan: SizingPlan) -> None:
    for runner, told in zip(plan.runners, sizing.capacity(machine, plan)["runners"], strict=True):
        alone = replace(plan, runners=(replace(runner, max=told["fits"]),))
        assert told["fits"] == 0 or not exceeds(machine, alone)
        assert exceeds(machine, replace(plan, runners=(replace(runner, max=told["fits"] + 1),)))


@given(MACHINES, PLANS)
def test_a_plan_is_refused_exactly_when_something_is_short(machine: Hardware, plan: SizingPlan) -> None:
    floor = Floor(0, 0, 0)
    found = set(codes(judge(machine, "support", plan, minimum=floor, recommended=floor))) - {
        "cgroup_limited",
        "hugepages_reserved",
    }
    left = sizing.capacity(machine, plan)["left"]
    assert bool(found) == exceeds(machine, plan) == (min(left.values()) < 0)


@given(MACHINES, PLANS)
def test_the_bottleneck_is_what_one_more_mix_breaks_first(machine: Hardware, plan: SizingPlan) -> None:
    found = sizing.capacity(machine, plan)
    need = dict(
        zip(("cpu", "memory", "pods"), (plan.mix.cpu_millis, plan.mix.memory_bytes, plan.mix.pods), strict=True)
    )
    left = dict(zip(("cpu", "memory", "pods"), found["left"].values(), strict=True))
    if found["bottleneck"] is None:
        assert need["pods"] == 0
    elif min(left.values()) < 0:
        assert left[found["bottleneck"]] < 0
    else:
        worst = Fraction(left[found["bottleneck"]], need[found["bottleneck"]])
        assert all(worst <= Fraction(left[name], need[name]) for name in need if need[name])


def test_the_floors_of_the_role_are_those_of_the_code(repository: Path) -> None:
    """Stated twice, since a person reads the one and the module the other."""
    stated = yaml.safe_load((repository / "roles/preflight/defaults/main.yml").read_text())
    for name, floors in (("preflight_minimum", MINIMUM), ("preflight_recommended", RECOMMENDED)):
        assert {kind: sizing.floor_from(Floor(0, 0), given) for kind, given in stated[name].items()} == floors
