# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes units, starts mounts, moves what lies where a volume will appear. Every step can be interrupted and repeated.
Private to the collection.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
from collections.abc import Sequence

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.apply_drives import Writer
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.model import Mount
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.plan_mounts import ASIDE
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.probe_drives import device_of
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.probe_mounts import mount_table, owner_of
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.steps import (
    BindDirectory,
    EnableUnits,
    MountVolume,
    MoveData,
    Remount,
    SetOwner,
    WriteFile,
)

MOVING = ".moving-to-nvme"
# As their programs make them: what pods and images are given is root's alone from the first moment.
CLOSED = {"/var/lib/kubelet": 0o700, "/var/lib/containerd": 0o700}
GET_FLAGS, SET_FLAGS, IMMUTABLE = 0x80086601, 0x40086602, 0x10


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


def write_file(_writer: Writer, step: WriteFile) -> None:
    """In one step, so that nobody reads half of it."""
    path, partial = step.target, f"{step.target}.partial"
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    with open(partial, "w") as file:
        file.write(step.content)
        os.fchmod(file.fileno(), 0o644)
        os.fsync(file.fileno())
    os.replace(partial, path)


def load_units(writer: Writer, starting: Sequence[Mount]) -> None:
    """systemd reads its units anew. Not only after a write: a run may have been interrupted between the two.

    At a boot without its drive, a mount waits for it. A reload that names another drive would let it go ahead of that
    one, so its job ends first.
    """
    if starting:
        units = [mount.unit for mount in starting]
        for job in writer.call(["systemctl", "show", "--property=Job", "--value", *units]).split():
            if job != "0":
                writer.drives.run(["systemctl", "cancel", job])  # it may have ended meanwhile
    writer.call(["systemctl", "daemon-reload"])


def mount_volume(writer: Writer, step: MountVolume) -> None:
    """Start a volume's mount, and see that it is there."""
    start(writer, step.mount)


def start(writer: Writer, mount: Mount) -> None:
    """Start a mount, and see that it is there."""
    os.makedirs(mount.target, mode=0o755, exist_ok=True)
    immutable(mount.target)
    writer.call(["systemctl", "start", mount.unit])
    if mount_table().get(mount.target) != (device_of(mount.node), mount.root):
        raise ValueError(
            f"{mount.unit} was started, but {mount.node} is not mounted at {mount.target}: see `systemctl status "
            f"{mount.unit}`"
        )


def set_owner(_writer: Writer, step: SetOwner) -> None:
    """Owner, group and mode of a volume's root, and of no directory below the mount."""
    mount = step.mount
    if mount_table().get(mount.target) != (device_of(mount.node), "/"):
        raise ValueError(f"{mount.target} is not mounted: its owner stays as it is")
    owner, group, mode = owner_of(mount.volume)
    os.chown(mount.target, owner, group)
    if mode >= 0:
        os.chmod(mount.target, mode)


def remount(writer: Writer, step: Remount) -> None:
    """With the options that its unit has now."""
    writer.call(["systemctl", "reload", step.mount.unit])


def move_data(_writer: Writer, step: MoveData) -> None:
    """Set the data aside in one step; bind_directory, which also runs after an interruption, copies it."""
    target, source = step.mount.target, step.mount.source
    if os.path.exists(source) or os.path.exists(target + MOVING):
        raise ValueError(f"{target} holds data, and so does {source}: move one of them away, then run this again")
    mutable(target)
    os.rename(target, target + MOVING)


def bind_directory(writer: Writer, step: BindDirectory) -> None:
    """Make the directory on its volume, bring what was set aside, and let it appear at its place."""
    mount, target = step.mount, step.mount.target
    # The volume was proven to be mounted by the step before, or by the plan: this directory is not on the root disk.
    if mount_table().get(mount.volume.mount) != (device_of(mount.node), "/"):
        raise ValueError(f"{mount.volume.mount} is not mounted: nothing is made below it")
    if not os.path.exists(mount.source):
        if os.path.exists(target + MOVING):
            shutil.rmtree(mount.source + MOVING, ignore_errors=True)
            # cp knows sockets, links, owners and extended attributes; shutil does not.
            writer.call(["cp", "--archive", "--no-target-directory", target + MOVING, mount.source + MOVING])
            writer.call(["sync", "--file-system", mount.volume.mount])
            os.rename(mount.source + MOVING, mount.source)
        else:
            os.mkdir(mount.source)
            os.chmod(mount.source, CLOSED.get(target, 0o755))
    if os.path.exists(target + MOVING):
        copies = (target + ASIDE + (f"-{n}" if n else "") for n in range(1000))
        os.rename(target + MOVING, next(c for c in copies if not os.path.exists(c)))
    start(writer, mount)


def enable_units(writer: Writer, step: EnableUnits) -> None:
    """They start at each boot."""
    writer.call(["systemctl", "enable", "--quiet", *step.arguments])
