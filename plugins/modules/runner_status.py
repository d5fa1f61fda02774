#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: runner_status
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: What every runner pool does, and what of it is stuck and why
description:
  - Asks the cluster and GitHub, and changes nothing. All pools, of both flavours, are one call.
  - How long the oldest job of a pool waits is known for repositories. Those of an organization or an enterprise are not
    known to a pool.
extends_documentation_fragment:
  - runnerfleet.baremetal.cluster
  - runnerfleet.baremetal.runners
  - runnerfleet.baremetal.runners.github
  - runnerfleet.baremetal.attributes
  - runnerfleet.baremetal.attributes.info_module
seealso:
  - module: runnerfleet.baremetal.runner_heal
"""

EXAMPLES = r"""
- name: Look at the runner pools
  runnerfleet.baremetal.runner_status:
    kubeconfig: "{{ fleet_kubeconfig }}"
  register: runners
"""

RETURN = r"""
pools:
  description:
    - One entry a pool. C(queue) counts the jobs that no runner has begun, C(oldest) is in seconds, C(days_left) until
      GitHub gives no job to runners of C(version) any more. What is not known is V(null).
    - C(listener) is V(running), V(starting), V(failing), V(ending) or V(missing), and empty for a RunnerDeployment.
  returned: success
  type: list
  elements: dict
  sample:
    - {name: small, flavour: scale_set, listener: running, queue: 3, oldest: 12, busy: 4, idle: 0, starting: 2,
       failed: 0, min: 0, max: 10, version: 2.338.1, days_left: 21}
problems:
  description:
    - What a person or M(runnerfleet.baremetal.runner_heal) should see to. C(kind) is one of V(controller_down),
      V(credential_missing), V(github_silent), V(outdated), V(not_registered), V(set_missing), V(listener_missing),
      V(listener_failing), V(listener_orphaned), V(runners_missing), V(runner_failed), V(runner_failing),
      V(runner_finished), V(runner_not_starting), V(node_gone), V(finalizer_stuck), V(registration_stuck),
      V(queue_waits) and V(version_ends).
    - C(heals) is whether M(runnerfleet.baremetal.runner_heal) does something about it, and C(next) what, or what a
      person does.
  returned: success
  type: list
  elements: dict
  sample:
    - {kind: runner_failed, pool: small, object: EphemeralRunner small-x7k2p-runner-abcde, heals: true,
       reason: "the controller gave it up, and its place is lost: TooManyPodFailures: Pod has failed to start more than
       5 times", next: runner_heal.yml would delete EphemeralRunner small-x7k2p-runner-abcde}
lines:
  description: The same as text, and a line with C(!) for each problem.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.client import (
    CLUSTER_ARGS,
    api_client,
    api_errors,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners.api import RUNNER_ARGS, observer
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners.lines import (
    as_results,
    pools_as_results,
    status_lines,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners.status import judge


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={**CLUSTER_ARGS, **RUNNER_ARGS}, supports_check_mode=True)
    with api_errors(module):
        observed = observer(api_client(module), module.params)[1]()
    pools, problems = judge(observed)
    module.exit_json(
        changed=False,
        pools=pools_as_results(pools),
        problems=as_results(problems, observed),
        lines=status_lines(pools, problems, observed),
    )


if __name__ == "__main__":
    main()
