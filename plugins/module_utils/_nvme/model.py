# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What lies on drives, what is desired of them, and what a plan is made of. No I/O. Private to the collection."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar

MIB = 1024**2
# Carried by the name of every GPT partition of ours; a partition without it is never touched.
MARK = "runnerfleet-"
# A partition with this ending has never been mounted, so an interrupted mkfs may start over.
NEW = ".new"
# A partition with this ending is larger than its filesystem: an interrupted run is known by it.
GROWING = ".grow"
# Tag and name of our volume group, name of our md array; nothing else is adopted.
GROUP = "runnerfleet"
# Stands for the array where a drive's identity is asked for.
ARRAY = f"md array {GROUP}"
# Of our volume group.
EXTENT = 4 * MIB
# Where the data of an array's member begin, and the chunk that its size is a multiple of.
OFFSET, CHUNK = 16 * MIB, 256 * 1024
# The smallest volume that mkfs.xfs accepts is 300 MiB.
MINIMUM = 320 * MIB
_NAMESPACE = uuid.UUID("c5b2e6d4-3f0e-5a63-9d0a-6f0f6f3a7a10")


class Kind(str, Enum):
    """Why a drive is not free: the documented words, in the order of docs/storage.md."""

    BOOT = "boot"
    MOUNTED = "mounted"
    SWAP = "swap"
    HOLDER = "holder"
    PARTITIONS = "partitions"
    SIGNATURE = "signature"
    EXCLUSIVE = "opened exclusively"
    OTHER_PATH = "multipath path"
    UNKNOWN = "unknown bytes"
    READ_ONLY = "read-only"
    NO_SIZE = "no usable size"
    NO_NAME = "no name of its own"
    UNOPENED = "cannot be opened"
    UNREAD = "cannot be read"


# What uses a drive of ours is us.
OWN_USE = (Kind.MOUNTED, Kind.HOLDER, Kind.EXCLUSIVE)


@dataclass(frozen=True)
class Reason:
    """Why a drive is not free. Code asks the kind, people read the text."""

    kind: Kind
    detail: str = ""

    @classmethod
    def of(cls, text: str) -> Reason:
        """A reason from its text, as a survey has it; words of no known kind say who holds the drive."""
        kind, _colon, detail = text.partition(": ")
        return cls(Kind(kind), detail) if kind in {known.value for known in Kind} else cls(Kind.HOLDER, text)

    def __str__(self) -> str:
        return f"{self.kind.value}: {self.detail}" if self.detail else self.kind.value


@dataclass(frozen=True)
class Partition:
    """A partition of a GPT; sizes in bytes."""

    number: int
    name: str
    start: int
    size: int
    node: str = ""
    filesystem: str = ""
    uuid: str = ""
    device: str = ""  # major:minor, empty while the kernel does not know the partition


@dataclass(frozen=True)
class Drive:
    """A drive as the inventory names it (`identity`) and as it was found."""

    identity: str
    node: str
    size: int
    sector: int = 512
    # What stays the same whatever name the inventory uses; follows from the names, for an array from its members.
    seed: str = field(default="", compare=False)
    found: tuple[Reason, ...] = ()  # what would be lost; consent by `wipe`
    blocked: tuple[Reason, ...] = ()  # what no consent covers
    model: str = ""
    member: str = ""  # the volume group (lvm:) or array (md:) of ours that it belongs to
    claimed: bool = False  # proven empty by us and interrupted while its table was written
    partitions: tuple[Partition, ...] = ()


@dataclass(frozen=True)
class Bind:
    """A directory of a volume and the place where it appears."""

    source: str
    target: str


@dataclass(frozen=True)
class Volume:
    """A filesystem that is desired."""

    name: str
    size: str = "rest"
    filesystem: str = "xfs"
    mount: str = ""
    options: str = "noatime"
    binds: tuple[Bind, ...] = ()
    owner: str = ""
    group: str = ""
    mode: str = ""


@dataclass(frozen=True)
class Placed:
    """Where a volume lies, or will lie once the plan is applied."""

    volume: Volume
    drive: Drive
    partition: Partition


@dataclass(frozen=True)
class Step:
    """One change of a plan. A kind of step is a class (steps.py): its fields are what the one who applies it needs, and
    its facts are attributes of the class.
    """

    target: str  # what is changed: a drive, a volume, a path, a unit
    text: str  # for people
    action: ClassVar[str]  # the word for it in the module's result
    replan: ClassVar[bool] = False  # what comes after it is known once it is done: the plan is made anew
    listed: ClassVar[bool] = True  # has a line in the diff; what has none stands there as a drive or as a file
    needs_units: ClassVar[bool] = False  # systemd reads its units before it

    @property
    def wiped(self) -> tuple[str, ...]:
        """Identities of the drives whose content is given up by it."""
        return ()


@dataclass
class Layout:
    """The plan for the drives."""

    steps: list[Step] = field(default_factory=list)
    destructive: list[dict[str, Any]] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    placed: list[Placed] = field(default_factory=list)
    grow: list[Step] = field(default_factory=list)  # filesystems grow while they are mounted, so after the mounts


def unit_name(path: str) -> str:
    """What `systemd-escape --path --suffix=mount` says."""
    text = path.strip("/")
    kept = re.compile(rb"[A-Za-z0-9:_.]")
    plain = [
        "-" if b == b"/" else b.decode() if kept.match(b) else f"\\x{b[0]:02x}"
        for b in (bytes([c]) for c in text.encode())
    ]
    if text.startswith("."):
        plain[0] = "\\x2e"
    return "".join(plain) + ".mount"


@dataclass(frozen=True)
class Mount:
    """A mount that is desired: what lies at `target` has this device and this root inside of it."""

    target: str
    node: str
    device: str
    root: str
    volume: Volume
    bind: Bind | None = None

    @property
    def unit(self) -> str:
        return unit_name(self.target)

    @property
    def source(self) -> str:
        """The directory of a bind on its volume."""
        return f"{self.volume.mount}{self.root}"


@dataclass(frozen=True)
class System:
    """Host state that mount planning needs."""

    files: Mapping[str, str] = field(default_factory=dict)
    mounts: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # target: (device, root) of the topmost mount
    links: frozenset[str] = frozenset()  # which of the desired links exist
    non_empty: frozenset[str] = frozenset()  # desired targets that are not mounted and hold something
    running: frozenset[str] = frozenset()  # which of the services run
    fstrim: bool = False  # fstrim.timer exists and is not enabled
    wrong_owner: frozenset[str] = frozenset()  # mounts whose root needs another owner, group or mode


@dataclass(frozen=True)
class Group:
    """The volume group or array of ours as it was found; drives by their `seed`."""

    kind: str = "lvm"
    uuid: str = ""
    refusal: str = ""  # why it cannot be used at all
    missing: tuple[str, ...] = ()
    drives: tuple[str, ...] = ()
    level: str = ""
    array: Drive | None = None  # while it runs
    holder: str = ""  # the array's kernel name, running or not
    extent: int = EXTENT
    total: Mapping[str, int] = field(default_factory=dict)
    free: Mapping[str, int] = field(default_factory=dict)
    volumes: tuple[Partition, ...] = ()
    foreign: frozenset[str] = frozenset()  # volumes of a kind that is not made here: thin ones
    growing: frozenset[str] = frozenset()  # extended by an interrupted run, whose filesystem may not have grown


def drive_tag(seed: str) -> str:
    """The volume group remembers its drives by name, so that a missing one can be named."""
    return f"{GROUP}.drive={re.sub('[^A-Za-z0-9_+./=!:&#-]', '_', seed)}"


def volume_name(partition: str) -> str:
    """The volume that a partition of ours, by its name, is or will be."""
    return partition[len(MARK) :].removesuffix(NEW).removesuffix(GROWING)


def ours(drive: Drive) -> bool:
    """Whether a drive carries our mark: the one place that tells ours from foreign."""
    return bool(drive.member) or any(p.name.startswith(MARK) for p in drive.partitions)


def foreign_use(drive: Drive) -> list[Reason]:
    """What stands against using a drive, what we use it for ourselves left out."""
    return [reason for reason in drive.blocked if not (ours(drive) and reason.kind in OWN_USE)]


def identifier(drive: Drive, volume: str) -> str:
    """The UUID of a filesystem, known before it is made, so that the whole plan, mount units included, can be shown."""
    return str(uuid.uuid5(_NAMESPACE, f"{drive.seed or drive.identity}/{volume}"))


def table_uuid(drive: Drive, name: str = "") -> str:
    """The GUID of a drive's table, or of one of its partitions."""
    return str(uuid.uuid5(_NAMESPACE, f"{drive.seed or drive.identity}#{name}"))
