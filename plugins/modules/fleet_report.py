#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_report
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: What a fleet is, in one pass over its API
description:
  - Lists nodes, engines, runner deployments, scale sets and runners with seven requests, however large the fleet is,
    and returns the few facts of each.
  - The result holds no times, so that it is the same for a fleet that did not change. Kinds that a cluster does not
    have are empty lists.
extends_documentation_fragment:
  - runnerfleet.baremetal.cluster
  - runnerfleet.baremetal.attributes
  - runnerfleet.baremetal.attributes.info_module
options:
  engine_namespace:
    description: Namespace of the engines.
    type: str
    default: dagger
  runner_namespace:
    description: Namespace of the runners.
    type: str
    default: arc-runners
requirements:
  - python >= 3.9
  - kubernetes
"""

EXAMPLES = r"""
- name: Look at the fleet
  runnerfleet.baremetal.fleet_report:
    kubeconfig: ./kubeconfig
  register: __fleet
"""

RETURN = r"""
fleet:
  description: Nodes, engines, runner deployments, scale sets and runners of either, sorted.
  returned: success
  type: dict
  sample:
    nodes:
      - {name: runner-1, pool: runner, roles: [runner], ready: true, schedulable: true,
        taints: ["runnerfleet.dev/pool=runner:NoSchedule"],
         kubelet: v1.36.6, runtime: containerd://2.3.7, os: Debian GNU/Linux 13 (trixie), arch: amd64}
    engines: [{name: dagger-engine-x7k2p, node: runner-1, image: "registry.dagger.io/engine:v0.21.11", ready: true}]
    runner_deployments: [{name: medium, pool: runner, scope: example-org, labels: [medium], desired: 2, available: 2}]
    scale_sets: [{name: small, pool: runner, scope: example-org, min: 0, max: 8}]
    runners: [{name: medium-abcde-fghij, node: runner-1, deployment: medium, phase: Running, ready: true}]
msg:
  description: The fleet in one line.
  returned: always
  type: str
  sample: 4 of 4 nodes, 2 of 2 engines and 2 of 2 runners are ready
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.client import (
    CLUSTER_ARGS,
    LEGACY_RUNNERS,
    NOT_FOUND,
    SCALE_SETS,
    Cluster,
    api_client,
    api_errors,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet import report as fleet_report


def main() -> None:
    """Ask and return."""
    spec = {
        **CLUSTER_ARGS,
        "engine_namespace": {"type": "str", "default": "dagger"},
        "runner_namespace": {"type": "str", "default": "arc-runners"},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    engines, runners = module.params["engine_namespace"], module.params["runner_namespace"]
    with api_errors(module):
        cluster = Cluster(api_client(module))
        fleet = fleet_report.fleet(
            nodes=cluster.items("/api/v1/nodes", passed=(NOT_FOUND,)),
            engines=cluster.items(f"/api/v1/namespaces/{engines}/pods", passed=(NOT_FOUND,)),
            deployments=cluster.items(f"{LEGACY_RUNNERS}/namespaces/{runners}/runnerdeployments", passed=(NOT_FOUND,)),
            runners=cluster.items(f"{LEGACY_RUNNERS}/namespaces/{runners}/runners", passed=(NOT_FOUND,)),
            runner_pods=cluster.items(f"/api/v1/namespaces/{runners}/pods", passed=(NOT_FOUND,)),
            scale_sets=cluster.items(f"{SCALE_SETS}/namespaces/{runners}/autoscalingrunnersets", passed=(NOT_FOUND,)),
            ephemeral_runners=cluster.items(f"{SCALE_SETS}/namespaces/{runners}/ephemeralrunners", passed=(NOT_FOUND,)),
        )
    module.exit_json(changed=False, fleet=fleet, msg=fleet_report.line(fleet))


if __name__ == "__main__":
    main()
