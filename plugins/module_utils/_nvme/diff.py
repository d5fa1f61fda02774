# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A plan as a person reads it. No I/O. Private to the collection."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.model import Drive, Placed, Step
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.steps import WriteFile
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._quantity import show_bytes


def describe(drives: Sequence[Drive], placed: Sequence[Placed], steps: Sequence[Step]) -> list[dict[str, str]]:
    """The change as a person reads it: the drives, then every file."""
    before, after = [], []
    for drive in drives:
        title = f"{drive.identity} ({show_bytes(drive.size)})"
        have = (
            [f"{p.name} {p.filesystem or 'no filesystem'} {show_bytes(p.size)}" for p in drive.partitions]
            or list(map(str, drive.found))
            or ["empty"]
        )
        before += [title, *(f"  {line}" for line in have)]
        here = [p for p in placed if p.drive.identity == drive.identity]
        changes = any(s.target == drive.identity for s in steps)
        will = [f"runnerfleet-{p.volume.name} {p.partition.filesystem} {show_bytes(p.partition.size)}" for p in here]
        after += [title, *(f"  {line}" for line in (will if changes else have))]
    shared = [p for p in placed if p.drive.identity not in [d.identity for d in drives]]
    after += [
        f"{p.drive.identity}: {p.volume.name} {p.partition.filesystem} {show_bytes(p.partition.size)}" for p in shared
    ]
    other = [f"{step.text}: {step.target}" for step in steps if step.listed]
    headers = {"before_header": "drives", "after_header": "drives"}
    diff = [{"before": "\n".join(before) + "\n", "after": "\n".join(after + other) + "\n", **headers}]
    for step in steps:
        if isinstance(step, WriteFile):
            content = {"before": step.before, "after": step.content}
            diff.append({**content, "before_header": step.target, "after_header": step.target})
    return diff
