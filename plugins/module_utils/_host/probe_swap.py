# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What turns swap on at the next boot: fstab, units, init scripts, rc.local, cron, udev. Reads only. Private to the
collection.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host.plan_settings import without_swap

ROOT = Path("/")
OWN = "etc/systemd/system"
# In the order in which systemd takes a unit's file. What generators write follows from what is looked at here.
FOLDERS = (OWN, "run/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system", "lib/systemd/system")
GENERATED = ("run/systemd/generator", "run/systemd/generator.early", "run/systemd/generator.late")
SWAPON = re.compile(r"^(?!\s*[#;]).*\bswapon\b(?!\s+(-s|--show|--summary))", re.MULTILINE)
# A program that cannot be read as a script is known by its unit's name: zramswap, zram-config, dphys-swapfile,
# systemd-swap, swapspace.
NAMES = re.compile(r"(.*zram.*|(.*-)?swap(file|space|on)?)(@.*)?\.service")
SCRIPT_BYTES = 256 * 1024


@dataclass(frozen=True)
class Source:
    """Something that turns swap on at boot. `links`: what has to go so that it does not; none where a person has to
    take it out.
    """

    name: str
    why: str
    links: tuple[str, ...] = ()


def text(path: Path) -> str:
    """A script or a configuration file; empty for what is none."""
    try:
        if path.stat().st_size > SCRIPT_BYTES:
            return ""
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""


def at(path: str) -> Path:
    return ROOT / path.lstrip("/")


def masked(unit: str) -> bool:
    """Whether systemd does not start a unit, whatever asks for it."""
    place = at(f"{OWN}/{unit}")
    return os.path.islink(place) and os.readlink(place) == "/dev/null"


def unit_text(unit: str, link: Path) -> str:
    """A unit's file and drop-ins; of an instance, those of its template too."""
    name, at_sign, _rest = unit.partition("@")
    names = [unit, f"{name}@.{unit.rpartition('.')[2]}"] if at_sign else [unit]
    files = [at(f"{folder}/{one}") for one in names for folder in FOLDERS]
    body = next((found for found in map(text, [*files, link]) if found), "")
    drop_ins = (path for one in names for folder in FOLDERS for path in sorted(at(f"{folder}/{one}.d").glob("*.conf")))
    return "\n".join([body, *map(text, drop_ins)])


def reason(unit: str, body: str) -> str:
    """Why a unit turns swap on; empty where it does not."""
    if unit.endswith(".swap"):
        return "is a swap unit"
    commands = re.findall(r"^Exec(?:Start|StartPre|StartPost|Condition)=(.*)$", body, re.MULTILINE)
    if any(SWAPON.search(command) for command in commands):
        return "calls swapon"
    programs = [word.strip("\"'-+!@:") for command in commands for word in command.split() if "/" in word]
    programs = [program for program in programs if program.startswith("/")]
    calling = next((program for program in programs if SWAPON.search(text(at(program)))), "")
    if calling:
        return f"runs {calling}, which calls swapon"
    stops = any("swapoff" in command for command in commands)
    unread = not programs or not all(text(at(program)) for program in programs)
    return "is known to set up swap" if NAMES.fullmatch(unit) and unread and not stops else ""


def wanted(folders: tuple[str, ...]) -> dict[str, list[Path]]:
    """Units that others ask for, with the links that say so."""
    found: dict[str, list[Path]] = {}
    for folder in folders:
        for link in sorted([*at(folder).glob("*.wants/*"), *at(folder).glob("*.requires/*")]):
            found.setdefault(link.name, []).append(link)
    return found


def units() -> Iterator[Source]:
    """Units that turn swap on, by themselves or by a timer, path or socket."""
    through_target = masked("swap.target")
    for unit, links in wanted(FOLDERS).items():
        started = re.sub(r"\.(timer|path|socket)$", ".service", unit)
        activated = (
            re.search(r"^(?:Unit|Service)=(\S+)$", unit_text(unit, links[0]), re.MULTILINE) if started != unit else None
        )
        started = activated[1] if activated else started
        why = reason(started, unit_text(started, links[0]))
        asking = [link for link in links if not (through_target and link.parent.name.startswith("swap.target."))]
        if why and asking and not masked(unit) and not masked(started):
            yield Source(unit, why, tuple("/" + str(link.relative_to(ROOT)) for link in asking))


def of_target() -> Iterator[Source]:
    """What generators let swap.target ask for, unless that is masked: partitions by their type, zram-generator,
    fstab.
    """
    if not masked("swap.target"):
        for unit in wanted(GENERATED):
            if unit.endswith(".swap"):
                yield Source(unit, "is a swap unit that a generator makes", (f"/{OWN}/swap.target",))
        for folder in ("etc", "run", "usr/local/lib", "usr/lib"):
            for path in [
                at(f"{folder}/systemd/zram-generator.conf"),
                *sorted(at(f"{folder}/systemd/zram-generator.conf.d").glob("*.conf")),
            ]:
                if re.search(r"^\s*\[zram", text(path), re.MULTILINE):
                    yield Source(f"/{path.relative_to(ROOT)}", "configures swap in zram", (f"/{OWN}/swap.target",))


def scripts() -> Iterator[Source]:
    """SysV scripts, rc.local, cron and udev."""
    for script in sorted(at("etc/init.d").glob("*")):
        links = [
            link
            for link in sorted(at("etc").glob("rc[2345S].d/S*"))
            if os.path.basename(os.path.realpath(link)) == script.name
        ]
        native = any(at(f"{folder}/{script.name}.service").exists() for folder in FOLDERS)
        if links and not native and not masked(f"{script.name}.service") and SWAPON.search(text(script)):
            yield Source(
                f"/{script.relative_to(ROOT)}",
                "calls swapon",
                tuple("/" + str(link.relative_to(ROOT)) for link in links),
            )
    for name in ("etc/rc.local", "etc/rc.d/rc.local"):
        if os.access(at(name), os.X_OK) and SWAPON.search(text(at(name))):
            yield Source(f"/{name}", "calls swapon")
    crontabs = [
        at("etc/crontab"),
        *(
            p
            for folder in ("etc/cron.d", "var/spool/cron", "var/spool/cron/crontabs")
            for p in sorted(at(folder).glob("*"))
        ),
    ]
    for path in crontabs:
        if re.search(r"^\s*@reboot\b.*\bswapon\b", text(path), re.MULTILINE):
            yield Source(f"/{path.relative_to(ROOT)}", "calls swapon @reboot")
    for path in sorted(at("etc/udev/rules.d").glob("*.rules")):
        if SWAPON.search(text(path)):
            yield Source(f"/{path.relative_to(ROOT)}", "calls swapon")


def sources() -> list[Source]:
    """All that turns swap on at boot."""
    fstab = text(at("etc/fstab"))
    found = [Source("/etc/fstab", "has swap entries", ("/etc/fstab",))] if without_swap(fstab) != fstab else []
    seen = [*found, *units(), *of_target(), *scripts()]
    return list({source.name: source for source in reversed(seen)}.values())[::-1]
