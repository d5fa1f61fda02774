# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Texts and decisions of host_config. Pure; private to the collection."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

HEADER = "# Managed by runnerfleet.baremetal: changes made here are lost."

# Where a kernel shows that it has a feature, whether or not a module was loaded for it: path, and a line that must be
# in it.
MODULE_EVIDENCE: dict[str, tuple[str, str]] = {
    "overlay": ("/proc/filesystems", "overlay"),
    "br_netfilter": ("/proc/sys/net/bridge/bridge-nf-call-iptables", ""),
    "nf_conntrack": ("/proc/sys/net/netfilter/nf_conntrack_max", ""),
    "nfnetlink_queue": ("/proc/net/netfilter/nfnetlink_queue", ""),
    "ip_tables": ("/proc/net/ip_tables_names", ""),
    "ip6_tables": ("/proc/net/ip6_tables_names", ""),
    "xfs": ("/proc/filesystems", "xfs"),
    "btrfs": ("/proc/filesystems", "btrfs"),
    "ext4": ("/proc/filesystems", "ext4"),
    "dm_mod": ("/proc/misc", "device-mapper"),
    "raid0": ("/proc/mdstat", "[raid0]"),
    "raid10": ("/proc/mdstat", "[raid10]"),
}


def evident(name: str, text: str | None) -> bool:
    """Whether the text of a module's evidence file shows the feature; None means that the file is not there."""
    needle = MODULE_EVIDENCE[name][1] if name in MODULE_EVIDENCE else ""
    return text is not None and (not needle or needle in text.split())


def builtin_modules(text: str) -> set[str]:
    """Names of the modules that modules.builtin lists."""
    return {re.sub(r"\.ko(\..*)?$", "", line.rsplit("/", 1)[-1]).replace("-", "_") for line in text.split()}


def modules_text(names: Iterable[str]) -> str:
    """A file for modules-load.d."""
    return "\n".join([HEADER, *names]) + "\n"


def sysctls_text(values: Mapping[str, Any]) -> str:
    """A file for sysctl.d."""
    return "\n".join([HEADER, *(f"{key} = {sysctl_value(value)}" for key, value in sorted(values.items()))]) + "\n"


def sysctl_value(value: Any) -> str:
    """A value as the kernel would show it, with single blanks."""
    if isinstance(value, bool):
        value = int(value)
    return " ".join(str(value).split())


def sysctl_path(key: str) -> str:
    """The file of a kernel parameter, in either notation of sysctl.d(5): the first separator, a dot or a slash, is the
    one that separates.

    Behind a first dot, dots and slashes change places; behind a first slash, both stay as they are. So
    net.ipv4.conf.bond0/101.rp_filter and net/ipv4/conf/bond0.101/rp_filter are the same.
    """
    first = next((character for character in key if character in "./"), "")
    path = key.translate(str.maketrans("./", "/.")) if first == "." else key
    parts = path.split("/")
    if len(parts) < 2 or not all(re.fullmatch(r"[A-Za-z0-9_:@][A-Za-z0-9_.:@+~-]*", part) for part in parts):
        raise ValueError(
            f"sysctls: {key!r} is not the name of a kernel parameter; expected a form like net.ipv4.ip_forward, or "
            "with a dot inside a name net/ipv4/conf/bond0.101/rp_filter"
        )
    return "/proc/sys/" + path


def without_swap(fstab: str) -> str:
    """The fstab with its swap entries turned into comments."""

    def is_swap(line: str) -> bool:
        fields = line.split()
        return len(fields) >= 3 and not fields[0].startswith("#") and fields[2] == "swap"

    return "".join(
        f"# no swap on a kubelet's host: {line}" if is_swap(line) else line for line in fstab.splitlines(keepends=True)
    )


def parse_units(text: str) -> dict[str, dict[str, str]]:
    """The answer of `systemctl show` with Id among its properties, by Id."""
    units = {}
    for block in text.strip().split("\n\n"):
        properties = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if "Id" in properties:
            units[properties["Id"]] = properties
    return units


@dataclass(frozen=True)
class Unit:
    """A systemd unit as it is. started: seconds since its main process was started, when it runs."""

    known: bool
    active: bool
    enabled: bool
    can_enable: bool
    masked: bool
    stale: bool
    started: float | None

    @classmethod
    def of(cls, properties: Mapping[str, str], monotonic: float) -> Unit:
        """From systemd's properties; monotonic is the clock's seconds now."""
        active = properties.get("ActiveState") in ("active", "reloading", "activating")
        begun = int(properties.get("ExecMainStartTimestampMonotonic") or 0)
        file_state = properties.get("UnitFileState", "")
        return cls(
            known=properties.get("LoadState") in ("loaded", "masked"),
            active=active,
            enabled=file_state in ("enabled", "enabled-runtime"),
            can_enable=file_state not in ("static", "alias", "generated", "transient", "indirect"),
            masked=properties.get("LoadState") == "masked",
            stale=properties.get("NeedDaemonReload") == "yes",
            started=monotonic - begun / 1e6 if active and begun else None,
        )


def unit_actions(want: Mapping[str, Any], unit: Unit, newest_change: float | None, planned: bool) -> list[str]:
    """What to do with a unit: enable, start, restart.

    newest_change: seconds since the newest of the files it must be restarted for was changed. planned: this run would
    change one of them.
    """
    actions = []
    if want.get("enabled") and not unit.enabled and (unit.can_enable or not unit.known):
        actions.append("enable")
    outdated = unit.started is not None and newest_change is not None and newest_change < unit.started
    if unit.active and (outdated or planned):
        actions.append("restart")
    elif want.get("state") == "started" and not unit.active:
        actions.append("start")
    return actions
