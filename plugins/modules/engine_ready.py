#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_ready
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: Wait for the Dagger engines of all engine nodes and let runners in
description:
  - Waits until the engine pod of each engine node answers, and then lifts that node's start-up taint
    C(runnerfleet.dev/engine-not-ready), so that a runner never lands beside a dead engine. All nodes are one call.
  - Puts the taint back on a node whose engine does not answer when the time is over. The jobs that run there are not
    touched.
  - A node in the middle of a roll-out (M(runnerfleet.baremetal.engine_rollout)) is left to that, and returned in
    RV(rolling).
  - A node whose kubelet stopped reporting is not waited for. It is returned in RV(not_reporting).
  - Never restarts an engine. Pods that still run an older template than their DaemonSet are returned in RV(outdated),
    with a warning.
options:
  versions:
    description: The engine versions that must answer on the nodes of each pool, as a list by the name of the pool.
    type: dict
    required: true
  nodes:
    description: Only these nodes; empty for all nodes of the pools.
    type: list
    elements: str
    default: []
  namespace:
    description: Namespace of the engines.
    type: str
    default: dagger
  timeout:
    description: Seconds to wait for all of them. In check mode there is one look and no wait.
    type: int
    default: 600
requirements:
  - kubernetes (Python client) >= 24.2.0
extends_documentation_fragment:
  - runnerfleet.baremetal.cluster
  - runnerfleet.baremetal.attributes
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
  idempotent: {support: full}
"""

EXAMPLES = r"""
- name: Let runners in where the engine answers
  runnerfleet.baremetal.engine_ready:
    kubeconfig: "{{ fleet_kubeconfig }}"
    versions: {runner: ["0.21.11"], large: ["0.21.10", "0.21.11"]}
"""

RETURN = r"""
ready:
  description: Nodes whose engines all answer.
  returned: always
  type: list
  elements: str
  sample: [runner-1, runner-2]
untainted:
  description: Nodes whose start-up taint was untainted.
  returned: always
  type: list
  elements: str
  sample: [runner-2]
waiting:
  description: Nodes whose engines do not answer yet. Outside check mode this is a failure.
  returned: always
  type: list
  elements: str
tainted:
  description: Nodes that got their start-up taint back, since their engines stopped answering.
  returned: always
  type: list
  elements: str
rolling:
  description: Nodes in the middle of a roll-out.
  returned: always
  type: list
  elements: str
not_reporting:
  description: Nodes whose kubelet stopped reporting.
  returned: always
  type: list
  elements: str
outdated:
  description: Nodes with an engine pod that was not restarted since its DaemonSet changed.
  returned: always
  type: list
  elements: str
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.client import (
    CLUSTER_ARGS,
    api_client,
    api_errors,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.objects import explain
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.api import POOL_LABEL, EngineCluster
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.readiness import (
    NodeVerdict,
    complaint,
    engine_verdicts,
    with_taint,
    without_taint,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._names import ENGINE_TAINT

INTERVAL = 3


def connect(module: AnsibleModule) -> EngineCluster:
    """The cluster that the module's arguments, or the environment, name."""
    return EngineCluster(api_client(module), sorted(module.params["versions"]), module.params["namespace"])


def chosen_nodes(module: AnsibleModule, cluster: EngineCluster) -> list[dict[str, Any]]:
    """The nodes that are looked at."""
    names = module.params["nodes"]
    return [node for node in cluster.nodes() if not names or node["metadata"]["name"] in names]


def untaint_ready(
    module: AnsibleModule, cluster: EngineCluster
) -> tuple[list[NodeVerdict], list[str], list[dict[str, Any]]]:
    """Look, lift, and look again until every node answers or the time is over."""
    deadline = time.monotonic() + module.params["timeout"]
    untainted: list[str] = []
    while True:
        nodes, pods = chosen_nodes(module, cluster), cluster.engine_pods()
        verdicts = engine_verdicts(nodes, pods, cluster.daemonsets(), module.params["versions"])
        by_name = {node["metadata"]["name"]: node for node in nodes}
        pending = False
        for verdict in verdicts:
            if verdict.ready and verdict.tainted and not verdict.rolling:
                node = by_name[verdict.name]
                if module.check_mode or cluster.set_taints(node, without_taint(node)):
                    untainted.append(verdict.name)
                else:
                    pending = True
        pending = pending or any(verdict.awaited for verdict in verdicts)
        if not pending or module.check_mode or time.monotonic() >= deadline:
            return verdicts, untainted, pods
        time.sleep(INTERVAL)


def taint_unready(cluster: EngineCluster, verdicts: list[NodeVerdict]) -> list[str]:
    """Keep new runners away from the nodes whose engines do not answer; one that is being written to gets it at the
    next run.
    """
    names = {verdict.name for verdict in verdicts if verdict.awaited and not verdict.tainted}
    nodes = [node for node in cluster.nodes() if node["metadata"]["name"] in names]
    return [node["metadata"]["name"] for node in nodes if cluster.set_taints(node, with_taint(node))]


def main() -> None:
    """Entry point."""
    spec = {
        **CLUSTER_ARGS,
        "versions": {"type": "dict", "required": True},
        "nodes": {"type": "list", "elements": "str", "default": []},
        "namespace": {"type": "str", "default": "dagger"},
        "timeout": {"type": "int", "default": 600},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    with api_errors(module):
        cluster = connect(module)
        verdicts, untainted, pods = untaint_ready(module, cluster)
        tainted = [] if module.check_mode else taint_unready(cluster, verdicts)
    waiting = [verdict for verdict in verdicts if verdict.awaited]
    result: dict[str, Any] = {
        "changed": bool(untainted or tainted),
        "ready": [verdict.name for verdict in verdicts if verdict.ready],
        "untainted": sorted(untainted),
        "waiting": [verdict.name for verdict in waiting],
        "tainted": sorted(tainted),
        "rolling": [verdict.name for verdict in verdicts if verdict.rolling],
        "not_reporting": [verdict.name for verdict in verdicts if verdict.not_reporting],
        "outdated": [verdict.name for verdict in verdicts if verdict.outdated],
        "diff": {
            key: "".join(f"{name}: {ENGINE_TAINT}\n" for name in sorted(names))
            for key, names in (("before", untainted), ("after", tainted))
        },
    }
    if not verdicts and not module.check_mode:
        found = f"no node with the label {POOL_LABEL} and one of the values {', '.join(cluster.pools)}"
        module.fail_json(
            msg=f"Found {found}; expected at least one engine node. Label the nodes first (role node_pools).", **result
        )
    if waiting and not module.check_mode:
        stuck = {name for verdict in waiting for name in verdict.pods.values()}
        lines = {pod["metadata"]["name"]: cluster.last_line(pod) for pod in pods if pod["metadata"]["name"] in stuck}
        cause = explain(cluster.api, [module.params["namespace"], "kube-system"])
        module.fail_json(msg=f"{complaint(waiting, lines, module.params['timeout'])}\n{cause}", **result)
    if result["rolling"]:
        module.warn(
            "in the middle of a roll-out, finish it with runnerfleet.baremetal.engine_upgrade: "
            f"{', '.join(result['rolling'])}"
        )
    if result["outdated"]:
        module.warn(
            f"The engines of {', '.join(result['outdated'])} still run as they were started before the last change. "
            "They are not restarted under running jobs: runnerfleet.baremetal.engine_upgrade "
            "(playbooks/engine_upgrade.yml) rolls them node by node."
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
