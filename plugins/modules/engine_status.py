#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_status
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: What every engine of the fleet does, and how its cache is
description:
  - Asks the cluster and each engine's metrics, and changes nothing. All nodes are one call.
options:
  nodes:
    description: Names of the nodes to look at, all of the pools when empty. Where none of them carries an engine, that
      is an error.
    type: list
    elements: str
    default: []
  threads:
    description: How many engines are asked at once.
    type: int
    default: 20
extends_documentation_fragment:
  - runnerfleet.baremetal.cluster
  - runnerfleet.baremetal.engines
  - runnerfleet.baremetal.attributes
  - runnerfleet.baremetal.attributes.info_module
"""

EXAMPLES = r"""
- name: Look at the engines
  runnerfleet.baremetal.engine_status:
    kubeconfig: "{{ fleet_kubeconfig }}"
    pools: [runner]
  register: engines
"""

RETURN = r"""
engines:
  description:
    - One entry an engine, and one for a node that has none. C(figures) has what the metrics say of C(clients),
      C(bytes), C(canary) (1 where the step that the pod runs after each start was cached, 0 where it ran anew),
      C(persisted_bytes) and C(persisted_results) of the last clean stop, C(clean), C(wipes), C(restores), C(missed),
      C(checkpoints), C(checkpoint_bytes), C(checkpoint_time), C(size) and C(free).
  returned: success
  type: list
  elements: dict
  sample:
    - node: runner-1
      pool: runner
      version: 0.21.11
      daemonset: dagger-engine-runner-0-21-11
      pod: dagger-engine-runner-0-21-11-x7k2p
      ready: true
      stale: []
      not_reporting: false
      tainted: false
      rolling: ""
      problem: ""
      figures: {clients: 0, bytes: 73400320, canary: 1, persisted_results: 4333}
      checkpoints: [{name: 20260131T120000Z, version: 0.21.11, bytes: 73400320, method: btrfs}]
checkpoints:
  description: The checkpoints as text, a line each.
  returned: success
  type: list
  elements: str
  sample: ["runner-1: 20260131T120000Z of engine 0.21.11: 73 MB, by btrfs"]
lines:
  description: The same as text, and a line with C(!) for what a person should look at.
  returned: success
  type: list
  elements: str
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.client import (
    CLUSTER_ARGS,
    api_client,
    api_errors,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.api import EngineCluster
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.rollout_plan import (
    RolloutError,
    wanted_revisions,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.status import (
    checkpoints,
    engines,
    status_lines,
)


def connect(module: AnsibleModule) -> EngineCluster:
    """The cluster that the module's arguments name."""
    return EngineCluster(api_client(module), module.params["pools"], module.params["namespace"])


def engine_states(cluster: EngineCluster, threads: int) -> list[dict[str, Any]]:
    """All engines."""
    pods = cluster.engine_pods()
    names = [pod["metadata"]["name"] for pod in pods]
    with ThreadPoolExecutor(max(1, min(threads, 20))) as pool:
        gauges = dict(zip(names, pool.map(cluster.gauges, names)))
        states = dict(zip(names, pool.map(cluster.state, names)))
    return engines(cluster.nodes(), pods, wanted_revisions(cluster.daemonsets(), cluster.revisions()), gauges, states)


def main() -> None:
    """Run the module."""
    spec = {
        **CLUSTER_ARGS,
        "pools": {"type": "list", "elements": "str", "required": True},
        "namespace": {"type": "str", "default": "dagger"},
        "nodes": {"type": "list", "elements": "str", "default": []},
        "threads": {"type": "int", "default": 20},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    with api_errors(module, RolloutError):
        found = engine_states(connect(module), module.params["threads"])
    wanted = module.params["nodes"]
    if wanted:
        there = sorted({entry["node"] for entry in found})
        found = [entry for entry in found if entry["node"] in wanted]
        if not found:
            module.fail_json(
                msg=f"nodes: found {', '.join(wanted)}, expected some that carry an engine, which are "
                f"{', '.join(there) or 'none'}"
            )
    module.exit_json(changed=False, engines=found, lines=status_lines(found), checkpoints=checkpoints(found))


if __name__ == "__main__":
    main()
