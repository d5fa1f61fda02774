#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeadm_node
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: Makes a host a control plane or a node of one cluster, once
description:
  - Judges to which cluster a host belongs, and runs C(kubeadm init) or C(kubeadm join) only where the host belongs to
    none.
  - A run that was killed at any point is finished by the next one. What another cluster or another tool has set up is
    refused, never reset.
  - C(kubeadm reset) is not used, because it unmounts and empties what lies below C(/var/lib/kubelet). What an
    unfinished join has written is removed file by file.
options:
  state:
    description:
      - V(gathered) only looks.
      - V(initialised) makes the host the control plane, V(joined) makes it a node.
    type: str
    choices: [gathered, initialised, joined]
    default: gathered
  control_plane:
    description: With O(state=gathered), judge the host as a control plane instead of as a node.
    type: bool
    default: false
  node_name:
    description: Name of the Node object.
    type: str
    required: true
  cluster_ca:
    description:
      - The CA certificate of the cluster, in PEM form. Empty where there is no cluster yet.
      - O(state=joined) requires it, and pins it.
    type: str
    default: ""
  config:
    description:
      - kubeadm's documents, each with C(apiVersion) and C(kind), without secrets.
      - Handed over in memory, never written to a disk.
    type: list
    elements: dict
    default: []
  token:
    description: Bootstrap token for O(state=joined).
    type: str
  ignore_preflight_errors:
    description: Names of kubeadm's preflight checks whose errors do not count.
    type: list
    elements: str
    default: []
  attempts:
    description: How often to try a join. Between two tries the module removes what the first has written.
    type: int
    default: 3
extends_documentation_fragment: runnerfleet.baremetal.attributes
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
  idempotent: {support: full}
"""

EXAMPLES = r"""
- name: See to which cluster the host belongs
  runnerfleet.baremetal.kubeadm_node:
    node_name: "{{ inventory_hostname }}"
    cluster_ca: "{{ lookup('ansible.builtin.file', 'ca.crt') }}"
  register: result
"""

RETURN = r"""
state:
  description: One of V(absent), V(member), V(half) (an earlier run did not end), V(stale) (its Node object is gone),
    V(foreign).
  type: str
  returned: always
  sample: member
action:
  description: What is to be done, one of V(keep), V(join), V(init), V(refuse).
  type: str
  returned: always
  sample: keep
reason:
  description: Why, in words. For V(refuse) also what to do about it.
  type: str
  returned: always
  sample: the host is a node of the cluster
host_ca:
  description: Fingerprint of the CA that the host trusts, or empty.
  type: str
  returned: always
  sample: sha256:6c9a...
cluster_ca:
  description: Fingerprint of the given CA, or empty.
  type: str
  returned: always
  sample: sha256:6c9a...
errors:
  description: The end of kubeadm's output for each try that failed.
  type: list
  elements: str
  returned: when kubeadm ran
  sample: []
"""

from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host import plan_membership as membership
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host.apply_membership import (
    Kubeadm,
    change,
    gather,
    lock,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["gathered", "initialised", "joined"], "default": "gathered"},
            "control_plane": {"type": "bool", "default": False},
            "node_name": {"type": "str", "required": True},
            "cluster_ca": {"type": "str", "default": ""},
            "config": {"type": "list", "elements": "dict", "default": []},
            "token": {"type": "str", "no_log": True},
            "ignore_preflight_errors": {"type": "list", "elements": "str", "default": []},
            "attempts": {"type": "int", "default": 3},
        },
        supports_check_mode=True,
    )
    params, name, wanted = module.params, module.params["node_name"], module.params["state"]
    acts = wanted != "gathered" and not module.check_mode
    result: dict[str, Any] = {"changed": False}
    problem: str | None = None
    kubeadm = Kubeadm(module, lock() if acts else -1)
    try:
        membership.check_node_name(name)
        found = gather(name)
        control_plane = params["control_plane"] or wanted == "initialised"
        verdict = membership.classify_membership(found, params["cluster_ca"], control_plane, datetime.now(timezone.utc))
        result.update(asdict(verdict))
        if wanted != "gathered" and verdict.action == "refuse":
            problem = verdict.reason
        elif wanted != "gathered" and verdict.action != "keep":
            result.update(
                changed=True, diff={"before": {"membership": verdict.state}, "after": {"membership": "member"}}
            )
            problem = change(module, found, verdict, kubeadm) if acts else None
            result.update(errors=kubeadm.errors)
    except ValueError as error:
        problem = str(error)
    if problem:
        module.fail_json(msg=f"{name}: {problem}", **{**result, "changed": kubeadm.ran})
    module.exit_json(**result)


if __name__ == "__main__":
    main()
