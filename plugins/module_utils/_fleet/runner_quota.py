# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the namespace of scale sets may request at most, and what a container in it gets that states nothing. No I/O.
Private to the collection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.runner_size import (
    Amounts,
    Size,
    total,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._quantity import kubernetes

SELF_TEST = Size("20m", "64Mi", "64Mi").amounts  # of one pod, as templates/self_test.yml.j2 has it
# What a container requests that states nothing, as those before a runner. The API would take the limit for it.
REQUESTS = {"cpu": "10m", "memory": "32Mi", "ephemeral-storage": "16Mi"}


@dataclass(frozen=True)
class Quota:
    """`hard` of a ResourceQuota, and the defaults of a LimitRange. There are no maxima: what they refused would cost a
    scale set that place until somebody deletes the runner.
    """

    hard: Mapping[str, str]
    default: Mapping[str, str]
    default_request: Mapping[str, str]


def quota(
    sizes: Mapping[str, Size], most: Mapping[str, int], limits: Mapping[str, Any], headroom: int, nodes: int
) -> Quota:
    """For scale sets of these sizes with so many runners at most, by their names. `limits`: of a container that states
    none; `headroom`: percent more than all runners; `nodes`: that a self-test may have a pod on.
    """
    runners = total(times(size.amounts, most[name]) for name, size in sizes.items())
    hard = total([times(runners, 100 + headroom, 100), times(SELF_TEST, nodes)])
    # Not of CPUs: what a neighbour does not use may be used.
    limited = [name for name in ("memory", "ephemeral-storage") if name in limits]
    largest: dict[str, list[Any]] = {name: [limits[name], REQUESTS[name]] for name in limited}
    for size in sizes.values():
        for name, amount in size.resources["limits"].items():
            largest.get(name, []).append(amount)
    return Quota(
        {
            "requests.cpu": f"{hard.cpu_millis}m",
            "requests.memory": str(hard.memory),
            "requests.ephemeral-storage": str(hard.disk),
            "pods": str(hard.pods),
        },
        {name: str(max(amounts, key=kubernetes)) for name, amounts in largest.items()},
        REQUESTS,
    )


def times(amounts: Amounts, factor: int, parts: int = 1) -> Amounts:
    """So many times as much, in parts of a whole, rounded up."""
    return Amounts(*(-(-value * factor // parts) for value in amounts.values()))
