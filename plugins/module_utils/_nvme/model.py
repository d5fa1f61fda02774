# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What lies on the drives and what is wished, turned into an ordered plan. No I/O. Private to the collection."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._quantity import percentage, show_bytes, to_bytes

MIB = 1024**2
# Carried by the name of every GPT partition of ours; a partition without it is never touched.
MARK = "runnerfleet-"
# A partition with this ending has never been mounted, so an interrupted mkfs may start over.
NEW = ".new"
# A partition with this ending is larger than its filesystem: an interrupted run is known by it.
GROWING = ".grow"
# Tag and name of our volume group, name of our md array; nothing else is adopted.
GROUP = "runnerfleet"
# Stands for the array where a drive's identity is asked for.
ARRAY = f"md array {GROUP}"
# What a reason why a drive is not free begins with; the details follow a colon.
BOOT, MOUNTED, SWAP, HOLDER, EXCLUSIVE = "boot", "mounted", "swap", "holder", "opened exclusively"
READ_ONLY, UNOPENED, UNREAD, NO_SIZE = "read-only", "cannot be opened", "cannot be read", "no usable size"
NO_NAME, OTHER_PATH = "no name of its own", "multipath path"
PARTITIONS, SIGNATURE, UNKNOWN = "partitions", "signature", "unknown bytes"
REASONS = (
    *(BOOT, MOUNTED, SWAP, HOLDER, PARTITIONS, SIGNATURE, EXCLUSIVE, OTHER_PATH, UNKNOWN),
    *(READ_ONLY, NO_SIZE, NO_NAME, UNOPENED, UNREAD),
)
# What uses a drive of ours is us.
OWN_USE = (MOUNTED, HOLDER, EXCLUSIVE)
# The smallest volume that mkfs.xfs accepts is 300 MiB.
MINIMUM = 320 * MIB
_NAMESPACE = uuid.UUID("c5b2e6d4-3f0e-5a63-9d0a-6f0f6f3a7a10")


@dataclass(frozen=True)
class Partition:
    """A partition of a GPT; sizes in bytes."""

    number: int
    name: str
    start: int
    size: int
    node: str = ""
    filesystem: str = ""
    uuid: str = ""
    device: str = ""  # major:minor, empty while the kernel does not know the partition


@dataclass(frozen=True)
class Drive:
    """A drive as the inventory names it (`identity`) and as it was found."""

    identity: str
    node: str
    size: int
    sector: int = 512
    # What stays the same whatever name the inventory uses; follows from the names, for an array from its members.
    seed: str = field(default="", compare=False)
    found: tuple[str, ...] = ()  # what would be lost; consent by `wipe`
    blocked: tuple[str, ...] = ()  # what no consent covers
    model: str = ""
    member: str = ""  # the volume group (lvm:) or array (md:) of ours that it belongs to
    claimed: bool = False  # proven empty by us and interrupted while its table was written
    partitions: tuple[Partition, ...] = ()


@dataclass(frozen=True)
class Bind:
    """A directory of a volume and the place where it appears."""

    source: str
    target: str


@dataclass(frozen=True)
class Volume:
    """A filesystem that is wished."""

    name: str
    size: str = "rest"
    filesystem: str = "xfs"
    mount: str = ""
    options: str = "noatime"
    binds: tuple[Bind, ...] = ()
    owner: str = ""
    group: str = ""
    mode: str = ""


@dataclass(frozen=True)
class Step:
    """One change; `text` is for people, the rest is for the one who applies it."""

    action: str
    target: str
    text: str
    data: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Placed:
    """Where a volume lies, or will lie once the plan is applied."""

    volume: Volume
    drive: Drive
    partition: Partition


@dataclass
class Layout:
    """The plan for the drives."""

    steps: list[Step] = field(default_factory=list)
    destructive: list[dict[str, Any]] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    placed: list[Placed] = field(default_factory=list)
    grow: list[Step] = field(default_factory=list)  # filesystems grow while they are mounted, so after the mounts


def volume_name(partition: str) -> str:
    """The volume that a partition of ours, by its name, is or will be."""
    return partition[len(MARK) :].removesuffix(NEW).removesuffix(GROWING)


def wished_bytes(size: str, usable: int) -> int:
    """Bytes of `200GiB`, `1.5TB` or `60%` (of what is usable); raises ValueError with the reason."""
    try:
        wished = int(usable * percentage(size)) if "%" in size else to_bytes(size)
        if not (percentage(size) if "%" in size else wished):
            raise ValueError("found nothing")
    except ValueError:
        raise ValueError(
            f"size {size!r} is not a size: expected for example 200GiB, a share above 0% and up to 100%, or rest"
        ) from None
    return wished


def wish_errors(volumes: Sequence[Volume], layout: str, count: int, stripe_with: str = "lvm") -> list[str]:
    """What is wrong with the wish itself, whatever lies on the drives."""
    errors = []
    names = [v.name for v in volumes]
    targets = [path for v in volumes for path in [v.mount, *(b.target for b in v.binds)] if path]
    if not count:
        errors.append(
            "drives is empty: name at least one drive, for example /dev/disk/by-id/nvme-..., or give a rule in select"
        )
    if not volumes:
        errors.append("volumes is empty: name at least one volume")
    errors += [f"volume {name} is named twice" for name in sorted({n for n in names if names.count(n) > 1})]
    errors += [
        f"{path} is the place of two volumes or binds" for path in sorted({t for t in targets if targets.count(t) > 1})
    ]
    # 12 bytes is all that an xfs label holds.
    errors += [
        f"volume name {n!r} must be 1 to 12 of a-z, 0-9 and -" for n in names if not re.fullmatch(r"[a-z0-9-]{1,12}", n)
    ]
    errors += [
        f"{t} must be an absolute path without .. or spaces"
        for t in targets
        if not re.fullmatch(r"(/(?!\.\.?(/|$))[^/\s%]+)+", t)
    ]
    for volume in volumes:
        if volume.binds and not volume.mount:
            errors.append(f"volume {volume.name} has binds but no mount")
        sources = [b.source for b in volume.binds if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", b.source)]
        errors += [f"volume {volume.name}: bind source {s!r} must be the name of one directory" for s in sources]
        if (volume.owner or volume.group or volume.mode) and not volume.mount:
            errors.append(f"volume {volume.name} has an owner, group or mode but no mount")
        if not re.fullmatch(r"[\w=,.:/@+-]*", volume.options):
            errors.append(
                f"volume {volume.name}: options {volume.options!r} must be mount options without spaces, such as "
                "noatime,discard"
            )
        if not re.fullmatch(r"([0-7]{3,4})?", volume.mode):
            errors.append(f"volume {volume.name}: mode {volume.mode!r} must be octal, such as 0750")
        if volume.size != "rest":
            try:
                wished_bytes(volume.size, 0)
            except ValueError as error:
                errors.append(f"volume {volume.name}: {error}")
    if layout in ("single", "stripe") and sum(v.size == "rest" for v in volumes) > 1:
        errors.append("only one volume may have size rest")
    if layout == "stripe" and stripe_with == "lvm":
        reserved = [n for n in names if re.match(r"-|snapshot|pvmove", n)]
        errors += [f"volume name {n} means something else to LVM: choose another" for n in reserved]
    if layout == "stripe" and stripe_with != "lvm" and count == 1:
        errors.append(f"{stripe_with} takes two drives at least, found 1: name more, or stripe with lvm")
    if layout == "single" and count > 1:
        errors.append(f"layout single takes one drive, found {count} drives: use layout spread, or name one drive")
    if layout == "spread" and count and count != len(volumes):
        errors.append(
            f"layout spread takes one drive per volume, found {count} drives for {len(volumes)} volumes: "
            "name as many drives as volumes, or ask for layout stripe"
        )
    return errors


def is_reason(text: str, *words: str) -> bool:
    """Whether a reason begins with one of the words."""
    return text.partition(":")[0] in words


def ours(drive: Drive) -> bool:
    """Whether a drive carries our mark: the one place that tells ours from foreign."""
    return bool(drive.member) or any(p.name.startswith(MARK) for p in drive.partitions)


def foreign_use(drive: Drive) -> list[str]:
    """What stands against using a drive, what we use it for ourselves left out."""
    return [reason for reason in drive.blocked if not (ours(drive) and is_reason(reason, *OWN_USE))]


def drive_errors(drives: Sequence[Drive]) -> list[str]:
    """Drives that are named twice."""
    nodes = [d.node for d in drives]
    return [f"{d.identity} is {d.node}, which is named twice" for i, d in enumerate(drives) if d.node in nodes[:i]]


def offer(plan: Layout, drive: Drive, found: Sequence[str], wipe: Sequence[str]) -> None:
    """A drive that is to be written: what it holds needs consent (`wipe`, by identity), what uses it forbids it."""
    consent = drive.identity in wipe
    if found:
        plan.destructive.append(
            {"drive": drive.identity, "node": drive.node, "found": list(found), "consented": consent}
        )
    if found and not consent:
        plan.refusals.append(
            f"{drive.identity} ({drive.node}, {show_bytes(drive.size)}) is not empty: {'; '.join(found)}. "
            f'Nothing was written. To give up what it holds: wipe: ["{drive.identity}"]'
        )
    if drive.blocked:
        problems = "; ".join(drive.blocked)
        plan.refusals.append(
            f"{drive.identity} ({drive.node}) cannot be used: {problems}. Nothing was written, and `wipe` does not "
            "cover this"
        )


def identifier(drive: Drive, volume: str) -> str:
    """The UUID of a filesystem, known before it is made, so that the whole plan, mount units included, can be shown."""
    return str(uuid.uuid5(_NAMESPACE, f"{drive.seed or drive.identity}/{volume}"))


def table_uuid(drive: Drive, name: str = "") -> str:
    """The GUID of a drive's table, or of one of its partitions."""
    return str(uuid.uuid5(_NAMESPACE, f"{drive.seed or drive.identity}#{name}"))
