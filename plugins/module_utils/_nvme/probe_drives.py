# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads drives: which device a name means, what holds it, what lies on it. Never writes. Private to the collection."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.model import (
    ARRAY,
    GROUP,
    MARK,
    MIB,
    NEW,
    Drive,
    Kind,
    Partition,
    Reason,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.plan_names import (
    BY_ID,
    Device,
    KnownDrive,
    changing,
    meaningless,
    meant,
    own_names,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.plan_names import drives as known_drives

# Lies in the first MiB, behind the table's entries and before the first partition. Written first of all, cleared once
# the table stands: a drive with this and nothing but a table is one that was proven empty by us and then interrupted.
CLAIM = b"runnerfleet: partition table is being written\n".ljust(4096, b"\0")
CLAIM_AT = MIB - len(CLAIM)
# What an interrupted sfdisk, vgcreate or mdadm may leave behind.
OWN_SIGNATURES = ("gpt", "PMBR", "dos", "LVM2_member", "linux_raid_member")
SAMPLES = 256
ZEROES = bytes(MIB)
TOOLS = {
    "blkid": "util-linux",
    "wipefs": "util-linux",
    "partx": "util-linux",
    "sfdisk": "fdisk (Debian, Ubuntu) or util-linux (Enterprise Linux)",
    "mkfs.xfs": "xfsprogs",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.btrfs": "btrfs-progs",
    "vgcreate": "lvm2",
    "mdadm": "mdadm",
}
Run = Callable[..., "tuple[int, str, str]"]
# What reading a drive may raise: the device fails, or a tool answers something else than it should.
BAD_ANSWER = (OSError, ValueError, LookupError, TypeError, AttributeError)
ROOT = Path("/")


def at(*path: str) -> Path:
    """A place of the host."""
    return ROOT.joinpath(*(part.lstrip("/") for part in path))


def text(path: Path) -> str:
    """A sysfs attribute, empty where there is none."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def device_of(path: str) -> str:
    """major:minor of a block device, empty for anything else."""
    try:
        status = os.stat(at(path))
    except OSError:
        return ""
    return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}" if stat.S_ISBLK(status.st_mode) else ""


def unescaped(path: str) -> str:
    """mountinfo writes a blank as \\040."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)


def mountinfo() -> Iterator[tuple[str, str, str]]:
    """Device, root and target of every mount of this mount namespace."""
    for line in at("/proc/self/mountinfo").read_text().splitlines():
        before, after = line.split(" - ", 1)
        device, root, target = before.split()[2:5]
        source = unescaped(after.split()[1])
        # btrfs mounts under a device number of its own: there the source tells.
        if device.startswith("0:") and source.startswith("/dev/"):
            device = device_of(source) or device
        yield device, unescaped(root), unescaped(target)


class Drives:
    """The drives of this host."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def run(self, command: list[str], **options: Any) -> tuple[int, str, str]:
        """Run a tool; one that is not installed fails like any other, with the package that has it."""
        try:
            return self._run(command, handle_exceptions=False, **options)
        except FileNotFoundError:
            return 127, "", f"{command[0]} is not installed: install package {TOOLS.get(command[0], command[0])}"

    def call(self, command: Sequence[str], **options: Any) -> str:
        """What a tool printed; ValueError with its words where it fails."""
        status, out, error = self.run(list(command), **options)
        if status:
            raise ValueError(f"{' '.join(command)} failed ({status}): {(error or out).strip()}")
        return out

    def known(self) -> list[KnownDrive]:
        """Every drive of the host, each with all ways to it."""
        links: dict[str, list[str]] = {}
        for link in sorted(at(BY_ID).glob("*")):
            links.setdefault(os.path.basename(os.path.realpath(link)), []).append(BY_ID + link.name)
        return known_drives([self.device(p, links.get(p.name, [])) for p in sorted(at("/sys/block").glob("*"))])

    def device(self, sysfs: Path, links: list[str]) -> Device:
        """A block device, as names are concerned."""
        number = text(sysfs / "dev")
        data = text(at(f"/run/udev/data/b{number}")) if number else ""
        return Device(
            sysfs.name,
            numbers=tuple(self.numbers(sysfs)),
            wwid=text(sysfs / "wwid"),
            serial=text(sysfs / "device/serial"),
            model=text(sysfs / "device/model"),
            nsid=text(sysfs / "nsid"),
            subsystem=text(sysfs / "device/subsysnqn"),
            controller=text(sysfs / "device/cntlid"),
            hidden=text(sysfs / "hidden") == "1",
            links=tuple(links),
            claims=tuple(f"/dev/{line[2:]}" for line in data.splitlines() if line.startswith("S:")),
        )

    def drive_of(self, name: str) -> KnownDrive:
        """The drive that a device is, or is a way to."""
        return next(
            (d for d in self.known() if name in (device.name for device in d.devices)), KnownDrive((Device(name),))
        )

    def resolve(self, identity: str) -> Path:
        """The sysfs directory of the one whole drive that a by-id path, a wwid or a serial names, now and after the
        next boot.
        """
        if identity == ARRAY:
            found = [path.name for path in self.arrays()]
            if len(found) == 1:
                return at("/sys/class/block", found[0])
            raise ValueError(f"{identity}: found {len(found)} running arrays, expected one")
        name = os.path.normpath(identity) if identity.startswith("/") else identity
        target = os.path.basename(os.path.realpath(at(name))) if name.startswith("/") and device_of(name) else ""
        known = self.known()
        reason = changing(name) if name.startswith("/") else ""
        if reason:
            drive = next((d for d in known if target and target in (device.name for device in d.devices)), None)
            stable = (
                ", ".join(own_names(drive, known) if drive else []) or "/dev/disk/by-id/..., its wwid or its serial"
            )
            raise ValueError(f"{identity} {reason} mean another drive after the next boot: use {stable}")
        if target and at("/sys/class/block", target, "partition").exists():
            raise ValueError(f"{identity} is a partition ({target}): name the whole drive")
        drives = meant(name, known, target) if target or not name.startswith("/") else []
        if not drives:
            raise ValueError(
                f"{identity} is not a block device of this host: expected a /dev/disk/by-id/ path, a wwid or a serial "
                "of one"
            )
        if len(drives) > 1:
            own = ", ".join(f"{(own_names(d, known) or ['no name'])[0]} for {d.name}" for d in drives)
            names = ", ".join(d.name for d in drives)
            raise ValueError(
                f"{identity} names {len(drives)} drives ({names}): use a name that one alone has, which is {own}"
            )
        return at("/sys/class/block", drives[0].name)

    @staticmethod
    def numbers(sysfs: Path) -> list[str]:
        """wwid and serial of a drive."""
        places = ("wwid", "device/wwid", "device/serial", "serial")
        found = filter(None, (" ".join(text(sysfs / place).split()) for place in places))
        return [number for number in dict.fromkeys(found) if not meaningless(number)]

    def names(self, name: str) -> list[str]:
        """The names that mean this drive and no other, best first."""
        known = self.known()
        return own_names(
            next((d for d in known if name in (device.name for device in d.devices)), KnownDrive((Device(name),))),
            known,
        )

    def namespaces(self) -> tuple[list[Path], list[str]]:
        """Every NVMe drive, and the devices that are further ways to one."""
        drives = [d for d in self.known() if re.fullmatch(r"nvme\d+n\d+", d.name)]
        named = [
            p.name for p in sorted(at("/sys/class/block").glob("nvme*")) if re.fullmatch(r"nvme\d+(c\d+)?n\d+", p.name)
        ]
        return [at("/sys/class/block", d.name) for d in drives], [
            name for name in named if name not in {d.name for d in drives}
        ]

    def arrays(self) -> list[Path]:
        """The running md arrays of ours."""
        nodes = [p for p in sorted(at("/sys/class/block").glob("md*")) if (p / "md").is_dir()]
        return [p for p in nodes if any(self.in_array(f"/dev/{member.name}") for member in (p / "slaves").glob("*"))]

    def in_array(self, node: str) -> bool:
        """Whether a drive belongs to an array of ours; one that cannot be read does not say so."""
        try:
            return bool(self.array_of(self.probe(node)))
        except ValueError:
            return False

    @staticmethod
    def array_of(seen: dict[str, str]) -> str:
        """The array of ours that a probed drive belongs to."""
        ours = seen.get("TYPE") == "linux_raid_member" and seen.get("LABEL", "").rpartition(":")[2] == GROUP
        return f"md:{seen.get('UUID', '')}" if ours else ""

    def report(self, program: str, fields: str) -> list[dict[str, str]]:
        """What LVM tells; nothing where it is not installed."""
        if not shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
            return []
        status, out, error = self.run([program, "--reportformat", "json", "--units", "b", "--nosuffix", "-o", fields])
        if status:
            raise ValueError(f"{program} failed ({status}): {error.strip()}")
        rows: list[dict[str, str]] = next(iter(json.loads(out)["report"][0].values()))
        return rows

    def read(self, identity: str, held: int | None = None) -> Drive:
        """Everything about one drive that the inventory names. `held` is an exclusive descriptor on it, when the caller
        has one.
        """
        return self.inspect(self.resolve(identity), identity, held)

    def inspect(self, sysfs: Path, identity: str = "", held: int | None = None, content: bool = True) -> Drive:
        """Everything about one drive, its content only on request. One that cannot be read is one that nothing may be
        written to.
        """
        sectors, names = text(sysfs / "size"), self.names(sysfs.name)
        bare = Drive(
            identity=identity or (names or [f"/dev/{sysfs.name}"])[0],
            node=f"/dev/{sysfs.name}",
            size=int(sectors) * 512 if sectors.isdigit() else 0,
            sector=int(text(sysfs / "queue/logical_block_size") or 512),
            seed=(names or [identity])[0],
            blocked=self.blocked(sysfs, held),
            model=" ".join(text(sysfs / "device/model").split()),
        )
        problems: tuple[Reason, ...] = (
            () if names or identity == ARRAY else (Reason(Kind.NO_NAME, "none that means this drive alone"),)
        )
        if not bare.size:
            problems += (Reason(Kind.NO_SIZE, "0 bytes"),)
        else:
            try:
                return replace(self.with_content(bare, sysfs, content), blocked=bare.blocked + problems)
            except BAD_ANSWER as error:
                problems += (Reason(Kind.UNREAD, str(error.strerror if isinstance(error, OSError) else error)),)
        return replace(bare, blocked=bare.blocked + problems)

    def with_content(self, drive: Drive, sysfs: Path, content: bool) -> Drive:
        """What lies on a drive: signatures, our mark, and on request whatever else."""
        seen, signatures = self.signatures(drive.node)
        partitions = self.partition_table(drive.node, sysfs) if seen.get("PTTYPE") == "gpt" else ()
        member, loose = self.array_of(seen), True
        if "LVM2_member" in signatures:
            member, loose, signatures = self.volume_group(seen, signatures, sysfs)
        elif not signatures:
            member = self.group_above(sysfs)
        # Once one partition has lost the ending, files may lie on it: from then on a forgotten claim means nothing.
        fresh = all(p.name.startswith(MARK) and p.name.endswith(NEW) for p in partitions)
        known = "linux_raid_member" not in signatures or bool(member)
        claimed = fresh and (loose or bool(member)) and known and self.has_claim(drive.node)
        found: tuple[Reason, ...] = ()
        if content and (claimed or not any(p.name.startswith(MARK) for p in partitions)):
            found = self.content(drive.node, drive.size, sysfs, claimed, partitions, signatures)
        return replace(
            drive, found=found, member=member, claimed=claimed, partitions=() if claimed and not found else partitions
        )

    def volume_group(self, seen: dict[str, str], signatures: list[str], sysfs: Path) -> tuple[str, bool, list[str]]:
        """The volume group of ours that a drive belongs to, whether it is known to belong to none, and the signatures
        with its name.
        """
        rows = [r for r in self.report("pvs", "pv_uuid,vg_name,vg_uuid,vg_tags") if r["pv_uuid"] == seen.get("UUID")]
        row = rows[0] if rows else {}
        if not row:
            return self.group_above(sysfs), False, signatures
        if not row["vg_name"]:
            return "", True, signatures
        named = [f"{s} of volume group {row['vg_name']}" if s == "LVM2_member" else s for s in signatures]
        return (f"lvm:{row['vg_uuid']}" if GROUP in row["vg_tags"].split(",") else ""), False, named

    @staticmethod
    def group_above(sysfs: Path) -> str:
        """The volume group of our name whose running volumes lie on a drive, as the kernel tells: LVM may be told not
        to list it.
        """
        for holder in sorted((sysfs / "holders").glob("dm-*")):
            uuid, name = text(holder / "dm/uuid"), text(holder / "dm/name")
            if uuid.startswith("LVM-") and name.startswith(f"{GROUP}-") and not name.startswith(f"{GROUP}--"):
                pieces = re.fullmatch(r"(.{6})(.{4})(.{4})(.{4})(.{4})(.{4})(.{6})", uuid[4:36])
                return f"lvm:{'-'.join(pieces.groups()) if pieces else uuid}"
        return ""

    def signatures(self, node: str) -> tuple[dict[str, str], list[str]]:
        """What blkid probes and the type of every signature, on the device itself: udev's cache may be old."""
        seen = self.probe(node)
        status, out, error = self.run(["wipefs", "--no-act", "--json", node])
        if status:
            raise ValueError(f"cannot read {node}: {error.strip()}")
        listed = [s["type"] for s in json.loads(out or "{}").get("signatures", [])]
        return seen, list(dict.fromkeys(filter(None, [seen.get("TYPE", ""), seen.get("PTTYPE", ""), *listed])))

    def probe(self, node: str, *where: str) -> dict[str, str]:
        """What blkid's low-level probe sees at a place."""
        status, out, error = self.run(["blkid", "-p", "-o", "export", *where, node])
        if status == 8:
            return {"TYPE": "more than one"}
        if status not in (0, 2):
            raise ValueError(f"cannot read {node}: {error.strip()}")
        return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)

    def partition_table(self, node: str, sysfs: Path) -> tuple[Partition, ...]:
        """The partitions of a GPT, read from the drive, whether or not the kernel knows them."""
        status, out, error = self.run(["sfdisk", "--json", node])
        if status:
            raise ValueError(f"cannot read the partition table of {node}: {error.strip()}")
        content = json.loads(out)["partitiontable"]
        sector, partitions = int(content.get("sectorsize", 512)), []
        for entry in content.get("partitions", []):
            name, start, size = entry.get("name", ""), entry["start"] * sector, entry["size"] * sector
            digits = entry["node"][len(node) :].lstrip("p")
            seen = (
                self.probe(node, "-O", str(start), "-S", str(size))
                if name.startswith(MARK) and not name.endswith(NEW)
                else {}
            )
            device = text(sysfs / os.path.basename(entry["node"]) / "dev")
            partitions.append(
                Partition(
                    int(digits), name, start, size, entry["node"], seen.get("TYPE", ""), seen.get("UUID", ""), device
                )
            )
        return tuple(partitions)

    @staticmethod
    def has_claim(node: str) -> bool:
        with open(at(node), "rb") as device:
            device.seek(CLAIM_AT)
            return device.read(len(CLAIM)) == CLAIM

    def content(
        self, node: str, size: int, sysfs: Path, claimed: bool, partitions: tuple[Partition, ...], signatures: list[str]
    ) -> tuple[Reason, ...]:
        """All that speaks against calling the drive empty."""
        found = [Reason(Kind.SIGNATURE, s) for s in signatures if not (claimed and s in OWN_SIGNATURES)]
        foreign = [p.name or f"number {p.number}" for p in partitions if not claimed]
        known = sorted(p.name for p in sysfs.iterdir() if (p / "partition").exists())
        if foreign:
            found.append(Reason(Kind.PARTITIONS, ", ".join(foreign)))
        elif known and not claimed:
            found.append(Reason(Kind.PARTITIONS, ", ".join(known)))
        with open(at(node), "rb", buffering=0) as device:
            for offset in sorted({0, max(size - MIB, 0), *(size * i // SAMPLES // MIB * MIB for i in range(SAMPLES))}):
                if claimed and (offset < MIB or offset >= size - MIB):
                    continue
                device.seek(offset)
                block = device.read(MIB)
                if block != ZEROES[: len(block)]:  # ten times as fast as counting
                    found.append(Reason(Kind.UNKNOWN, f"in the MiB at {offset}"))
                    break
        return tuple(found)

    def blocked(self, sysfs: Path, held: int | None) -> tuple[Reason, ...]:
        """What uses the drive, by whatever way to it."""
        ways = [at("/sys/class/block", device.name) for device in self.drive_of(sysfs.name).devices]
        family = [member for way in ways for member in self.family(way)]
        devices = {text(p / "dev"): p.name for p in family}
        reasons = [Reason(Kind.READ_ONLY)] if text(sysfs / "ro") == "1" else []
        for device, _root, target in mountinfo():
            if device in devices:
                reasons.append(
                    Reason(Kind.BOOT if target in ("/", "/boot", "/boot/efi", "/usr") else Kind.MOUNTED, target)
                )
        for line in at("/proc/swaps").read_text().splitlines()[1:]:
            if device_of(line.split()[0]) in devices:
                reasons.append(Reason(Kind.SWAP, line.split()[0]))
        holders = sorted({h.name for p in family for h in (p / "holders").glob("*")})
        if holders:
            reasons.append(Reason(Kind.HOLDER, ", ".join(holders)))
        if not reasons:
            reasons = [
                reason
                for way in ways
                if held is None or way.name != sysfs.name
                for reason in self.opened(f"/dev/{way.name}")
            ]
        return tuple(dict.fromkeys(reasons))

    @staticmethod
    def opened(node: str) -> list[Reason]:
        """Why a device cannot be opened by us alone."""
        try:
            os.close(os.open(at(node), os.O_RDONLY | os.O_EXCL))
        except OSError as error:
            if error.errno == errno.EBUSY:
                return [Reason(Kind.EXCLUSIVE, "by another program")]
            return [Reason(Kind.UNOPENED, str(error.strerror))]
        return []

    def family(self, sysfs: Path) -> list[Path]:
        """The drive, its partitions and all that is stacked on them."""
        members = [sysfs, *(p for p in (sysfs.iterdir() if sysfs.is_dir() else ()) if (p / "partition").exists())]
        for member in members:  # grows while it is walked
            members += [
                p for p in (at("/sys/class/block", h.name) for h in (member / "holders").glob("*")) if p not in members
            ]
        return members
