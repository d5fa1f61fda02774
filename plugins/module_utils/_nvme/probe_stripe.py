# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads our volume group and our md array. Never writes. Private to the collection."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.model import (
    ARRAY,
    GROUP,
    MARK,
    NEW,
    Drive,
    Group,
    Partition,
    drive_tag,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.probe_drives import Drives, device_of, text

# In a volume's own metadata while it grows: an interrupted run is known by it.
GROWING = f"{GROUP}.growing"
VOLUMES = "lv_name,vg_name,lv_size,lv_layout,lv_tags,lv_kernel_major,lv_kernel_minor"
DRIVES = "pv_name,pv_missing,pv_pe_count,pv_pe_alloc_count,vg_name,vg_uuid,vg_tags,vg_extent_size"


def tags(row: Mapping[str, str], key: str) -> list[str]:
    return row[key].split(",")


class Stripes:
    """What several drives carry together."""

    def __init__(self, drives: Drives) -> None:
        self.drives = drives

    def group(self, drives: Sequence[Drive], stripe_with: str) -> Group:
        """Our volume group or array as it is."""
        return self.volume_group(drives) if stripe_with == "lvm" else self.array(drives)

    def volume_group(self, drives: Sequence[Drive]) -> Group:
        """Our volume group, by its tag."""
        rows = self.drives.report("pvs", DRIVES)
        ours = [r for r in rows if GROUP in tags(r, "vg_tags")]
        groups = sorted({r["vg_uuid"] for r in ours})
        if any(r["vg_name"] == GROUP and r not in ours for r in rows):
            return Group(
                refusal=f"a volume group {GROUP} exists and was not made by this role: vgrename {GROUP} <another name>"
            )
        if len(groups) > 1:
            return Group(
                refusal=f"{len(groups)} volume groups carry the tag {GROUP}, one is expected: vgrename or vgexport the "
                "other"
            )
        if any(r["vg_name"] != GROUP for r in ours):
            return Group(
                refusal=f"our volume group has the name {ours[0]['vg_name']}: vgrename {ours[0]['vg_name']} {GROUP}"
            )
        if not ours:
            return Group()
        named = {device_of(d.node): d.seed for d in drives}
        total, free = {}, {}
        for row in ours:
            if not row["pv_missing"]:
                seed = named.get(device_of(row["pv_name"])) or self.seed(row["pv_name"])
                total[seed] = int(row["pv_pe_count"])
                free[seed] = total[seed] - int(row["pv_pe_alloc_count"])
        lost = sum(bool(r["pv_missing"]) for r in ours)
        present = {drive_tag(seed) for seed in total}
        gone = [
            t.partition("=")[2] for t in tags(ours[0], "vg_tags") if t.startswith(drive_tag("")) and t not in present
        ]
        group = Group(
            uuid=f"lvm:{groups[0]}",
            missing=tuple(gone[:lost] or [f"{lost} drive(s)"]) if lost else (),
            drives=tuple(total),
            extent=int(ours[0]["vg_extent_size"]),
            total=total,
            free=free,
        )
        return replace(group, **self.volumes())

    def seed(self, node: str) -> str:
        """What a drive is called that the inventory does not name."""
        sysfs = Path("/sys/class/block", os.path.basename(os.path.realpath(node)))
        return (self.drives.names(sysfs.name) or [node])[0]

    def volumes(self) -> dict[str, Any]:
        """The volumes of our group, as fields of a Group."""
        volumes, foreign, growing = [], set(), set()
        for row in self.drives.report("lvs", VOLUMES):
            if row["vg_name"] != GROUP:
                continue
            name, size = row["lv_name"], int(row["lv_size"])
            active = row["lv_kernel_major"] not in ("", "-1")
            seen = self.drives.probe(f"/dev/{GROUP}/{name}") if active and not name.endswith(NEW) else {}
            device = f"{row['lv_kernel_major']}:{row['lv_kernel_minor']}" if active else ""
            part = Partition(
                0, MARK + name, 0, size, f"/dev/{GROUP}/{name}", seen.get("TYPE", ""), seen.get("UUID", ""), device
            )
            volumes.append(part)
            if "thin" in row["lv_layout"].split(","):
                foreign.add(name.removesuffix(NEW))
            if GROWING in tags(row, "lv_tags"):
                growing.add(name)
        return {"volumes": tuple(volumes), "foreign": frozenset(foreign), "growing": frozenset(growing)}

    def array(self, drives: Sequence[Drive]) -> Group:
        """Our array, by its name in its members' superblocks."""
        kind = "md"
        members = [d for d in drives if d.member.startswith("md:")]
        uuids = sorted({d.member for d in members})
        if not uuids:
            return Group(kind)
        if len(uuids) > 1:
            return Group(
                kind,
                refusal=f"the drives belong to {len(uuids)} arrays named {GROUP}: mdadm --zero-superblock those of one "
                "of them",
            )
        holders = [
            h
            for d in members
            for h in sorted(Path("/sys/class/block", os.path.basename(d.node), "holders").glob("md*"))
        ]
        holder = holders[0].name if holders else ""
        sysfs = Path("/sys/class/block", holder)
        running = bool(holder) and text(sysfs / "md/array_state") not in ("", "clear", "inactive")
        told = self.examine(members[0].node)
        level = text(sysfs / "md/level") if running else told.get("MD_LEVEL", "")
        states = [text(state) for state in (sysfs / "md").glob("dev-*/state")]
        lost = int(told.get("MD_DEVICES", "0")) - (sum("faulty" not in s for s in states) if running else len(members))
        seeds = [d.seed for d in members]
        for slave in sorted((sysfs / "slaves").glob("*")) if holder else []:
            if not any(os.path.basename(d.node) == slave.name for d in members):
                seeds.append(self.seed(f"/dev/{slave.name}"))
        found = self.drives.inspect(sysfs, identity=ARRAY) if running else None
        array = replace(found, seed="+".join(sorted(seeds))) if found else None
        missing = tuple(f"drive {n + 1} of {lost} that it has lost" for n in range(lost))
        return Group(kind, uuids[0], missing=missing, drives=tuple(seeds), level=level, array=array, holder=holder)

    def examine(self, node: str) -> dict[str, str]:
        """What a member's superblock tells of its array."""
        out = self.drives.call(["mdadm", "--examine", "--export", node])
        return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
