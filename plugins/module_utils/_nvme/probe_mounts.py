# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads what mounts depend on: units, mounts, links, services. Never writes. Private to the collection."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.model import Placed, System, Volume
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.plan_mounts import (
    WANTS,
    desired_mounts,
    unit_files,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.probe_drives import Drives, mountinfo

FSTRIM = "/usr/lib/systemd/system/fstrim.timer", "/lib/systemd/system/fstrim.timer"


def mount_table() -> dict[str, tuple[str, str]]:
    """Device and root of the topmost mount at every target."""
    return {target: (device, root) for device, root, target in mountinfo()}


def filled(path: str) -> bool:
    """Whether a directory holds anything."""
    return os.path.isdir(path) and bool(os.listdir(path))


def owner_of(volume: Volume) -> tuple[int, int, int]:
    """Owner, group and mode of the volume's root, -1 where nothing is desired; raises ValueError for a name that the
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
    """Whether the volume's root is as desired; what is not mounted is not known."""
    desired = owner_of(volume)
    if not mounted:
        return desired == (-1, -1, -1)
    status = os.stat(volume.mount)
    return all(
        w in (-1, have) for w, have in zip(desired, (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)))
    )


def system(drives: Drives, placed: Sequence[Placed], services: Sequence[str]) -> System:
    """What the host has of what the mounts need."""
    mounts, table = desired_mounts(placed), mount_table()
    files = {path: Path(path).read_text() for path in unit_files(placed, services) if os.path.exists(path)}
    links = frozenset(f"{WANTS}/{m.unit}" for m in mounts if os.path.islink(f"{WANTS}/{m.unit}"))
    hidden = frozenset(m.target for m in mounts if m.target not in table and filled(m.target))
    running: list[str] = []
    if hidden:
        running = [s for s in services if drives.run(["systemctl", "is-active", "--quiet", s])[0] == 0]
    enabled = os.path.lexists("/etc/systemd/system/timers.target.wants/fstrim.timer")
    trim = any(map(os.path.exists, FSTRIM)) and not enabled
    unowned = frozenset(
        p.volume.mount for p in placed if p.volume.mount and not owned(p.volume, p.volume.mount in table)
    )
    return System(files, table, links, hidden, frozenset(running), trim, unowned)
