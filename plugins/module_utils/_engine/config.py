# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""engine.json as a pure function of version, profile, disk, overrides and mirror. Private to the collection.

An engine does not start on a key that its version does not know, so every key and value is checked here first.

An engine takes a number of bytes as it is. A percentage it counts in gibibytes, rounds up, and uses as gigabytes: "90%"
is 84 % of a large disk and 93 % of one of 8 GiB; and "200GB" is 200 GiB to it. So where the disk is known, sizes are
written as bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable, Union

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._mirror import check_mirror
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._quantity import (
    at,
    percentage,
    show_bytes,
    to_bytes,
)

LOG_LEVELS = ("error", "warn", "info", "debug", "debugextra", "trace")
FIRST_KNOWN = "0.21.0"
MIB = 1024**2
MOST_KEPT = 50  # percent of the disk: an engine with less than half of it is a mistake in the numbers
MIN_FREE = 5  # percent of the disk


@dataclass(frozen=True)
class Disk:
    """The filesystem that holds the state: its bytes (0: not known, so shares are percentages), and what is kept for
    checkpoints.
    """

    size: int = 0
    kept: int = 0
    kept_percent: int = 0
    engines: int = 1

    def share(self, percent: int) -> int | str:
        """A share of what one of the engines may use."""
        if not self.size:
            return f"{percent * (100 - self.kept_percent) // 100 // self.engines}%"
        return (self.size - self.kept) * percent // 100 // self.engines // MIB * MIB

    def min_free(self) -> int | str:
        """Of the disk itself: the engine compares it with the free space that it sees."""
        return self.size * MIN_FREE // 100 // MIB * MIB if self.size else f"{MIN_FREE}%"


def disk(filesystem: Any = None, checkpoints: Any = None, engines: int = 1) -> Disk:
    """The disk of the smallest node: size of its cache filesystem, space for checkpoints (a size or a share such as
    20%), engines on it.
    """
    size = at("size of the cache filesystem", to_bytes, filesystem) if filesystem else 0
    share = percentage(checkpoints) if isinstance(checkpoints, str) and checkpoints.strip().endswith("%") else None
    if share is not None:
        kept, percent = int(share * size), int(share * 100)
    else:
        kept, percent = at("space for checkpoints", to_bytes, checkpoints) if checkpoints else 0, 0
        if kept and not size:
            found = f"{checkpoints!r} and no size of the filesystem"
            raise ValueError(f"space for checkpoints: found {found}, expected a share such as 20%, or both")
    if percent > MOST_KEPT or kept * 100 > size * MOST_KEPT:
        found = f"{show_bytes(kept)} of {show_bytes(size)}" if size else str(checkpoints)
        raise ValueError(f"space for checkpoints: found {found}, expected at most {MOST_KEPT}% of the filesystem")
    if engines < 1:
        raise ValueError(f"engines on the filesystem: found {engines}, expected at least 1")
    return Disk(size, kept, percent, engines)


# With true, which is the engine's own default, a step may ask for all capabilities, and is root of its node.
_CONFINED: dict[str, Any] = {"security": {"insecureRootCapabilities": False}}


def _ci(disk: Disk) -> dict[str, Any]:
    """A filesystem that only the engine uses: fill it, and keep cache volumes over a weekend and a holiday.

    The engine's own defaults shrink cache volumes that nobody used for 48 hours to 512 MB. A policy's maxUsedSpace is
    compared with the whole cache, so the first one takes nothing before the disk is well filled, and then what nobody
    used for two weeks.
    """
    return {
        "logLevel": "info",
        **_CONFINED,
        "gc": {
            "enabled": True,
            "policies": [
                {"filters": ["type==exec.cachemount"], "keepDuration": "336h", "maxUsedSpace": disk.share(60)},
                {
                    "all": True,
                    "reservedSpace": disk.share(60),
                    "maxUsedSpace": disk.share(90),
                    "minFreeSpace": disk.min_free(),
                    # As a percentage it is one of the span between reserved and most; in bytes it is the same amount.
                    "sweepSize": disk.share(3) if disk.size else "10%",
                },
            ],
        },
    }


def _engine(_disk: Disk) -> dict[str, Any]:
    """The engine's own defaults, for a disk that is shared with something else, but for one that makes jobs root of
    their node.
    """
    return {**_CONFINED}


PROFILES: dict[str, Callable[[Disk], dict[str, Any]]] = {"ci": _ci, "engine": _engine}

_SIZE = re.compile(r"^([0-9]+(\.[0-9]+)? ?([kKmMgGtTpP][iI]?)?[bB]?|(100|[0-9]{1,2})%)$")
_DURATION = re.compile(r"^([0-9]+|([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+)$")
_VERSION = re.compile(r"^(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?$")

Check = Callable[[str, Any, "Version"], None]
Version = tuple[tuple[int, int, int], bool, tuple[tuple[bool, Union[int, str]], ...]]


def parse_version(text: str) -> Version:
    """A key that orders engine versions, pre-releases before their release."""
    found = _VERSION.match(str(text))
    if not found:
        raise ValueError(
            f"an engine version must look like 0.21.8 or 1.0.0-beta.10, without a leading v; found {text!r}"
        )
    parts = (found.group(4) or "").split(".") if found.group(4) else []
    pre = tuple((not part.isdigit(), int(part) if part.isdigit() else part) for part in parts)
    return (int(found.group(1)), int(found.group(2)), int(found.group(3))), not parts, pre


def engine_config(
    version: str,
    profile: str = "ci",
    overrides: Mapping[str, Any] | None = None,
    mirror: Mapping[str, Any] | None = None,
    registries: Sequence[str] = (),
    filesystem: Any = None,
    checkpoints: Any = None,
    engines: int = 1,
) -> dict[str, Any]:
    """What engine.json says. `overrides` win over the profile; mirrors come from fleet_mirror for the named
    registries.
    """
    parsed = parse_version(version)
    if parsed < parse_version(FIRST_KNOWN):
        raise ValueError(
            f"the keys of engine.json are known for {FIRST_KNOWN} and later; found engine version {version}"
        )
    if profile not in PROFILES:
        raise ValueError(f"there is no engine profile {profile!r}; profiles are: {', '.join(PROFILES)}")
    room = disk(filesystem, checkpoints, engines)
    config = _merge(PROFILES[profile](room), _mirrors(mirror or {}, registries))
    config = _merge(config, overrides or {})
    _table(ROOT)("engine.json", config, parsed)
    _without_effect(overrides or {}, config.get("gc") or {})
    if room.size:
        _fits("engine.json.gc", config.get("gc") or {}, room)
    return config


def jobs_are_root(config: Mapping[str, Any]) -> bool:
    """Whether an engine with this engine.json gives a step all capabilities where it asks for them."""
    return (config.get("security") or {}).get("insecureRootCapabilities") is not False


def _without_effect(overrides: Mapping[str, Any], gc: Mapping[str, Any]) -> None:
    """Refuse what the engine would not read beside something else: keys that are good one by one and mean nothing
    together.
    """
    lone = [key for key in SPACES if key in gc]
    if lone and gc.get("policies"):
        raise ValueError(
            f"engine.json.gc: found {', '.join(lone)} beside policies, and where there are policies an engine reads "
            "only these. Set it there, or give the profile's up with policies: [], or choose the profile engine"
        )
    asked = overrides.get("gc") or {}
    idle = [key for key in (*SPACES, "policies") if asked.get(key)]
    if asked.get("enabled") is False and idle:
        raise ValueError(
            f"engine.json.gc: found {', '.join(idle)} beside enabled: false, which collects nothing. Leave out one or "
            "the other"
        )


def engine_reads(value: Any, size: int) -> int:
    """The bytes that an engine makes of a size in engine.json on a filesystem of that many bytes."""
    text = str(value).strip()
    if text.endswith("%"):
        percent = int(text[:-1])
        return (size * percent // 100 // 1024**3 + 1) * 1000**3 if percent else 0
    found = re.match(r"([0-9.]+) ?([kmgtp]?)", text.lower())
    if not found:
        raise ValueError(f"{value!r} is no size")
    return int(float(found.group(1)) * 1024 ** " kmgtp".index(found.group(2) or " "))


def config_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What differs between two engine.json, a line for each key, in the order of the paths."""
    old, new = dict(_leaves("", before)), dict(_leaves("", after))
    return [
        f"{path}: {_shown(path, old.get(path))} -> {_shown(path, new.get(path))}"
        for path in sorted({*old, *new})
        if old.get(path) != new.get(path)
    ]


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Every value with its path; a list of plain values counts as one."""
    if isinstance(value, Mapping) and value:
        for key, entry in value.items():
            yield from _leaves(f"{path}.{key}" if path else str(key), entry)
    elif isinstance(value, (list, tuple)) and any(isinstance(entry, Mapping) for entry in value):
        for index, entry in enumerate(value):
            yield from _leaves(f"{path}[{index}]", entry)
    elif path:
        yield path, value


def _shown(path: str, value: Any) -> str:
    if value is None:
        return "not set"
    if path.rpartition(".")[2] in SPACES and isinstance(value, int):
        return f"{value} ({show_bytes(value)})"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _fits(path: str, gc: Mapping[str, Any], disk: Disk) -> None:
    """To the engine, checkpoints are a shortage that deleting cache does not mend: both must fit on the disk."""
    for index, policy in enumerate(gc.get("policies") or []):
        most, reserved = (engine_reads(policy.get(key, 0), disk.size) for key in ("maxUsedSpace", "reservedSpace"))
        if most and reserved > most:
            found = f"reservedSpace {show_bytes(reserved)} above maxUsedSpace {show_bytes(most)}"
            raise ValueError(f"{path}.policies[{index}]: found {found}, expected at most that")
        used = max(most, reserved) * disk.engines
        if disk.kept and used + disk.kept > disk.size:
            found = f"{show_bytes(used)} for the cache and {show_bytes(disk.kept)} for checkpoints"
            expected = f"no more than the {show_bytes(disk.size)} of the filesystem together"
            raise ValueError(f"{path}.policies[{index}]: found {found}, expected {expected}")


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _mirrors(mirror: Mapping[str, Any], registries: Sequence[str]) -> dict[str, Any]:
    registry = str(check_mirror(mirror).get("registry") or "").rstrip("/")
    if not registry:
        return {}
    entries: dict[str, Any] = {name: {"mirrors": [f"{registry}/{name}"]} for name in registries}
    if mirror.get("registry_plain_http"):
        # How the mirror itself is spoken to is looked up under its own host name.
        entries[registry.partition("/")[0]] = {"http": True}
    return {"registries": entries}


def _refuse(path: str, value: Any, expected: str) -> None:
    raise ValueError(f"{path}: found {value!r}, expected {expected}")


def _boolean(path: str, value: Any, _version: Version) -> None:
    if not isinstance(value, bool):
        _refuse(path, value, "true or false")


def _strings(path: str, value: Any, _version: Version) -> None:
    if not isinstance(value, (list, tuple)) or not all(isinstance(entry, str) for entry in value):
        _refuse(path, value, "a list of strings")


def _count(path: str, value: Any, _version: Version) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        _refuse(path, value, "a whole number of bytes")


def _size(path: str, value: Any, _version: Version) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if not whole and not (isinstance(value, str) and _SIZE.match(value)):
        _refuse(path, value, "a number of bytes, a size such as 200GB, or a percentage such as 20%")


def _duration(path: str, value: Any, _version: Version) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if not whole and not (isinstance(value, str) and _DURATION.match(value)):
        _refuse(path, value, "a duration such as 336h, or a number of seconds")


def _log_level(path: str, value: Any, _version: Version) -> None:
    if str(value).lower() not in LOG_LEVELS:
        _refuse(path, value, f"one of {', '.join(LOG_LEVELS)}")


def _table(keys: Mapping[str, Check]) -> Check:
    """A dictionary with exactly these keys."""

    def check(path: str, value: Any, version: Version) -> None:
        if not isinstance(value, Mapping):
            _refuse(path, value, "a dictionary")
        unknown = sorted(str(key) for key in value if key not in keys)
        if unknown:
            raise ValueError(
                f"{path} has no key {', '.join(unknown)}; its keys are: {', '.join(keys)}. The engine would not start"
            )
        for key, entry in value.items():
            keys[key](f"{path}.{key}", entry, version)

    return check


def _each(inner: Check) -> Check:
    """A list whose entries pass a check."""

    def check(path: str, value: Any, version: Version) -> None:
        if not isinstance(value, (list, tuple)):
            _refuse(path, value, "a list")
        for index, entry in enumerate(value):
            inner(f"{path}[{index}]", entry, version)

    return check


def _by_name(inner: Check) -> Check:
    """A dictionary with free keys whose values pass a check."""

    def check(path: str, value: Any, version: Version) -> None:
        if not isinstance(value, Mapping):
            _refuse(path, value, "a dictionary")
        for key, entry in value.items():
            inner(f"{path}[{key}]", entry, version)

    return check


def _since(zero: str, one: str, inner: Check) -> Check:
    """A key that came late, on two lines: with `zero` before 1.0.0, with `one` from its pre-releases on."""

    def check(path: str, value: Any, version: Version) -> None:
        first = zero if version[0] < (1, 0, 0) else one
        if version < parse_version(first):
            raise ValueError(
                f"{path} is known to engines from {zero} on, and from {one} on; this engine would not start with it"
            )
        inner(path, value, version)

    return check


SPACES: dict[str, Check] = {"reservedSpace": _size, "maxUsedSpace": _size, "minFreeSpace": _size, "sweepSize": _size}
POLICY: dict[str, Check] = {"all": _boolean, "filters": _strings, "keepDuration": _duration, **SPACES}
DAGQL_CACHE = _since("0.21.9", "1.0.0-beta.10", _table({"maxEstimatedBytes": _count, "targetEstimatedBytes": _count}))
ROOT: dict[str, Check] = {
    "logLevel": _log_level,
    "security": _table({"insecureRootCapabilities": _boolean}),
    "registries": _by_name(_table({"mirrors": _strings, "http": _boolean, "insecure": _boolean, "ca": _strings})),
    "gc": _table({"enabled": _boolean, **SPACES, "policies": _each(_table(POLICY)), "dagqlCache": DAGQL_CACHE}),
    # Of the pre-releases of 1.0.0 it is not known which was the first to have it.
    "telemetry": _since("0.21.10", "1.0.0", _table({"resourceMetrics": _boolean})),
}
