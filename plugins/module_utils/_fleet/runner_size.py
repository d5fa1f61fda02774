# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The size of a runner: its CPUs, its memory and the disk that its job may fill. No I/O. Private to the collection."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._quantity import (
    EXPECTED_API,
    kubernetes,
    kubernetes_cpu,
    to_bytes,
    to_millicpu,
)

EXPECTED = "a size such as 4c-16g (4 CPUs, 16 GiB of memory), or a mapping with cpu, memory and perhaps disk"
DISK = "20Gi"  # of a size that states none
_SHORT = re.compile(r"([1-9][0-9]{0,3})c-([1-9][0-9]{0,5})g")
_KEYS = ("cpu", "memory", "disk")


@dataclass(frozen=True)
class Size:
    """Quantities as Kubernetes takes them."""

    cpu: str
    memory: str
    disk: str = DISK

    @property
    def amounts(self) -> Amounts:
        """The same as numbers."""
        return Amounts(to_millicpu(self.cpu), to_bytes(self.memory), to_bytes(self.disk), 1)

    @property
    def resources(self) -> dict[str, dict[str, str]]:
        """Requests and limits of the runner's container: it has what it was placed by, and no more of what a neighbour
        cannot get back. CPUs are shared by what is requested, so that an idle neighbour's are used.
        """
        memory_and_disk = {"memory": self.memory, "ephemeral-storage": self.disk}
        return {"requests": {"cpu": self.cpu, **memory_and_disk}, "limits": memory_and_disk}


@dataclass(frozen=True)
class Amounts:
    """What a node has, or what a runner takes of it: thousandths of a CPU, bytes, bytes, pods."""

    cpu_millis: int
    memory: int
    disk: int
    pods: int

    def fits(self, room: Amounts) -> bool:
        """Whether all of this is within that room."""
        return all(mine <= theirs for mine, theirs in zip(self.values(), room.values()))

    def minus(self, other: Amounts) -> Amounts:
        """What is left."""
        return Amounts(*(mine - theirs for mine, theirs in zip(self.values(), other.values())))

    def plus(self, other: Amounts) -> Amounts:
        """Both together."""
        return Amounts(*(mine + theirs for mine, theirs in zip(self.values(), other.values())))

    def values(self) -> tuple[int, int, int, int]:
        """In the order of the fields."""
        return self.cpu_millis, self.memory, self.disk, self.pods


NOTHING = Amounts(0, 0, 0, 0)


def total(several: Iterable[Amounts]) -> Amounts:
    """All of them together."""
    found = NOTHING
    for one in several:
        found = found.plus(one)
    return found


def parse(value: Any) -> Size:
    """A size as the inventory has it. Raises ValueError with what was found and expected."""
    short = _SHORT.fullmatch(value) if isinstance(value, str) else None
    if short:
        return Size(short[1], f"{short[2]}Gi")
    if not isinstance(value, Mapping) or not {"cpu", "memory"} <= set(value) <= set(_KEYS):
        raise ValueError(f"found {value!r}, expected {EXPECTED}")
    for key in _KEYS:
        read = kubernetes_cpu if key == "cpu" else kubernetes
        try:
            amount = read(value.get(key, DISK if key == "disk" else None))
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from error
        if amount <= 0:
            raise ValueError(f"{key}: found {value[key]!r}, expected {EXPECTED_API}, more than 0")
    return Size(*(str(value.get(key, DISK)) for key in _KEYS))
