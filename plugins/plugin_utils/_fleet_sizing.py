# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the inventory wants of a node, as a plan that a machine can be compared with. Private to the collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._quantity import at, to_bytes, to_millicpu
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._sizing import Plan, plan_from

# What the plan is made of; each is a variable of the role that its name begins with.
NAMES = (
    "dagger_engine_cpu",
    "dagger_engine_memory",
    "dagger_engine_pools",
    "dagger_engine_versions",
    "kubernetes_host_eviction_hard",
    "kubernetes_host_kube_reserved",
    "kubernetes_host_kubelet_config",
    "kubernetes_host_system_reserved",
    "runner_pools_engine_pools",
    "runner_pools_pools",
    "runner_pools_resources",
)
MAX_PODS = 110  # kubelet's default


def pool_of(host: str, groups: Mapping[str, Sequence[str]], pools: Sequence[Mapping[str, Any]]) -> tuple[str, int]:
    """A host's pool and how many hosts the pool has; no name for a host of the control plane."""
    for pool in pools:
        members = groups.get(str(pool.get("group")), ())
        if host in members:
            return str(pool.get("name")), len(members)
    return "", 1


def node_plan(values: Mapping[str, Any], pool: str, nodes: int) -> Plan:
    """What must fit on one node of a pool: its engines, and its share of the pool's runners. `nodes`: how many the pool has.

    `values` holds NAMES. ValueError names the variable with a quantity that is none.
    """
    reserved = [
        (f"kubernetes_host_{owner}_reserved", values.get(f"kubernetes_host_{owner}_reserved") or {}) for owner in ("kube", "system")
    ]
    wanted: dict[str, Any] = {
        "reserved": {
            "cpu": f"{sum(at(f'{name}.cpu', to_millicpu, given.get('cpu', 0)) for name, given in reserved)}m",
            "memory": sum(at(f"{name}.memory", to_bytes, given.get("memory", 0)) for name, given in reserved),
        },
        "eviction": {"memory": (values.get("kubernetes_host_eviction_hard") or {}).get("memory.available", "100Mi")},
        "max_pods": (values.get("kubernetes_host_kubelet_config") or {}).get("maxPods", MAX_PODS),
    }
    if pool in (values.get("dagger_engine_pools") or ()):
        versions = max(len(values.get("dagger_engine_versions") or ()), 1)
        wanted["engine"] = {
            "cpu": f"{versions * at('dagger_engine_cpu', to_millicpu, values['dagger_engine_cpu'])}m",
            "memory": versions * at("dagger_engine_memory", to_bytes, values["dagger_engine_memory"]),
        }
    wanted["runners"] = [runner(entry, values, nodes) for entry in pool_runners(values, pool)]
    return plan_from(wanted)


def pool_runners(values: Mapping[str, Any], pool: str) -> list[Mapping[str, Any]]:
    """The entries of runner_pools_pools whose runners this pool of nodes takes."""
    first: Sequence[str] = values.get("runner_pools_engine_pools") or ("",)
    return [entry for entry in values.get("runner_pools_pools") or () if (entry.get("pool") or first[0]) == pool]


def runner(entry: Mapping[str, Any], values: Mapping[str, Any], nodes: int) -> dict[str, Any]:
    """One size of runners: what the scheduler counts for it, and how many of them a node must take when all nodes share alike."""
    resources = entry.get("resources") or values.get("runner_pools_resources") or {}
    counted = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    share = -(-int(entry.get("replicas", 1)) // max(nodes, 1))
    return {"name": entry.get("name", ""), "cpu": counted.get("cpu", 0), "memory": counted.get("memory", 0), "max": share}
