#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_rollout
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: Start engines anew, node by node, without losing a job or a cache
description:
  - Rolls the engine pods that run an older template than their DaemonSet. Where nothing differs, nothing is stopped.
  - On each node, new runners are kept away by the taint C(runnerfleet.dev/engine-not-ready), idle ones are taken off the service's list by
    their own controller, and busy ones finish their job. When the engines have no client left they are stopped with all the time they need.
    Once they answer again, their caches are compared with what they were before, and the taint is lifted.
  - A node whose cache did not come through stops the roll and keeps its taint, until it is named in O(accept_lost).
  - How far a node is stands in its annotation C(runnerfleet.dev/engine-rollout). A run that was killed is finished by the next one.
options:
  runner_namespace:
    description: Namespace of the runners. Whatever runs there on a node is waited for.
    type: str
    default: arc-runners
  drain_only:
    description:
      - Only wait until the jobs on O(nodes), which must be named, have ended, so that the machines can be worked on. No engine is stopped.
      - The nodes keep new runners away until M(runnerfleet.baremetal.engine_ready) sees their engines answer.
    type: bool
    default: false
  nodes:
    description: Only these nodes; empty for all nodes of the pools.
    type: list
    elements: str
    default: []
  max_unavailable:
    description: How many nodes may be without an engine at once, as a number or as a share of all nodes such as V(10%).
    type: str
    default: "1"
  canary:
    description: Whether the first node goes alone, before V(max_unavailable) counts.
    type: bool
    default: true
  restart_older_than:
    description:
      - Also start anew every engine that was created before this time, as C(2026-01-31T12:00:00Z). The same time in a second run
        finishes the first one.
    type: str
    default: ""
  intended:
    description: In check mode, the DaemonSets as they will be, which a dry run could not change. What they would make stale is planned too.
    type: list
    elements: dict
    default: []
  drain_timeout:
    description: Seconds to wait for a node's jobs. A node that is still in use then is let alone, and the roll ends.
    type: int
    default: 7200
  end_jobs:
    description: Whether the runner pods of a node that is still in use after O(drain_timeout) are deleted. Jobs fail, the cache is kept.
    type: bool
    default: false
  start_timeout:
    description: Seconds to wait until an engine that was started answers. One with a large cache takes a while.
    type: int
    default: 1800
  kept_percent:
    description: How much of the entries and the bytes must be left after the stop. Engines collect garbage when they stop, a sweep at most.
    type: int
    default: 80
  restoring:
    description: Whether the engines were asked to come back from a checkpoint, so that this is what has to be seen.
    type: bool
    default: false
  accept_lost:
    description: Nodes whose lost cache is known. They let runners in again.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - runnerfleet.baremetal.engines
  - runnerfleet.baremetal.attributes
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
  idempotent: {support: partial, details: With O(drain_only) a node always counts as changed.}
"""

EXAMPLES = r"""
- name: Bring a change of settings to the engines
  runnerfleet.baremetal.engine_rollout:
    kubeconfig: "{{ fleet_kubeconfig }}"
    pools: [runner]
    max_unavailable: 10%
"""

RETURN = r"""
planned:
  description: What is stale and why, or what an earlier run left to finish, a line each.
  returned: always
  type: list
  elements: str
  sample: ["runner-1: engine pod dagger-engine-0-21-8-x7k2p: metadata.annotations.runnerfleet.dev/engine-config changed"]
rolled:
  description: The nodes that were rolled or drained, with the figures of each engine's cache before and after.
  returned: always
  type: list
  elements: dict
  sample:
    - node: runner-1
      seconds: 21.4
      engines: [{daemonset: dagger-engine-0-21-8, exit_code: 0, before: {entries: 41, bytes: 73400}, after: {entries: 41, bytes: 73400}}]
lost:
  description: Nodes whose cache did not come through, in this run or an earlier one.
  returned: always
  type: list
  elements: str
  sample: []
silent:
  description: Nodes that were passed over, since their kubelet stopped reporting.
  returned: always
  type: list
  elements: str
  sample: []
"""

import time
from dataclasses import asdict, replace
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC
from ansible_collections.kubernetes.core.plugins.module_utils.k8s.client import get_api_client
from ansible_collections.kubernetes.core.plugins.module_utils.k8s.core import AnsibleK8SModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils import _engine_rollout as rollout
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine_cluster import EngineCluster
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine_roll import Limits, roll

INTERVAL = 2
SETTLE = 60
LIMITS = {"drain": "drain_timeout", "start": "start_timeout", **{name: name for name in ("end_jobs", "kept_percent", "restoring")}}
DIGEST = 30  # seconds that the cluster gets to look at a DaemonSet that was changed
ADVICE = "These nodes keep new runners away. See the engine's log there; to go on with a cold cache, name the nodes in accept_lost."


def connect(module: AnsibleK8SModule) -> EngineCluster:
    """The cluster that the module's arguments, or the environment, name."""
    params = module.params
    return EngineCluster(get_api_client(module).client.client, params["pools"], params["namespace"], params["runner_namespace"])


def look(cluster: EngineCluster, params: dict[str, Any], intended: list[dict[str, Any]]) -> list[rollout.NodePlan]:
    """Plan for the nodes; a DaemonSet that was changed a moment ago has no new template yet."""
    deadline = time.monotonic() + DIGEST
    while True:
        try:
            templates = rollout.wanted_revisions(cluster.daemonsets(), cluster.revisions())
            break
        except rollout.RolloutError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(1)
    if params["drain_only"] and not params["nodes"]:
        raise ValueError("drain_only: found no nodes, expected the names of those to drain")
    nodes = [node for node in cluster.nodes() if not params["nodes"] or node["metadata"]["name"] in params["nodes"]]
    unknown = sorted({*params["nodes"], *params["accept_lost"]} - {node["metadata"]["name"] for node in nodes})
    if unknown:
        raise ValueError(f"found no engine node {', '.join(unknown)} in the pools {', '.join(params['pools'])}. Correct the names")
    templates = rollout.with_intended(templates, intended)
    plans = rollout.plan(nodes, cluster.engine_pods(), templates, params["restart_older_than"])
    return [replace(item, drain_only=True, stale=(), progress=None) for item in plans] if params["drain_only"] else plans


def run(module: AnsibleK8SModule, cluster: EngineCluster) -> dict[str, Any]:
    """Plan and roll; a `msg` in the result means that it failed."""
    params = module.params
    plans = look(cluster, params, params["intended"] if module.check_mode else [])
    known = [item.node for item in plans if item.progress and item.progress.lost and item.node in params["accept_lost"]]
    if known and not module.check_mode:
        for node in known:
            cluster.mark(node, None)
        plans = look(cluster, params, [])
    lost = [item for item in plans if item.progress and item.progress.lost and item.node not in known]
    todo = [item for item in plans if item.needed and not item.silent and item not in lost]
    lines = [line for item in todo for line in item.lines()] + [f"{node}: let runners in again" for node in known]
    result: dict[str, Any] = {
        "changed": bool(lines),
        "planned": lines,
        "rolled": [],
        "lost": [item.node for item in lost],
        "silent": [item.node for item in plans if item.silent and item.needed],
        "diff": {"before": "".join(f"{line}\n" for line in lines), "after": ""},
    }
    if lost:
        reasons = "; ".join(f"{item.node}: {item.progress.problem}" for item in lost if item.progress)
        result.update(changed=bool(known), msg=f"A cache was lost in an earlier roll, so that nothing is rolled: {reasons}. {ADVICE}")
        return result
    at_once = rollout.at_once(params["max_unavailable"], len(plans))
    if module.check_mode:
        return result
    limits = Limits(**{name: params[option] for name, option in LIMITS.items()}, settle=SETTLE, interval=INTERVAL)
    outcomes = roll(cluster, rollout.batches(todo, params["canary"], at_once), limits)
    result["rolled"] = [asdict(outcome) for outcome in outcomes if not outcome.problem]
    problems = [outcome for outcome in outcomes if outcome.problem]
    if problems:
        result["lost"] = [outcome.node for outcome in problems if outcome.lost]
        left = [item.node for item in todo if item.node not in {outcome.node for outcome in outcomes}]
        result["msg"] = "The roll-out stopped: " + "; ".join(f"{outcome.node}: {outcome.problem}" for outcome in problems)
        result["msg"] += f". Not begun: {', '.join(left) or 'none'}." + (f" {ADVICE}" if result["lost"] else "")
    return result


def main() -> None:
    """Run the module."""
    spec = {
        **AUTH_ARG_SPEC,
        "pools": {"type": "list", "elements": "str", "required": True},
        "namespace": {"type": "str", "default": "dagger"},
        "runner_namespace": {"type": "str", "default": "arc-runners"},
        "drain_only": {"type": "bool", "default": False},
        "nodes": {"type": "list", "elements": "str", "default": []},
        "max_unavailable": {"type": "str", "default": "1"},
        "canary": {"type": "bool", "default": True},
        "restart_older_than": {"type": "str", "default": ""},
        "intended": {"type": "list", "elements": "dict", "default": []},
        "drain_timeout": {"type": "int", "default": 7200},
        "end_jobs": {"type": "bool", "default": False},
        "start_timeout": {"type": "int", "default": 1800},
        "kept_percent": {"type": "int", "default": 80},
        "restoring": {"type": "bool", "default": False},
        "accept_lost": {"type": "list", "elements": "str", "default": []},
    }
    module = AnsibleK8SModule(module_class=AnsibleModule, argument_spec=spec, supports_check_mode=True)
    try:
        result = run(module, connect(module))
    except (ValueError, rollout.RolloutError) as error:
        result = {"msg": f"{error}"}
    except Exception as error:
        # The client raises whatever its transport does; a person needs to know that it is the API that did not answer.
        result = {"msg": f"the API of the cluster did not answer as expected: {type(error).__name__}: {str(error)[:500]}"}
    if "msg" in result:
        module.fail_json(**result)
    if result["silent"]:
        module.warn(f"passed over, their kubelets do not report: {', '.join(result['silent'])}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
