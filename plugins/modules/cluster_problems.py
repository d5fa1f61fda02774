#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_problems
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: Say what keeps a cluster, or a part of it, from being ready
description:
  - Lists, a line each, node conditions, pods that are not ready with their reasons, what could not be created, claims
    that are not bound, webhooks without a pod behind them, and the last warnings among the Events.
  - Reads only. What the credential may not read is said and does not end the look.
  - In the C(rescue) of a wait it ends the play with O(failed_wait) and these lines. Before a deployment,
    O(require_room) ends it where nothing that is deployed could start.
  - Texts of the cluster are data. They lose control characters and passwords in addresses, and are cut to a length.
extends_documentation_fragment:
  - runnerfleet.baremetal.cluster
  - runnerfleet.baremetal.attributes
  - runnerfleet.baremetal.attributes.info_module
options:
  namespaces:
    description: Namespaces to look at.
    type: list
    elements: str
    default: [kube-system]
  failed_wait:
    description: What failed, and its error. When set, the module fails with this text and what it found.
    type: str
  require_room:
    description:
      - Fail where every node with the labels of O(node_selector) is under disk, memory or process pressure.
      - With the labels of O(node_selector) on no node at all it fails too. Not in check mode, in which nodes have their
        labels only later.
    type: bool
    default: false
  node_selector:
    description: Labels of the nodes that O(require_room) asks about. Empty means all nodes.
    type: dict
    default: {}
requirements:
  - python >= 3.9
  - kubernetes
"""

EXAMPLES = r"""
- name: Deploy with an explanation
  block:
    - name: Deploy
      kubernetes.core.helm:
        name: example
        namespace: example
        chart_ref: ./example
        wait: true
  rescue:
    - name: Say what it waited for
      runnerfleet.baremetal.cluster_problems:
        kubeconfig: ./kubeconfig
        namespaces: [example, kube-system]
        failed_wait: "Deploying example: {{ ansible_failed_result.msg }}"
"""

RETURN = r"""
problems:
  description: What was found, a line each. Empty where nothing is wrong.
  returned: always
  type: list
  elements: str
  sample: ["node runner-1: DiskPressure (kubelet has disk pressure)"]
msg:
  description: O(failed_wait) with these lines, or how many there are.
  returned: always
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.client import (
    CLUSTER_ARGS,
    api_client,
    api_errors,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.objects import ClusterReader
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.problems import (
    clean,
    node_problems,
    pressed,
    problems,
)

MAX_ERROR = 4000


def no_room(reader: ClusterReader, selector: dict[str, str]) -> list[str]:
    """Why nothing that is deployed now could start; empty where it could, or where nodes cannot be read."""
    labels = ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
    nodes = reader.nodes(labels)
    if reader.unread:
        return []
    if not nodes:
        return [f"no node has the labels {labels}" if labels else "the cluster has no node"]
    if pressed(nodes):
        return [
            clean(f"node {node['metadata']['name']}: {text}") for node in nodes[:10] for text in node_problems(node)
        ]
    return []


def main() -> None:
    """Look, and say."""
    spec = {
        **CLUSTER_ARGS,
        "namespaces": {"type": "list", "elements": "str", "default": ["kube-system"]},
        "failed_wait": {"type": "str"},
        "require_room": {"type": "bool", "default": False},
        "node_selector": {"type": "dict", "default": {}},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    failed = str(module.params["failed_wait"] or "")[:MAX_ERROR]
    with api_errors(module, before=failed, problems=[]):
        reader = ClusterReader(api_client(module))
    if module.params["require_room"] and not module.check_mode:
        lines = no_room(reader, module.params["node_selector"] or {})
        if lines:
            hint = (
                "Expected a node that pods can start on. Free space or memory there, or label a node, and run "
                "again; nothing was changed."
            )
            module.fail_json(msg="\n".join(["Nothing that is deployed now could start:", *lines, hint]), problems=lines)
    lines = problems(reader.objects(module.params["namespaces"])) if failed or not module.params["require_room"] else []
    if failed:
        said = (
            ["What the cluster says:", *lines]
            if lines
            else ["The cluster shows no pod that is not ready and no warning."]
        )
        module.fail_json(
            msg="\n".join([failed, *said, "Mend what these lines name and run again; nothing needs to be undone."]),
            problems=lines,
        )
    module.exit_json(changed=False, problems=lines, msg=f"{len(lines)} problems")


if __name__ == "__main__":
    main()
