# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many runners of each size a pool of nodes can carry beside its engines. No I/O. Private to the collection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.conditions import ended, is_ready
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.runner_size import (
    NOTHING,
    Amounts,
    Size,
    total,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._names import POOL_LABEL, POOL_TAINT
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._quantity import to_bytes, to_millicpu

_RESOURCES = ("cpu", "memory", "ephemeral-storage")


@dataclass(frozen=True)
class Wanted:
    """Runners of one entry. `most` is their number where the inventory states it, and None for as many as fit."""

    name: str
    size: Size
    least: int = 0
    most: int | None = None


@dataclass(frozen=True)
class Placement:
    """Runners of each entry at most, and what each node has left when all of them are there."""

    most: dict[str, int]
    left: tuple[Amounts, ...]


def place(rooms: Sequence[Amounts], wanted: Sequence[Wanted]) -> Placement:
    """The largest number of runners of each entry, so that all entries may have theirs at once.

    `rooms`: what each node has for runners. Numbers that are stated are placed first and told as they are, whether they
    fit or not. What is left is shared: the next runner is of the entry that has the smallest part of the pool so far
    (of whichever resource it uses most), on the node with the most room for it, as the scheduler spreads pods; until
    none fits any more. An entry never has fewer than its `least`.
    """
    left = list(rooms)
    counts: dict[str, int] = {}
    for one in wanted:
        counts[one.name] = one.least if one.most is None else one.most
        for _number in range(counts[one.name]):
            if not _place(left, one.size.amounts):
                break  # nor does another of the same size
    whole = total(rooms)
    open_ = [one for one in wanted if one.most is None]
    while open_:
        one = min(open_, key=lambda entry: (_part(entry.size.amounts, counts[entry.name], whole), entry.name))
        if _place(left, one.size.amounts):
            counts[one.name] += 1
        else:
            open_.remove(one)
    return Placement(counts, tuple(left))


def _place(left: list[Amounts], amounts: Amounts) -> bool:
    """Take it from the node with the most room for it, if it fits anywhere."""
    fitting = [index for index, room in enumerate(left) if amounts.fits(room)]
    if not fitting:
        return False
    best = max(fitting, key=lambda index: (_times(left[index], amounts), -index))
    left[best] = left[best].minus(amounts)
    return True


def _times(room: Amounts, amounts: Amounts) -> Fraction:
    """How often it fits, in parts."""
    return min(Fraction(has, takes) for has, takes in zip(room.values(), amounts.values()) if takes)


def _part(amounts: Amounts, count: int, whole: Amounts) -> Fraction:
    """The part of a pool that so many runners have, of the resource that they use most."""
    return max(
        (Fraction(takes * count, has) for has, takes in zip(whole.values(), amounts.values()) if has > 0),
        default=Fraction(0),
    )


def rooms(nodes: Iterable[Mapping[str, Any]], pods: Iterable[Mapping[str, Any]], pool: str) -> list[Amounts]:
    """What the nodes of a pool have for runners: what is allocatable, less what the other pods of the node ask for.

    `nodes`, `pods`: as the API returns them, without the pods of runners. A node that is not ready, is cordoned, or has
    a taint of its own, such as that of an engine that does not answer, has no room.
    """
    taken: dict[str, Amounts] = {}
    for pod in pods:
        name = pod.get("spec", {}).get("nodeName")
        if name and not ended(pod):
            taken[name] = taken.get(name, NOTHING).plus(asked(pod))
    return [
        _allocatable(node).minus(taken.get(node["metadata"]["name"], NOTHING))
        for node in nodes
        if (node["metadata"].get("labels") or {}).get(POOL_LABEL) == pool and _takes_runners(node, pool)
    ]


def _takes_runners(node: Mapping[str, Any], pool: str) -> bool:
    spec = node.get("spec") or {}
    taints = [
        taint
        for taint in spec.get("taints") or ()
        if taint.get("effect") != "PreferNoSchedule" and (taint.get("key"), taint.get("value")) != (POOL_TAINT, pool)
    ]
    return is_ready(node) and not spec.get("unschedulable") and not taints


def _allocatable(node: Mapping[str, Any]) -> Amounts:
    has = (node.get("status") or {}).get("allocatable") or {}
    return Amounts(*_amounts(has), int(has.get("pods", 0)))


def _amounts(resources: Mapping[str, Any]) -> tuple[int, int, int]:
    cpu, memory, disk = (resources.get(key) or 0 for key in _RESOURCES)
    return to_millicpu(cpu), to_bytes(memory), to_bytes(disk)


def asked(pod: Mapping[str, Any]) -> Amounts:
    """What the scheduler counts for a pod: its containers together with the init containers that stay, or the largest
    of the others, and what its runtime takes. A pod that states its own amounts has those instead.
    """
    spec = pod["spec"]
    stays = NOTHING
    largest = NOTHING
    for container in spec.get("initContainers") or ():
        if container.get("restartPolicy") == "Always":
            stays = stays.plus(_requests(container))
            largest = _larger(largest, stays)
        else:
            largest = _larger(largest, stays.plus(_requests(container)))
    total = stays
    for container in spec.get("containers") or ():
        total = total.plus(_requests(container))
    total = _larger(total, largest)
    own = (spec.get("resources") or {}).get("requests") or {}
    stated = Amounts(*_amounts(own), 0)
    total = Amounts(*(mine or theirs for mine, theirs in zip(stated.values(), total.values())))
    return total.plus(Amounts(*_amounts(spec.get("overhead") or {}), 1))


def _requests(container: Mapping[str, Any]) -> Amounts:
    return Amounts(*_amounts((container.get("resources") or {}).get("requests") or {}), 0)


def _larger(one: Amounts, other: Amounts) -> Amounts:
    return Amounts(*(max(mine, theirs) for mine, theirs in zip(one.values(), other.values())))
