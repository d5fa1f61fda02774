#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_room
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: What the cluster has room for, before engines are deployed
description:
  - Says how much memory each engine of a pool can have, so that the runners of the plan fit beside it on the smallest
    machine of the pool.
  - Counts what the machines' kubelets leave to pods (allocatable), less 256 MiB for what else runs on each node, less
    the runners, shared by the versions of the pool, in steps of 256 MiB and never less than 2 GiB.
  - An amount that engines have already is kept while it fits and is at least 90 % of what is possible, since another
    one means a restart.
  - Names the DaemonSets of ours that no pool asks for and that no machine runs, which can go without stopping an
    engine.
  - Names the service account that earlier releases gave to engines, and its rights, once no engine uses it.
  - Changes nothing. All pools are one call.
options:
  versions:
    description: The engine versions of each pool, as a list by the name of the pool.
    type: dict
    required: true
  hosts:
    description: How many hosts the inventory has in each pool, by its name. The runners of a pool are shared by so
      many.
    type: dict
    required: true
  runners:
    description: The runners of the plan, as role C(runner_pools) takes them in C(runner_pools_pools).
    type: list
    elements: dict
    default: []
  runner_resources:
    description: Requests and limits of runners that state none.
    type: dict
    default: {}
  namespace:
    description: Namespace of the engines.
    type: str
    default: dagger
  secrets:
    description: Names of Secrets in O(namespace) that engines read. What is in them is not returned.
    type: list
    elements: str
    default: []
  runner_namespace:
    description: Namespace of the runners.
    type: str
    default: arc-runners
requirements:
  - kubernetes (Python client) >= 24.2.0
extends_documentation_fragment:
  - runnerfleet.baremetal.cluster
  - runnerfleet.baremetal.attributes
  - runnerfleet.baremetal.attributes.info_module
"""

EXAMPLES = r"""
- name: Look at the memory of the machines
  runnerfleet.baremetal.engine_room:
    kubeconfig: "{{ fleet_kubeconfig }}"
    versions: {runner: ["0.21.11"]}
    hosts: {runner: 12}
    runners: [{name: medium, pool: runner, replicas: 24, resources: {requests: {cpu: "2", memory: 4Gi}}}]
  register: engine_room
"""

RETURN = r"""
memory:
  description: Memory for each engine of a pool, as Kubernetes writes it, by the name of the pool.
  returned: success
  type: dict
  sample: {runner: 22528Mi}
leftover:
  description: DaemonSets of ours, of pools or versions that nobody states any more, without a machine that would run
    their engines.
  returned: success
  type: list
  elements: str
  sample: [dagger-engine-old-0-21-10]
secrets:
  description: Those of O(secrets) that are there, with a checksum of what they hold, which is another one when that
    changes.
  returned: success
  type: dict
  sample: {engine-environment: 6f1ed002ab559585}
unused_access:
  description: The service account of earlier releases and its rights, as objects to delete. None while an engine's pod
    still uses it.
  returned: success
  type: list
  elements: dict
  sample: [{apiVersion: v1, kind: ServiceAccount, name: dagger-engine, namespace: dagger}]
namespaces:
  description: Names of the namespaces that the cluster has.
  returned: success
  type: list
  elements: str
monitoring_kinds:
  description: Kinds of the Prometheus operator that the cluster has.
  returned: success
  type: list
  elements: str
  sample: [PodMonitor, PrometheusRule]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.client import (
    CLUSTER_ARGS,
    ClusterError,
    api_client,
    api_errors,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.api import EngineCluster
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.memory import (
    MIB,
    engine_memory,
    leftover,
    memory_now,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._names import POOL_LABEL


def engine_facts(cluster: EngineCluster, params: dict[str, Any]) -> dict[str, Any]:
    """What the module returns. Raises ClusterError for an amount of memory that is none."""
    nodes, daemonsets = cluster.nodes(), cluster.daemonsets()
    memory = {}
    for pool, versions in params["versions"].items():
        own = [node for node in nodes if node["metadata"]["labels"][POOL_LABEL] == pool]
        first = next(iter(params["versions"]))
        hosts, now = int(params["hosts"].get(pool, len(own))), memory_now(daemonsets, pool)
        runners, resources = params["runners"], params["runner_resources"]
        try:
            size = engine_memory(pool, own, hosts, len(versions), runners, resources, first, now)
        except ValueError as error:
            raise ClusterError(f"runners: {error}") from error
        memory[pool] = f"{size // MIB}Mi"
    wanted = {(pool, str(version)) for pool, versions in params["versions"].items() for version in versions}
    return {
        "memory": memory,
        "leftover": leftover(daemonsets, wanted),
        "secrets": {name: digest for name in params["secrets"] if (digest := cluster.secret_digest(name))},
        "unused_access": cluster.former_access(),
        "namespaces": cluster.namespaces(),
        "monitoring_kinds": cluster.kinds("monitoring.coreos.com/v1"),
    }


def main() -> None:
    """Run the module."""
    spec = {
        **CLUSTER_ARGS,
        "versions": {"type": "dict", "required": True},
        "hosts": {"type": "dict", "required": True},
        "runners": {"type": "list", "elements": "dict", "default": []},
        "runner_resources": {"type": "dict", "default": {}},
        "namespace": {"type": "str", "default": "dagger"},
        "secrets": {"type": "list", "elements": "str", "default": [], "no_log": False},
        "runner_namespace": {"type": "str", "default": "arc-runners"},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    params = module.params
    with api_errors(module):
        cluster = EngineCluster(
            api_client(module), sorted(params["versions"]), params["namespace"], params["runner_namespace"]
        )
        found = engine_facts(cluster, params)
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
