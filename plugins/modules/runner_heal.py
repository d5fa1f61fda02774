#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: runner_heal
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: Heal what is stuck of the runner pools
description:
  - Does something about exactly what M(runnerfleet.baremetal.runner_status) names, looks again, and ends when none of
    it is left that can be healed. What it waited for in vain is its error.
  - An EphemeralRunner that failed, has finished, or whose node is gone is deleted; its controller asks GitHub first and
    lets one with a job go on. A listener that does not run is deleted, so that the controller makes another. A scale
    set that the service does not know is registered anew.
  - A finalizer is taken away only where nobody is left who would do it, where the pod is gone too, and where GitHub, if
    the credential is still there, knows no such runner.
  - What only a person can mend is in RV(left). RunnerDeployments are looked at and not healed.
extends_documentation_fragment:
  - runnerfleet.baremetal.cluster
  - runnerfleet.baremetal.runners
  - runnerfleet.baremetal.runners.github
  - runnerfleet.baremetal.attributes
options:
  timeout:
    description: Seconds to wait until all of it is healed.
    type: int
    default: 600
attributes:
  check_mode:
    support: full
    details: It tells what the first look leads to. What follows from that is not known before.
  diff_mode: {support: none}
  idempotent: {support: full}
seealso:
  - module: runnerfleet.baremetal.runner_status
"""

EXAMPLES = r"""
- name: Heal the runner pools
  runnerfleet.baremetal.runner_heal:
    kubeconfig: "{{ fleet_kubeconfig }}"
"""

RETURN = r"""
actions:
  description: What was done, or would be, and why; a line each.
  returned: always
  type: list
  elements: str
  sample:
    - "delete EphemeralRunner small-x7k2p-runner-abcde, since small: EphemeralRunner small-x7k2p-runner-abcde: its pod
      is on runner-2, and the cluster has no such node"
left:
  description: What is left to a person, and what to do, a line each.
  returned: always
  type: list
  elements: str
lines:
  description: The pools as they are at the end, as M(runnerfleet.baremetal.runner_status) shows them.
  returned: success
  type: list
  elements: str
"""

from collections.abc import Iterator
from contextlib import contextmanager

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.client import (
    CLUSTER_ARGS,
    api_client,
    api_errors,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners.api import RUNNER_ARGS, observer
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners.heal_run import Healed, HealError, heal
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners.lines import status_lines
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners.status import judge


@contextmanager
def told_errors(module: AnsibleModule, healed: Healed) -> Iterator[None]:
    """What was done is told where the rest fails too, as far as it is known then."""
    try:
        yield
    except Exception:
        with api_errors(module, HealError, changed=bool(healed.actions), actions=healed.actions, left=healed.left):
            raise


def main() -> None:
    """Run the module."""
    spec = {**CLUSTER_ARGS, **RUNNER_ARGS, "timeout": {"type": "int", "default": 600}}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    healed = Healed()
    with told_errors(module, healed):
        cluster, look = observer(api_client(module), module.params)
        observed = heal(look, cluster.carry_out, module.params["timeout"], healed, dry=module.check_mode)
    pools, problems = judge(observed)
    lines = status_lines(pools, problems, observed)
    module.exit_json(changed=bool(healed.actions), actions=healed.actions, left=healed.left, lines=lines)


if __name__ == "__main__":
    main()
