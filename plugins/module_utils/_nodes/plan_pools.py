# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Labels and taints of the nodes of each pool, and what must change to get there. This module util is private to the
collection.

Ownership decides what may be removed. Of labels the API keeps it (managed fields of our field manager). The list of
taints has one owner only, so an annotation names the taints that were set from here; the pool taint is known by its
key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._api_values import (
    ENGINE_TAINT,
    POOL_LABEL,
    POOL_TAINT,
    ROLE_LABEL,
    label_text,
    pool_problems,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._names import TAINTS_ANNOTATION

FIELD_MANAGER = "runnerfleet"


@dataclass(frozen=True)
class Taint:
    """One taint; key and effect name it, the value belongs to it."""

    key: str
    effect: str
    value: str = ""

    @property
    def name(self) -> str:
        """What an annotation calls it."""
        return f"{self.key}:{self.effect}"

    def __str__(self) -> str:
        return f"{self.key}={self.value}:{self.effect}" if self.value else self.name


@dataclass(frozen=True)
class Wanted:
    """What a node of a pool carries."""

    labels: Mapping[str, str]
    taints: tuple[Taint, ...]


@dataclass(frozen=True)
class NodePlan:
    """What must change on one node; None where nothing must."""

    node: str
    uid: str
    resource_version: str
    labels: dict[str, str] | None
    taints: list[dict[str, Any]] | None
    claims: str | None
    before: dict[str, Any]
    after: dict[str, Any]

    @property
    def empty(self) -> bool:
        """Whether the node is as it should be."""
        return self.labels is None and self.taints is None


def wanted_nodes(pools: Sequence[Mapping[str, Any]]) -> dict[str, Wanted]:
    """What every node of every pool should carry. Raises ValueError with all that is wrong."""
    problems: list[str] = []
    nodes: dict[str, Wanted] = {}
    home: dict[str, str] = {}
    seen: set[str] = set()
    for pool in pools:
        name = str(pool["name"])
        problems += [str(problem) for problem in pool_problems(f"pool {name}", pool)]
        problems += [f"pool {name} is stated twice, expected once"] if name in seen else []
        seen.add(name)
        wanted = Wanted(pool_labels(pool), pool_taints(pool))
        for node in pool["nodes"]:
            if node in nodes and home[node] != name:
                problems.append(
                    f"node {node} is in the pools {home[node]} and {name}, expected one pool. Take it out of a group"
                )
            home.setdefault(node, name)
            nodes.setdefault(node, wanted)
    if problems:
        raise ValueError("; ".join(problems))
    return nodes


def pool_labels(pool: Mapping[str, Any]) -> dict[str, str]:
    """Labels of a pool's nodes."""
    own = {str(key): label_text(value) for key, value in (pool.get("labels") or {}).items()}
    return {**own, POOL_LABEL: str(pool["name"]), f"{ROLE_LABEL}{pool['name']}": ""}


def pool_taints(pool: Mapping[str, Any]) -> tuple[Taint, ...]:
    """Taints that a pool's nodes keep; the start-up taint comes and goes by itself."""
    own = tuple(
        Taint(str(taint["key"]), str(taint["effect"]), str(taint.get("value") or ""))
        for taint in pool.get("taints") or []
    )
    return (*own, Taint(POOL_TAINT, "NoSchedule", str(pool["name"]))) if pool.get("engine") else own


def join_taints(pools: Sequence[Mapping[str, Any]], groups: Sequence[str]) -> list[dict[str, str]]:
    """Taints with which a host in these inventory groups registers, so that nothing lands on it before its pool and
    engine are set up.
    """
    engines = [pool for pool in pools if pool.get("engine") and pool["group"] in groups]
    if not engines:
        return []
    return [
        {"key": POOL_TAINT, "value": str(engines[0]["name"]), "effect": "NoSchedule"},
        {"key": ENGINE_TAINT, "effect": "NoSchedule"},
    ]


def pool_members(pools: Sequence[Mapping[str, Any]], groups: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Pools with the hosts of their group as nodes."""
    missing = [
        f"pool {pool['name']} names the group {pool['group']}, which the inventory does not have"
        for pool in pools
        if pool["group"] not in groups
    ]
    if missing:
        raise ValueError(
            "; ".join(missing)
            + f". Expected one of: {', '.join(sorted(groups))}. Add the group, or correct fleet_pools"
        )
    return [
        {
            **{key: value for key, value in pool.items() if key != "group"},
            "engine": bool(pool.get("engine")),
            "nodes": list(groups[pool["group"]]),
        }
        for pool in pools
    ]


def plan_node(node: Mapping[str, Any], wanted: Wanted) -> NodePlan:
    """Compare one Node object (as the API returns it, with managed fields) with what it should be."""
    meta, spec = node["metadata"], node.get("spec") or {}
    labels, owned = meta.get("labels") or {}, owned_labels(meta)
    stale = owned - set(wanted.labels)
    label_change = bool(stale) or any(
        key not in owned or labels.get(key) != value for key, value in wanted.labels.items()
    )
    shown = {key for key in labels if key in owned or (key in wanted.labels and labels[key] != wanted.labels[key])}

    taints = list(spec.get("taints") or [])
    note = (meta.get("annotations") or {}).get(TAINTS_ANNOTATION, "")
    claimed = _claims(note)
    claims = sorted(taint.name for taint in wanted.taints if taint.key != POOL_TAINT)
    claim = json.dumps(claims) if claims else ""
    managed = [taint for taint in taints if taint["key"] == POOL_TAINT or _name(taint) in claimed.union(claims)]
    kept = [taint for taint in taints if taint not in managed]
    present = {_name(taint): taint for taint in taints}
    ours = [_same_or_new(present.get(taint.name), taint) for taint in wanted.taints]
    taint_change = _ordered(kept + ours) != _ordered(taints) or claim != note

    return NodePlan(
        node=meta["name"],
        uid=meta["uid"],
        resource_version=meta["resourceVersion"],
        labels=dict(wanted.labels) if label_change else None,
        taints=kept + ours if taint_change else None,
        claims=claim if taint_change else None,
        before={"labels": {key: labels[key] for key in sorted(shown)}, "taints": sorted(map(_text, managed))},
        after={"labels": dict(sorted(wanted.labels.items())), "taints": sorted(str(taint) for taint in wanted.taints)},
    )


def owned_labels(meta: Mapping[str, Any]) -> set[str]:
    """Keys of the labels that were applied from here."""
    owned: set[str] = set()
    for entry in meta.get("managedFields") or []:
        if entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply":
            fields = entry.get("fieldsV1", {}).get("f:metadata", {}).get("f:labels", {})
            owned |= {key[2:] for key in fields if key.startswith("f:")}
    return owned


def _claims(note: str) -> set[str]:
    try:
        return {str(name) for name in json.loads(note or "[]")}
    except (TypeError, ValueError):
        return set()


def _name(taint: Mapping[str, Any]) -> str:
    return f"{taint['key']}:{taint['effect']}"


def _text(taint: Mapping[str, Any]) -> str:
    return str(Taint(taint["key"], taint["effect"], taint.get("value") or ""))


def _same_or_new(present: dict[str, Any] | None, taint: Taint) -> dict[str, Any]:
    if present and (present.get("value") or "") == taint.value:
        return present
    return {"key": taint.key, "effect": taint.effect, **({"value": taint.value} if taint.value else {})}


def _ordered(taints: Sequence[Mapping[str, Any]]) -> list[str]:
    return sorted(json.dumps(taint, sort_keys=True) for taint in taints)
