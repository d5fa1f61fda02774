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
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme import ARRAY, GROUP, MARK, MIB, NEW, Drive, Partition

# Lies in the first MiB, behind the table's entries and before the first partition. Written first of all, cleared once the table stands:
# a drive with this and nothing but a table is one that was proven empty by us and then interrupted.
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
    "thin_check": "thin-provisioning-tools (Debian, Ubuntu) or device-mapper-persistent-data (Enterprise Linux)",
    "mdadm": "mdadm",
}
Run = Callable[..., "tuple[int, str, str]"]


def text(path: Path) -> str:
    """A sysfs attribute, empty where there is none."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def device_of(path: str) -> str:
    """major:minor of a block device, empty for anything else."""
    try:
        status = os.stat(path)
    except OSError:
        return ""
    return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}" if stat.S_ISBLK(status.st_mode) else ""


def unescaped(path: str) -> str:
    """mountinfo writes a blank as \\040."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)


def mountinfo() -> Iterator[tuple[str, str, str]]:
    """Device, root and target of every mount of this mount namespace."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
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
        self.run = run

    def resolve(self, identity: str) -> Path:
        """The sysfs directory of the one whole drive that a by-id path, a wwid or a serial names."""
        if identity == ARRAY:
            found = self.arrays()
        elif identity.startswith("/"):
            if not identity.startswith(("/dev/disk/by-id/", "/dev/disk/by-path/")):
                links = self.links(os.path.basename(os.path.realpath(identity)))
                stable = ", ".join(links) or "/dev/disk/by-id/..., its wwid or its serial"
                raise ValueError(f"{identity} is a name that may mean another drive after the next boot: use {stable}")
            found = [Path("/sys/class/block", os.path.basename(os.path.realpath(identity)))] if device_of(identity) else []
        else:
            found = [p for p in sorted(Path("/sys/block").iterdir()) if identity in self.numbers(p) and text(p / "hidden") != "1"]
        if not found:
            raise ValueError(f"{identity} is not a block device of this host: expected a /dev/disk/by-id/ path, a wwid or a serial of one")
        if len(found) > 1:
            raise ValueError(f"{identity} names {len(found)} drives ({', '.join(p.name for p in found)}): use the by-id path of one")
        if (found[0] / "partition").exists():
            raise ValueError(f"{identity} is a partition ({found[0].name}): name the whole drive")
        return found[0]

    @staticmethod
    def numbers(sysfs: Path) -> list[str]:
        """wwid and serial of a drive."""
        places = ("wwid", "device/wwid", "device/serial", "serial")
        return list(dict.fromkeys(filter(None, (" ".join(text(sysfs / place).split()) for place in places))))

    @staticmethod
    def links(name: str) -> list[str]:
        """The by-id paths of a drive."""
        folder = Path("/dev/disk/by-id")
        return sorted(str(p) for p in folder.iterdir() if os.path.basename(os.path.realpath(p)) == name) if folder.is_dir() else []

    def namespaces(self) -> tuple[list[Path], list[str]]:
        """Every NVMe namespace, and the hidden devices that are one of several paths to one."""
        named = [p for p in sorted(Path("/sys/class/block").glob("nvme*")) if re.fullmatch(r"nvme\d+(c\d+)?n\d+", p.name)]
        hidden = [p.name for p in named if text(p / "hidden") == "1"]
        return [p for p in named if p.name not in hidden], hidden

    def arrays(self) -> list[Path]:
        """The running md arrays of ours."""
        nodes = [p for p in sorted(Path("/sys/class/block").glob("md*")) if (p / "md").is_dir()]
        return [p for p in nodes if any(self.array_of(self.probe(f"/dev/{m.name}")) for m in (p / "slaves").glob("*"))]

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
        """Everything about one drive that the inventory names. `held` is an exclusive descriptor on it, when the caller has one."""
        return self.inspect(self.resolve(identity), identity, held)

    def inspect(self, sysfs: Path, identity: str = "", held: int | None = None) -> Drive:
        """Everything about one drive."""
        node, size = f"/dev/{sysfs.name}", int(text(sysfs / "size")) * 512
        numbers, links = self.numbers(sysfs), self.links(sysfs.name)
        identity = identity or (numbers or links or [node])[0]
        blocked = self.blocked(node, sysfs, held)
        try:
            seen, signatures = self.signatures(node)
        except ValueError as error:
            raise ValueError("; ".join([f"{identity} ({node}): {error}", *blocked])) from error
        partitions = self.table(node, sysfs) if seen.get("PTTYPE") == "gpt" else ()
        member, loose = self.array_of(seen), True
        if "LVM2_member" in signatures:
            member, loose, signatures = self.volume_group(seen, signatures)
        # Once one partition has lost the ending, files may lie on it: from then on a forgotten claim means nothing.
        fresh = all(p.name.startswith(MARK) and p.name.endswith(NEW) for p in partitions)
        claimed = self.has_claim(node) and fresh and (loose or bool(member)) and ("linux_raid_member" not in signatures or bool(member))
        found: tuple[str, ...] = ()
        if claimed or not any(p.name.startswith(MARK) for p in partitions):
            found = self.content(node, size, sysfs, claimed, partitions, signatures)
        return Drive(
            identity=identity,
            node=node,
            size=size,
            sector=int(text(sysfs / "queue/logical_block_size") or 512),
            seed=(numbers or links or [identity])[0],
            names=tuple(dict.fromkeys([*numbers, *links])),
            found=found,
            blocked=blocked,
            model=" ".join(text(sysfs / "device/model").split()),
            member=member,
            claimed=claimed,
            partitions=() if claimed and not found else partitions,
        )

    def volume_group(self, seen: dict[str, str], signatures: list[str]) -> tuple[str, bool, list[str]]:
        """The volume group of ours that a drive belongs to, whether it is known to belong to none, and the signatures with its name."""
        rows = [r for r in self.report("pvs", "pv_uuid,vg_name,vg_uuid,vg_tags") if r["pv_uuid"] == seen.get("UUID")]
        row = rows[0] if rows else {}
        if not row or not row["vg_name"]:
            return "", bool(row), signatures
        named = [f"{s} of volume group {row['vg_name']}" if s == "LVM2_member" else s for s in signatures]
        return (f"lvm:{row['vg_uuid']}" if GROUP in row["vg_tags"].split(",") else ""), False, named

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

    def table(self, node: str, sysfs: Path) -> tuple[Partition, ...]:
        """The partitions of a GPT, read from the drive, whether or not the kernel knows them."""
        status, out, error = self.run(["sfdisk", "--json", node])
        if status:
            raise ValueError(f"cannot read the partition table of {node}: {error.strip()}")
        content = json.loads(out)["partitiontable"]
        sector, partitions = int(content.get("sectorsize", 512)), []
        for entry in content.get("partitions", []):
            name, start, size = entry.get("name", ""), entry["start"] * sector, entry["size"] * sector
            digits = entry["node"][len(node) :].lstrip("p")
            seen = self.probe(node, "-O", str(start), "-S", str(size)) if name.startswith(MARK) and not name.endswith(NEW) else {}
            device = text(sysfs / os.path.basename(entry["node"]) / "dev")
            partitions.append(Partition(int(digits), name, start, size, entry["node"], seen.get("TYPE", ""), seen.get("UUID", ""), device))
        return tuple(partitions)

    @staticmethod
    def has_claim(node: str) -> bool:
        with open(node, "rb") as device:
            device.seek(CLAIM_AT)
            return device.read(len(CLAIM)) == CLAIM

    def content(
        self, node: str, size: int, sysfs: Path, claimed: bool, partitions: tuple[Partition, ...], signatures: list[str]
    ) -> tuple[str, ...]:
        """All that speaks against calling the drive empty."""
        found = [f"signature: {s}" for s in signatures if not (claimed and s in OWN_SIGNATURES)]
        foreign = [p.name or f"number {p.number}" for p in partitions if not claimed]
        known = sorted(p.name for p in sysfs.iterdir() if (p / "partition").exists())
        if foreign:
            found.append(f"partitions: {', '.join(foreign)}")
        elif known and not claimed:
            found.append(f"partitions: {', '.join(known)}")
        with open(node, "rb", buffering=0) as device:
            for offset in sorted({0, max(size - MIB, 0), *(size * i // SAMPLES // MIB * MIB for i in range(SAMPLES))}):
                if claimed and (offset < MIB or offset >= size - MIB):
                    continue
                device.seek(offset)
                block = device.read(MIB)
                if block != ZEROES[: len(block)]:  # ten times as fast as counting
                    found.append(f"unknown bytes: in the MiB at {offset}")
                    break
        return tuple(found)

    def blocked(self, node: str, sysfs: Path, held: int | None) -> tuple[str, ...]:
        """What uses the drive."""
        family = self.family(sysfs)
        devices = {text(p / "dev"): p.name for p in family}
        reasons = ["read-only"] if text(sysfs / "ro") == "1" else []
        for device, _root, target in mountinfo():
            if device in devices:
                reasons.append(f"boot: {target}" if target in ("/", "/boot", "/boot/efi", "/usr") else f"mounted: {target}")
        for line in Path("/proc/swaps").read_text().splitlines()[1:]:
            if device_of(line.split()[0]) in devices:
                reasons.append(f"swap: {line.split()[0]}")
        holders = sorted({h.name for p in family for h in (p / "holders").glob("*")})
        if holders:
            reasons.append(f"holder: {', '.join(holders)}")
        if not reasons and held is None:
            try:
                os.close(os.open(node, os.O_RDONLY | os.O_EXCL))
            except OSError as error:
                busy = error.errno == errno.EBUSY
                reasons.append("opened exclusively: by another program" if busy else f"cannot be opened: {error.strerror}")
        return tuple(dict.fromkeys(reasons))

    def family(self, sysfs: Path) -> list[Path]:
        """The drive, its partitions and all that is stacked on them."""
        members = [sysfs, *(p for p in sysfs.iterdir() if (p / "partition").exists())]
        for member in members:  # grows while it is walked
            members += [p for p in (Path("/sys/class/block", h.name) for h in (member / "holders").glob("*")) if p not in members]
        return members
