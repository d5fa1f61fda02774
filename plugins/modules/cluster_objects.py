#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_objects
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: Gets several kinds of objects from a cluster in one call
description:
  - Asks the API for each of the given lists or objects, and answers with what a query takes out of them, so that a role
    learns what it needs of a cluster in one task, and nothing else of an object leaves the module.
  - Changes nothing.
requirements:
  - python >= 3.9
  - kubernetes
  - jmespath
extends_documentation_fragment:
  - runnerfleet.baremetal.cluster
  - runnerfleet.baremetal.attributes
  - runnerfleet.baremetal.attributes.info_module
options:
  objects:
    description: What to get.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: What it is called in the result.
        type: str
        required: true
      path:
        description:
          - Path of a list or of one object, as C(kubectl get --raw) takes it.
          - What the API does not have, a kind among it, is an empty list.
        type: str
        required: true
      query:
        description: JMESPath expression that is applied to the list of the objects.
        type: str
        required: true
      label_selectors:
        description: Labels that objects of a list must have.
        type: list
        elements: str
        default: []
      metadata_only:
        description: Whether the API sends the objects' metadata alone, as for Secrets whose names are asked for.
        type: bool
        default: false
"""

EXAMPLES = r"""
- name: Get the nodes and the DNS pods
  runnerfleet.baremetal.cluster_objects:
    kubeconfig: "{{ fleet_kubeconfig }}"
    objects:
      - {name: nodes, path: /api/v1/nodes, query: "[].metadata.name"}
      - name: dns
        path: /api/v1/namespaces/kube-system/pods
        label_selectors: [k8s-app=kube-dns]
        query: "[].{name: metadata.name, phase: status.phase}"
  register: cluster
"""

RETURN = r"""
objects:
  description: What the query took out of the objects, by name.
  returned: success
  type: dict
  sample: {nodes: [runner-1], dns: [{name: coredns-1, phase: Running}]}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.client import (
    CLUSTER_ARGS,
    JSON,
    METADATA,
    NOT_FOUND,
    Cluster,
    api_client,
    api_errors,
)

try:
    import jmespath
except ImportError:
    jmespath = None

OBJECT = {
    "name": {"type": "str", "required": True},
    "path": {"type": "str", "required": True},
    "query": {"type": "str", "required": True},
    "label_selectors": {"type": "list", "elements": "str", "default": []},
    "metadata_only": {"type": "bool", "default": False},
}


def items(cluster: Cluster, path: str, label_selectors: list[str], metadata_only: bool) -> list[dict[str, Any]]:
    """The objects of a list, or the one object that is there."""
    labels = {"labelSelector": ",".join(label_selectors)} if label_selectors else {}
    answer = cluster.get(path, labels, passed=(NOT_FOUND,), accept=METADATA if metadata_only else JSON)
    if "items" in answer:
        return list(answer["items"] or [])
    return [answer] if answer else []


def main() -> None:
    """Get them all, and answer what was asked for."""
    wanted = {"type": "list", "elements": "dict", "required": True, "options": OBJECT}
    module = AnsibleModule(argument_spec={**CLUSTER_ARGS, "objects": wanted}, supports_check_mode=True)
    if jmespath is None:
        module.fail_json(msg=missing_required_lib("jmespath"))
    found = {}
    with api_errors(module, jmespath.exceptions.JMESPathError):
        cluster = Cluster(api_client(module))
        for one in module.params["objects"]:
            query = jmespath.compile(one["query"])
            found[one["name"]] = query.search(items(cluster, one["path"], one["label_selectors"], one["metadata_only"]))
    module.exit_json(changed=False, objects=found)


if __name__ == "__main__":
    main()
