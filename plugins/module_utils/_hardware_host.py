# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads what a machine offers: CPUs, memory, cgroup limits and NVMe drives. Never writes. Private to the collection."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.runnerfleet.baremetal.plugins.module_utils import _hardware
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._hardware import Hardware, HardwareDrive
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme import MARK
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme_drives import Drives, Run, text
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._survey import parse_cpu_list, parse_meminfo

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
        hugepages_bytes=_hardware.hugepages_bytes(meminfo),
        cpu_limit_millis=_hardware.cpu_limit_millis(quota, period),
        memory_limit_bytes=_hardware.memory_limit_bytes(limit, memory),
    )


def cgroup_limits() -> tuple[str, str, str]:
    """CPU quota, its period and the memory limit at the root of the hierarchy that is visible here.

    That is where a container or an LXC machine is held. The slice of the session that we came in by is a cgroup below it, and says
    nothing about kubelet, which runs beside it.
    """
    root = ROOT / "sys/fs/cgroup"
    if (root / "cgroup.controllers").exists():
        quota, _blank, period = text(root / "cpu.max").partition(" ")
        return quota, period, text(root / "memory.max")
    return text(root / "cpu/cpu.cfs_quota_us"), text(root / "cpu/cpu.cfs_period_us"), text(root / "memory/memory.limit_in_bytes")


def _drives(run: Run, names: Sequence[str]) -> list[HardwareDrive]:
    host = Drives(run)
    found: dict[Path, str] = {}
    for name in names:
        try:
            found.setdefault(host.resolve(name), name)
        except ValueError:
            continue  # the survey says which name means nothing, and why
    if not names:
        # Hidden are the paths of a drive that has several; the drive itself is listed beside them.
        nvme = [path for path in sorted((ROOT / "sys/block").glob("nvme*")) if text(path / "hidden") != "1"]
        found = {path: next(iter(host.links(path.name)), f"/dev/{path.name}") for path in nvme}
    return [_drive(host, path, name) for path, name in found.items()]


def _drive(host: Drives, sysfs: Path, name: str) -> HardwareDrive:
    reasons = host.blocked(f"/dev/{sysfs.name}", sysfs, None)
    boot = any(reason.startswith("boot drive") for reason in reasons)
    # What nvme_layout has set up is in use by us: a node that is finished passes again.
    if reasons and not boot and "read-only" not in reasons and _ours(host.run, sysfs):
        reasons = ()
    return HardwareDrive(
        name=name,
        size_bytes=int(text(sysfs / "size") or 0) * 512,
        model=" ".join(text(sysfs / "device/model").split()),
        transport=transport(sysfs),
        in_use="; ".join(reasons),
        boot=boot,
    )


def transport(sysfs: Path) -> str:
    """What a drive hangs on; empty where its path does not tell."""
    if sysfs.name.startswith("nvme"):
        return "nvme"
    path = os.path.realpath(sysfs)
    return next((name for part, name in BUSES if part in path), "")


def _ours(run: Run, sysfs: Path) -> bool:
    """Whether every partition carries our mark, by the table on the drive: a kernel without a GPT parser does not know names."""
    if not any((entry / "partition").exists() for entry in sysfs.iterdir()):
        return False
    try:
        status, out, _error = run(["sfdisk", "--json", f"/dev/{sysfs.name}"], handle_exceptions=False)
    except OSError:
        return False  # without the tool it was not us
    names = [entry.get("name", "") for entry in json.loads(out)["partitiontable"].get("partitions", [])] if not status else []
    return bool(names) and all(name.startswith(MARK) for name in names)
