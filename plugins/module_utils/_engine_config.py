# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""engine.json as a pure function of version, profile, overrides and mirror. Private to the collection.

An engine does not start on a key that its version does not know, so every key and value is checked here first.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any, Callable, Union

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._mirror import check_mirror

LOG_LEVELS = ("error", "warn", "info", "debug", "debugextra", "trace")
FIRST_KNOWN = "0.21.0"

PROFILES: dict[str, dict[str, Any]] = {
    # A filesystem that only the engine uses: fill it, and keep cache volumes over a weekend and a holiday.
    # The engine's own defaults shrink cache volumes that nobody used for 48 hours to 512 MB.
    "ci": {
        "logLevel": "info",
        "security": {"insecureRootCapabilities": True},
        "gc": {
            "enabled": True,
            "policies": [
                {"filters": ["type==exec.cachemount"], "keepDuration": "336h", "maxUsedSpace": "20%"},
                {"all": True, "reservedSpace": "60%", "maxUsedSpace": "90%", "minFreeSpace": "5%", "sweepSize": "10%"},
            ],
        },
    },
    # The engine's own defaults, for a disk that is shared with something else.
    "engine": {},
}

_SIZE = re.compile(r"^([0-9]+(\.[0-9]+)?([kKmMgGtTpP][iI]?)?[bB]?|(100|[0-9]{1,2})%)$")
_DURATION = re.compile(r"^([0-9]+|([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+)$")
_VERSION = re.compile(r"^(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?$")

Check = Callable[[str, Any, "Version"], None]
Version = tuple[tuple[int, int, int], bool, tuple[tuple[bool, Union[int, str]], ...]]


def parse_version(text: str) -> Version:
    """A key that orders engine versions, pre-releases before their release."""
    found = _VERSION.match(str(text))
    if not found:
        raise ValueError(f"an engine version must look like 0.21.8 or 1.0.0-beta.10, without a leading v; found {text!r}")
    parts = (found.group(4) or "").split(".") if found.group(4) else []
    pre = tuple((not part.isdigit(), int(part) if part.isdigit() else part) for part in parts)
    return (int(found.group(1)), int(found.group(2)), int(found.group(3))), not parts, pre


def engine_config(
    version: str,
    profile: str = "ci",
    overrides: Mapping[str, Any] | None = None,
    mirror: Mapping[str, Any] | None = None,
    registries: Sequence[str] = (),
) -> dict[str, Any]:
    """What engine.json says. `overrides` win over the profile; mirrors come from fleet_mirror for the named registries."""
    parsed = parse_version(version)
    if parsed < parse_version(FIRST_KNOWN):
        raise ValueError(f"the keys of engine.json are known for {FIRST_KNOWN} and later; found engine version {version}")
    if profile not in PROFILES:
        raise ValueError(f"there is no engine profile {profile!r}; profiles are: {', '.join(PROFILES)}")
    config = _merge(copy.deepcopy(PROFILES[profile]), _mirrors(mirror or {}, registries))
    config = _merge(config, overrides or {})
    _table(ROOT)("engine.json", config, parsed)
    return config


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


def _boolean(path: str, value: Any, version: Version) -> None:
    if not isinstance(value, bool):
        _refuse(path, value, "true or false")


def _strings(path: str, value: Any, version: Version) -> None:
    if not isinstance(value, (list, tuple)) or not all(isinstance(entry, str) for entry in value):
        _refuse(path, value, "a list of strings")


def _count(path: str, value: Any, version: Version) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        _refuse(path, value, "a whole number of bytes")


def _size(path: str, value: Any, version: Version) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if not whole and not (isinstance(value, str) and _SIZE.match(value)):
        _refuse(path, value, "a number of bytes, a size such as 200GB, or a percentage such as 20%")


def _duration(path: str, value: Any, version: Version) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if not whole and not (isinstance(value, str) and _DURATION.match(value)):
        _refuse(path, value, "a duration such as 336h, or a number of seconds")


def _log_level(path: str, value: Any, version: Version) -> None:
    if value not in LOG_LEVELS:
        _refuse(path, value, f"one of {', '.join(LOG_LEVELS)}")


def _table(keys: Mapping[str, Check]) -> Check:
    """A dictionary with exactly these keys."""

    def check(path: str, value: Any, version: Version) -> None:
        if not isinstance(value, Mapping):
            _refuse(path, value, "a dictionary")
        unknown = sorted(str(key) for key in value if key not in keys)
        if unknown:
            raise ValueError(f"{path} has no key {', '.join(unknown)}; its keys are: {', '.join(keys)}. The engine would not start")
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


def _dagql_cache(path: str, value: Any, version: Version) -> None:
    """The key came late, on two lines: 0.21.9 and 1.0.0-beta.10."""
    before_one = version[0] < (1, 0, 0)
    first = "0.21.9" if before_one else "1.0.0-beta.10"
    if version < parse_version(first):
        raise ValueError(f"{path} is known to engines from 0.21.9 on, and from 1.0.0-beta.10 on; this engine would not start with it")
    _table({"maxEstimatedBytes": _count, "targetEstimatedBytes": _count})(path, value, version)


SPACES: dict[str, Check] = {"reservedSpace": _size, "maxUsedSpace": _size, "minFreeSpace": _size, "sweepSize": _size}
POLICY: dict[str, Check] = {"all": _boolean, "filters": _strings, "keepDuration": _duration, **SPACES}
ROOT: dict[str, Check] = {
    "logLevel": _log_level,
    "security": _table({"insecureRootCapabilities": _boolean}),
    "registries": _by_name(_table({"mirrors": _strings, "http": _boolean, "insecure": _boolean, "ca": _strings})),
    "gc": _table({"enabled": _boolean, **SPACES, "policies": _each(_table(POLICY)), "dagqlCache": _dagql_cache}),
}
