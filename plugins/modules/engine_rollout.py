#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_rollout
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: Restart Dagger engines node by node without losing a job or a cache
description:
  - Rolls the engine pods that run an older template than their DaemonSet. Where nothing differs, nothing is stopped.
  - On each node, new runners are kept away by the taint C(runnerfleet.dev/engine-not-ready), idle ones are taken off
    the service's list by their own controller, and busy ones finish their job. When the engines have no client left
    they are stopped with all the time they need. Once they answer again, their caches are proven, and the taint is
    untainted.
  - A cache is proven by its canary, a step that the pod runs after each start. Cached, the cache came through; run
    anew, it did not. Beside it count the pod's counters of restores, wipes and unclean stops, and the bytes
    (O(min_kept_percent)). The engine's number of entries is no proof, since it counts open and recent sessions. Where
    the canary says nothing and nothing speaks for a loss, the roll goes on and warns.
  - A node whose cache did not come through stops the roll and keeps its taint, until it is named in
    O(accept_cache_loss).
  - How far a node is stands in its annotation C(runnerfleet.dev/engine-rollout). A run that was killed is finished by
    the next one.
options:
  runner_namespace:
    description: Namespace of the runners. Whatever runs there on a node is waited for.
    type: str
    default: arc-runners
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
      - Also start anew every engine that was created before this time, as C(2026-01-31T12:00:00Z). The same time in a
        second run finishes the first one.
    type: str
    default: ""
  intended:
    description: In check mode, the DaemonSets as they will be, which a dry run could not change. What they would make
      stale is planned too.
    type: list
    elements: dict
    default: []
  drain_timeout:
    description: Seconds to wait for a node's jobs. A node that is still in use after that is left as it is, and the
      roll-out stops.
    type: int
    default: 7200
  end_jobs:
    description: Whether the runner pods of a node that is still in use after O(drain_timeout) are deleted. Jobs fail,
      the cache is kept.
    type: bool
    default: false
  start_timeout:
    description: Seconds to wait until an engine that was started answers. One with a large cache takes a while.
    type: int
    default: 1800
  min_kept_percent:
    description:
      - Share of the bytes that must be left after the stop. Engines collect garbage when they stop, a sweep at most.
      - It is taken of half of the bytes from before, since an engine may count a cache twice and no longer does so
        after its next start.
    type: int
    default: 80
  proof_timeout:
    description: Seconds to wait, once an engine answers, until its canary and its figures say what became of its cache.
    type: int
    default: 120
  request:
    description:
      - What the engines are asked to do when they start again, in an annotation of their node from right before the
        stop until they answer.
      - V(checkpoint) takes one, V(restore) goes back to O(checkpoint), and that this came about is what has to be seen.
    type: str
    choices: [none, checkpoint, restore]
    default: none
  checkpoint:
    description: The checkpoint to go back to; empty for the newest. Where an engine lacks it nothing is stopped.
    type: str
    default: ""
  accept_cache_loss:
    description: Nodes whose lost cache is known. They let runners in again.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - runnerfleet.baremetal.cluster
  - runnerfleet.baremetal.engines
  - runnerfleet.baremetal.attributes
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
  idempotent: {support: full}
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
  sample: ["runner-1: engine pod dagger-engine-runner-0-21-8-x7k2p: metadata.annotations.runnerfleet.dev/engine-config
  changed"]
rolled:
  description:
    - The nodes that were rolled. For each engine its C(cache), V(kept) or V(not known) with a C(reason), and
      the figures before and after.
  returned: always
  type: list
  elements: dict
  sample:
    - node: runner-1
      seconds: 21.4
      engines:
        - {daemonset: dagger-engine-runner-0-21-8, exit_code: 0, cache: kept, before: {bytes: 73400},
          after: {bytes: 73400, canary: 1}}
lost:
  description: Nodes whose cache did not come through, in this run or an earlier one.
  returned: always
  type: list
  elements: str
not_reporting:
  description: Nodes that were passed over, since their kubelet stopped reporting.
  returned: always
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.client import (
    CLUSTER_ARGS,
    api_client,
    api_errors,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine import rollout_plan as rollout
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.api import EngineCluster
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.rollout_run import (
    ADVICE,
    Limits,
    report,
    roll,
    rollout_plans,
    without_checkpoint,
)

INTERVAL = 2
LIMITS = {name: name for name in ("end_jobs", "min_kept_percent", "request", "checkpoint")}
LIMITS.update({name: f"{name}_timeout" for name in ("drain", "start", "proof")})


def connect(module: AnsibleModule) -> EngineCluster:
    """The cluster that the module's arguments, or the environment, name."""
    params = module.params
    return EngineCluster(api_client(module), params["pools"], params["namespace"], params["runner_namespace"])


def run(module: AnsibleModule, cluster: EngineCluster) -> dict[str, Any]:
    """Plan and roll; a `msg` in the result means that it failed."""
    params = module.params
    limits = Limits(**{name: params[option] for name, option in LIMITS.items()}, interval=INTERVAL)
    plans = rollout_plans(cluster, params, params["intended"] if module.check_mode else [])
    at_once = rollout.at_once(params["max_unavailable"], len(plans))
    known = [
        item.node for item in plans if item.progress and item.progress.lost and item.node in params["accept_cache_loss"]
    ]
    if known and not module.check_mode:
        for node in known:
            cluster.mark(node, None)
        plans = rollout_plans(cluster, params, [])
    lost = [item for item in plans if item.progress and item.progress.lost and item.node not in known]
    todo = [item for item in plans if item.needed and not item.not_reporting and item not in lost]
    lines = [line for item in todo for line in item.lines()] + [f"{node}: let runners in again" for node in known]
    result: dict[str, Any] = {
        "changed": bool(lines),
        "planned": lines,
        "rolled": [],
        "lost": [item.node for item in lost],
        "not_reporting": [item.node for item in plans if item.not_reporting and item.needed],
        "diff": {"before": "".join(f"{line}\n" for line in lines), "after": ""},
    }
    if lost:
        reasons = "; ".join(f"{item.node}: {item.progress.problem}" for item in lost if item.progress)
        return {
            **result,
            "changed": bool(known),
            "msg": f"A cache was lost in an earlier roll, nothing is rolled: {reasons}. {ADVICE}",
        }
    if params["request"] == "restore" and (missing := without_checkpoint(cluster, todo, params["checkpoint"])):
        raise ValueError(
            f"checkpoint: expected {params['checkpoint'] or 'a good one'} on each engine: {'; '.join(missing)}. "
            "Nothing is stopped"
        )
    if module.check_mode:
        return result
    result.update(report(todo, roll(cluster, rollout.batches(todo, params["canary"], at_once), limits)))
    return result


def main() -> None:
    """Run the module."""
    spec = {
        **CLUSTER_ARGS,
        "pools": {"type": "list", "elements": "str", "required": True},
        "namespace": {"type": "str", "default": "dagger"},
        "runner_namespace": {"type": "str", "default": "arc-runners"},
        "nodes": {"type": "list", "elements": "str", "default": []},
        "max_unavailable": {"type": "str", "default": "1"},
        "canary": {"type": "bool", "default": True},
        "restart_older_than": {"type": "str", "default": ""},
        "intended": {"type": "list", "elements": "dict", "default": []},
        "drain_timeout": {"type": "int", "default": 7200},
        "end_jobs": {"type": "bool", "default": False},
        "start_timeout": {"type": "int", "default": 1800},
        "min_kept_percent": {"type": "int", "default": 80},
        "proof_timeout": {"type": "int", "default": 120},
        "request": {"type": "str", "choices": ["none", "checkpoint", "restore"], "default": "none"},
        "checkpoint": {"type": "str", "default": ""},
        "accept_cache_loss": {"type": "list", "elements": "str", "default": []},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    with api_errors(module, ValueError, rollout.RolloutError):
        result = run(module, connect(module))
    if "msg" in result:
        module.fail_json(**result)
    if result["not_reporting"]:
        module.warn(f"passed over, their kubelets do not report: {', '.join(result['not_reporting'])}")
    for item in result["rolled"]:
        for engine in item["engines"]:
            if engine["cache"] == "not known":
                module.warn(
                    f"{item['node']}: {engine['daemonset']}: it is not known whether its cache came through: "
                    f"{engine['reason']}"
                )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
