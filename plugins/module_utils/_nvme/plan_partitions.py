# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Volumes on the GPT partitions of drives, turned into an ordered plan. No I/O. Private to the collection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.model import (
    GROWING,
    MARK,
    MIB,
    MINIMUM,
    NEW,
    Drive,
    Layout,
    Partition,
    Placed,
    Volume,
    identifier,
    volume_name,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.steps import (
    AnnouncePartition,
    GrowPartition,
    MakeFilesystem,
    PartitionDrive,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.validate import (
    drive_errors,
    require_consent,
    size_in_bytes,
    validate_layout,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._quantity import show_bytes

# A smaller difference comes from rounding and is nothing to act on.
ROUNDING = 256 * MIB


def partition_node(node: str, number: int) -> str:
    """The kernel's name of a partition: nvme0n1p1, loop0p1, sda1."""
    return f"{node}{'p' if node[-1].isdigit() else ''}{number}"


def carve(volumes: Sequence[Volume], drive: Drive) -> list[tuple[Volume, int, int]]:
    """Start and size, in bytes, of each volume on one drive; raises ValueError when they do not fit."""
    # The first and the last MiB belong to the partition table.
    usable = (drive.size // MIB - 2) * MIB
    fixed = {v.name: size_in_bytes(v.size, usable) // MIB * MIB for v in volumes if v.size != "rest"}
    rest = usable - sum(fixed.values())
    if rest < 0:
        raise ValueError(
            f"{drive.identity}: the volumes need {show_bytes(sum(fixed.values()))}, the drive offers "
            f"{show_bytes(usable)}"
        )
    start, parts = MIB, []
    for volume in volumes:
        size = fixed.get(volume.name, rest)
        if size < MINIMUM:
            raise ValueError(
                f"{drive.identity}: volume {volume.name} would get {show_bytes(size)}, the least is "
                f"{show_bytes(MINIMUM)}"
            )
        parts.append((volume, start, size))
        start += size
    return parts


def adoption_problem(drive: Drive, volumes: Sequence[Volume], layout: str) -> str:
    """Why a drive that carries our mark cannot be adopted as it is; empty when it can."""
    marked = {volume_name(p.name): p for p in drive.partitions if p.name.startswith(MARK)}
    wanted = {v.name: v for v in volumes}
    here = [name for name in marked if name in wanted]
    if not here:
        return f"carries {', '.join(p.name for p in marked.values())}, none of which is a volume of this host"
    missing = sorted(set(wanted) - set(marked))
    if layout == "single" and missing:
        return f"carries {', '.join(MARK + n for n in sorted(marked))}, but not {', '.join(MARK + n for n in missing)}"
    for name in here:
        have, wish = marked[name].filesystem or "no filesystem", wanted[name].filesystem
        if not marked[name].name.endswith(NEW) and have != wish:
            return f"{marked[name].name} holds {have}, desired is {wish}"
    return ""


def plan_layout(drives: Sequence[Drive], volumes: Sequence[Volume], layout: str, wipe: Sequence[str]) -> Layout:
    """Which drive carries which volume, and what has to be written for it. What is marked as ours stays where it is."""
    mode = layout if layout != "auto" else ("single" if len(drives) == 1 else "spread")
    plan = Layout(refusals=validate_layout(volumes, mode, len(drives)) + drive_errors(drives))
    if plan.refusals:
        return plan
    kept, free = adopt(plan, drives, volumes, mode, wipe)
    missing = [v for v in volumes if v.name not in kept]
    lay_out_free(plan, free, missing, kept, mode)
    desired = desired_sizes(plan, [p for p in kept.values() if p.partition in p.drive.partitions], mode)
    for volume in volumes:
        if volume.name in kept:
            place = finish(plan, kept[volume.name])
            plan.placed.append(plan_growth(plan, place, *desired[volume.name]) if volume.name in desired else place)
    return plan


def adopt(
    plan: Layout, drives: Sequence[Drive], volumes: Sequence[Volume], mode: str, wipe: Sequence[str]
) -> tuple[dict[str, Placed], list[Drive]]:
    """Where volumes of ours lie already, by name, and the drives that are to be written."""
    kept: dict[str, Placed] = {}
    free: list[Drive] = []
    for drive in drives:
        marked = [p for p in drive.partitions if p.name.startswith(MARK)]
        reason = adoption_problem(drive, volumes, mode) if marked else ""
        if not marked or reason:
            free.append(drive)
            require_consent(plan, drive, [reason] if reason else drive.found, wipe)
            continue
        for partition in marked:
            name = volume_name(partition.name)
            volume = next((v for v in volumes if v.name == name), None)
            if volume and name in kept:
                others = f"{kept[name].drive.identity} and on {drive.identity}"
                plan.refusals.append(f"volume {name} lies on {others}: name only one of them")
            elif volume:
                kept[name] = Placed(volume, drive, partition)
    return kept, free


def lay_out_free(
    plan: Layout, free: Sequence[Drive], missing: Sequence[Volume], kept: dict[str, Placed], mode: str
) -> None:
    """Tables for the drives that are to be written; `kept` gets the volumes on them."""
    groups = [(drive, missing) for drive in free[:1]] if mode == "single" else list(zip(free, [[v] for v in missing]))
    if mode == "spread" and len(missing) > len(free) and not plan.refusals:
        lost = ", ".join(v.name for v in missing[len(free) :])
        carriers = ", ".join(p.drive.identity for p in kept.values())
        plan.refusals.append(f"no drive is left for volume {lost}: {carriers} carry the others")
    for drive, group in groups:
        table = []
        for number, (volume, start, size) in enumerate(carved(plan, group, drive, mode), 1):
            name = MARK + volume.name + NEW
            table.append(Partition(number, name, start, size, partition_node(drive.node, number)))
            kept[volume.name] = Placed(volume, drive, table[-1])
        if table:
            wiped = any(d["drive"] == drive.identity for d in plan.destructive)
            names = ", ".join(f"{p.name.removesuffix(NEW)} {show_bytes(p.size)}" for p in table)
            text = f"{'WIPE and partition' if wiped else 'partition'} as GPT: {names}"
            plan.steps.append(PartitionDrive(drive.identity, text, drive, tuple(table), wiped))
    # Consent for a drive that nothing is written to destroys nothing.
    written = [step.target for step in plan.steps]
    plan.destructive = [d for d in plan.destructive if d["drive"] in written or not d["consented"]]


def finish(plan: Layout, place: Placed) -> Placed:
    """What is missing to a partition that stands, or will: its filesystem, or that the kernel knows it."""
    volume, identity = place.volume, place.drive.identity
    if place.partition.name.endswith(NEW):
        ready = replace(place.partition, filesystem=volume.filesystem, uuid=identifier(place.drive, volume.name))
        place = Placed(volume, place.drive, ready)
        where = f"partition {ready.number}, {show_bytes(ready.size)}, UUID {ready.uuid}"
        text = f"make {volume.filesystem} {volume.name} on {where}"
        plan.steps.append(MakeFilesystem(identity, text, place))
    elif not place.partition.device:
        # A kernel without a GPT parser, or one that met the drive while its table was written.
        text = f"make partition {place.partition.number} ({volume.name}) known to the kernel"
        plan.steps.append(AnnouncePartition(identity, text, place))
    return place


def carved(plan: Layout, volumes: Sequence[Volume], drive: Drive, mode: str) -> list[tuple[Volume, int, int]]:
    """Volume, start and size on a drive, as desired; what does not fit is refused and leaves nothing."""
    # On a drive of its own a share means nothing: the volume takes the drive unless an absolute size is desired.
    alone = [replace(v, size="rest") if mode == "spread" and "%" in v.size else v for v in volumes]
    try:
        return carve(alone, drive)
    except ValueError as error:
        plan.refusals.append(str(error))
        return []


def desired_sizes(plan: Layout, adopted: Sequence[Placed], mode: str) -> dict[str, tuple[int, bool]]:
    """The bytes that each volume with a partition is to have, and whether this is a size and not what the others
    leave.
    """
    desired = {}
    for drive in {p.drive.node: p.drive for p in adopted}.values():
        here = [p.volume for p in adopted if p.drive is drive]
        for group in [[v] for v in here] if mode == "spread" else [here]:
            desired.update({v.name: (size, v.size != "rest") for v, _start, size in carved(plan, group, drive, mode)})
    return desired


def plan_growth(plan: Layout, place: Placed, desired: int, firm: bool) -> Placed:
    """Let a partition grow where its drive is free behind it. Returns where the volume lies then."""
    volume, drive, have = place.volume, place.drive, place.partition
    room = (
        min([(drive.size // MIB - 1) * MIB, *(p.start for p in drive.partitions if p.start > have.start)]) - have.start
    )
    subject = f"volume {volume.name} on {drive.identity} has {show_bytes(have.size)}, desired is {show_bytes(desired)}"
    if firm and have.size - desired >= ROUNDING:
        plan.refusals.append(f"{subject}: nothing is shrunk, ask for at least what it has")
    elif firm and desired - max(room, have.size) >= ROUNDING:
        plan.refusals.append(
            f"{subject}: there is room for {show_bytes(room)}, then comes another partition, and none is moved"
        )
    more = min(desired, room) - have.size >= ROUNDING
    if not more and not have.name.endswith(GROWING):
        return place
    if not volume.mount:
        plan.refusals.append(f"{subject}: a filesystem grows while it is mounted, and this one has no mount")
    grown = replace(place, partition=replace(have, size=min(desired, room) if more else have.size))
    text = f"grow filesystem {volume.name} to its partition"
    if more:
        text = (
            f"grow partition {have.number} ({volume.name}) to {show_bytes(grown.partition.size)}, then its filesystem"
        )
    plan.grow.append(GrowPartition(drive.identity, text, grown))
    return grown
