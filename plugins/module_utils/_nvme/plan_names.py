# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which single drive a name means, now and after the next boot. No I/O. Private to the collection."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

BY_ID, BY_PATH = "/dev/disk/by-id/", "/dev/disk/by-path/"
# Such a link names what lies on a drive (a volume, an array, a mapping), and follows it to another one.
_OF_CONTENT = re.compile(r"(lvm-pv-uuid|md|dm|raid)-")
# PCI domains above 16 bits are numbered as their controllers are found (VMD): another boot, another number.
_CHANGING_DOMAIN = re.compile(r"pci-[1-9a-f][0-9a-f]{4,}:", re.IGNORECASE)


@dataclass(frozen=True)
class Device:
    """A whole block device as sysfs and udev describe it."""

    name: str
    numbers: tuple[str, ...] = ()  # wwid and serial, as far as it has them
    wwid: str = ""
    serial: str = ""
    model: str = ""
    nsid: str = ""
    subsystem: str = ""
    controller: str = ""
    hidden: bool = False
    links: tuple[str, ...] = ()  # below /dev/disk/by-id that lead to it
    claims: tuple[str, ...] = ()  # links that udev would make for it, whether or not another device has them now


@dataclass(frozen=True)
class KnownDrive:
    """A drive: one device, or several that are ways to one namespace. The first is used, the others are left alone."""

    devices: tuple[Device, ...]

    @property
    def name(self) -> str:
        return self.devices[0].name

    @property
    def links(self) -> list[str]:
        """The by-id paths of the drive."""
        return sorted({link for device in self.devices for link in device.links})


def meaningless(number: str) -> bool:
    """An identifier that was never given: all zeroes or all ones."""
    digits = re.sub(r"[-.:]", "", re.sub(r"^(eui|uuid|nguid|naa|0x)[.]?", "", number.lower()))
    return len(digits) >= 8 and set(digits) <= {digits[0]} and digits[0] in "0f"


def one_namespace(one: Device, other: Device) -> bool:
    """Whether two devices are two ways to one namespace. A clone has the same numbers, and is no other controller of
    one subsystem.
    """
    known = one.wwid and one.serial and one.nsid and one.controller and other.controller
    alike = (one.wwid, one.serial, one.nsid) == (other.wwid, other.serial, other.nsid)
    apart = one.subsystem and other.subsystem and one.subsystem != other.subsystem
    return bool(known and alike and not apart and one.controller != other.controller)


def natural(name: str) -> list[tuple[int, str]]:
    """nvme2n1 before nvme10n1."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.findall(r"\d+|\D+", name)]


def drives(devices: Sequence[Device]) -> list[KnownDrive]:
    """The drives among the devices, each with all ways to it."""
    groups: list[list[Device]] = []
    for device in sorted((d for d in devices if not d.hidden), key=lambda d: natural(d.name)):
        group = next((g for g in groups if all(one_namespace(device, d) for d in g)), None)
        if group:
            group.append(device)
        else:
            groups.append([device])
    return [KnownDrive(tuple(group)) for group in groups]


def escaped(text: str) -> str:
    """Text in the name of a link, as udev writes it."""
    return re.sub(r"[^\w#+\-.:=@]", "_", re.sub(r"\s+", "_", text.strip()))


def by_rule(link: str, drive: KnownDrive) -> bool:
    """Whether udev's rules give a drive this by-id link: nvme-<wwid>, nvme-<model>_<serial> or
    nvme-<model>_<serial>_<nsid>.
    """
    text = link[len(BY_ID) :]
    for device in drive.devices:
        if not device.name.startswith("nvme") or not text.startswith("nvme-"):
            continue
        plain = escaped(f"{device.model}_{device.serial}") if device.serial else ""
        if text[len("nvme-") :] in filter(None, (escaped(device.wwid), plain, plain and f"{plain}_{device.nsid}")):
            return True
    return False


def changing(name: str) -> str:
    """Why a path does not mean the same drive after every boot; empty where it does."""
    if name.startswith(BY_ID):
        return "names what lies on a drive, and may" if _OF_CONTENT.match(name[len(BY_ID) :]) else ""
    if name.startswith(BY_PATH):
        return (
            "has a PCI domain that is numbered anew at each boot, and may"
            if _CHANGING_DOMAIN.match(name[len(BY_PATH) :])
            else ""
        )
    return "is a name that may"


def meant(name: str, known: Sequence[KnownDrive], target: str = "") -> list[KnownDrive]:
    """All drives that a name may mean. `target`: the device that a path leads to now."""
    if not name.startswith("/"):
        return [drive for drive in known if any(name in device.numbers for device in drive.devices)]
    return [
        drive
        for drive in known
        if any(target == device.name or name in device.claims for device in drive.devices)
        or (name.startswith(BY_ID) and by_rule(name, drive))
    ]


def own_names(drive: KnownDrive, known: Sequence[KnownDrive]) -> list[str]:
    """The names that mean this drive and no other, best first: wwid, serial, by-id paths."""
    numbers = dict.fromkeys(number for device in drive.devices for number in device.numbers)
    names = [number for number in numbers if meant(number, known) == [drive]]
    return names + [link for link in drive.links if not changing(link) and meant(link, known, drive.name) == [drive]]
