# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a machine is big enough for its role and for what is planned on it. No I/O. Private to the collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.findings import Finding, named
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.hardware import (
    Hardware,
    HardwareDrive,
    known_keys,
    known_list,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._quantity import (
    at,
    percentage,
    show_bytes,
    show_cpu,
    to_bytes,
    to_millicpu,
    whole,
)

# A machine sold with 8 GB shows a little less: firmware and kernel keep some.
MEMORY_TOLERANCE = Fraction(8, 100)
# Pods that a runner node has anyway: kube-proxy, the CNI's and the engine's.
NODE_PODS = 3
GB = 10**9


@dataclass(frozen=True)
class Floor:
    """What a machine should have at least."""

    vcpus: int
    memory_bytes: int
    nvme_bytes: int = 0


# 2 vCPUs and 8 GB are what Dagger's documentation begins with, 100 GB is what its RKE2 guide asks of a node. The other
# figures are ours.
MINIMUM = {
    "runner": Floor(2, 8 * GB, 100 * GB),
    "support": Floor(1, 2 * GB),
    "control_plane": Floor(2, 2 * GB),
}
RECOMMENDED = {
    "runner": Floor(4, 16 * GB, 400 * GB),
    "support": Floor(2, 4 * GB),
    "control_plane": Floor(2, 4 * GB),
}


@dataclass(frozen=True)
class Resources:
    """What pods ask for, or may have."""

    cpu_millis: int = 0
    memory_bytes: int = 0
    pods: int = 0


@dataclass(frozen=True)
class Runner:
    """A size of runner, and how many of it may run on the node at once."""

    name: str
    size: Resources
    max: int = 1


@dataclass(frozen=True)
class SizingPlan:
    """What is meant to run on the node, and what kubelet keeps back."""

    engine: Resources = Resources()
    runners: tuple[Runner, ...] = ()
    reserved: Resources = Resources()  # for the system and for Kubernetes together
    max_pods: int = 110
    eviction_bytes: int = 100 * 1024**2  # kubelet's own default
    eviction_share: Fraction = Fraction(0)  # of the memory, instead of bytes

    @property
    def mix(self) -> Resources:
        """All runners that may run at once."""
        return Resources(
            sum(runner.max * runner.size.cpu_millis for runner in self.runners),
            sum(runner.max * runner.size.memory_bytes for runner in self.runners),
            sum(runner.max for runner in self.runners),
        )


def floor_from(base: Floor, given: Mapping[str, Any], path: str = "minimum") -> Floor:
    """A floor, with the keys that are given in place of its own. Raises ValueError that names the key."""
    stated = known_keys(path, given, ("vcpus", "memory", "nvme"))
    return Floor(
        vcpus=at(f"{path}.vcpus", whole, stated.get("vcpus", base.vcpus)),
        memory_bytes=at(f"{path}.memory", to_bytes, stated.get("memory", base.memory_bytes)),
        nvme_bytes=at(f"{path}.nvme", to_bytes, stated.get("nvme", base.nvme_bytes)),
    )


def plan_from(given: Mapping[str, Any]) -> SizingPlan:
    """A plan as someone states it. Raises ValueError that names the key."""
    stated = known_keys("plan", given, ("engine", "runners", "reserved", "max_pods", "eviction"))
    eviction = known_keys("plan.eviction", stated.get("eviction", {}), ("memory",)).get(
        "memory", SizingPlan.eviction_bytes
    )
    relative = isinstance(eviction, str) and eviction.strip().endswith("%")
    listed = enumerate(known_list("plan.runners", stated.get("runners", [])))
    runners = tuple(_runner_from(f"plan.runners[{index}]", runner) for index, runner in listed)
    names = [runner.name for runner in runners]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"plan.runners: found {name} {names.count(name)} times, expected each name once")
    return SizingPlan(
        engine=_resources_from("plan.engine", stated.get("engine", {})),
        runners=runners,
        reserved=_resources_from("plan.reserved", stated.get("reserved", {})),
        max_pods=at("plan.max_pods", whole, stated.get("max_pods", SizingPlan.max_pods)),
        eviction_bytes=0 if relative else at("plan.eviction.memory", to_bytes, eviction),
        # kubelet takes 0% and 100% alike: no threshold.
        eviction_share=at("plan.eviction.memory", percentage, eviction) % 1 if relative else Fraction(0),
    )


def _resources_from(path: str, given: Any, keys: tuple[str, ...] = ("cpu", "memory")) -> Resources:
    stated = known_keys(path, given, keys)
    return Resources(
        cpu_millis=at(f"{path}.cpu", to_millicpu, stated.get("cpu", 0)),
        memory_bytes=at(f"{path}.memory", to_bytes, stated.get("memory", 0)),
    )


def _runner_from(path: str, given: Any) -> Runner:
    keys = ("name", "cpu", "memory", "max")
    stated = known_keys(path, given, keys)
    for key in ("name", "cpu", "memory"):
        if key not in stated:
            raise ValueError(f"{path}.{key}: found nothing, expected a value")
    return Runner(
        str(stated["name"]), _resources_from(path, given, keys), at(f"{path}.max", whole, stated.get("max", 1))
    )


def allocatable(hardware: Hardware, plan: SizingPlan | None) -> Resources:
    """What kubelet leaves to pods: all that there is, less reservations, eviction threshold and huge pages."""
    plan = plan or SizingPlan()
    eviction = plan.eviction_bytes + int(hardware.usable_memory * plan.eviction_share)
    memory = hardware.usable_memory - plan.reserved.memory_bytes - eviction - hardware.hugepages_bytes
    return Resources(max(hardware.cpu_millis - plan.reserved.cpu_millis, 0), max(memory, 0), plan.max_pods)


def _beside_engine(hardware: Hardware, plan: SizingPlan) -> Resources:
    """What is left for runners; negative where not even the engine fits."""
    whole_node = allocatable(hardware, plan)
    return Resources(
        whole_node.cpu_millis - plan.engine.cpu_millis,
        whole_node.memory_bytes - plan.engine.memory_bytes,
        whole_node.pods - NODE_PODS,
    )


def _scarcest(room: Resources, need: Resources) -> tuple[str, Fraction]:
    """Which resource runs out first when the same need comes again and again, and after how many times. A need of at
    least a pod.

    What is short already runs out first even where the need asks for none of it.
    """
    times = {
        name: Fraction(have, want or 1)
        for name, have, want in (
            ("cpu", room.cpu_millis, need.cpu_millis),
            ("memory", room.memory_bytes, need.memory_bytes),
            ("pods", room.pods, need.pods),
        )
        if want or have < 0
    }
    name = min(times, key=lambda key: times[key])
    return name, times[name]


def _fits(room: Resources, size: Resources) -> tuple[str, int]:
    """What limits the number of runners of one size, and how many fit."""
    name, times = _scarcest(room, Resources(size.cpu_millis, size.memory_bytes, 1))
    return name, max(int(times // 1), 0)


def _left(hardware: Hardware, plan: SizingPlan) -> Resources:
    """What is left once everything runs; negative where it does not fit."""
    room, mix = _beside_engine(hardware, plan), plan.mix
    return Resources(room.cpu_millis - mix.cpu_millis, room.memory_bytes - mix.memory_bytes, room.pods - mix.pods)


def capacity(hardware: Hardware, plan: SizingPlan) -> dict[str, Any]:
    """How many runners of each size fit beside the engine, what is left of the plan, and what runs out first."""
    room, left = _beside_engine(hardware, plan), _left(hardware, plan)
    runners = []
    for runner in plan.runners:
        limit, fits = _fits(room, runner.size)
        size = {"cpu_millis": runner.size.cpu_millis, "memory_bytes": runner.size.memory_bytes}
        runners.append({"name": runner.name, **size, "max": runner.max, "fits": fits, "limited_by": limit})
    return {
        "engine": {"cpu_millis": plan.engine.cpu_millis, "memory_bytes": plan.engine.memory_bytes},
        "runners": runners,
        "left": {"cpu_millis": left.cpu_millis, "memory_bytes": left.memory_bytes, "pods": left.pods},
        "bottleneck": _scarcest(left, plan.mix)[0] if plan.mix.pods else None,
    }


def sizing_findings(
    subject: str,
    role: str,
    hardware: Hardware,
    minimum: Floor,
    recommended: Floor,
    plan: SizingPlan | None,
    named_drives: Sequence[str],
) -> list[Finding]:
    """Everything that is too small or noteworthy about a machine. With `named_drives` only those drives count."""
    return [
        *_vcpus(subject, role, hardware, minimum, recommended),
        *_memory(subject, role, hardware, minimum, recommended),
        *_nvme(subject, role, hardware, minimum, recommended, named_drives),
        *_oddities(subject, hardware),
        *(_plan(subject, hardware, plan) if plan else ()),
    ]


def _hints(subject: str, what: str) -> tuple[str, str]:
    """What to do about less than the minimum, and about less than what is recommended."""
    return (
        f"give {subject} {what}, or lower the minimum if you know better",
        f"expect slower jobs, or give {subject} {what}",
    )


def _vcpus(subject: str, role: str, hardware: Hardware, minimum: Floor, recommended: Floor) -> list[Finding]:
    found, (must, should) = f"{show_cpu(hardware.cpu_millis)} vCPUs online and usable", _hints(subject, "more vCPUs")
    if hardware.cpu_millis < minimum.vcpus * 1000:
        return [Finding("vcpus_below_minimum", subject, found, f"at least {minimum.vcpus} for {role}", must)]
    if hardware.cpu_millis < recommended.vcpus * 1000:
        return [Finding("vcpus_below_recommended", subject, found, f"{recommended.vcpus} or more for {role}", should)]
    return []


def _memory(subject: str, role: str, hardware: Hardware, minimum: Floor, recommended: Floor) -> list[Finding]:
    memory, (must, should) = hardware.usable_memory, _hints(subject, "more memory")
    for code, floor, words, hint in (
        ("memory_below_minimum", minimum.memory_bytes, "at least", must),
        ("memory_below_recommended", recommended.memory_bytes, "about", should),
    ):
        if memory < floor * (1 - MEMORY_TOLERANCE):
            found, wanted = _apart(memory, floor)
            return [Finding(code, subject, f"{found} of memory", f"{words} {wanted} (less 8 %) for {role}", hint)]
    return []


def _nvme(
    subject: str, role: str, hardware: Hardware, minimum: Floor, recommended: Floor, named_drives: Sequence[str]
) -> list[Finding]:
    judged = [(drive, _why_not(drive, named_drives)) for drive in hardware.drives]
    counted = [drive for drive, reason in judged if not reason]
    findings = [
        Finding(
            "drive_not_nvme",
            f"{subject} {drive.name}",
            f"a drive of {show_bytes(drive.size_bytes)} that is {drive.transport or 'no NVMe drive'}",
            "an NVMe drive: the engine's cache is bound by its drive",
            "name an NVMe drive, or accept that jobs wait for this one",
        )
        for drive in hardware.drives
        if drive.name in named_drives and drive.transport != "nvme"
    ]
    size, (must, should) = sum(drive.size_bytes for drive in counted), _hints(subject, "more NVMe")
    if not counted and minimum.nvme_bytes:
        nothing = "none of the named drives" if named_drives else "no NVMe drive"
        found = "; ".join(f"{drive.name}: {reason}" for drive, reason in judged) or nothing
        expected = f"{show_bytes(minimum.nvme_bytes)} for {role} on NVMe drives that are free"
        return [
            *findings,
            Finding("nvme_missing", subject, found, expected, f"add an NVMe drive to {subject}, or free one"),
        ]
    for code, floor, words, hint in (
        ("nvme_below_minimum", minimum.nvme_bytes, "at least", must),
        ("nvme_below_recommended", recommended.nvme_bytes, "about", should),
    ):
        if size < floor:
            shown, wanted = _apart(size, floor)
            found = f"{shown} on {named(drive.name for drive in counted) or 'no drive'}"
            return [*findings, Finding(code, subject, found, f"{words} {wanted} of NVMe for {role}", hint)]
    return findings


def _why_not(drive: HardwareDrive, named_drives: Sequence[str]) -> str:
    """Why a drive does not count; empty when it does."""
    if drive.boot or drive.in_use:
        return drive.in_use or "boot drive"
    if named_drives:
        return "" if drive.name in named_drives else "not one of the named drives"
    return "" if drive.transport == "nvme" else drive.transport or "not NVMe"


def _oddities(subject: str, hardware: Hardware) -> list[Finding]:
    findings = []
    limits = []
    if hardware.cpu_millis < hardware.vcpus * 1000:
        limits.append(f"{show_cpu(hardware.cpu_millis)} of {hardware.vcpus} vCPUs")
    if hardware.usable_memory < hardware.memory_bytes:
        found, whole_memory = _apart(hardware.usable_memory, hardware.memory_bytes)
        limits.append(f"{found} of {whole_memory} of memory")
    if limits:
        expected, hint = (
            "a machine without limits",
            "kubelet sees the whole machine: lift the limits of this container, or use a real one",
        )
        findings.append(Finding("cgroup_limited", subject, f"a cgroup allows {' and '.join(limits)}", expected, hint))
    if hardware.vcpus_offline:
        found, hint = (
            f"{hardware.vcpus_offline} CPUs are offline",
            "bring them online if that is not meant (`lscpu -e`)",
        )
        findings.append(Finding("cpus_offline", subject, found, "all CPUs online", hint))
    if hardware.hugepages_bytes:
        found = f"{show_bytes(hardware.hugepages_bytes)} are set aside as huge pages"
        expected, hint = "memory that pods can use", "set vm.nr_hugepages to 0 if nothing here uses them"
        findings.append(Finding("hugepages_reserved", subject, found, expected, hint))
    return findings


def _plan(subject: str, hardware: Hardware, plan: SizingPlan) -> list[Finding]:
    node, room, left = allocatable(hardware, plan), _beside_engine(hardware, plan), _left(hardware, plan)
    if room.cpu_millis < 0 or room.memory_bytes < 0:
        hint = "ask less for the engine, reserve less, or use a bigger machine"
        # Whatever else does not fit follows from this.
        return [
            Finding(
                "engine_does_not_fit",
                subject,
                _asked(plan.engine),
                f"at most {_asked(node)}, which is allocatable",
                hint,
            )
        ]
    findings = [
        Finding(
            "plan_runner_does_not_fit",
            f"{subject} runner {runner.name}",
            _asked(runner.size),
            f"at most {_asked(room)}, which is left beside the engine{', and room for a pod' if room.pods < 1 else ''}",
            f"make {runner.name} smaller, or run it on bigger machines",
        )
        for runner in plan.runners
        if runner.max and not _fits(room, runner.size)[1]
    ]
    mix, counts = plan.mix, ", ".join(f"{runner.max} x {runner.name}" for runner in plan.runners)
    asked, hint = f"engine and {counts} ask for", "lower the runners' max or sizes, or use a bigger machine"
    if left.cpu_millis < 0:
        found, expected = show_cpu(plan.engine.cpu_millis + mix.cpu_millis), f"{show_cpu(node.cpu_millis)} CPUs"
        findings.append(
            Finding(
                "plan_cpu_exceeded",
                subject,
                f"{asked} {found} CPUs",
                f"at most {expected}, which are allocatable",
                hint,
            )
        )
    if left.memory_bytes < 0:
        found, expected = _apart(plan.engine.memory_bytes + mix.memory_bytes, node.memory_bytes)
        findings.append(
            Finding(
                "plan_memory_exceeded", subject, f"{asked} {found}", f"at most {expected}, which is allocatable", hint
            )
        )
    if left.pods < 0:
        found, expected = f"{mix.pods} runners beside {NODE_PODS} pods of the node itself", f"at most {node.pods} pods"
        findings.append(
            Finding("plan_pods_exceeded", subject, found, expected, "lower the runners' max, or raise max_pods")
        )
    return findings


def _asked(resources: Resources) -> str:
    return f"{show_cpu(resources.cpu_millis)} CPUs and {show_bytes(resources.memory_bytes)}"


def _apart(one: int, other: int) -> tuple[str, str]:
    """Two sizes for people; to the byte where they would look alike."""
    texts = show_bytes(one), show_bytes(other)
    return texts if texts[0] != texts[1] else (f"{one} bytes", f"{other} bytes")
