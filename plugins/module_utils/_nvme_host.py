# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Applies the steps of a plan. Every step can be interrupted and repeated. Private to the collection."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme import MARK, MIB, Drive, Partition, Placed, Step, table_uuid
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme_drives import CLAIM, CLAIM_AT, Drives, device_of, mountinfo
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme_units import (
    ASIDE,
    WANTS,
    Mount,
    System,
    unit_files,
    wished_mounts,
)

MOVING = ".moving-to-nvme"
FSTRIM = "/usr/lib/systemd/system/fstrim.timer", "/lib/systemd/system/fstrim.timer"
LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
GET_FLAGS, SET_FLAGS, IMMUTABLE = 0x80086601, 0x40086602, 0x10
MAKE = {
    # No discard: on a large drive it takes minutes, fstrim.timer does it later.
    "xfs": ["mkfs.xfs", "-q", "-f", "-K", "-m", "reflink=1,uuid={uuid}", "-L", "{label}"],
    "ext4": ["mkfs.ext4", "-q", "-F", "-E", "nodiscard", "-U", "{uuid}", "-L", "{label}"],
}


def mount_table() -> dict[str, tuple[str, str]]:
    """Device and root of the topmost mount at every target."""
    return {target: (device, root) for device, root, target, _source in mountinfo()}


def filled(path: str) -> bool:
    """Whether a directory holds anything."""
    return os.path.isdir(path) and bool(os.listdir(path))


def immutable(path: str) -> None:
    """Nothing can be written to a mount point while it is not mounted; where the filesystem has no such flag, nothing is lost."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        flags = struct.unpack("i", fcntl.ioctl(descriptor, GET_FLAGS, struct.pack("i", 0)))[0]
        fcntl.ioctl(descriptor, SET_FLAGS, struct.pack("i", flags | IMMUTABLE))
    except OSError:
        pass
    finally:
        os.close(descriptor)


def mutable(path: str) -> None:
    """Undo `immutable`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        flags = struct.unpack("i", fcntl.ioctl(descriptor, GET_FLAGS, struct.pack("i", 0)))[0]
        if flags & IMMUTABLE:
            fcntl.ioctl(descriptor, SET_FLAGS, struct.pack("i", flags & ~IMMUTABLE))
    except OSError:
        pass
    finally:
        os.close(descriptor)


class Host:
    """This host, changed step by step."""

    def __init__(self, drives: Drives) -> None:
        self.drives = drives

    def system(self, placed: Sequence[Placed], services: Sequence[str]) -> System:
        """What the host has of what the mounts need."""
        mounts, table = wished_mounts(placed), mount_table()
        files = {path: Path(path).read_text() for path in unit_files(placed, services) if os.path.exists(path)}
        links = frozenset(f"{WANTS}/{m.unit}" for m in mounts if os.path.islink(f"{WANTS}/{m.unit}"))
        hidden = frozenset(m.target for m in mounts if m.target not in table and filled(m.target))
        running = []
        if hidden:
            running = [s for s in services if self.drives.run(["systemctl", "is-active", "--quiet", s])[0] == 0]
        trim = any(map(os.path.exists, FSTRIM)) and not os.path.lexists("/etc/systemd/system/timers.target.wants/fstrim.timer")
        return System(files, table, links, hidden, frozenset(running), trim)

    def apply(self, steps: Sequence[Step]) -> None:
        """All steps in their order."""
        reload = True
        for step in steps:
            if step.action in ("mount", "bind", "remount", "enable") and reload:
                # Not only after a write: an earlier run may have been interrupted between the two.
                self.call(["systemctl", "daemon-reload"])
                reload = False
            getattr(self, f"do_{step.action}")(step.target, step.data)

    def call(self, command: Sequence[str], **options: Any) -> str:
        status, out, error = self.drives.run(list(command), **options)
        if status:
            raise ValueError(f"{' '.join(command)} failed ({status}): {(error or out).strip()}")
        return out

    def settle(self) -> None:
        """Let udev finish with what was written, where there is udev."""
        if os.path.exists("/run/udev/control"):
            self.call(["udevadm", "settle", "--timeout=60"])

    def do_partition(self, identity: str, data: Mapping[str, Any]) -> None:
        """Prove the drive empty while nobody else can open it, then write its table."""
        planned: Drive = data["drive"]
        descriptor = os.open(planned.node, os.O_RDWR | os.O_EXCL)
        try:
            now = self.drives.read(identity, held=descriptor)
            if now != planned:
                lost = "; ".join([*now.blocked, *now.found]) or now.node
                raise ValueError(f"{identity} has changed since it was read ({lost}): nothing was written to it, run this again")
            if data["wipe"]:
                for start, size in [*((p.start, p.size) for p in planned.partitions), (0, planned.size)]:
                    for offset in (start, start + max(size - MIB, 0)):
                        os.pwrite(descriptor, bytes(min(MIB, size)), offset)
            os.pwrite(descriptor, CLAIM, CLAIM_AT)
            os.fsync(descriptor)
            lines = ["label: gpt", f"label-id: {table_uuid(planned)}"]
            for part in data["partitions"]:
                start, size = part.start // planned.sector, part.size // planned.sector
                lines.append(f'start={start}, size={size}, type={LINUX}, uuid={table_uuid(planned, part.name)}, name="{part.name}"')
            self.call(["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", "--wipe", "never", planned.node], data="\n".join(lines))
            # The kernel may know partitions of a former table, or have no parser for this one.
            self.drives.run(["partx", "--delete", planned.node])
            self.call(["partx", "--update", planned.node])
        finally:
            os.close(descriptor)
        self.unclaim(planned.node)

    def unclaim(self, node: str) -> None:
        """The table stands, its partitions are marked: the claim has done its work."""
        if self.drives.has_claim(node):
            with open(node, "r+b", buffering=0) as device:
                os.pwrite(device.fileno(), bytes(len(CLAIM)), CLAIM_AT)
                os.fsync(device.fileno())
        self.settle()

    def do_format(self, identity: str, data: Mapping[str, Any]) -> None:
        """Make the filesystem, then drop the ending from the partition's name: from here on it is kept."""
        place: Placed = data["placed"]
        partition, volume = place.partition, place.volume
        name = MARK + volume.name
        self.unclaim(place.drive.node)
        self.ready(place.drive, partition)
        held = os.open(partition.node, os.O_RDONLY | os.O_EXCL)  # fails on a partition in use
        os.close(held)
        self.call([a.format(uuid=partition.uuid, label=volume.name) for a in MAKE[volume.filesystem]] + [partition.node])
        self.call(["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", "--part-label", place.drive.node, str(partition.number), name])
        self.settle()

    def do_announce(self, identity: str, data: Mapping[str, Any]) -> None:
        self.ready(data["placed"].drive, data["placed"].partition)

    def ready(self, drive: Drive, partition: Partition) -> None:
        """The kernel knows the partition as the table has it."""
        sysfs = Path("/sys/class/block", os.path.basename(partition.node))
        wished = (str(partition.start // 512), str(partition.size // 512))
        for attempt in range(100):
            if device_of(partition.node) and ((sysfs / "start").read_text().strip(), (sysfs / "size").read_text().strip()) == wished:
                return
            if attempt % 20 == 0:
                self.call(["partx", "--update", drive.node])
            time.sleep(0.1)
        raise ValueError(f"{partition.node} did not appear within 10 seconds after `partx --update {drive.node}`")

    def do_write(self, path: str, data: Mapping[str, Any]) -> None:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        partial = f"{path}.partial"
        with open(partial, "w") as file:
            file.write(data["content"])
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        os.replace(partial, path)

    def do_mount(self, target: str, data: Mapping[str, Any]) -> None:
        mount: Mount = data["mount"]
        os.makedirs(target, mode=0o755, exist_ok=True)
        immutable(target)
        self.call(["systemctl", "start", mount.unit])
        if mount_table().get(target) != (device_of(mount.node), mount.root):
            raise ValueError(f"{mount.unit} was started, but {mount.node} is not mounted at {target}: see `systemctl status {mount.unit}`")

    def do_remount(self, target: str, data: Mapping[str, Any]) -> None:
        self.call(["systemctl", "reload", data["mount"].unit])

    def do_move(self, target: str, data: Mapping[str, Any]) -> None:
        """Set the data aside in one step; do_bind, which also runs after an interruption, copies it."""
        mount: Mount = data["mount"]
        if os.path.exists(mount.source) or os.path.exists(target + MOVING):
            raise ValueError(f"{target} holds data, and so does {mount.source}: move one of them away, then run this again")
        mutable(target)
        os.rename(target, target + MOVING)

    def do_bind(self, target: str, data: Mapping[str, Any]) -> None:
        mount: Mount = data["mount"]
        # The volume was proven to be mounted by the step before, or by the plan: this directory is not on the root disk.
        if mount_table().get(mount.volume.mount) != (device_of(mount.node), "/"):
            raise ValueError(f"{mount.volume.mount} is not mounted: nothing is made below it")
        if not os.path.exists(mount.source):
            if os.path.exists(target + MOVING):
                shutil.rmtree(mount.source + MOVING, ignore_errors=True)
                # cp knows sockets, links, owners and extended attributes; shutil does not.
                self.call(["cp", "--archive", "--no-target-directory", target + MOVING, mount.source + MOVING])
                subprocess.run(["sync", "--file-system", mount.volume.mount], check=True)
                os.rename(mount.source + MOVING, mount.source)
            else:
                os.mkdir(mount.source, 0o755)
        if os.path.exists(target + MOVING):
            copies = (target + ASIDE + (f"-{n}" if n else "") for n in range(1000))
            os.rename(target + MOVING, next(c for c in copies if not os.path.exists(c)))
        self.do_mount(target, data)

    def do_enable(self, target: str, data: Mapping[str, Any]) -> None:
        self.call(["systemctl", "enable", "--quiet", *data["units"]])
