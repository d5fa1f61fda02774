# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Volumes over several drives, by LVM or on an md array, turned into an ordered plan. No I/O. Private to the
collection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.model import (
    ARRAY,
    CHUNK,
    EXTENT,
    GROUP,
    MARK,
    MIB,
    MINIMUM,
    NEW,
    OFFSET,
    Drive,
    Group,
    Kind,
    Layout,
    Partition,
    Placed,
    Reason,
    Volume,
    drive_tag,
    identifier,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.plan_partitions import ROUNDING, plan_layout
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.steps import (
    ActivateVolumes,
    AssembleArray,
    ClearClaim,
    CreateArray,
    CreateVolumeGroup,
    ExtendVolumeGroup,
    GrowVolume,
    MakeFilesystem,
    MakeVolume,
    RebuildArray,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.validate import (
    drive_errors,
    require_consent,
    size_in_bytes,
    validate_layout,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._quantity import show_bytes

# A difference of fewer extents comes from rounding and is nothing to act on; a drive with fewer free ones counts as
# full.
SLACK = ROUNDING // EXTENT


def plan_stripe(
    drives: Sequence[Drive], group: Group, volumes: Sequence[Volume], stripe_with: str, wipe: Sequence[str]
) -> Layout:
    """Volumes that all drives carry together."""
    plan = Layout(refusals=validate_layout(volumes, "stripe", len(drives), stripe_with) + drive_errors(drives))
    if not plan.refusals and group.refusal:
        plan.refusals.append(group.refusal)
    if plan.refusals:
        return plan
    drives, group = restarted(drives, group, wipe)
    plan.refusals += incomplete(drives, group)
    new = new_drives(drives, group)
    for drive in new:
        marks = [p.name for p in drive.partitions if p.name.startswith(MARK)]
        require_consent(plan, drive, [Reason(Kind.PARTITIONS, ", ".join(marks))] if marks else drive.found, wipe)
    if plan.refusals:
        return plan
    for drive in drives:
        if group.uuid and drive.member == group.uuid and drive.claimed:
            plan.steps.append(ClearClaim(drive.identity, "clear the mark of the run that was interrupted", drive.node))
    if stripe_with == "lvm":
        plan_volume_group(plan, drives, new, group, volumes)
    else:
        plan_array(plan, drives, new, group, volumes, stripe_with)
    return plan


def present(drives: Sequence[Drive], group: Group) -> list[Drive]:
    """The group's drives that are at hand."""
    known = {drive.seed: drive for drive in drives}
    return [known[seed] for seed in group.drives if seed in known]


def restarted(drives: Sequence[Drive], group: Group, wipe: Sequence[str]) -> tuple[Sequence[Drive], Group]:
    """The drives and the group to plan with: an empty group where one that lost drives is begun anew."""
    here = present(drives, group)
    # Nothing is started over while a drive of it is not at hand.
    if not group.missing or not here or len(here) != len(group.drives):
        return drives, group
    if all(drive.identity in wipe for drive in here):
        return drives, Group(group.kind)
    # Claims go before the first volume is made: where one is left on an incomplete array, nothing was ever kept on it.
    if group.kind != "lvm" and all(drive.claimed for drive in here):
        # Its half made array is stopped before it is made again.
        held = (Reason(Kind.HOLDER, group.holder),)
        freed = [replace(drive, blocked=() if drive.blocked == held else drive.blocked) for drive in drives]
        return freed, Group(group.kind, holder=group.holder)
    return drives, group


def incomplete(drives: Sequence[Drive], group: Group) -> list[str]:
    """Why a group cannot be used: drives that it lost, or that are not named."""
    rebuilt = group.level == "raid10" and (bool(group.array) or len(new_drives(drives, group)) == len(group.missing))
    if group.missing and not rebuilt:
        left = ", ".join(f'"{drive.identity}"' for drive in present(drives, group))
        return [
            f"{GROUP} lacks {', '.join(group.missing)}: bring the drive back, or let playbook "
            f"runnerfleet.baremetal.replace_drive rebuild the volumes, or give up what is left: wipe: [{left}]"
        ]
    known = {drive.seed for drive in drives}
    absent = [seed for seed in group.drives if seed not in known]
    if absent:
        return [
            f"{GROUP} lies on {', '.join(absent)} too, which drives does not name: name it, no drive is taken out of a "
            "stripe"
        ]
    return []


def new_drives(drives: Sequence[Drive], group: Group) -> list[Drive]:
    """The drives that do not belong to the group yet."""
    return [d for d in drives if not (group.uuid and d.member == group.uuid)]


def names(drives: Sequence[Drive]) -> str:
    return ", ".join(d.identity for d in drives)


def plan_array(
    plan: Layout, drives: Sequence[Drive], new: Sequence[Drive], group: Group, volumes: Sequence[Volume], level: str
) -> None:
    """An md array, which is partitioned like a drive."""
    wiped = tuple(d["drive"] for d in plan.destructive)
    array = group.array
    if not group.uuid:
        sizes = [(d.size - OFFSET) // CHUNK * CHUNK for d in drives]
        size = sum(sizes) if level == "raid0" else min(sizes) // CHUNK * len(drives) // 2 * CHUNK
        seed = "+".join(sorted(d.seed for d in drives))
        array = Drive(ARRAY, f"/dev/md/{GROUP}", size, seed=seed)
        text = f"{'WIPE and join' if wiped else 'join'} {names(drives)} to a {level} of {show_bytes(size)}"
        plan.steps.append(CreateArray(GROUP, text, tuple(new), wiped, level, group.holder))
    elif group.level and group.level != level:
        plan.refusals.append(
            f"{GROUP} is a {group.level}, desired is {level}: an array is not converted, ask for {group.level}"
        )
    elif group.missing and len(new) != len(group.missing):
        plan.refusals.append(
            f"{GROUP} lacks {', '.join(group.missing)}: name {len(group.missing)} more in drives, found {len(new)} new "
            "ones"
        )
    elif group.missing and not array:
        # At a boot without its drive nothing starts it. The next plan adds the new one.
        members = [d for d in drives if d not in new]
        text = f"start the {level} on {names(members)}, without {', '.join(group.missing)}"
        plan.steps.append(AssembleArray(GROUP, text, group.uuid, tuple(members), group.holder, degraded=True))
        return
    elif group.missing:
        text = f"{'WIPE and add' if wiped else 'add'} {names(new)} to the {level}"
        plan.steps.append(RebuildArray(GROUP, text, tuple(new), wiped, array.node if array else ""))
    elif new:
        plan.refusals.append(f"an md array does not grow: take {names(new)} out of drives, or use a stripe with lvm")
    elif not array:
        text = f"start the {level} on {names(drives)}"
        plan.steps.append(AssembleArray(GROUP, text, group.uuid, tuple(drives), group.holder))
        return
    if array and not plan.refusals:
        inner = plan_layout([array], volumes, "single", [])
        plan.steps += inner.steps
        plan.placed, plan.refusals, plan.grow = inner.placed, inner.refusals, inner.grow


def shares(volumes: Sequence[Volume], usable: int, have: Mapping[str, int], extent: int) -> dict[str, int]:
    """Extents that each volume is to have; raises ValueError when they do not fit."""
    desired = {v.name: size_in_bytes(v.size, usable * extent) // extent for v in volumes if v.size != "rest"}
    rest = usable - sum(desired.values())
    for volume in volumes:
        if volume.size == "rest":
            desired[volume.name] = max(rest, have.get(volume.name, 0))
        size = desired[volume.name] * extent
        if size < MINIMUM:
            raise ValueError(
                f"{GROUP}: volume {volume.name} would get {show_bytes(max(size, 0))}, the least is "
                f"{show_bytes(MINIMUM)}"
            )
    return desired


def cut(desired: int, free: dict[str, int]) -> list[tuple[int, list[str]]]:
    """Take extents from as many drives at once as have free ones, then from fewer; whatever is left over could not be
    had.
    """
    pieces: list[tuple[int, list[str]]] = []
    while True:
        room = sorted((seed for seed in free if free[seed] >= SLACK), key=lambda seed: (-free[seed], seed))
        row = min([desired // len(room), *(free[seed] for seed in room)]) if room else 0
        if not row:
            return pieces
        for seed in room:
            free[seed] -= row
        pieces.append((row * len(room), room))
        desired -= row * len(room)


def plan_volume_group(
    plan: Layout, drives: Sequence[Drive], new: Sequence[Drive], group: Group, volumes: Sequence[Volume]
) -> None:
    """A volume group with striped volumes."""
    extent = group.extent
    wiped = tuple(d["drive"] for d in plan.destructive)
    fresh = {d.seed: (d.size - MIB) // extent for d in new}
    total, free = {**group.total, **fresh}, {**group.free, **fresh}
    if new:
        verb = "make" if not group.uuid else "extend"
        text = f"{'WIPE ' + ', '.join(wiped) + ', ' if wiped else ''}{verb} volume group {GROUP} with {names(new)}"
        tags = (GROUP, *(drive_tag(d.seed) for d in new))
        kind = ExtendVolumeGroup if group.uuid else CreateVolumeGroup
        plan.steps.append(kind(GROUP, text, tuple(new), wiped, tags))
    have = {p.name[len(MARK) :].removesuffix(NEW): p for p in group.volumes}
    # Somebody's snapshot is none of ours to activate.
    if any(not have[v.name].device for v in volumes if v.name in have):
        plan.steps.append(ActivateVolumes(GROUP, f"activate the volumes of {GROUP}"))
    taken = {v.name: have[v.name].size // extent for v in volumes if v.name in have}
    # Of a larger drive a stripe takes no more than the smallest has.
    usable = max(len(total) * min(total.values()), sum(taken.values()))
    try:
        desired = shares(volumes, usable, taken, extent)
    except ValueError as error:
        plan.refusals.append(str(error))
        return
    for volume in volumes:
        plan.refusals += resize_problems(
            volume, have.get(volume.name), group, taken.get(volume.name, 0), desired[volume.name]
        )
    nodes = {d.seed: d for d in drives}
    order = sorted(volumes, key=lambda v: v.name in have)
    for volume in order:
        plan_volume(plan, volume, have.get(volume.name), group, desired[volume.name], free, nodes)
    plan.placed.sort(key=lambda place: [v.name for v in volumes].index(place.volume.name))


def resize_problems(volume: Volume, have: Partition | None, group: Group, taken: int, desired: int) -> list[str]:
    """Why a volume that exists cannot become the desired one."""
    if not have or have.name.endswith(NEW):
        return []
    give_up = f"to give up what it holds: lvremove {GROUP}/{volume.name}"
    sizes = (
        f"volume {volume.name} has {show_bytes(taken * group.extent)}, desired is {show_bytes(desired * group.extent)}"
    )
    if volume.name in group.foreign:
        return [f"volume {volume.name} is thin, which this role neither makes nor grows: {give_up}"]
    if have.device and have.filesystem != volume.filesystem:
        holds = have.filesystem or "no filesystem"
        return [f"volume {volume.name} holds {holds}, desired is {volume.filesystem}: {give_up}"]
    if taken - desired > SLACK:
        return [f"{sizes}: nothing is ever shrunk"]
    if desired - taken >= SLACK and not volume.mount:
        return [f"{sizes}: it grows while it is mounted, so give it a mount"]
    return []


def reserve(
    plan: Layout, name: str, desired: int, free: dict[str, int], extent: int, exists: bool
) -> list[tuple[int, list[str]]]:
    """Extents for a volume; a shortage that is more than rounding is refused."""
    had = dict(free)
    pieces = cut(desired, free)
    lack = desired - sum(size for size, _seeds in pieces)
    if lack >= SLACK * max(len(free), 1) or not (pieces or exists):
        room = ", ".join(f"{seed} {show_bytes(max(count, 0) * extent)}" for seed, count in sorted(had.items()))
        plan.refusals.append(
            f"{name} needs {show_bytes(desired * extent)}{' more' if exists else ''}, free are: {room}: name more "
            "drives, or ask for less"
        )
    return pieces


def resolved(
    pieces: Sequence[tuple[int, list[str]]], nodes: Mapping[str, Drive]
) -> tuple[tuple[int, tuple[str, ...]], ...]:
    """Pieces with the drives' device names of this run."""
    return tuple((size, tuple(nodes[seed].node for seed in seeds)) for size, seeds in pieces)


def spread(pieces: Sequence[tuple[int, list[str]]]) -> str:
    """How wide a volume is."""
    return " and ".join("linear" if len(seeds) == 1 else f"{len(seeds)} stripes" for _size, seeds in pieces)


def plan_volume(
    plan: Layout,
    volume: Volume,
    have: Partition | None,
    group: Group,
    desired: int,
    free: dict[str, int],
    nodes: Mapping[str, Drive],
) -> None:
    """One volume: made, formatted, adopted, grown."""
    extent, path = group.extent, f"/dev/{GROUP}/{volume.name}"
    owner = Drive(GROUP, f"/dev/{GROUP}", 0, seed="+".join(sorted(nodes)))
    had = have.size // extent if have else 0
    more = desired - had
    fresh = not have or have.name.endswith(NEW)
    pieces: list[tuple[int, list[str]]] = []
    if more >= (SLACK if have else 1):
        pieces = reserve(plan, volume.name, more, free, extent, bool(have))
    size = had + sum(part for part, _seeds in pieces)
    if fresh:
        if pieces:
            text = f"{'extend' if have else 'make'} volume {volume.name}, {show_bytes(size * extent)}, {spread(pieces)}"
            plan.steps.append(MakeVolume(volume.name, text, volume.name, resolved(pieces, nodes), bool(have)))
        part = Partition(
            0, MARK + volume.name + NEW, 0, size * extent, path + NEW, volume.filesystem, identifier(owner, volume.name)
        )
        text = f"make {volume.filesystem} {volume.name} on {path}, {show_bytes(part.size)}, UUID {part.uuid}"
        plan.steps.append(MakeFilesystem(GROUP, text, Placed(volume, owner, part)))
        part = replace(part, node=path)
    elif have:
        part = have
        if pieces or volume.name in group.growing:
            text = (
                f"grow volume {volume.name} to {show_bytes(size * extent)}, {spread(pieces)}"
                if pieces
                else f"grow filesystem {volume.name} to its volume"
            )
            part = replace(have, size=size * extent)
            plan.grow.append(
                GrowVolume(volume.name, text, volume.name, resolved(pieces, nodes), Placed(volume, owner, part))
            )
    plan.placed.append(Placed(volume, owner, part))
