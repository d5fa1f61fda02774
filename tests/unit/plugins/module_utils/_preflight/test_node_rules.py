"""What roles and kubelet would refuse, as findings."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight import node_rules as rules
from hypothesis import given
from hypothesis import strategies as st

GIB = 1024**3
VOLUMES = [
    {"name": "engine", "size": "60%", "mount": "/e"},
    {"name": "containers", "mount": "/c", "binds": [{"source": "k", "target": "/var/lib/kubelet"}]},
]


@pytest.mark.parametrize("driver", ["systemd", "cgroupfs", None])
@pytest.mark.parametrize(
    ("version", "config", "refused"),
    [
        ("1.34.9", {}, False),
        ("1.35.0", {}, True),
        ("1.36.6", {"failCgroupV1": True}, True),
        ("1.36.6", {"failCgroupV1": False}, False),
        ("2.0.0", {"failCgroupV1": "false"}, True),
        ("v1.36.6", None, True),
        ("", {}, True),
        (None, {"failCgroupV1": False}, False),
    ],
)
def test_cgroup_v1(version: Any, config: Any, driver: Any, refused: bool) -> None:
    values = {
        "kubernetes_host_version": version,
        "kubernetes_host_kubelet_config": config,
        "fleet_cgroup_driver": driver,
    }
    findings = rules.cgroup_findings("h", {"cgroup_version": 1}, values)
    systemd = driver != "cgroupfs"
    assert bool(findings) == (refused or systemd)
    if findings:
        hint = findings[0].hint
        assert ("failCgroupV1: false" in hint) == refused and ("fleet_cgroup_driver: cgroupfs" in hint) == systemd
    assert rules.cgroup_findings("h", {"cgroup_version": 2}, values) == []


def test_modules() -> None:
    line = "/etc/modprobe.d/cis.conf: install overlay /bin/false"
    survey = {
        "kernel": "6.1",
        "kernel_modules_missing": ["overlay", "vxlan"],
        "kernel_modules_forbidden": {"overlay": line},
    }
    unknown, forbidden = rules.module_findings("h", survey)
    assert unknown.found == "kernel 6.1 has no vxlan" and forbidden.found == f"overlay must not be loaded: {line}"
    assert rules.module_findings("h", {}) == []


ZRAM = {"name": "zramswap.service", "why": "calls swapon", "fixed": False}
RC = {"name": "/etc/rc.local", "why": "calls swapon", "fixed": True}


@pytest.mark.parametrize(
    ("survey", "codes", "found"),
    [
        ({"swap_bytes": GIB}, ["swap_on"], "1024 MiB of swap"),
        ({"swap_sources": [ZRAM]}, ["swap_on"], "zramswap.service calls swapon"),
        (
            {"swap_bytes": GIB, "swap_sources": [ZRAM, RC]},
            ["swap_on", "swap_stays"],
            "1024 MiB of swap; zramswap.service calls swapon",
        ),
        ({"swap_sources": [RC]}, ["swap_stays"], "/etc/rc.local calls swapon"),
        ({}, [], ""),
    ],
)
def test_swap(survey: dict[str, Any], codes: list[str], found: str) -> None:
    findings = rules.swap_findings("h", survey, {})
    assert [finding.code for finding in findings] == codes and (not codes or findings[0].found == found)
    assert rules.swap_findings("h", survey, {"kubernetes_host_swap": "keep"}) == []


def drive(name: str, size: int = 10**12, **more: Any) -> dict[str, Any]:
    return {"name": name, "size_bytes": size, "model": "FAST", "transport": "nvme", **more}


@pytest.mark.parametrize(
    ("drives", "options", "expected"),
    [
        ([drive("a")], {"drives": ["a"]}, ""),
        ([drive("a"), drive("b")], {"select": {"count": 2}}, ""),
        ([drive("a")], {"select": {"count": 2}}, "wants exactly 2 drives, 1 of 1"),
        ([drive("a"), drive("b", transport="sata")], {"select": {"count": 2}}, "1 of 1"),
        ([drive("a"), drive("b", in_use="mounted: /x")], {"select": {"count": 2}}, "mounted: /x"),
        ([drive("a")], {"select": {"count": 1, "model": "("}}, "is not a regular expression"),
        ([drive("a")], {"select": {"count": 1, "min_size": "lots"}}, "min_size"),
        ([drive("a")], {"select": {"count": "many"}}, "options of nvme_layout"),
        ([drive("a")], {"select": {"min_size": "1GB"}}, "options of nvme_layout: missing required arguments: count"),
        ([drive("a")], {"drives": ["a"], "select": {"count": 1}}, "mutually exclusive"),
        ([drive("a")], {"drives": ["a"], "layout": "striped"}, "options of nvme_layout"),
        ([drive("a")], {"drives": ["a"], "volumes": [{"name": "x", "size": "120%"}]}, "is not a size"),
        ([drive("a")], {"drives": ["a"], "volumes": [{"name": "x", "size": "2TB"}]}, "the volumes need"),
        ([drive("a")], {"drives": ["a"], "volumes": [{"name": "x", "mount": "relative"}]}, "must be an absolute path"),
        ([drive("a", size=10**8)], {"drives": ["a"]}, "the least is"),
        ([drive("a"), drive("b")], {"drives": ["a", "b"], "layout": "single"}, "layout single takes one drive"),
        ([drive("a")], {"drives": ["a"], "layout": "stripe", "stripe_with": "raid0"}, "takes two drives at least"),
        ([drive("a", boot=True)], {"drives": ["a"]}, "cannot be used: boot"),
        ([], {"drives": ["a"]}, ""),  # a finding of its own
    ],
)
def test_storage_from_a_list_of_drives(drives: list[Any], options: dict[str, Any], expected: str) -> None:
    values = {f"nvme_storage_{key}": value for key, value in {"volumes": VOLUMES, **options}.items()}
    survey = {"hardware": {"vcpus": 1, "memory_bytes": GIB, "drives": drives}}
    findings = rules.storage_findings("h", survey, values)
    assert bool(findings) == bool(expected) and expected in "; ".join(finding.found for finding in findings)


def test_storage_as_the_host_answered() -> None:
    survey = {
        "storage": ["x is not empty", "gone", "b is /dev/b, which is named twice"],
        "drives": [{"name": "y", "problem": "gone"}],
    }
    assert [finding.found for finding in rules.storage_findings("h", survey, {})] == ["x is not empty"]
    # The host's own answer goes before any other.
    assert rules.storage_findings("h", {"storage": [], "hardware": {}}, {"nvme_storage_select": {"count": 9}}) == []


def disk(path: str, free: float, size: float = 100, device: str = "8:1", **more: Any) -> dict[str, Any]:
    return {
        "path": path,
        "device": device,
        "size": int(size * GIB),
        "available": int(free * GIB),
        "inodes": 1000,
        "inodes_free": 900,
        **more,
    }


def disks(free: float, images: float | None = None, **more: Any) -> list[dict[str, Any]]:
    """One disk, or one for containers beside it."""
    other = {"free": free} if images is None else {"free": images, "device": "8:2"}
    return [
        disk(rules.NODEFS, free, **more),
        disk(rules.IMAGEFS, **{**other, **more}),
        disk(rules.PROGRAMS, free, **more),
    ]


@pytest.mark.parametrize(
    ("kind", "filesystems", "values", "member", "signals"),
    [
        ("runner", disks(50), {}, False, []),
        ("support", disks(17), {}, False, []),
        ("runner", disks(15.6), {}, False, ["imagefs.available"]),
        ("support", disks(9), {}, True, ["imagefs.available", "nodefs.available"]),
        ("support", disks(10.2), {}, True, ["imagefs.available"]),
        ("support", disks(10.2), {"kubernetes_host_eviction_hard": {"nodefs.available": "10%"}}, True, []),
        (
            "support",
            disks(10.2),
            {"kubernetes_host_eviction_hard": {"nodefs.available": "10%"}},
            False,
            ["nodefs.available"],
        ),
        ("support", disks(2), {"kubernetes_host_eviction_hard": {"memory.available": "1Gi"}}, False, []),
        (
            "support",
            disks(2),
            {"kubernetes_host_eviction_hard": {"nodefs.available": "3Gi"}},
            True,
            ["nodefs.available"],
        ),
        (
            "support",
            disks(2),
            {"kubernetes_host_kubelet_config": {"evictionHard": {"imagefs.available": "3Gi"}}},
            True,
            ["imagefs.available"],
        ),
        ("support", disks(50, inodes_free=40), {}, True, ["imagefs.inodesFree", "nodefs.inodesFree"]),
        ("support", disks(50, inodes=0, inodes_free=0), {}, True, []),
        ("control_plane", disks(50, images=16), {}, False, ["imagefs.available"]),
        ("support", disks(50), {"kubernetes_host_eviction_hard": {"nodefs.available": "much"}}, False, []),
    ],
)
def test_disks(kind: str, filesystems: list[Any], values: dict[str, Any], member: bool, signals: list[str]) -> None:
    findings = rules.disk_findings("h", kind, {"filesystems": filesystems, "member": member}, values, False)
    assert sorted(finding.expected.rpartition("(")[2].partition(":")[0] for finding in findings) == signals


def test_what_lies_on_drives_is_judged_once_it_does() -> None:
    binds = [{"source": name, "target": f"/var/lib/{name}"} for name in ("kubelet", "containerd")]
    values = {"nvme_storage_volumes": [{"name": "containers", "mount": "/c", "binds": binds}]}
    fresh = {"filesystems": disks(3), "member": False}
    assert rules.disk_findings("h", "runner", fresh, values, True) == []
    assert rules.disk_findings("h", "runner", fresh, values, False)
    assert rules.disk_findings("h", "runner", {**fresh, "member": True}, values, True)


@given(st.floats(0, 100), st.sampled_from(["control_plane", "support", "runner"]))
def test_a_fuller_disk_is_never_better(free: float, kind: str) -> None:
    def count(room: float) -> int:
        return len(rules.disk_findings("h", kind, {"filesystems": disks(room)}, {}, False))

    assert count(free / 2) >= count(free) and count(0) == 2
