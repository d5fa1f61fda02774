#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_addresses
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: The addresses of a cluster's nodes and of its API servers, for network policies
description:
  - Says where connections of the API servers come from, where the API answers, and which addresses the nodes have.
  - Reads the nodes and the endpoints of the service C(kubernetes), and changes nothing.
requirements:
  - python >= 3.9
  - kubernetes
extends_documentation_fragment:
  - runnerfleet.baremetal.cluster
  - runnerfleet.baremetal.attributes
  - runnerfleet.baremetal.attributes.info_module
"""

EXAMPLES = r"""
- name: Ask where the API server connects from
  runnerfleet.baremetal.cluster_addresses:
    kubeconfig: "{{ fleet_kubeconfig }}"
  register: cluster
"""

RETURN = r"""
api_servers:
  description:
    - Peers of a network policy's rule for ingress that connections of the API servers come from. The addresses of the
      service's endpoints and of the control plane's nodes, and the first two of what each of these has for its pods,
      those of the tunnel and of the bridge.
  returned: success
  type: list
  elements: dict
  sample: [{ipBlock: {cidr: 10.0.0.11/32}}, {ipBlock: {cidr: 10.244.0.0/32}}, {ipBlock: {cidr: 10.244.0.1/32}}]
api_endpoints:
  description: Where the API answers, as peers and ports of a network policy's rule for egress.
  returned: success
  type: list
  elements: dict
  sample: [{to: [{ipBlock: {cidr: 10.0.0.11/32}}], ports: [{protocol: TCP, port: 6443}]}]
nodes:
  description: The nodes' own addresses as networks.
  returned: success
  type: list
  elements: str
  sample: [10.0.0.11/32, 10.0.0.31/32]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.client import CLUSTER_ARGS, api_client
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.network_policies import (
    api_endpoints,
    api_servers,
    node_networks,
    peers,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.objects import ClusterReader

SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"


def main() -> None:
    """Look, and say."""
    module = AnsibleModule(argument_spec=dict(CLUSTER_ARGS), supports_check_mode=True)
    reader = ClusterReader(api_client(module))
    nodes = reader.nodes()
    slices = reader.items(SLICES, "EndpointSlice", labelSelector="kubernetes.io/service-name=kubernetes")
    if reader.unread or not nodes or not slices:
        found = (
            "; ".join(reader.unread)
            or f"{len(nodes)} nodes and {len(slices)} EndpointSlices of the service default/kubernetes"
        )
        module.fail_json(
            msg=f"The addresses of the cluster are not known: found {found}, expected both. Ask again when the API "
            "answers."
        )
    module.exit_json(
        changed=False,
        api_servers=peers(api_servers(nodes, slices)),
        api_endpoints=api_endpoints(slices),
        nodes=node_networks(nodes),
    )


if __name__ == "__main__":
    main()
