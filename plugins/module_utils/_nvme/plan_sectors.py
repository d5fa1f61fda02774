# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sector size of blank NVMe drives: which of a namespace's LBA formats it gets. No I/O. Private to the
collection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.model import ARRAY, Drive, Layout, Step

# Steps that are the first to write to a drive.
FIRST = ("partition", "group", "array", "rebuild")


@dataclass(frozen=True)
class Offer:
    """What a namespace and its controller say about LBA formats."""

    formats: Sequence[Mapping[str, Any]] = ()  # as nvme_facts returns them
    namespaces: int = 1  # that the controller has
    together: bool = False  # a format command changes all of them at once
    problem: str = ""  # why nothing is known


def blank(steps: Sequence[Step]) -> list[Drive]:
    """The drives that a plan is the first to write to. An array is none: its members are."""
    found: list[Drive] = []
    for step in steps:
        if step.action in FIRST:
            found += step.data["drives"] if "drives" in step.data else [step.data["drive"]]
    return [drive for drive in found if drive.identity != ARRAY]


def other_sectors(steps: Sequence[Step], sector_size: int) -> list[Drive]:
    """Of the drives that a plan is the first to write to, those with another sector size than the wished one (0: any
    will do).
    """
    return [drive for drive in blank(steps) if sector_size and drive.sector != sector_size]


def fitting(offer: Offer, sector_size: int) -> Mapping[str, Any] | None:
    """The format of that size without metadata that the drive itself calls fastest (0 is best)."""
    right = [f for f in offer.formats if f["data_bytes"] == sector_size and not f["metadata_bytes"]]
    return min(right, key=lambda f: (f["performance"], f["lbaf"]), default=None)


def plan_sectors(layout: Layout, sector_size: int, offers: Mapping[str, Offer]) -> None:
    """Put the change of format before everything else. It leaves nothing to prove empty, so that `wipe` is no consent
    to it.
    """
    chosen = []
    for drive in other_sectors(layout.steps, sector_size):
        offer = offers[drive.identity]
        best = fitting(offer, sector_size)
        if offer.problem:
            reason = f"its formats are not known ({offer.problem})"
        elif drive.found:
            reason = (
                f"it is not empty ({'; '.join(drive.found)}), and wipe does not cover a change of format: empty "
                "it by hand first"
            )
        elif not best:
            sizes = sorted({f["data_bytes"] for f in offer.formats if not f["metadata_bytes"]})
            reason = f"it offers {', '.join(map(str, sizes)) or 'none'} without metadata"
        elif offer.together and offer.namespaces > 1:
            reason = f"its controller formats all of its {offer.namespaces} namespaces at once"
        else:
            chosen.append((drive, int(best["lbaf"])))
            continue
        layout.refusals.append(
            f"{drive.identity} ({drive.node}) has sectors of {drive.sector} bytes, wished are {sector_size}, but "
            f"{reason}. Nothing was written. To use it as it is: sector_size: 0"
        )
    if chosen and not layout.refusals:
        names = ", ".join(drive.identity for drive, _lbaf in chosen)
        layout.steps.insert(
            0, Step("sectors", names, f"format blank drives to sectors of {sector_size} bytes", {"formats": chosen})
        )
