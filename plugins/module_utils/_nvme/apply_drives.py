# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes to drives: claims, partition tables, filesystems. Every step can be interrupted and repeated. Private to the
collection.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.model import (
    GROUP,
    GROWING,
    MARK,
    MIB,
    NEW,
    Drive,
    Partition,
    Placed,
    table_uuid,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.probe_drives import (
    CLAIM,
    CLAIM_AT,
    Drives,
    device_of,
    mountinfo,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.steps import (
    AnnouncePartition,
    ClearClaim,
    GrowPartition,
    MakeFilesystem,
    PartitionDrive,
)

LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
MAKE = {
    # No discard: on a large drive it takes minutes, fstrim.timer does it later.
    "xfs": ["mkfs.xfs", "-q", "-f", "-K", "-m", "reflink=1,uuid={uuid}", "-L", "{label}"],
    "ext4": ["mkfs.ext4", "-q", "-F", "-E", "nodiscard", "-U", "{uuid}", "-L", "{label}"],
    "btrfs": ["mkfs.btrfs", "-q", "-f", "-K", "-U", "{uuid}", "-L", "{label}"],
}
GROW = {
    "xfs": ["xfs_growfs", "{mount}"],
    "ext4": ["resize2fs", "{node}"],
    "btrfs": ["btrfs", "filesystem", "resize", "max", "{mount}"],
}
SFDISK = ["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel"]


def zero(descriptor: int, start: int, size: int) -> None:
    """The first and the last MiB, where signatures lie."""
    for offset in (start, start + max(size - MIB, 0)):
        os.pwrite(descriptor, bytes(min(MIB, size)), offset)


class Writer:
    """Writes to the drives of this host."""

    def __init__(self, drives: Drives) -> None:
        self.drives = drives
        self.call = drives.call

    def settle(self) -> None:
        """Let udev finish with what was written, where there is udev."""
        if os.path.exists("/run/udev/control"):
            self.call(["udevadm", "settle", "--timeout=60"])

    def prove(self, planned: Drive, held: int, outcome: str) -> None:
        """The drive is still what the plan saw, while nobody else can open it. `outcome`: what a refusal says of it."""
        now = self.drives.read(planned.identity, held=held)
        if now != planned:
            lost = "; ".join(map(str, [*now.blocked, *now.found])) or now.node
            raise ValueError(f"{planned.identity} has changed since it was read ({lost}): {outcome}, run this again")

    def claim(self, planned: Drive, wipe: bool) -> int:
        """Prove the drive empty while nobody else can open it, then mark it as taken; returns the descriptor that keeps
        others out.
        """
        descriptor = os.open(planned.node, os.O_RDWR | os.O_EXCL)
        try:
            self.prove(planned, descriptor, "nothing was written to it")
            if wipe:
                for start, size in [*((p.start, p.size) for p in planned.partitions), (0, planned.size)]:
                    zero(descriptor, start, size)
            os.pwrite(descriptor, CLAIM, CLAIM_AT)
            os.fsync(descriptor)
            if planned.claimed:
                # What an interrupted run left: the claim stays, so that another interruption changes nothing.
                os.pwrite(descriptor, bytes(CLAIM_AT), 0)
                os.pwrite(descriptor, bytes(MIB), planned.size - MIB)
                os.fsync(descriptor)
            if wipe or planned.claimed:
                self.drives.run(["partx", "--delete", planned.node])
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def unclaim(self, node: str) -> None:
        """The table stands, its partitions are marked: the claim has done its work."""
        if self.drives.has_claim(node):
            with open(node, "r+b", buffering=0) as device:
                os.pwrite(device.fileno(), bytes(len(CLAIM)), CLAIM_AT)
                os.fsync(device.fileno())
        self.settle()

    def proven_mounted(self, place: Placed) -> None:
        node, mount = place.partition.node, place.volume.mount
        if not any(where == mount and device == device_of(node) for device, _root, where in mountinfo()):
            raise ValueError(f"{mount} is not mounted from {node}: volume {place.volume.name} does not grow")

    def grow_filesystem(self, place: Placed) -> None:
        """To the size of what it lies on; it may have it already."""
        self.call(
            [a.format(mount=place.volume.mount, node=place.partition.node) for a in GROW[place.volume.filesystem]]
        )

    def ready(self, drive: Drive, partition: Partition) -> None:
        """The kernel knows the partition as the table has it."""
        sysfs = Path("/sys/class/block", os.path.basename(partition.node))
        desired = (str(partition.start // 512), str(partition.size // 512))
        for attempt in range(100):
            if (
                device_of(partition.node)
                and ((sysfs / "start").read_text().strip(), (sysfs / "size").read_text().strip()) == desired
            ):
                return
            if attempt % 20 == 0:
                self.call(["partx", "--update", drive.node])
            time.sleep(0.1)
        raise ValueError(f"{partition.node} did not appear within 10 seconds after `partx --update {drive.node}`")


def partition_drive(writer: Writer, step: PartitionDrive) -> None:
    """Write the table of a drive that is claimed."""
    planned = step.drive
    descriptor = writer.claim(planned, step.wipe)
    try:
        lines = ["label: gpt", f"label-id: {table_uuid(planned)}"]
        for part in step.partitions:
            start, size = part.start // planned.sector, part.size // planned.sector
            lines.append(
                f'start={start}, size={size}, type={LINUX}, uuid={table_uuid(planned, part.name)}, name="{part.name}"'
            )
        writer.call([*SFDISK, "--wipe", "never", planned.node], data="\n".join(lines))
        # The kernel may know partitions of a former table, or have no parser for this one.
        writer.drives.run(["partx", "--delete", planned.node])
        writer.call(["partx", "--update", planned.node])
    finally:
        os.close(descriptor)
    writer.unclaim(planned.node)


def clear_claim(writer: Writer, step: ClearClaim) -> None:
    """The mark of an interrupted run goes."""
    writer.unclaim(step.node)


def make_filesystem(writer: Writer, step: MakeFilesystem) -> None:
    """Make the filesystem, then drop the ending from the partition's name: from here on it is kept."""
    place = step.placed
    partition, volume = place.partition, place.volume
    name = MARK + volume.name
    if partition.number:
        now = writer.drives.read(place.drive.identity)
        if now.node != place.drive.node or not any(
            (p.number, p.name) == (partition.number, name + NEW) for p in now.partitions
        ):
            raise ValueError(
                f"{place.drive.identity} has changed since it was read: nothing was written to it, run this again"
            )
        writer.ready(place.drive, partition)
    held = os.open(partition.node, os.O_RDWR | os.O_EXCL)  # fails on a partition in use
    try:
        # What a former filesystem left in the middle of a drive may look like a second one here.
        zero(held, 0, partition.size)
    finally:
        os.close(held)
    writer.call([a.format(uuid=partition.uuid, label=volume.name) for a in MAKE[volume.filesystem]] + [partition.node])
    if partition.number:
        writer.call([*SFDISK, "--part-label", place.drive.node, str(partition.number), name])
    else:
        writer.call(["lvrename", GROUP, volume.name + NEW, volume.name])
    writer.settle()


def grow_partition(writer: Writer, step: GrowPartition) -> None:
    """The partition, with a name that says so, then its filesystem, then the name."""
    place, identity = step.placed, step.target
    drive, desired, name = place.drive, place.partition, MARK + place.volume.name
    writer.proven_mounted(place)
    now = writer.drives.read(identity)
    have = next((p for p in now.partitions if (p.number, p.start) == (desired.number, desired.start)), None)
    behind = any(desired.start < p.start < desired.start + desired.size for p in now.partitions)
    if now.node != drive.node or not have or have.name not in (name, name + GROWING) or behind:
        raise ValueError(f"{identity} has changed since it was read: nothing was written to it, run this again")
    if have.size < desired.size:
        line = f'size={desired.size // drive.sector}, name="{name}{GROWING}"'
        writer.call(
            [*SFDISK, "--wipe", "never", "--wipe-partitions", "never", "--partno", str(desired.number), drive.node],
            data=line,
        )
    writer.ready(drive, desired)
    writer.grow_filesystem(place)
    writer.call([*SFDISK, "--part-label", drive.node, str(desired.number), name])
    writer.settle()


def announce_partition(writer: Writer, step: AnnouncePartition) -> None:
    """The kernel gets to know a partition."""
    writer.ready(step.placed.drive, step.placed.partition)
