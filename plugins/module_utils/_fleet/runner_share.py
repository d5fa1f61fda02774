# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which runners a pool of nodes takes, and what one node must have room for. No I/O. Private to the collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.runner_size import parse
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.schedule import parse as windows
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._quantity import kubernetes


def pool_runners(entries: Sequence[Mapping[str, Any]], pool: str, first: str) -> list[Mapping[str, Any]]:
    """The entries of runner_pools_pools whose runners a pool of nodes takes. `first`: the pool of an entry that names
    none.
    """
    return [entry for entry in entries if (entry.get("pool") or first) == pool]


def follows_queue(entry: Mapping[str, Any], flavour: str) -> bool:
    """Whether the number of an entry's runners follows its queue. A scale set's does; the legacy controller has an
    autoscaler where the entry states how far it may go.
    """
    return flavour == "scale_set" or any(entry.get(key) not in (None, "", []) for key in ("min", "max", "schedule"))


def sized(entries: Sequence[Mapping[str, Any]], first: str, flavour: str, size: Any) -> list[dict[str, Any]]:
    """The entries of runner_pools_pools with what is counted of them, in any window of their schedule. `first`: the
    pool of an entry that names none; `size`: of a scale set that states none.

    One whose runners follow the queue and have a size has that, min and max; another one has its replicas and its
    resources.
    """
    found = []
    for entry in entries:
        named = {"name": str(entry.get("name", "")), "pool": str(entry.get("pool") or first)}
        own = entry.get("size") or (size if flavour == "scale_set" else None)
        planned = windows(entry.get("schedule") or ())
        stated = [entry.get("max"), *(window.most for window in planned if window.most is not None)]
        numbers = [int(number) for number in stated if number not in (None, "auto")]
        most = str(max(numbers)) if len(numbers) == len(stated) else "auto"
        if not follows_queue(entry, flavour):
            resources = parse(own).resources if own else entry.get("resources")
            replicas = 1 if entry.get("replicas") is None else entry["replicas"]
            found.append({**named, "replicas": replicas, "resources": resources})
        elif own:
            least = max(int(entry.get("min") or 0), *(window.least or 0 for window in planned), 0)
            found.append({**named, "size": own, "min": least, "max": most})
        else:
            found.append({**named, "replicas": max(numbers, default=1), "resources": entry.get("resources")})
    return found


def runner(entry: Mapping[str, Any], resources: Mapping[str, Any], nodes: int) -> dict[str, Any]:
    """One size of runners: what the scheduler counts for it, and how many of them a node must take when all nodes share
    alike. Of a scale set that takes what is left (see takes_what_is_left) that is one, or its share of what waits.

    `resources`: of an entry that states none. An entry with a `size` is one of a scale set.
    """
    if entry.get("size"):
        size = parse(entry["size"])
        wanted = max(1, int(entry.get("min") or 0)) if takes_what_is_left(entry) else int(entry["max"])
        share = -(-wanted // max(nodes, 1))
        return {"name": entry.get("name", ""), "cpu": size.cpu, "memory": size.memory, "max": share}
    stated = entry.get("resources") or resources
    counted = {**(stated.get("limits") or {}), **(stated.get("requests") or {})}
    share = -(-int(entry.get("replicas", 1)) // max(nodes, 1))
    return {
        "name": entry.get("name", ""),
        "cpu": counted.get("cpu", 0),
        "memory": counted.get("memory", 0),
        "max": share,
    }


def takes_what_is_left(entry: Mapping[str, Any]) -> bool:
    """Whether an entry is a scale set that has as many runners as fit."""
    return bool(entry.get("size")) and entry.get("max") in (None, "auto")


def limited(stated: Mapping[str, Any], limits: Mapping[str, Any]) -> dict[str, Any]:
    """Requests and limits of a container, with a limit for each resource of `limits` that states none: never below its
    request.

    What is not requested is requested with 0, since Kubernetes would take the limit for a request. Raises ValueError
    for a quantity that is none.
    """
    requests, own = dict(stated.get("requests") or {}), dict(stated.get("limits") or {})
    for name, amount in limits.items():
        if name not in own:
            request = requests.setdefault(name, "0")
            own[name] = max(amount, request, key=kubernetes)
    return {**stated, "requests": requests, "limits": own}
