#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: runner_drain
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: Drain runner nodes without ending a job, and say which jobs are waited for
description:
  - Cordons the nodes, asks for every runner on them that is not known to have a job whether it may go, and waits until
    no runner is left there and no client at their engines. Where nothing runs on cordoned nodes nothing is changed.
  - It works the same for scale sets and for legacy runners. A runner's pod is never deleted under a job, since only the
    service knows who has one. The EphemeralRunner is deleted, or the legacy pod is annotated, and the runner's
    controller asks the service. A runner with a job finishes it, and leaves then.
  - Nodes with engines get the taint C(runnerfleet.dev/engine-not-ready) as well, so that no runner comes before an
    engine answers once the node is uncordoned. M(runnerfleet.baremetal.engine_ready) removes it.
  - While it waits, an action plugin of the same name, on the controller, displays what is waited for whenever that
    changes, and at least every minute.
  - Engines and the pods of other namespaces stay. A node whose kubelet does not report is cordoned and not waited for.
  - At the deadline the nodes stay cordoned, and the next run goes on.
options:
  nodes:
    description: Names of the nodes. This or O(pools) is required.
    type: list
    elements: str
    default: []
  pools:
    description: Names of pools, all nodes of which are meant, beside O(nodes).
    type: list
    elements: str
    default: []
  state:
    description: V(drained), or V(returned), which uncordons the nodes and leaves their taints.
    type: str
    choices: [drained, returned]
    default: drained
  directory:
    description:
      - Only drain runners that mount this directory of their node, or one in it, such as the sockets of one engine
        version. Then the nodes are not cordoned, and the clients of engines are not waited for.
      - No runner may be made for it any more when this is used.
    type: str
    default: ""
  namespace:
    description: Namespace of the engines.
    type: str
    default: dagger
  runner_namespace:
    description: Namespace of the runners. Whatever runs there on a node is waited for.
    type: str
    default: arc-runners
  drain_timeout:
    description: Seconds to wait for the jobs of all nodes.
    type: int
    default: 7200
  end_jobs:
    description: Whether the runner pods that are still there after O(drain_timeout) are deleted. Their jobs fail.
    type: bool
    default: false
  poll:
    description: Seconds after which the module returns even where it is not done; V(0) for never. The action plugin
      sets this and the next two, and calls the module until it is done.
    type: int
    default: 0
  waited:
    description: Seconds of O(drain_timeout) that earlier calls have waited.
    type: int
    default: 0
  seen:
    description: The RV(waits_for) of the call before. The module returns early where that has changed by now.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - runnerfleet.baremetal.cluster
  - runnerfleet.baremetal.attributes
requirements:
  - kubernetes (Python client) >= 24.2.0
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
  idempotent: {support: full}
"""

EXAMPLES = r"""
- name: Drain a node before its machine is worked on
  runnerfleet.baremetal.runner_drain:
    kubeconfig: "{{ fleet_kubeconfig }}"
    nodes: [runner-3]
    drain_timeout: 3600

- name: Return it
  runnerfleet.baremetal.runner_drain:
    kubeconfig: "{{ fleet_kubeconfig }}"
    nodes: [runner-3]
    state: returned
"""

RETURN = r"""
planned:
  description: What is changed, or would be, a line each. In check mode also who would be waited for.
  returned: always
  type: list
  elements: str
  sample: ["runner-3: cordon", "runner-3: ask whether set-small-x7k2p-runner-9f4tz may go"]
done:
  description: Whether nothing uses the nodes any more.
  returned: always
  type: bool
waiting:
  description:
    - The runners that are still there, each with its C(node), its C(state) and what the cluster knows of its job.
    - The state is V(busy), V(idle), V(unknown) (a legacy runner that was not asked yet), V(leaving) (asked, and not
      gone yet) or V(other) (no runner).
  returned: always
  type: list
  elements: dict
  sample:
    - {node: runner-3, runner: set-small-x7k2p-runner-9f4tz, state: busy, repository: lab/example, run: "4711",
      job: build, since: "2026-01-31T06:01:02Z"}
lines:
  description: The same for a person, with engines that have clients.
  returned: always
  type: list
  elements: str
  sample: ["runner-3: waits for set-small-x7k2p-runner-9f4tz: lab/example, run 4711, job build, since
  2026-01-31T06:01:02Z (12 min)"]
waits_for:
  description: What is waited for, for O(seen) of the next call.
  returned: always
  type: list
  elements: str
asked:
  description: Runners whose controller was asked to let them go once they have no job.
  returned: always
  type: list
  elements: str
ended:
  description: Runner pods that were deleted after O(drain_timeout), see O(end_jobs).
  returned: always
  type: list
  elements: str
not_reporting:
  description: Nodes that were not waited for, since their kubelet stopped reporting.
  returned: always
  type: list
  elements: str
"""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.client import (
    CLUSTER_ARGS,
    api_client,
    api_errors,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.conditions import is_not_reporting
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.api import EngineCluster
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.drain_plan import (
    DrainError,
    NodeChange,
    RunnerUse,
    choose_nodes,
    foretell,
    lines,
    node_changes,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.drain_run import Drain, Patience
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.rollout_plan import RolloutError

INTERVAL = 3
LEAST = 5  # seconds before a change of what is waited for ends a call: the jobs of a pool end one after the other
WRITERS = 10


def connect(module: AnsibleModule) -> EngineCluster:
    """The cluster that the module's arguments name."""
    params = module.params
    return EngineCluster(api_client(module), params["pools"], params["namespace"], params["runner_namespace"])


def write(cluster: EngineCluster, changes: list[NodeChange]) -> None:
    """Cordon or uncordon."""
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(lambda change: cluster.set_closed(change.node, change.closed, change.taint), changes))


def run(module: AnsibleModule, cluster: EngineCluster) -> dict[str, Any]:
    """Cordon, ask and wait; a `msg` in the result means that it failed."""
    params, closing = module.params, module.params["state"] == "drained"
    nodes = choose_nodes(cluster.all_nodes(), params["nodes"], params["pools"])
    changes = [] if params["directory"] else node_changes(nodes, cluster.engine_pods(), closing)
    silent = [node["metadata"]["name"] for node in nodes if is_not_reporting(node)]
    result: dict[str, Any] = {
        "planned": [line for change in changes for line in change.lines()],
        "diff": {key: "".join(f"{c.node}: {getattr(c, key)}\n" for c in changes) for key in ("before", "after")},
        "not_reporting": silent if closing else [],
    }
    if not module.check_mode:
        write(cluster, changes)
    awaited = [name for name in (node["metadata"]["name"] for node in nodes) if name not in silent] if closing else []
    patience = Patience(params["drain_timeout"], params["end_jobs"], INTERVAL)
    drain = Drain(cluster, awaited, patience, params["waited"], params["directory"])
    result["done"] = not awaited
    if module.check_mode:
        result["planned"] += foretell(drain.look(), time.time())
        result["done"] = not drain.uses
        asked = [use for use in drain.uses if isinstance(use, RunnerUse) and use.step]
        return {**result, **state(drain), "changed": bool(changes or asked)}
    seen = params["seen"] if params["poll"] else None
    try:
        if awaited:
            # The first call returns at once, so that it is told right away who is waited for.
            result["done"] = drain.wait(params["poll"] or None, seen, LEAST if seen else 0)
    except DrainError as error:
        result["msg"] = f"{error}. The nodes stay {'as they are' if params['directory'] else 'cordoned'}"
    result["planned"] += [f"ask whether {name} may go" for name in drain.asked]
    return {**result, **state(drain), "changed": bool(changes or drain.asked or drain.ended)}


def state(drain: Drain) -> dict[str, Any]:
    """What is waited for, as the module returns it."""
    return {
        "waiting": [use.as_dict() for use in drain.uses if isinstance(use, RunnerUse)],
        "lines": lines(drain.uses, time.time()),
        "waits_for": [use.key for use in drain.uses],
        "asked": drain.asked,
        "ended": drain.ended,
    }


def main() -> None:
    """Run the module."""
    spec = {
        **CLUSTER_ARGS,
        "nodes": {"type": "list", "elements": "str", "default": []},
        "pools": {"type": "list", "elements": "str", "default": []},
        "state": {"type": "str", "choices": ["drained", "returned"], "default": "drained"},
        "directory": {"type": "str", "default": ""},
        "namespace": {"type": "str", "default": "dagger"},
        "runner_namespace": {"type": "str", "default": "arc-runners"},
        "drain_timeout": {"type": "int", "default": 7200},
        "end_jobs": {"type": "bool", "default": False},
        "poll": {"type": "int", "default": 0},
        "waited": {"type": "int", "default": 0},
        "seen": {"type": "list", "elements": "str", "default": [], "no_log": False},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    with api_errors(module, ValueError, RolloutError):
        result = run(module, connect(module))
    if result["not_reporting"]:
        module.warn(f"not waited for, their kubelets do not report: {', '.join(result['not_reporting'])}")
    if "msg" in result:
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
