#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: self_test
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: Do what a job does on every runner node
description:
  - Runs a pod like a runner's on every node with engines, all at once. It asks the node's engine, runs a pipeline
    twice, of which the second run has to be cached, and writes to its work directory, whose drives have to be those of
    O(drives).
  - The pods are placed by the scheduler and held by the admission policy for runner pods, as every runner is.
  - A node that is cordoned, or in the middle of a roll-out, is left out with a warning. One that is not Ready, or that
    has the start-up taint of its engine, fails.
  - The pods are removed at the end, also after a failure. What a run that was killed left ends by itself
    (C(activeDeadlineSeconds)), and the next run removes it.
  - The seconds are told, and not judged. In check mode no pod is made.
options:
  namespace:
    description: Namespace of the runners.
    type: str
    default: arc-runners
  pods:
    description:
      - The spec of a pod for each pool of nodes and version of its engines.
      - C(RUN) in the command of a container becomes a word that no other run has.
    type: list
    elements: dict
    required: true
    suboptions:
      pool:
        description: Name of the pool of nodes.
        type: str
        required: true
      version:
        description: Version of the engine, without a leading v.
        type: str
        required: true
      spec:
        description: The spec, as the API takes it.
        type: dict
        required: true
  nodes:
    description: Names of the nodes to test, all of the pools when empty. Where none of them carries an engine, that is
      an error.
    type: list
    elements: str
    default: []
  drives:
    description: A regular expression for the names of the drives that a job's work directory lies on. Empty means that
      any drive will do.
    type: str
    default: nvme.*
  timeout:
    description: Seconds that all of it may take.
    type: int
    default: 300
  threads:
    description: How many pods are made or removed at once.
    type: int
    default: 20
requirements:
  - kubernetes (Python client) >= 24.2.0
extends_documentation_fragment:
  - runnerfleet.baremetal.cluster
  - runnerfleet.baremetal.attributes
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
  idempotent: {support: full}
"""

EXAMPLES = r"""
- name: Do what a job does on every runner node
  runnerfleet.baremetal.self_test:
    kubeconfig: "{{ fleet_kubeconfig }}"
    pods:
      - pool: runner
        version: 0.21.11
        spec: "{{ lookup('ansible.builtin.file', 'runner-pod-spec.yml') | from_yaml }}"
"""

RETURN = r"""
results:
  description:
    - What each node and engine did. C(step) and C(problem) are empty where all went well.
    - C(cached) says whether the second run was, C(device) what the work directory lies on, as the kernel names it.
  returned: always
  type: list
  elements: dict
  sample:
    - node: runner-1
      pool: runner
      version: 0.21.11
      step: ""
      problem: ""
      first_seconds: 2.31
      second_seconds: 0.94
      cached: true
      device: 259:3 xfs /dev/nvme0n1p3
      drives: [nvme0n1]
left_out:
  description: Nodes that were not tested, with the reason.
  returned: always
  type: dict
  sample: {runner-2: is cordoned}
would_test:
  description: Nodes that would be tested.
  returned: in check mode
  type: list
  elements: str
lines:
  description: The same as text, a line a node and engine.
  returned: always
  type: list
  elements: str
"""

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.client import (
    CLUSTER_ARGS,
    NOT_FOUND,
    Cluster,
    ClusterError,
    api_client,
    api_errors,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.objects import explain
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.self_test import (
    SELF_TEST,
    SELF_TEST_LABEL,
    Outcome,
    Trial,
    ended,
    manifest,
    outcome,
    select,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._names import POOL_LABEL

INTERVAL = 1
REMOVAL = 60  # seconds that pods of an earlier run may take to go
POD = {
    "pool": {"type": "str", "required": True},
    "version": {"type": "str", "required": True},
    "spec": {"type": "dict", "required": True},
}
SPEC: dict[str, Any] = {
    **CLUSTER_ARGS,
    "namespace": {"type": "str", "default": "arc-runners"},
    "pods": {"type": "list", "elements": "dict", "required": True, "options": POD},
    "nodes": {"type": "list", "elements": "str", "default": []},
    "drives": {"type": "str", "default": "nvme.*"},
    "timeout": {"type": "int", "default": 300},
    "threads": {"type": "int", "default": 20},
}


class Pods:
    """The pods of self-tests in a namespace."""

    def __init__(self, cluster: Cluster, namespace: str, threads: int) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.path = f"/api/v1/namespaces/{namespace}/pods"
        self.threads = max(1, min(threads, 20))

    def there(self) -> dict[str, dict[str, Any]]:
        """By their names."""
        found = self.cluster.items(self.path, {"labelSelector": f"{SELF_TEST_LABEL}={SELF_TEST}"})
        return {str(pod["metadata"]["name"]): pod for pod in found}

    def remove(self, names: list[str]) -> None:
        """Ask them to go. One that is gone already is no error."""
        with ThreadPoolExecutor(self.threads) as threads:
            list(threads.map(lambda name: self.cluster.delete(f"{self.path}/{name}", passed=(NOT_FOUND,)), names))

    def clear(self) -> None:
        """Remove what an earlier run left, and wait until it is gone."""
        deadline = time.monotonic() + REMOVAL
        self.remove(list(self.there()))
        while left := self.there():
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"namespace {self.namespace}: found pods of an earlier self-test that did not go within {REMOVAL} "
                    f"seconds ({', '.join(sorted(left))}), expected none. See why their nodes do not remove them"
                )
            time.sleep(INTERVAL)

    def create(self, bodies: list[dict[str, Any]]) -> None:
        """Make them all."""
        with ThreadPoolExecutor(self.threads) as threads:
            list(threads.map(lambda body: self.cluster.create(self.path, body), bodies))


def run(pods: Pods, trials: list[Trial], params: dict[str, Any]) -> list[Outcome]:
    """Run all trials at once, until each has ended or the time is over."""
    specs = {(entry["pool"], entry["version"]): entry["spec"] for entry in params["pods"]}
    word = secrets.token_hex(8)
    pods.clear()
    names = [trial.pod_name(word) for trial in trials]
    deadline = time.monotonic() + params["timeout"]
    try:
        pods.create([manifest(trial, specs[trial.pool, trial.version], word) for trial in trials])
        while True:
            there = pods.there()
            if all(ended(there[name]) for name in names if name in there) or time.monotonic() > deadline:
                break
            time.sleep(INTERVAL)
    finally:
        pods.remove(names)
    return [outcome(trial, there.get(trial.pod_name(word)), params["drives"], params["timeout"]) for trial in trials]


def require_something(trials: list[Trial], failed: list[Outcome], left_out: dict[str, str], only: list[str]) -> None:
    """A self-test of no node proves nothing."""
    if trials or failed:
        return
    if left_out:
        told = ", ".join(f"{name} {why}" for name, why in left_out.items())
        raise ClusterError(f"found no node to test ({told}), expected at least one. Let runners back on one of them")
    where = f"nodes: found {', '.join(only)}" if only else "found no node"
    raise ClusterError(f"{where}, expected at least one with engines (pools of fleet_pools with an engine)")


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    params = module.params
    versions: dict[str, list[str]] = {}
    for entry in params["pods"]:
        versions.setdefault(entry["pool"], []).append(entry["version"])
    results: list[Outcome] = []
    with api_errors(module):
        cluster = Cluster(api_client(module))
        pods = Pods(cluster, params["namespace"], params["threads"])
        if not cluster.get(f"/api/v1/namespaces/{params['namespace']}", passed=(NOT_FOUND,)):
            raise ClusterError(
                f"found no namespace {params['namespace']}, expected that of the runners. Deploy them first "
                "(playbooks/platform.yml)"
            )
        nodes = cluster.items("/api/v1/nodes", {"labelSelector": POOL_LABEL})
        trials, failed, left_out = select(nodes, versions, params["nodes"])
        require_something(trials, failed, left_out, params["nodes"])
        if not module.check_mode:
            results = sorted(failed + run(pods, trials, params), key=lambda one: (one.trial.node, one.trial.version))
    bad = [one for one in results if one.step]
    told: dict[str, Any] = {
        "changed": False,
        "results": [one.as_dict() for one in results],
        "left_out": left_out,
        "lines": [one.line for one in results] + [f"{name}: not tested, it {why}" for name, why in left_out.items()],
    }
    if module.check_mode:
        told["would_test"] = sorted({trial.node for trial in trials})
        told["lines"] += [f"{name}: would be tested" for name in told["would_test"]]
    for name, why in left_out.items():
        module.warn(f"{name} was not tested: it {why}")
    if bad:
        counted = f"{len(bad)} of {len(results)} engines failed the self-test"
        # Only where a pod did not start: what else the cluster knows is about other things.
        cause = f"\n{explain(cluster.api, [params['namespace']])}" if any(one.step == "start" for one in bad) else ""
        module.fail_json(msg="\n".join([f"{counted}:", *[one.line for one in bad]]) + cause, **told)
    module.exit_json(**told)


if __name__ == "__main__":
    main()
