#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: network_policy_proof
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: Prove that the cluster holds network policies
description:
  - Asks the API server to connect to a pod of which a policy opens one port and no other. The proof is that this one
    answers and that another one does not, on which the pod's own node finds it ready.
  - The pod must not run on the node of an API server, since no policy holds what comes from a pod's own node.
  - Where both answer, policies are not held, and it fails or warns as O(required) says. Where none does, nothing is
    known.
  - Reads only.
options:
  namespace:
    description: Namespace of the pod.
    type: str
    required: true
  pod:
    description: Name of the pod. Its readiness must be that of O(closed_port).
    type: str
    required: true
  open_port:
    description: The port that the policy opens. It answers to C(/ready) with 200.
    type: int
    required: true
  closed_port:
    description: The port that the policy does not open. It answers to C(/health) with 200.
    type: int
    required: true
  required:
    description: Fail where policies are not held, or where nothing could be tried. Otherwise both are warnings.
    type: bool
    default: true
  patience:
    description:
      - Seconds that both ports may answer, before policies count as not held.
      - A connection that was opened before the policy was held is kept by the API server, and goes on to answer until
        what holds policies looks at connections that are there, which kube-network-policies does twice a minute.
    type: int
    default: 75
  timeout:
    description: Seconds to wait for the pod to answer at all.
    type: int
    default: 120
requirements:
  - python >= 3.9
  - kubernetes
extends_documentation_fragment:
  - runnerfleet.baremetal.cluster
  - runnerfleet.baremetal.attributes
  - runnerfleet.baremetal.attributes.info_module
"""

EXAMPLES = r"""
- name: Look from the control plane which port of a pod is out of reach
  runnerfleet.baremetal.network_policy_proof:
    kubeconfig: "{{ fleet_kubeconfig }}"
    namespace: runnerfleet-canary
    pod: network-policy-canary
    open_port: 8181
    closed_port: 8080
"""

RETURN = r"""
verdict:
  description: V(held), V(open) where policies are not held, or V(unknown) where the pod did not answer.
  returned: always
  type: str
  sample: held
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.client import (
    CLUSTER_ARGS,
    FORBIDDEN,
    UNAUTHORIZED,
    Cluster,
    api_client,
    api_errors,
    status,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.conditions import is_ready
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.network_policies import (
    HELD,
    OPEN,
    UNKNOWN,
    Observation,
    verdict,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.objects import explain

INTERVAL = 1
SETTLE = 3  # seconds from a pod's first answer until its other port is asked: see patience
ANY = {"Accept": "application/json, */*"}
PATIENCE_OF_A_LOOK = 1  # The client tries four times.
NOT_HELD = (
    "The pod network takes network policies and does not hold them: a pod was reached that a policy puts out of reach. "
    "So runners, and machines with a route to the pods, reach what they must not, as the webhook of the runner "
    "controller, which gives out registrations. "
)
WITH_OURS = (
    "Expected kube-network-policies to hold them (DaemonSet kube-flannel/kube-network-policies): read the "
    "logs of its pods."
)
WITH_THEIRS = "Use a pod network that holds them, or set pod_network_policies to false to have this said no more."


def answers(cluster: Cluster, pod: str, port: int, path: str) -> bool:
    """Whether the port of a pod, by its path in the API, answers to the API server with 200."""
    try:
        return bool(
            cluster.request("GET", f"{pod}:{port}/proxy/{path}", headers=ANY, timeout=PATIENCE_OF_A_LOOK).status == 200
        )
    except Exception as error:  # whatever the way there throws is no answer, except that we may not ask
        if status(error) in (UNAUTHORIZED, FORBIDDEN):
            raise
        return False


def opened(cluster: Cluster, params: dict[str, Any]) -> bool:
    """Whether the pod is ready and its open port answers."""
    pod = pod_path(params)
    return is_ready(cluster.get(pod)) and answers(cluster, pod, params["open_port"], "ready")


def pod_path(params: dict[str, Any]) -> str:
    """The pod in the API."""
    return f"/api/v1/namespaces/{params['namespace']}/pods/{params['pod']}"


def probe(cluster: Cluster, params: dict[str, Any], started: float) -> Observation:
    """One look at a pod that is ready. The open port comes first and last: it answers while the other does not."""
    pod = pod_path(params)
    reached = opened(cluster, params)
    closed = reached and answers(cluster, pod, params["closed_port"], "health")
    if reached and not closed:
        reached = answers(cluster, pod, params["open_port"], "ready")
    return Observation(time.monotonic() - started, reached, closed)


def prove(cluster: Cluster, params: dict[str, Any]) -> str:
    """Look until there is a verdict, or the time is over."""
    started = time.monotonic()
    while not opened(cluster, params):
        if time.monotonic() - started >= params["timeout"]:
            return UNKNOWN
        time.sleep(INTERVAL)
    time.sleep(SETTLE)
    looks: list[Observation] = []
    while True:
        looks.append(probe(cluster, params, started))
        found = verdict(looks, params["patience"])
        answered = any(one.open_port for one in looks)
        if found in (HELD, OPEN) or (not answered and looks[-1].seconds >= params["timeout"]):
            return found
        time.sleep(INTERVAL)


def main() -> None:
    """Look, and say."""
    spec = {
        **CLUSTER_ARGS,
        "namespace": {"type": "str", "required": True},
        "pod": {"type": "str", "required": True},
        "open_port": {"type": "int", "required": True},
        "closed_port": {"type": "int", "required": True},
        "required": {"type": "bool", "default": True},
        "patience": {"type": "int", "default": 75},
        "timeout": {"type": "int", "default": 120},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    params = module.params
    cluster = Cluster(api_client(module))
    with api_errors(module):
        found = prove(cluster, params)
    told = ""
    if found == OPEN:
        told = NOT_HELD + (WITH_OURS if params["required"] else WITH_THEIRS)
    elif found != HELD:
        told = (
            f"Whether network policies are held is not known: the pod {params['namespace']}/{params['pod']} did not "
            f"answer the API server within {params['timeout']} seconds, expected its port {params['open_port']} "
            f"to.\n{explain(cluster.api, [params['namespace']])}"
        )
    if told and params["required"]:
        module.fail_json(msg=told, verdict=found)
    if told:
        module.warn(told)
    module.exit_json(changed=False, verdict=found)


if __name__ == "__main__":
    main()
