#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: expelled_nodes
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: Puts lost nodes out of the cluster, and says what they knew
description:
  - Has a ValidatingAdmissionPolicy deny every write by the certificates of these nodes, and by the tokens of pods on
    them, so that neither a Node of that name nor a request for a certificate is made with them any more. A name that is
    not listed any more is let go.
  - Then denies what they have asked for, deletes bootstrap tokens that were made for them, and deletes their Node
    objects. The tokens of pods on them end with the pods, which the cluster deletes after the Node.
  - Kubernetes revokes no certificate. Until its own ends, a node may still read what the API lets every node read.
options:
  names:
    description: All names that are put out.
    type: list
    elements: str
    required: true
extends_documentation_fragment:
  - runnerfleet.baremetal.cluster
  - runnerfleet.baremetal.attributes
requirements:
  - kubernetes >= 24.2.0
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
  idempotent: {support: full}
"""

EXAMPLES = r"""
- name: Put a lost machine out
  runnerfleet.baremetal.expelled_nodes:
    kubeconfig: "{{ lookup('runnerfleet.baremetal.kubeconfig') }}"
    names: [runner-3]
"""

RETURN = r"""
expelled:
  description: Names that are put out now, and were not before.
  type: list
  elements: str
  returned: success
  sample: [runner-3]
readmitted:
  description: Names that were put out before.
  type: list
  elements: str
  returned: success
  sample: []
deleted:
  description: Nodes that were deleted.
  type: list
  elements: str
  returned: success
  sample: [runner-3]
knew:
  description: For each node that was deleted, the Secrets that its pods were given, and the accounts whose tokens they
    had.
  type: dict
  returned: success
  sample: {runner-3: {secrets: [arc-runners/registry], accounts: [kube-flannel/flannel]}}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.client import (
    CLUSTER_ARGS,
    ClusterError,
    api_client,
    api_errors,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host.plan_membership import check_node_name
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nodes import policies
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nodes.requests import Requests


def run(cluster: Requests, names: list[str], check_mode: bool) -> dict[str, Any]:
    """First the rule, then what goes: nothing that is deleted can be made again in between."""
    for name in names:
        check_node_name(name)
    before, there = cluster.expelled(), cluster.nodes(names)
    knew = {name: policies.knowledge(cluster.pods(name)) for name in sorted(there)}
    changed = cluster.apply_all(policies.expelled(names), dry=check_mode) if names or before else False
    if changed is None:
        raise ClusterError(
            "the cluster has no ValidatingAdmissionPolicy (admissionregistration.k8s.io/v1): found an API without that "
            "kind, expected Kubernetes 1.30 or newer. Nothing was done"
        )
    gone = sorted(there)
    if not check_mode:
        cluster.await_expelled(names)
        cluster.deny_pending(names)
        cluster.delete_tokens(names)
        gone = [name for name in gone if cluster.delete_node(name)]
    return {
        "changed": bool(changed or gone),
        "expelled": sorted(set(names) - before),
        "readmitted": sorted(before - set(names)),
        "deleted": gone,
        "knew": knew,
    }


def main() -> None:
    """Run the module."""
    spec = {**CLUSTER_ARGS, "names": {"type": "list", "elements": "str", "required": True}}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    with api_errors(module, ValueError):
        result = run(Requests(api_client(module)), sorted(set(module.params["names"])), module.check_mode)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
