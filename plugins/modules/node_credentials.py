#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_credentials
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: Says who is a node, and gives a joining host a credential for its own name alone
description:
  - Runs once for all hosts, on the controller. The cluster's Node objects decide who is a node, whatever a host says of
    itself.
  - A bootstrap token is for one host and lives for minutes. No certificate is approved because of a group; the one that
    is asked for with a host's token is approved where it is for that host's name and nothing else, and denied where it
    is for anything else.
options:
  state:
    description:
      - V(gathered) tells which of the hosts have a Node object.
      - V(present) makes a token for each host that has none, in place of those that an earlier run left behind. Where
        the cluster would approve a joining machine's request by itself, kubeadm's binding
        C(kubeadm:node-autoapprove-bootstrap) is deleted first, and no token is made where that does not end it.
      - V(approved) approves what the hosts ask for with their tokens, for as long as there are such tokens. To be run
        beside the joins.
      - V(absent) deletes the tokens, and fails where a host asked for something that was not its own.
    type: str
    choices: [gathered, present, approved, absent]
    default: gathered
  names:
    description: Names of the hosts.
    type: list
    elements: str
    required: true
  expelled:
    description: Names that are put out, beside those that the cluster's own policy names. They get no token.
    type: list
    elements: str
    default: []
  seconds:
    description: How long the tokens live, and how long O(state=approved) goes on at most.
    type: int
    default: 600
extends_documentation_fragment:
  - runnerfleet.baremetal.cluster
  - runnerfleet.baremetal.attributes
requirements:
  - kubernetes >= 24.2.0
  - cryptography
attributes:
  check_mode:
    support: partial
    details: Looks only. No token is made, and nothing is approved.
  diff_mode: {support: none}
  idempotent:
    support: partial
    details: Tokens are made anew by each run.
"""

EXAMPLES = r"""
- name: See which hosts the cluster has as nodes
  runnerfleet.baremetal.node_credentials:
    kubeconfig: "{{ lookup('runnerfleet.baremetal.kubeconfig') }}"
    names: [runner-1, runner-2]
"""

RETURN = r"""
taken:
  description: For each host that has a Node object, why it gets no token if it says that it has not joined.
  type: dict
  returned: when O(state) is V(gathered) or V(present)
  sample: {runner-1: "the cluster has a node runner-1 (since 2026-11-02T10:00:00Z),
  and this host says that it has not joined: ..."}
expelled:
  description: For each host that is put out, what that means.
  type: dict
  returned: when O(state) is V(gathered) or V(present)
  sample: {}
tokens:
  description: The token of each host. Secret.
  type: dict
  returned: when O(state=present)
  sample: {}
approved:
  description: Hosts whose certificate was approved.
  type: list
  elements: str
  returned: when O(state=approved)
  sample: [runner-2]
refused:
  description: What hosts asked for and were denied, a line each.
  type: list
  elements: str
  returned: when O(state=absent)
  sample: []
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.client import (
    CLUSTER_ARGS,
    api_client,
    api_errors,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host.plan_membership import check_node_name
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nodes import credentials, policies
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nodes.requests import (
    Requests,
    approve_until,
)


def gathered(cluster: Requests, names: list[str], expelled: list[str]) -> dict[str, Any]:
    """Hosts with a Node object, and what that means for a host that says otherwise; and those that are put out."""
    out = cluster.expelled() | set(expelled)
    return {
        "changed": False,
        "taken": {name: credentials.taken(node) for name, node in cluster.nodes(names).items()},
        "expelled": {name: policies.refusal(name) for name in names if name in out},
    }


def present(
    cluster: Requests, told: dict[str, Any], names: list[str], seconds: int, check_mode: bool
) -> dict[str, Any]:
    """A token for each host that has no Node object, and may be a node."""
    free = [name for name in names if name not in told["taken"] and name not in told["expelled"]]
    if check_mode or not free:
        return {**told, "changed": bool(free), "tokens": {}}
    ended = cluster.end_automatic()
    return {**told, "changed": True, "tokens": cluster.create_tokens(free, seconds), "ended_automatic_approval": ended}


def absent(cluster: Requests, names: list[str], check_mode: bool) -> dict[str, Any]:
    """No tokens any more."""
    tokens = cluster.tokens(names) if check_mode else cluster.delete_tokens(names)
    refused = cluster.refused(tokens)
    result: dict[str, Any] = {"changed": bool(tokens), "refused": refused}
    if refused:
        result["msg"] = (
            "a host asked, with the token for its own name, for a certificate that is not its own, and was denied it: "
            f"{'; '.join(refused[:10])}. Take the machine for stolen, and out of the inventory"
        )
    return result


def run(module: AnsibleModule, cluster: Requests) -> dict[str, Any]:
    """What the state asks for. A `msg` in the result means that it failed."""
    names, state, seconds = sorted(set(module.params["names"])), module.params["state"], module.params["seconds"]
    for name in names:
        check_node_name(name)
    if state in ("gathered", "present"):
        told = gathered(cluster, names, module.params["expelled"])
        return told if state == "gathered" else present(cluster, told, names, seconds, module.check_mode)
    if state == "absent":
        return absent(cluster, names, module.check_mode)
    approved, trouble = ([], "") if module.check_mode else approve_until(cluster, names, seconds)
    told = {"msg": f"the requests of joining hosts could not be looked at any more: {trouble}"} if trouble else {}
    return {"changed": bool(approved), "approved": approved, **told}


def main() -> None:
    """Run the module."""
    spec = {
        **CLUSTER_ARGS,
        "state": {"type": "str", "choices": ["gathered", "present", "approved", "absent"], "default": "gathered"},
        "names": {"type": "list", "elements": "str", "required": True},
        "expelled": {"type": "list", "elements": "str", "default": []},
        "seconds": {"type": "int", "default": 600},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    if credentials.CRYPTOGRAPHY_ERROR:
        module.fail_json(msg=missing_required_lib("cryptography"), exception=credentials.CRYPTOGRAPHY_ERROR)
    with api_errors(module, ValueError):
        result = run(module, Requests(api_client(module)))
    if "msg" in result:
        module.fail_json(**{key: value for key, value in result.items() if key != "tokens"})
    module.exit_json(**result)


if __name__ == "__main__":
    main()
