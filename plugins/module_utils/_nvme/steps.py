# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kinds of steps of a plan for drives. apply.py has the function for each. No I/O. Private to the collection."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.model import (
    Drive,
    Mount,
    Partition,
    Placed,
    Step,
)


@dataclass(frozen=True)
class ClearClaim(Step):
    """Take away the mark of a run that was interrupted."""

    action = "unclaim"
    node: str


@dataclass(frozen=True)
class PartitionDrive(Step):
    """Claim a drive and write its GPT."""

    action, listed = "partition", False
    drive: Drive
    partitions: tuple[Partition, ...]
    wipe: bool

    @property
    def wiped(self) -> tuple[str, ...]:
        """The drive, where it held something."""
        return (self.drive.identity,) if self.wipe else ()


@dataclass(frozen=True)
class VolumeStep(Step):
    """A step about one volume, where it lies or will lie."""

    placed: Placed


class MakeFilesystem(VolumeStep):
    """Make the filesystem of a volume that has none yet."""

    action, listed = "format", False


class AnnouncePartition(VolumeStep):
    """Make a partition known to the kernel."""

    action, listed = "announce", False


class GrowPartition(VolumeStep):
    """Let a partition grow, and then its filesystem."""

    action = "extend"


@dataclass(frozen=True)
class TakeDrives(Step):
    """Claim drives for a volume group or an array."""

    drives: tuple[Drive, ...]
    wipe: tuple[str, ...]  # identities of those that held something

    @property
    def wiped(self) -> tuple[str, ...]:
        """What consent has to name."""
        return self.wipe


@dataclass(frozen=True)
class GroupStep(TakeDrives):
    """Claim drives for our volume group, which remembers them by these tags."""

    action = "group"
    tags: tuple[str, ...]


class CreateVolumeGroup(GroupStep):
    """Make our volume group."""


class ExtendVolumeGroup(GroupStep):
    """Add drives to our volume group."""


class ActivateVolumes(Step):
    """Start the volumes of our group."""

    action, replan = "activate", True


@dataclass(frozen=True)
class MakeVolume(Step):
    """Make a volume that carries nothing yet, or go on with one."""

    action = "volume"
    name: str
    pieces: tuple[tuple[int, tuple[str, ...]], ...]  # extents, and the nodes of the drives that share them
    exists: bool


@dataclass(frozen=True)
class GrowVolume(Step):
    """Let a volume grow, and then its filesystem."""

    action = "grow"
    name: str
    pieces: tuple[tuple[int, tuple[str, ...]], ...]
    placed: Placed


@dataclass(frozen=True)
class CreateArray(TakeDrives):
    """Make our md array."""

    action, replan = "array", True
    level: str
    stop: str  # kernel name of one that was half made


@dataclass(frozen=True)
class RebuildArray(TakeDrives):
    """Add drives in place of lost ones."""

    action, replan = "rebuild", True
    node: str


@dataclass(frozen=True)
class AssembleArray(Step):
    """Start our md array."""

    action, replan = "assemble", True
    uuid: str
    drives: tuple[Drive, ...]
    stop: str
    degraded: bool = False


@dataclass(frozen=True)
class WriteFile(Step):
    """Write a unit, or a drop-in of one."""

    action, listed = "write", False
    before: str
    content: str


@dataclass(frozen=True)
class MountStep(Step):
    """A step about one mount."""

    mount: Mount


class MountVolume(MountStep):
    """Start the mount of a volume."""

    action, needs_units = "mount", True


class BindDirectory(MountStep):
    """Make a directory of a volume appear at its place."""

    action, needs_units = "bind", True


class MoveData(MountStep):
    """Set aside what lies where a directory of a volume will appear."""

    action = "move"


class Remount(MountStep):
    """Mount a volume with other options."""

    action, needs_units = "remount", True


class SetOwner(MountStep):
    """Owner, group and mode of a volume's root."""

    action = "own"


@dataclass(frozen=True)
class EnableUnits(Step):
    """Have units started at each boot."""

    action, needs_units = "enable", True
    arguments: tuple[str, ...]
