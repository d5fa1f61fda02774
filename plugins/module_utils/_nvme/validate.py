# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wrong with a desired layout, whatever the drives hold, and consent to what they hold. No I/O. Private to the
collection.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.model import Drive, Layout, Reason, Volume
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._quantity import percentage, show_bytes, to_bytes


def size_in_bytes(size: str, usable: int) -> int:
    """Bytes of `200GiB`, `1.5TB` or `60%` (of what is usable); raises ValueError with the reason."""
    try:
        desired = int(usable * percentage(size)) if "%" in size else to_bytes(size)
        if not (percentage(size) if "%" in size else desired):
            raise ValueError("found nothing")
    except ValueError:
        raise ValueError(
            f"size {size!r} is not a size: expected for example 200GiB, a share above 0% and up to 100%, or rest"
        ) from None
    return desired


def validate_layout(volumes: Sequence[Volume], layout: str, count: int, stripe_with: str = "lvm") -> list[str]:
    """What is wrong with the desired volumes, whatever lies on the drives. `count`: of the drives."""
    return [
        *_missing(volumes, count),
        *_names(volumes),
        *_places(volumes),
        *(error for volume in volumes for error in _volume(volume)),
        *_drives(volumes, layout, count),
        *(_stripe(volumes, count, stripe_with) if layout == "stripe" else []),
    ]


def _missing(volumes: Sequence[Volume], count: int) -> list[str]:
    errors = []
    if not count:
        errors.append(
            "drives is empty: name at least one drive, for example /dev/disk/by-id/nvme-..., or give a rule in select"
        )
    if not volumes:
        errors.append("volumes is empty: name at least one volume")
    return errors


def _twice(values: Sequence[str]) -> list[str]:
    return sorted({value for value in values if values.count(value) > 1})


def _names(volumes: Sequence[Volume]) -> list[str]:
    names = [volume.name for volume in volumes]
    # 12 bytes is all that an xfs label holds.
    wrong = [name for name in names if not re.fullmatch(r"[a-z0-9-]{1,12}", name)]
    return [
        *(f"volume {name} is named twice" for name in _twice(names)),
        *(f"volume name {name!r} must be 1 to 12 of a-z, 0-9 and -" for name in wrong),
    ]


def _places(volumes: Sequence[Volume]) -> list[str]:
    places = [path for volume in volumes for path in [volume.mount, *(b.target for b in volume.binds)] if path]
    wrong = [path for path in places if not re.fullmatch(r"(/(?!\.\.?(/|$))[^/\s%]+)+", path)]
    return [
        *(f"{path} is the place of two volumes or binds" for path in _twice(places)),
        *(f"{path} must be an absolute path without .. or spaces" for path in wrong),
    ]


def _volume(volume: Volume) -> list[str]:
    """What is wrong with one volume."""
    errors = []
    if volume.binds and not volume.mount:
        errors.append("has binds but no mount")
    if (volume.owner or volume.group or volume.mode) and not volume.mount:
        errors.append("has an owner, group or mode but no mount")
    told = [f"volume {volume.name} {error}" for error in errors]
    sources = [b.source for b in volume.binds if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", b.source)]
    told += [f"volume {volume.name}: bind source {source!r} must be the name of one directory" for source in sources]
    if not re.fullmatch(r"[\w=,.:/@+-]*", volume.options):
        told.append(
            f"volume {volume.name}: options {volume.options!r} must be mount options without spaces, such as "
            "noatime,discard"
        )
    if not re.fullmatch(r"([0-7]{3,4})?", volume.mode):
        told.append(f"volume {volume.name}: mode {volume.mode!r} must be octal, such as 0750")
    if volume.size != "rest":
        try:
            size_in_bytes(volume.size, 0)
        except ValueError as error:
            told.append(f"volume {volume.name}: {error}")
    return told


def _drives(volumes: Sequence[Volume], layout: str, count: int) -> list[str]:
    """What a layout does not do on so many drives."""
    errors = []
    if layout in ("single", "stripe") and sum(volume.size == "rest" for volume in volumes) > 1:
        errors.append("only one volume may have size rest")
    if layout == "single" and count > 1:
        errors.append(f"layout single takes one drive, found {count} drives: use layout spread, or name one drive")
    if layout == "spread" and count and count != len(volumes):
        errors.append(
            f"layout spread takes one drive per volume, found {count} drives for {len(volumes)} volumes: "
            "name as many drives as volumes, or ask for layout stripe"
        )
    return errors


def _stripe(volumes: Sequence[Volume], count: int, stripe_with: str) -> list[str]:
    if stripe_with == "lvm":
        reserved = [volume.name for volume in volumes if re.match(r"-|snapshot|pvmove", volume.name)]
        return [f"volume name {name} means something else to LVM: choose another" for name in reserved]
    if count == 1:
        return [f"{stripe_with} takes two drives at least, found 1: name more, or stripe with lvm"]
    return []


def drive_errors(drives: Sequence[Drive]) -> list[str]:
    """Drives that are named twice."""
    nodes = [d.node for d in drives]
    return [f"{d.identity} is {d.node}, which is named twice" for i, d in enumerate(drives) if d.node in nodes[:i]]


def require_consent(plan: Layout, drive: Drive, found: Sequence[Reason | str], wipe: Sequence[str]) -> None:
    """A drive that is to be written: what it holds needs consent (`wipe`, by identity), what uses it forbids it."""
    consent = drive.identity in wipe
    if found:
        plan.destructive.append(
            {"drive": drive.identity, "node": drive.node, "found": list(map(str, found)), "consented": consent}
        )
    if found and not consent:
        plan.refusals.append(
            f"{drive.identity} ({drive.node}, {show_bytes(drive.size)}) is not empty: {'; '.join(map(str, found))}. "
            f'Nothing was written. To give up what it holds: wipe: ["{drive.identity}"]'
        )
    if drive.blocked:
        problems = "; ".join(map(str, drive.blocked))
        plan.refusals.append(
            f"{drive.identity} ({drive.node}) cannot be used: {problems}. Nothing was written, and `wipe` does not "
            "cover this"
        )
