#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: runner_capacity
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: How many runners of each size the ready nodes of a pool can carry
description:
  - Reads the nodes and their pods, and says for each entry of runner pools how many runners it may have at most, so
    that all entries may have theirs at once. A listener with this number never takes a job that no node has room for.
  - A number that the inventory states is told as it is. What is left is shared between the entries whose
    O(runners[].max) is V(auto), by the part of the pool that each has. Nodes that are not ready, are cordoned or whose
    engine does not answer carry none.
  - Changes nothing.
requirements:
  - python >= 3.9
  - kubernetes
extends_documentation_fragment:
  - runnerfleet.baremetal.cluster
  - runnerfleet.baremetal.attributes
  - runnerfleet.baremetal.attributes.info_module
options:
  runners:
    description: The entries of runner pools.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the entry.
        type: str
        required: true
      pool:
        description: Pool of nodes that its runners run on.
        type: str
        required: true
      size:
        description: Size of a runner, such as V(4c-16g), or a mapping with C(cpu), C(memory) and perhaps C(disk).
        type: raw
        required: true
      min:
        description: Runners that wait for jobs at any time.
        type: int
        default: 0
      max:
        description: Runners at most, or V(auto) for as many as fit.
        type: str
        default: auto
  runner_namespace:
    description: Namespace whose pods are runners, and therefore do not count.
    type: str
    default: arc-runners
"""

EXAMPLES = r"""
- name: Get what the pools can carry
  runnerfleet.baremetal.runner_capacity:
    kubeconfig: "{{ fleet_kubeconfig }}"
    runners:
      - {name: small, pool: runner, size: 2c-8g}
      - {name: large, pool: runner, size: 8c-32g, max: 2}
  register: capacity
"""

RETURN = r"""
max:
  description: Runners at most, by the name of the entry.
  returned: success
  type: dict
  sample: {small: 13, large: 2}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.client import (
    CLUSTER_ARGS,
    Cluster,
    ClusterError,
    api_client,
    api_errors,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.runner_capacity import Wanted, place, rooms
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.runner_size import parse

RUNNER = {
    "name": {"type": "str", "required": True},
    "pool": {"type": "str", "required": True},
    "size": {"type": "raw", "required": True},
    "min": {"type": "int", "default": 0},
    "max": {"type": "str", "default": "auto"},
}
SPEC = {
    **CLUSTER_ARGS,
    "runners": {"type": "list", "elements": "dict", "required": True, "options": RUNNER},
    "runner_namespace": {"type": "str", "default": "arc-runners"},
}


def wanted(entry: dict[str, Any]) -> Wanted:
    """An entry as the capacity is asked for it. Raises ClusterError for a size or a number that is none."""
    path = f"runners, {entry['name']}"
    if entry["max"] != "auto" and not entry["max"].isdecimal():
        raise ClusterError(f"{path}: found max {entry['max']!r}, expected auto or a number")
    try:
        size = parse(entry["size"])
    except ValueError as error:
        raise ClusterError(f"{path}: {error}") from error
    return Wanted(entry["name"], size, entry["min"], None if entry["max"] == "auto" else int(entry["max"]))


def main() -> None:
    """Look, and say."""
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    entries, found = module.params["runners"], {}
    with api_errors(module):
        all_wanted = {entry["name"]: wanted(entry) for entry in entries}
        cluster = Cluster(api_client(module))
        nodes = cluster.items("/api/v1/nodes")
        pods = [
            pod
            for pod in cluster.items("/api/v1/pods", {"fieldSelector": "status.phase!=Succeeded,status.phase!=Failed"})
            if pod["metadata"]["namespace"] != module.params["runner_namespace"]
        ]
        for pool in sorted({entry["pool"] for entry in entries}):
            own = [all_wanted[entry["name"]] for entry in entries if entry["pool"] == pool]
            found.update(place(rooms(nodes, pods, pool), own).most)
    module.exit_json(changed=False, max=found)


if __name__ == "__main__":
    main()
