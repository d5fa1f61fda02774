# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the inventory wants of a node, as a plan that a machine can be compared with. Private to the collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.memory import LEAST, OVERHEAD
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.pools import ENGINE, Pool, pools_from
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.runner_share import (
    pool_runners,
    runner,
    sized,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.sizing import SizingPlan, plan_from
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._quantity import at, to_bytes, to_millicpu

# What the plan is made of; each is a variable of the role that its name begins with.
NAMES = (
    *(f"dagger_engine_{key}" for key in ENGINE),
    "dagger_engine_pools",
    "kubernetes_host_eviction_hard",
    "kubernetes_host_kube_reserved",
    "kubernetes_host_kubelet_config",
    "kubernetes_host_system_reserved",
    "runner_pools_flavour",
    "runner_pools_pools",
    "runner_pools_resources",
    "runner_pools_size",
)
MAX_PODS = 110  # kubelet's default


def engine_pools(values: Mapping[str, Any]) -> list[Pool]:
    """The pools with engines, as role dagger_engine sees them; none where fleet_pools cannot be read, which its own
    check tells.

    `values` holds dagger_engine_pools, and dagger_engine_<key> for each key that a pool may state itself.
    """
    common = {key: values.get(f"dagger_engine_{key}") for key in ENGINE}
    try:
        return [pool for pool in pools_from(values.get("dagger_engine_pools"), common) if pool.engine]
    except ValueError:
        return []


def pool_of(host: str, groups: Mapping[str, Sequence[str]], pools: Sequence[Mapping[str, Any]]) -> tuple[str, int]:
    """A host's pool and how many hosts the pool has; no name for a host of the control plane."""
    for pool in pools:
        members = groups.get(str(pool.get("group")), ())
        if host in members:
            return str(pool.get("name")), len(members)
    return "", 1


def node_plan(values: Mapping[str, Any], pool: str, nodes: int) -> SizingPlan:
    """What must fit on one node of a pool: its engines, and its share of the pool's runners. `nodes`: how many the pool
    has.

    `values` holds NAMES. ValueError names the variable with a quantity that is none.
    """
    reserved = [
        (f"kubernetes_host_{owner}_reserved", values.get(f"kubernetes_host_{owner}_reserved") or {})
        for owner in ("kube", "system")
    ]
    wanted: dict[str, Any] = {
        "reserved": {
            "cpu": f"{sum(at(f'{name}.cpu', to_millicpu, given.get('cpu', 0)) for name, given in reserved)}m",
            "memory": sum(at(f"{name}.memory", to_bytes, given.get("memory", 0)) for name, given in reserved),
        },
        "eviction": {"memory": (values.get("kubernetes_host_eviction_hard") or {}).get("memory.available", "100Mi")},
        "max_pods": (values.get("kubernetes_host_kubelet_config") or {}).get("maxPods", MAX_PODS),
    }
    pools = {item.name: item for item in engine_pools(values)}
    if pool in pools:
        wanted["engine"] = _engines(pools[pool], values)
    first = next(iter(pools), "")
    entries, flavour = values.get("runner_pools_pools") or (), str(values.get("runner_pools_flavour") or "")
    runners = sized(entries, first, flavour, values.get("runner_pools_size"))
    resources = values.get("runner_pools_resources") or {}
    wanted["runners"] = [runner(entry, resources, nodes) for entry in pool_runners(runners, pool, first)]
    return plan_from(wanted)


def _engines(pool: Pool, values: Mapping[str, Any]) -> dict[str, Any]:
    """What all engines of a node ask for. Memory that nobody stated is what the runners leave, and this at least."""
    engine, count = pool.engine or {}, max(len(pool.versions), 1)

    def stated(key: str) -> str:
        same = engine.get(key) == values.get(f"dagger_engine_{key}")
        return f"dagger_engine_{key}" if same else f"fleet_pools, pool {pool.name}: engine.{key}"

    memory = (
        count * at(stated("memory"), to_bytes, engine["memory"]) if engine.get("memory") else count * LEAST + OVERHEAD
    )
    return {"cpu": f"{count * at(stated('cpu'), to_millicpu, engine.get('cpu'))}m", "memory": memory}
