#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: runner_listeners
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: Give listeners of scale sets the credential that their set has now
description:
  - The controller writes a listener's credential once, when it makes the listener. Where the Secret of a set has
    another one since, the listener's own Secret and its pod are deleted, so that the controller makes both anew, and
    the module waits until the new listener runs.
  - No runner is touched. Those with a job go on, and jobs that come meanwhile wait in GitHub's queue.
  - Credentials are compared in the module, and never leave it.
extends_documentation_fragment:
  - runnerfleet.baremetal.cluster
  - runnerfleet.baremetal.runners
  - runnerfleet.baremetal.attributes
options:
  timeout:
    description: Seconds to wait until all listeners that were made anew run.
    type: int
    default: 300
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
  idempotent: {support: full}
"""

EXAMPLES = r"""
- name: Give listeners the credential of their sets
  runnerfleet.baremetal.runner_listeners:
    kubeconfig: "{{ fleet_kubeconfig }}"
"""

RETURN = r"""
renewed:
  description: Scale sets whose listener was made anew, or would be.
  returned: always
  type: list
  elements: str
  sample: [small, large]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.client import (
    CLUSTER_ARGS,
    api_client,
    api_errors,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners.api import NAMESPACE_ARGS, RunnerCluster
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners.listener_run import ListenerError, renew

ARGS: dict[str, Any] = {**NAMESPACE_ARGS, "timeout": {"type": "int", "default": 300}}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={**CLUSTER_ARGS, **ARGS}, supports_check_mode=True)
    renewed: list[str] = []
    with api_errors(module, ListenerError, renewed=renewed):
        cluster = RunnerCluster(api_client(module), module.params["namespace"], module.params["controller_namespace"])
        renew(cluster, module.params["timeout"], renewed, module.check_mode)
    module.exit_json(changed=bool(renewed), renewed=renewed)


if __name__ == "__main__":
    main()
