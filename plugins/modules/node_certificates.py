#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_certificates
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: How long kubelets' certificates last, and which ones they serve with
description:
  - Runs once for all nodes, on the controller.
  - Approves what kubelets ask for to serve logs, exec and metrics with, where it names the node and addresses that the
    inventory has for it, and nothing else. What names anything else is left undecided, and told.
  - Has a MutatingAdmissionPolicy limit the life of kubelets' client certificates, which renew themselves. Kubernetes
    before 1.36 does not have that kind by default; there nothing is limited, and the result says so.
options:
  addresses:
    description: Addresses of each node, as the inventory has them, by the node's name. A host name is resolved on the
      controller.
    type: dict
    required: true
  client_seconds:
    description: How long a client certificate lasts at most.
    type: int
    required: true
  wait:
    description: How many seconds to wait for nodes that have just joined, and have not asked yet.
    type: int
    default: 0
extends_documentation_fragment:
  - runnerfleet.baremetal.cluster
  - runnerfleet.baremetal.attributes
requirements:
  - kubernetes >= 24.2.0
  - cryptography
attributes:
  check_mode:
    description: Approves nothing, and asks the API for a dry run of the policy.
    support: full
  diff_mode: {support: none}
  idempotent: {support: full}
"""

EXAMPLES = r"""
- name: Approve what kubelets serve with
  runnerfleet.baremetal.node_certificates:
    kubeconfig: "{{ lookup('runnerfleet.baremetal.kubeconfig') }}"
    addresses: {runner-1: [192.0.2.31]}
    client_seconds: 2592000
"""

RETURN = r"""
approved:
  description: Nodes whose request to serve was approved.
  type: list
  elements: str
  returned: success
  sample: [runner-1]
left:
  description: Requests that were left undecided, a line each.
  type: list
  elements: str
  returned: success
  sample: []
unserved:
  description: New nodes that had not asked when O(wait) was over.
  type: list
  elements: str
  returned: success
  sample: []
limited:
  description: Whether the cluster can limit the life of client certificates.
  type: bool
  returned: success
  sample: true
"""

import ipaddress
import socket
import time
from datetime import datetime, timezone
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.client import (
    CLUSTER_ARGS,
    api_client,
    api_errors,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nodes import credentials, policies
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nodes.requests import Requests

POLL_SECONDS = 1


def resolved(name: str) -> set[str]:
    """The addresses of a name, as the controller knows it; none where it does not."""
    try:
        return {str(ipaddress.ip_address(name))}
    except ValueError:
        pass
    try:
        return {str(entry[4][0]).partition("%")[0] for entry in socket.getaddrinfo(name, None)}
    except (OSError, UnicodeError):
        return set()


def run(cluster: Requests, given: dict[str, Any], seconds: int, wait: int, check_mode: bool) -> dict[str, Any]:
    """The policy, and then one look at requests, or as many as new nodes need."""
    known = {str(name): set().union(*map(resolved, map(str, names or ()))) for name, names in given.items()}
    limited = cluster.apply_all(policies.certificate_life(seconds), dry=check_mode)
    if check_mode:
        return {"changed": bool(limited), "approved": [], "left": [], "unserved": [], "limited": limited is not None}
    approved, left = cluster.approve_serving(known)
    done, deadline, unserved = set(approved), time.monotonic() + wait, set()
    while (
        wait
        and (unserved := cluster.unserved(set(known) - done, datetime.now(timezone.utc)))
        and time.monotonic() < deadline
    ):
        time.sleep(POLL_SECONDS)
        approved, left = cluster.approve_serving(known)
        done |= set(approved)
    result = {"changed": bool(limited or done), "approved": sorted(done), "left": left, "unserved": sorted(unserved)}
    return {**result, "limited": limited is not None}


def main() -> None:
    """Run the module."""
    spec = {
        **CLUSTER_ARGS,
        "addresses": {"type": "dict", "required": True},
        "client_seconds": {"type": "int", "required": True},
        "wait": {"type": "int", "default": 0},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    if credentials.CRYPTOGRAPHY_ERROR:
        module.fail_json(msg=missing_required_lib("cryptography"), exception=credentials.CRYPTOGRAPHY_ERROR)
    params = module.params
    if params["client_seconds"] < 600:
        module.fail_json(
            msg=f"client_seconds: found {params['client_seconds']}, expected at least 600, the least that the API takes"
        )
    with api_errors(module):
        result = run(
            Requests(api_client(module)),
            params["addresses"],
            params["client_seconds"],
            params["wait"],
            module.check_mode,
        )
    for line in result["left"][:10]:
        module.warn(
            f"{line}. Its request to serve logs, exec and metrics was left undecided. If that address is the node's, "
            "add it to node_join_addresses of the host; otherwise see who asks"
        )
    if result["unserved"]:
        module.warn(
            f"new nodes have not asked for a certificate to serve with within {params['wait']} s: "
            f"{', '.join(result['unserved'][:10])}. They answer neither logs nor exec until a later run of join.yml "
            "approves it. See `journalctl -u kubelet` there"
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
