# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Memory of a pool's engines where nobody said it: what the runners leave on its smallest machine. Private to the
collection.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.runner_share import (
    pool_runners,
    runner,
    takes_what_is_left,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._names import POOL_TAINT
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._quantity import to_bytes

MIB = 1024**2
LEAST = 2048 * MIB  # what an engine gets in any case; where that does not fit, its pod waits and the preflight says so
OVERHEAD = 256 * MIB  # for what else runs on each node: the pod network, what watches engines and machines
STEP = 256 * MIB  # machines of one kind differ by less
# an amount that is there already stays while it fits and is at least so much of what is possible: it costs a restart
KEPT_PERCENT = 90


def engine_memory(
    pool: str,
    nodes: Iterable[Mapping[str, Any]],
    hosts: int,
    versions: int,
    runners: Sequence[Mapping[str, Any]],
    resources: Mapping[str, Any],
    first: str,
    now: int = 0,
) -> int:
    """Bytes for each engine of a pool. `nodes`: as the API returns them; `hosts`: how many the inventory has; `now`:
    what engines have.

    `runners`: runner_pools_pools, entries of scale sets with their size; `resources`: of entries that state none;
    `first`: the pool of entries that name none. Where a scale set takes what is left, engines leave it half.
    """
    there = [to_bytes(((node.get("status") or {}).get("allocatable") or {}).get("memory", 0)) for node in nodes]
    own = pool_runners(runners, pool, first)
    shares = [runner(entry, resources, hosts) for entry in own if not takes_what_is_left(entry)]
    taken = sum(share["max"] * to_bytes(share["memory"]) for share in shares)
    left = (min(there, default=0) - OVERHEAD - taken) // (2 if any(map(takes_what_is_left, own)) else 1)
    possible = left // max(versions, 1) // STEP * STEP
    if now and now <= possible and now * 100 >= possible * KEPT_PERCENT:
        return now
    return max(possible, LEAST)


def memory_now(daemonsets: Iterable[Mapping[str, Any]], pool: str) -> int:
    """Bytes that the engines of a pool ask for already; 0 where there are none, or where they differ."""
    found: set[int] = set()
    for item in daemonsets:
        if (item["metadata"].get("labels") or {}).get(POOL_TAINT) == pool:
            containers = item["spec"]["template"]["spec"]["containers"]
            engine: Mapping[str, Any] = next((entry for entry in containers if entry["name"] == "engine"), {})
            found.add(to_bytes(((engine.get("resources") or {}).get("requests") or {}).get("memory", 0)))
    return found.pop() if len(found) == 1 else 0


def leftover(daemonsets: Iterable[Mapping[str, Any]], wanted: Collection[tuple[str, str]]) -> list[str]:
    """DaemonSets of ours that nobody wants (by pool and version) and that no machine runs or should run."""
    found = []
    for item in daemonsets:
        labels, status = item["metadata"].get("labels") or {}, item.get("status") or {}
        ours = labels.get("app.kubernetes.io/managed-by") == "runnerfleet"
        digested = status.get("observedGeneration", 0) >= item["metadata"].get("generation", 0)
        pods = [
            status.get(key, 1) for key in ("desiredNumberScheduled", "currentNumberScheduled", "numberMisscheduled")
        ]
        if (
            ours
            and digested
            and not any(pods)
            and (labels.get(POOL_TAINT, ""), labels.get("app.kubernetes.io/version", "")) not in wanted
        ):
            found.append(item["metadata"]["name"])
    return sorted(found)
