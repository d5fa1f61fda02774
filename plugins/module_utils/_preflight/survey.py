# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a survey's texts mean: parsers of kernel and configuration files. No I/O. Private to the collection."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

from ansible.module_utils.facts.system.distribution import Distribution

# The drop-in of kubernetes_host, and the 5 seconds that logind waits when nothing says otherwise.
INHIBIT_DROP_IN = "zz-runnerfleet.conf"
_SECONDS = {
    "": 1.0,
    "s": 1.0,
    "sec": 1.0,
    "ms": 0.001,
    "min": 60.0,
    "m": 60.0,
    "h": 3600.0,
    "hr": 3600.0,
    "d": 86400.0,
    "us": 1e-6,
}


def parse_key_values(text: str) -> dict[str, str]:
    """The lines of an os-release file, or of a section in a systemd configuration file."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith(("#", ";")))
    return {key.strip(): value.strip().strip("\"'") for key, value in pairs}


def os_family(system: str, like: str = "") -> str:
    """The os_family that Ansible's facts make of the ID and the ID_LIKE of an os-release file; the ID itself where they
    know none.
    """
    families = {
        re.sub(r"\W|_", "", name).lower(): family
        for family, names in Distribution.OS_FAMILY_MAP.items()
        for name in names
    }
    for name in (system, *like.split()):
        plain = re.sub(r"\W|_", "", name).lower()
        for form in (plain, f"{plain}linux", {"ol": "oraclelinux"}.get(plain, plain)):
            if form in families:
                return families[form]
    return system.capitalize()


def parse_meminfo(text: str) -> dict[str, int]:
    """/proc/meminfo in bytes."""
    sizes = {}
    for line in text.splitlines():
        name, _colon, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            sizes[name] = int(words[0]) * (1024 if words[1:] == ["kB"] else 1)
    return sizes


def parse_cpu_list(text: str) -> set[int]:
    """A kernel CPU list such as 0-3,8."""
    cpus: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, _dash, last = part.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    return cpus


def parse_listening(text: str) -> set[int]:
    """Ports in state LISTEN of /proc/net/tcp or tcp6."""
    rows = (line.split() for line in text.splitlines()[1:])
    return {int(row[1].rsplit(":", 1)[1], 16) for row in rows if len(row) > 3 and row[3] == "0A"}


def parse_routes(text: str) -> list[dict[str, str]]:
    """Networks of /proc/net/route, without the default route. What is the cluster's own is judged with its networks."""
    networks = []
    for row in (line.split() for line in text.splitlines()[1:]):
        if len(row) < 8 or row[7] == "00000000":
            continue
        # The kernel writes an address as the number that it is in memory, so in the byte order of this machine: x86 and
        # arm are little.
        address = ipaddress.IPv4Address(int.from_bytes(bytes.fromhex(row[1]), "little"))
        prefix = bin(int(row[7], 16)).count("1")
        networks.append({"cidr": str(ipaddress.IPv4Network((address, prefix), strict=False)), "interface": row[0]})
    return networks


def parse_inet6(text: str) -> list[dict[str, str]]:
    """Networks of the global addresses in /proc/net/if_inet6."""
    networks = []
    for row in (line.split() for line in text.splitlines()):
        if len(row) == 6 and row[3] == "00" and row[5] != "lo":
            address = ipaddress.IPv6Address(int(row[0], 16))
            networks.append(
                {"cidr": str(ipaddress.IPv6Network((address, int(row[2], 16)), strict=False)), "interface": row[5]}
            )
    return networks


def parse_image_version(manifest: str, name: str) -> str:
    """Version of an image in a manifest, without its v: the tag of .../<name>:v1.36.3. Empty where the image is not
    named.
    """
    found = re.search(rf"image:\s*\S*/{re.escape(name)}:v?([0-9][^\s@\"']*)", manifest)
    return found.group(1) if found else ""


def parse_span(text: str) -> float:
    """Seconds of a systemd time span such as 30, 5min 20s or infinity; raises ValueError for anything else."""
    if text.strip() == "infinity":
        return float("inf")
    parts = re.findall(r"([0-9.]+)\s*([a-z]*)", text)
    if not parts or re.sub(r"[0-9.]+\s*[a-z]*|\s", "", text) or any(unit not in _SECONDS for _number, unit in parts):
        raise ValueError(f"{text!r} is not a time span")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def inhibit_delay(delays: Mapping[str, str], ours: float) -> tuple[float, str]:
    """The InhibitDelayMaxSec that logind will use once our drop-in says `ours`, and the file that decides.

    Drop-ins win over the main file, the last name wins among them, and of two files with one name /etc wins over /run
    and /usr.
    """
    main = {path: value for path, value in delays.items() if path.endswith("/logind.conf")}
    drop_ins: dict[str, tuple[str, str]] = {}
    for folder in ("/usr/", "/run/", "/etc/"):
        for path, value in delays.items():
            if path.startswith(folder) and path not in main:
                drop_ins[path.rpartition("/")[2]] = (path, value)
    drop_ins[INHIBIT_DROP_IN] = (f"/etc/systemd/logind.conf.d/{INHIBIT_DROP_IN}", str(ours))
    path, value = drop_ins[max(drop_ins)]
    return parse_span(value), path
