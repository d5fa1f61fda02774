# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pools of the fleet, from what fleet_pools says of them. No I/O. Private to the collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

# What a fleet has where fleet_pools says nothing.
DEFAULT_POOLS: tuple[Mapping[str, Any], ...] = (
    {"name": "support", "group": "support_nodes"},
    {"name": "runner", "group": "runner_nodes", "engine": True},
)
# What a pool may say of its engines; `dagger_engine_<key>` says the same for all pools.
ENGINE: dict[str, dict[str, Any]] = {
    "versions": {"type": "list", "elements": "str"},
    "profile": {"type": "str", "choices": ["ci", "engine"]},
    "config": {"type": "dict"},
    "environment": {"type": "dict"},
    "environment_secret": {"type": "str"},
    "cpu": {"type": "str"},
    "memory": {"type": "str"},
    "filesystem": {"type": "str"},
    "drain_deadline": {"type": "int"},
    "client_grace": {"type": "int"},
    "stop_seconds": {"type": "int"},
    "checkpoints_keep": {"type": "int"},
    "checkpoint_interval": {"type": "int"},
    "checkpoint_when_idle": {"type": "bool"},
    "checkpoint_max_files": {"type": "int"},
    "checkpoint_min_free": {"type": "int"},
    "checkpoint_space": {"type": "str"},
}
_TAINT = {
    "key": {"type": "str", "required": True, "no_log": False},
    "value": {"type": "str"},
    "effect": {"type": "str", "required": True, "choices": ["NoSchedule", "PreferNoSchedule", "NoExecute"]},
}
_POOL = {
    "name": {"type": "str", "required": True},
    "group": {"type": "str", "required": True},
    "labels": {"type": "dict"},
    "taints": {"type": "list", "elements": "dict", "options": _TAINT},
    "engine": {"type": "raw"},
}
_FALSE = (None, False, "", "false", "no", "off", "False", "No", "Off")
_TRUE = (True, "true", "yes", "on", "True", "Yes", "On")


@dataclass(frozen=True)
class Pool:
    """One pool of nodes. `engine`: how its engines are, or None where its nodes carry none."""

    name: str
    group: str
    labels: Mapping[str, Any] = field(default_factory=dict)
    taints: Sequence[Mapping[str, Any]] = ()
    engine: Mapping[str, Any] | None = None

    @property
    def versions(self) -> list[str]:
        """Engine versions of each of its nodes."""
        return list((self.engine or {}).get("versions") or [])

    def as_dict(self) -> dict[str, Any]:
        """As fleet_pools writes it, with nothing left out."""
        # Not by asdict(): Ansible's own containers, which templates hand over, refuse to be copied in its way.
        return {
            "name": self.name,
            "group": self.group,
            "labels": dict(self.labels),
            "taints": [dict(taint) for taint in self.taints],
            "engine": dict(self.engine) if self.engine else False,
        }


def pools_from(given: Any, engine: Mapping[str, Any] | None = None) -> list[Pool]:
    """The pools that fleet_pools states; the default ones where it states none. `engine`: what engines are like unless
    their pool says it.

    Raises ValueError with all that is wrong.
    """
    stated = DEFAULT_POOLS if given in (None, "", []) else given
    if isinstance(stated, (str, Mapping)) or not isinstance(stated, Sequence):
        raise ValueError(f"fleet_pools: found {type(given).__name__}, expected a list of pools")
    problems: list[str] = []
    found = [_pool(item, f"fleet_pools[{index}]", engine or {}, problems) for index, item in enumerate(stated)]
    pools = [pool for pool in found if pool]
    names = [pool.name for pool in pools]
    problems += [
        f"fleet_pools: found the pool {name} twice, expected once"
        for name in sorted({n for n in names if names.count(n) > 1})
    ]
    if problems:
        raise ValueError("; ".join(problems))
    return pools


def engine_pools(pools: Sequence[Pool]) -> list[str]:
    """Names of the pools whose nodes carry engines."""
    return [pool.name for pool in pools if pool.engine]


def _pool(item: Any, path: str, defaults: Mapping[str, Any], problems: list[str]) -> Pool | None:
    if not isinstance(item, Mapping):
        problems.append(f"{path}: found {item!r}, expected a dictionary with name and group")
        return None
    stated = _validated(path, item, _POOL, problems)
    if stated is None:
        return None
    where = f"fleet_pools, pool {stated['name']}: engine"
    engine = stated.get("engine")
    if isinstance(engine, Mapping):
        own: Mapping[str, Any] | None = _validated(where, engine, ENGINE, problems)
    elif engine in _TRUE:
        own = {}
    elif engine in _FALSE:
        own = None
    else:
        problems.append(
            f"{where}: found {engine!r}, expected true, false, or a dictionary with some of {', '.join(ENGINE)}"
        )
        return None
    filled = None
    if own is not None:
        # A key that is empty is one that is not set. Versions always stand there, so that a pool's engine is never an
        # empty dictionary.
        filled = {"versions": [], **defaults, **{key: value for key, value in own.items() if value is not None}}
    return Pool(stated["name"], stated["group"], stated.get("labels") or {}, stated.get("taints") or [], filled)


def _validated(
    path: str, given: Mapping[str, Any], spec: Mapping[str, Any], problems: list[str]
) -> dict[str, Any] | None:
    """The values in their types, or None and what is wrong with them."""
    unknown = sorted(str(key) for key in given if key not in spec)
    if unknown:
        problems.append(f"{path}: found {', '.join(unknown)}, expected only {', '.join(spec)}")
        return None
    result = ArgumentSpecValidator(dict(spec)).validate(dict(given))
    problems += [f"{path}: {message}" for message in result.error_messages]
    return (
        None
        if result.error_messages
        else {key: value for key, value in result.validated_parameters.items() if value is not None}
    )
