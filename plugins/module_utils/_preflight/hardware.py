# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a machine offers, read from a mapping or from the kernel's text. No I/O. Private to the collection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._quantity import at, to_bytes, whole

# What people and YAML make of a truth value that became text on its way.
_WORDS = {"": "", "false": "", "no": "", "true": "in use", "yes": "in use"}


@dataclass(frozen=True)
class HardwareDrive:
    """A drive, and why it cannot be used, if so."""

    name: str
    size_bytes: int
    model: str = ""
    transport: str = ""  # nvme, sata, usb, ...: as lsblk says it
    in_use: str = ""  # the reason, empty for a drive that is free or ours
    boot: bool = False


@dataclass(frozen=True)
class Hardware:
    """A machine; limits are 0 where there are none."""

    vcpus: int
    memory_bytes: int
    drives: tuple[HardwareDrive, ...] = ()
    vcpus_offline: int = 0
    hugepages_bytes: int = 0
    cpu_limit_millis: int = 0
    memory_limit_bytes: int = 0

    @property
    def cpu_millis(self) -> int:
        """CPU time that can really be had."""
        return min(self.vcpus * 1000, self.cpu_limit_millis or self.vcpus * 1000)

    @property
    def usable_memory(self) -> int:
        """Memory that can really be had."""
        return min(self.memory_bytes, self.memory_limit_bytes or self.memory_bytes)

    def as_dict(self) -> dict[str, Any]:
        """For a module's result; hardware_from reads it again."""
        return {**asdict(self), "drives": [asdict(drive) for drive in self.drives]}


def known_keys(path: str, given: Any, keys: tuple[str, ...]) -> dict[str, Any]:
    """The keys of a mapping that have a value; raises ValueError for one that nobody reads."""
    if not isinstance(given, Mapping):
        raise ValueError(f"{path}: found {given!r}, expected a mapping with {', '.join(keys)}")
    for key in given:
        if key not in keys:
            raise ValueError(f"{path}.{key}: found an unknown key, expected one of {', '.join(keys)}")
    return {key: value for key, value in given.items() if value is not None}


def known_list(path: str, given: Any) -> list[Any]:
    """A list; raises ValueError for anything else."""
    if not isinstance(given, (list, tuple)):
        raise ValueError(f"{path}: found {given!r}, expected a list")
    return list(given)


def hardware_from(given: Mapping[str, Any]) -> Hardware:
    """A machine as someone states it, sizes in bytes or with a unit. Raises ValueError that names the key."""
    stated = known_keys("hardware", given, tuple(field.name for field in fields(Hardware)))
    for key in ("vcpus", "memory_bytes"):
        if key not in stated:
            raise ValueError(f"hardware.{key}: found nothing, expected a value")
    drives = enumerate(known_list("hardware.drives", stated.get("drives", [])))
    return Hardware(
        vcpus=at("hardware.vcpus", whole, stated["vcpus"]),
        memory_bytes=at("hardware.memory_bytes", to_bytes, stated["memory_bytes"]),
        drives=tuple(_drive_from(f"hardware.drives[{index}]", drive) for index, drive in drives),
        vcpus_offline=at("hardware.vcpus_offline", whole, stated.get("vcpus_offline", 0)),
        hugepages_bytes=at("hardware.hugepages_bytes", to_bytes, stated.get("hugepages_bytes", 0)),
        cpu_limit_millis=at("hardware.cpu_limit_millis", whole, stated.get("cpu_limit_millis", 0)),
        memory_limit_bytes=at("hardware.memory_limit_bytes", to_bytes, stated.get("memory_limit_bytes", 0)),
    )


def _drive_from(path: str, given: Any) -> HardwareDrive:
    stated = known_keys(path, given, tuple(field.name for field in fields(HardwareDrive)))
    for key in ("name", "size_bytes"):
        if key not in stated:
            raise ValueError(f"{path}.{key}: found nothing, expected a value")
    in_use = str(stated.get("in_use", ""))
    return HardwareDrive(
        name=str(stated["name"]),
        size_bytes=at(f"{path}.size_bytes", to_bytes, stated["size_bytes"]),
        model=str(stated.get("model", "")),
        # Hand-written hardware defaults to NVMe; gathered hardware always states its transport.
        transport=str(stated.get("transport", "nvme")).lower(),
        in_use=_WORDS.get(in_use.lower(), in_use),
        boot=bool(_WORDS.get(str(stated.get("boot", "")).lower(), "yes")),
    )


def cpu_limit_millis(quota: str, period: str) -> int:
    """A cgroup's limit of CPU time; 0 for `max`, -1 or nothing."""
    return int(quota) * 1000 // int(period) if quota.isdigit() and period.isdigit() and int(period) else 0


def memory_limit_bytes(limit: str, memory: int) -> int:
    """A cgroup's limit of memory; 0 for `max`, nothing, or the huge number by which cgroup v1 says that there is
    none.
    """
    return int(limit) if limit.isdigit() and int(limit) < memory else 0


def hugepages_bytes(meminfo: Mapping[str, int]) -> int:
    """Memory set aside as huge pages: of all sizes where the kernel tells, of the default size otherwise."""
    return meminfo.get("Hugetlb", meminfo.get("HugePages_Total", 0) * meminfo.get("Hugepagesize", 0))
