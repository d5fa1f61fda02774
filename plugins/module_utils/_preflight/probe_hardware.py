# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads what a machine offers: CPUs, memory, cgroup limits and NVMe drives. Never writes. Private to the collection."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.model import (
    Drive,
    Kind,
    foreign_use,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.probe_drives import Drives, Run, text
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight import hardware
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.hardware import Hardware, HardwareDrive
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.survey import (
    parse_cpu_list,
    parse_meminfo,
)

ROOT = Path("/")
# Where a drive hangs, told by the path of its device.
BUSES = (("/usb", "usb"), ("/ata", "sata"), ("/virtio", "virtio"), ("/virtual/", "virtual"))


def gather(run: Run, drives: Sequence[str]) -> Hardware:
    """This machine. With `drives` those alone are looked at, whatever they are, otherwise every NVMe drive."""
    cpus = ROOT / "sys/devices/system/cpu"
    online, affinity = parse_cpu_list(text(cpus / "online")), os.sched_getaffinity(0)
    meminfo = parse_meminfo(text(ROOT / "proc/meminfo"))
    memory = meminfo.get("MemTotal", 0)
    quota, period, limit = cgroup_limits()
    return Hardware(
        vcpus=len(online & affinity if online else affinity),
        memory_bytes=memory,
        drives=tuple(_drives(run, drives)),
        vcpus_offline=len(parse_cpu_list(text(cpus / "present")) - online) if online else 0,
        hugepages_bytes=hardware.hugepages_bytes(meminfo),
        cpu_limit_millis=hardware.cpu_limit_millis(quota, period),
        memory_limit_bytes=hardware.memory_limit_bytes(limit, memory),
    )


def cgroup_limits() -> tuple[str, str, str]:
    """CPU quota, its period and the memory limit at the root of the hierarchy that is visible here.

    That is where a container or an LXC machine is held. The slice of the session that we came in by is a cgroup below
    it, and says nothing about kubelet, which runs beside it.
    """
    root = ROOT / "sys/fs/cgroup"
    if (root / "cgroup.controllers").exists():
        quota, _blank, period = text(root / "cpu.max").partition(" ")
        return quota, period, text(root / "memory.max")
    return (
        text(root / "cpu/cpu.cfs_quota_us"),
        text(root / "cpu/cpu.cfs_period_us"),
        text(root / "memory/memory.limit_in_bytes"),
    )


def _drives(run: Run, names: Sequence[str]) -> list[HardwareDrive]:
    host = Drives(run)
    found: dict[Path, str] = {}
    for name in names:
        try:
            found.setdefault(host.resolve(name), name)
        except ValueError:
            continue  # the survey says which name means nothing, and why
    if not names:
        found = {path: next(iter(host.drive_of(path.name).links), f"/dev/{path.name}") for path in host.namespaces()[0]}
    return [_drive(host.inspect(path, name, content=False), path, name) for path, name in found.items()]


def _drive(drive: Drive, sysfs: Path, name: str) -> HardwareDrive:
    # What nvme_layout has set up is in use by us: a node that is finished passes again.
    return HardwareDrive(
        name=name,
        size_bytes=drive.size,
        model=drive.model,
        transport=transport(sysfs),
        in_use="; ".join(map(str, foreign_use(drive))),
        boot=any(reason.kind is Kind.BOOT for reason in drive.blocked),
    )


def transport(sysfs: Path) -> str:
    """What a drive hangs on; empty where its path does not tell."""
    if sysfs.name.startswith("nvme"):
        return "nvme"
    path = os.path.realpath(sysfs)
    return next((name for part, name in BUSES if part in path), "")
