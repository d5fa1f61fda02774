#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_pools
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: Labels and taints of the nodes of all pools, in one call
description:
  - Gives every node of a pool the pool's labels and taints, and removes those that were set from here and are no longer
    wanted.
  - Labels are applied server-side under the field manager C(runnerfleet). Labels and taints that were not set from here
    stay, among them the start-up taint C(runnerfleet.dev/engine-not-ready), which is lifted by what makes the engine
    ready.
  - Lists the nodes once and writes only to nodes that differ. Nodes that are in no pool are left alone.
options:
  pools:
    description: All pools of the fleet. A node can be in one pool only.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - Name of the pool. Its nodes get the label C(node-restriction.kubernetes.io/runnerfleet-pool=<name>), which a
            kubelet cannot set on itself, and C(node-role.kubernetes.io/<name>) for people.
        type: str
        required: true
      nodes:
        description: Names of the pool's nodes.
        type: list
        elements: str
        required: true
      labels:
        description: More labels.
        type: dict
        default: {}
      taints:
        description: More taints.
        type: list
        elements: dict
        default: []
        suboptions:
          key:
            description: The taint's key.
            type: str
            required: true
          value:
            description: The taint's value.
            type: str
            default: ""
          effect:
            description: The taint's effect.
            type: str
            required: true
            choices: [NoSchedule, PreferNoSchedule, NoExecute]
      engine:
        description: Whether an engine runs on each node, so that the taint C(runnerfleet.dev/pool=<name>:NoSchedule)
          keeps others away.
        type: bool
        default: false
  allow_missing:
    description: Whether nodes that are not in the cluster are passed over instead of failing. A dry run always passes
      them over.
    type: bool
    default: false
  threads:
    description: How many nodes are written to at once.
    type: int
    default: 20
extends_documentation_fragment:
  - runnerfleet.baremetal.cluster
  - runnerfleet.baremetal.attributes
requirements:
  - kubernetes >= 24.2.0
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
  idempotent: {support: full}
"""

EXAMPLES = r"""
- name: Label and taint the nodes
  runnerfleet.baremetal.node_pools:
    pools:
      - {name: support, nodes: [support-1]}
      - {name: runner, nodes: [runner-1, runner-2], engine: true}
"""

RETURN = r"""
changed_nodes:
  description: Names of the nodes that were changed, or would be.
  type: list
  elements: str
  returned: success
  sample: [runner-1]
missing:
  description: Nodes of a pool that the cluster does not have.
  type: list
  elements: str
  returned: always
  sample: []
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.client import (
    CLUSTER_ARGS,
    CONFLICT,
    Cluster,
    api_client,
    api_errors,
    reason,
    status,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nodes.plan_pools import (
    FIELD_MANAGER,
    TAINTS_ANNOTATION,
    NodePlan,
    Wanted,
    plan_node,
    wanted_nodes,
)

TRIES = 5
NODES = "/api/v1/nodes"
TAINT_SPEC = {
    "key": {"type": "str", "required": True, "no_log": False},
    "value": {"type": "str", "default": ""},
    "effect": {"type": "str", "required": True, "choices": ["NoSchedule", "PreferNoSchedule", "NoExecute"]},
}
POOL_SPEC = {
    "name": {"type": "str", "required": True},
    "nodes": {"type": "list", "elements": "str", "required": True},
    "labels": {"type": "dict", "default": {}},
    "taints": {"type": "list", "elements": "dict", "options": TAINT_SPEC, "default": []},
    "engine": {"type": "bool", "default": False},
}


class Nodes(Cluster):
    """Nodes, their labels and their taints."""

    def apply_labels(self, plan: NodePlan) -> None:
        """Own exactly these labels. The uid keeps the request from creating a node that was deleted meanwhile."""
        meta = {"name": plan.node, "uid": plan.uid, "labels": plan.labels}
        self.apply(f"{NODES}/{plan.node}", {"apiVersion": "v1", "kind": "Node", "metadata": meta}, FIELD_MANAGER)

    def set_taints(self, plan: NodePlan) -> None:
        """Replace the list of taints and the note of those that are ours, if nobody has written meanwhile."""
        meta = {"resourceVersion": plan.resource_version, "annotations": {TAINTS_ANNOTATION: plan.claims or None}}
        body = {"metadata": meta, "spec": {"taints": plan.taints or None}}
        self.patch(f"{NODES}/{plan.node}", body, {"fieldManager": f"{FIELD_MANAGER}-taints"})


def converge(cluster: Nodes, plan: NodePlan, wanted: Wanted) -> str | None:
    """Carry out the plan of one node; returns why it could not be done. A write by others in between means to look
    again.
    """
    for _try in range(TRIES):
        try:
            if plan.taints is not None:
                cluster.set_taints(plan)
            if plan.labels is not None:
                cluster.apply_labels(plan)
            return None
        except Exception as error:
            if status(error) != CONFLICT:
                return f"{plan.node}: {reason(error)}: {getattr(error, 'body', None) or ''}".rstrip(": ")[:500]
        plan = plan_node(cluster.get(f"{NODES}/{plan.node}"), wanted)
        if plan.empty:
            return None
    return f"{plan.node}: written to by others {TRIES} times in a row, expected a quiet moment. Run the play again"


def run(params: dict[str, Any], check_mode: bool, cluster: Nodes) -> dict[str, Any]:
    """Plan for all nodes, then write to those that differ. A `msg` in the result means that it failed."""
    wanted = wanted_nodes(params["pools"])
    present = {node["metadata"]["name"]: node for node in cluster.items(NODES)}
    missing = sorted(set(wanted) - set(present))
    if missing and not (params["allow_missing"] or check_mode):
        msg = (
            f"not in the cluster: {', '.join(missing)}. Found {len(present)} nodes, expected every host of a pool to "
            "have joined. Join them (the play join), take them out of the inventory, or allow missing nodes"
        )
        return {"msg": msg, "missing": missing}
    plans = [plan_node(present[name], wanted[name]) for name in sorted(set(wanted) & set(present))]
    plans = [plan for plan in plans if not plan.empty]
    result = {
        "changed": bool(plans),
        "changed_nodes": [plan.node for plan in plans],
        "missing": missing,
        "diff": {
            "before": {plan.node: plan.before for plan in plans},
            "after": {plan.node: plan.after for plan in plans},
        },
    }
    if not check_mode:
        with ThreadPoolExecutor(max(1, min(params["threads"], 20))) as pool:
            problems = [
                problem
                for problem in pool.map(lambda plan: converge(cluster, plan, wanted[plan.node]), plans)
                if problem
            ]
        if problems:
            result["msg"] = f"{len(problems)} of {len(plans)} nodes could not be written: " + "; ".join(problems[:10])
    return result


def main() -> None:
    """Run the module."""
    spec = {
        **CLUSTER_ARGS,
        "pools": {"type": "list", "elements": "dict", "required": True, "options": POOL_SPEC},
        "allow_missing": {"type": "bool", "default": False},
        "threads": {"type": "int", "default": 20},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    with api_errors(module, ValueError):
        result = run(module.params, module.check_mode, Nodes(api_client(module)))
    if "msg" in result:
        module.fail_json(**result)
    if result["missing"] and module.check_mode:
        module.warn(
            f"not in the cluster yet, so their labels and taints cannot be compared: {', '.join(result['missing'])}"
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
