# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Applies the steps of a plan; those for mounts are here. Every step can be interrupted and repeated. Private to the
collection.
"""

from __future__ import annotations

import fcntl
import grp
import os
import pwd
import shutil
import stat
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.apply_stripe import Stripes
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.model import Placed, Step, Volume
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.plan_mounts import (
    ASIDE,
    WANTS,
    Mount,
    System,
    unit_files,
    wished_mounts,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.probe_drives import device_of, mountinfo

MOVING = ".moving-to-nvme"
# What lies on an array or in a volume that does not run yet is not known before, nor is a drive the same after its
# sectors changed.
REPLAN = ("sectors", "array", "rebuild", "assemble", "activate")
FSTRIM = "/usr/lib/systemd/system/fstrim.timer", "/lib/systemd/system/fstrim.timer"
# As their programs make them: what pods and images are given is root's alone from the first moment.
CLOSED = {"/var/lib/kubelet": 0o700, "/var/lib/containerd": 0o700}
GET_FLAGS, SET_FLAGS, IMMUTABLE = 0x80086601, 0x40086602, 0x10


def mount_table() -> dict[str, tuple[str, str]]:
    """Device and root of the topmost mount at every target."""
    return {target: (device, root) for device, root, target in mountinfo()}


def filled(path: str) -> bool:
    """Whether a directory holds anything."""
    return os.path.isdir(path) and bool(os.listdir(path))


def immutable(path: str) -> None:
    """Nothing can be written to a mount point while it is not mounted; where the filesystem has no such flag, nothing
    is lost.
    """
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


def owner_of(volume: Volume) -> tuple[int, int, int]:
    """Owner, group and mode of the volume's root, -1 where nothing is wished; raises ValueError for a name that the
    host does not know.
    """
    try:
        owner = (
            int(volume.owner) if volume.owner.isdigit() else pwd.getpwnam(volume.owner).pw_uid if volume.owner else -1
        )
        group = (
            int(volume.group) if volume.group.isdigit() else grp.getgrnam(volume.group).gr_gid if volume.group else -1
        )
    except KeyError as error:
        raise ValueError(
            f"volume {volume.name}: {error.args[0]} on this host: make it first, or give its number"
        ) from None
    return owner, group, int(volume.mode, 8) if volume.mode else -1


def owned(volume: Volume, mounted: bool) -> bool:
    """Whether the volume's root is as wished; what is not mounted is not known."""
    wished = owner_of(volume)
    if not mounted:
        return wished == (-1, -1, -1)
    status = os.stat(volume.mount)
    return all(w in (-1, have) for w, have in zip(wished, (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode))))


class Host(Stripes):
    """This host, changed step by step."""

    def system(self, placed: Sequence[Placed], services: Sequence[str]) -> System:
        """What the host has of what the mounts need."""
        mounts, table = wished_mounts(placed), mount_table()
        files = {path: Path(path).read_text() for path in unit_files(placed, services) if os.path.exists(path)}
        links = frozenset(f"{WANTS}/{m.unit}" for m in mounts if os.path.islink(f"{WANTS}/{m.unit}"))
        hidden = frozenset(m.target for m in mounts if m.target not in table and filled(m.target))
        running = []
        if hidden:
            running = [s for s in services if self.drives.run(["systemctl", "is-active", "--quiet", s])[0] == 0]
        trim = any(map(os.path.exists, FSTRIM)) and not os.path.lexists(
            "/etc/systemd/system/timers.target.wants/fstrim.timer"
        )
        strange = frozenset(
            p.volume.mount for p in placed if p.volume.mount and not owned(p.volume, p.volume.mount in table)
        )
        return System(files, table, links, hidden, frozenset(running), trim, strange)

    def apply(self, steps: Sequence[Step]) -> bool:
        """The steps in their order, up to one whose outcome the next ones have to be planned from; returns whether that
        was all.
        """
        reload = True
        for step in steps:
            if step.action in ("mount", "bind", "remount", "enable") and reload:
                # Not only after a write: an earlier run may have been interrupted between the two.
                self.forget_jobs([s.data["mount"].unit for s in steps if s.action in ("mount", "bind")])
                self.call(["systemctl", "daemon-reload"])
                reload = False
            getattr(self, f"do_{step.action}")(step.target, step.data)
            if step.action in REPLAN:
                return False
        return True

    def forget_jobs(self, units: Sequence[str]) -> None:
        """At a boot without its drive, a mount waits for it. A reload that names another drive would let it go ahead of
        that one.
        """
        if units:
            for job in self.call(["systemctl", "show", "--property=Job", "--value", *units]).split():
                if job != "0":
                    self.drives.run(["systemctl", "cancel", job])  # it may have ended meanwhile

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
            raise ValueError(
                f"{mount.unit} was started, but {mount.node} is not mounted at {target}: see `systemctl status "
                f"{mount.unit}`"
            )

    def do_own(self, target: str, data: Mapping[str, Any]) -> None:
        mount: Mount = data["mount"]
        if mount_table().get(target) != (device_of(mount.node), "/"):
            raise ValueError(f"{target} is not mounted: its owner stays as it is")
        owner, group, mode = owner_of(mount.volume)
        os.chown(target, owner, group)
        if mode >= 0:
            os.chmod(target, mode)

    def do_remount(self, target: str, data: Mapping[str, Any]) -> None:
        self.call(["systemctl", "reload", data["mount"].unit])

    def do_move(self, target: str, data: Mapping[str, Any]) -> None:
        """Set the data aside in one step; do_bind, which also runs after an interruption, copies it."""
        mount: Mount = data["mount"]
        if os.path.exists(mount.source) or os.path.exists(target + MOVING):
            raise ValueError(
                f"{target} holds data, and so does {mount.source}: move one of them away, then run this again"
            )
        mutable(target)
        os.rename(target, target + MOVING)

    def do_bind(self, target: str, data: Mapping[str, Any]) -> None:
        mount: Mount = data["mount"]
        # The volume was proven to be mounted by the step before, or by the plan: this directory is not on the root
        # disk.
        if mount_table().get(mount.volume.mount) != (device_of(mount.node), "/"):
            raise ValueError(f"{mount.volume.mount} is not mounted: nothing is made below it")
        if not os.path.exists(mount.source):
            if os.path.exists(target + MOVING):
                shutil.rmtree(mount.source + MOVING, ignore_errors=True)
                # cp knows sockets, links, owners and extended attributes; shutil does not.
                self.call(["cp", "--archive", "--no-target-directory", target + MOVING, mount.source + MOVING])
                self.call(["sync", "--file-system", mount.volume.mount])
                os.rename(mount.source + MOVING, mount.source)
            else:
                os.mkdir(mount.source)
                os.chmod(mount.source, CLOSED.get(target, 0o755))
        if os.path.exists(target + MOVING):
            copies = (target + ASIDE + (f"-{n}" if n else "") for n in range(1000))
            os.rename(target + MOVING, next(c for c in copies if not os.path.exists(c)))
        self.do_mount(target, data)

    def do_enable(self, target: str, data: Mapping[str, Any]) -> None:
        self.call(["systemctl", "enable", "--quiet", *data["units"]])
