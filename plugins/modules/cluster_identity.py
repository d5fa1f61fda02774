#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_identity
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: Prove that a cluster is this fleet's
description:
  - Compares the fleet's name and the fingerprint of the cluster's certificate authority with what ConfigMap
    C(kube-system/runnerfleet) says, and fails where they differ. Every play that speaks to the API does so before
    anything else.
  - Fails as well where the environment has variables C(K8S_AUTH_*) or C(HELM_KUBE*), which would lead modules of
    C(kubernetes.core) to another cluster than the kubeconfig that they are given.
  - With O(adopt) a cluster that says nothing yet is given the ConfigMap.
extends_documentation_fragment:
  - runnerfleet.baremetal.cluster
options:
  fleet:
    description: Name of the fleet.
    type: str
    required: true
  adopt:
    description: Write the name into a cluster that has none.
    type: bool
    default: false
attributes:
  check_mode:
    description: Says what it would write.
    support: full
  diff_mode:
    description: Shows the ConfigMap that it writes.
    support: full
requirements:
  - python >= 3.9
  - kubernetes
  - PyYAML
"""

EXAMPLES = r"""
- name: Prove that it is our cluster
  runnerfleet.baremetal.cluster_identity:
    kubeconfig: "{{ lookup('runnerfleet.baremetal.kubeconfig') }}"
    fleet: ci
"""

RETURN = r"""
mismatch:
  description: The cluster answered, and is not this fleet's.
  returned: when it is so
  type: bool
ca:
  description: The sha256 of the cluster's certificate authority.
  returned: success
  type: str
  sample: 5f0e7d1b2c
"""

import json
import os

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.runnerfleet.baremetal.plugins.module_utils import _kubeconfig
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.client import (
    CLUSTER_ARGS,
    NOT_FOUND,
    Cluster,
    api_client,
    api_errors,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.identity import (
    NAME,
    NAMESPACE,
    Identity,
    mismatch,
    overriding,
)

PATH = f"/api/v1/namespaces/{NAMESPACE}/configmaps"


def main() -> None:
    """Entry point."""
    spec = {**CLUSTER_ARGS, "fleet": {"type": "str", "required": True}, "adopt": {"type": "bool", "default": False}}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    if _kubeconfig.yaml is None:
        module.fail_json(msg=missing_required_lib("PyYAML"))
    path = module.params["kubeconfig"]
    names = overriding(os.environ, path)
    if names:
        module.fail_json(
            msg=f"environment: found {', '.join(names)}, expected none: they would lead modules to another cluster "
            f"than {path}. Unset them"
        )
    try:
        ours = Identity(module.params["fleet"], _kubeconfig.read(path).fingerprint)
    except (_kubeconfig.KubeconfigError, OSError) as error:
        module.fail_json(msg=f"kubeconfig {path}: found {error}, expected a kubeconfig. Correct fleet_kubeconfig")
    with api_errors(module):
        cluster = Cluster(api_client(module))
        found = cluster.get(f"{PATH}/{NAME}", passed=(NOT_FOUND,)) or None
    problem = mismatch(found, ours, module.params["adopt"])
    if problem:
        module.fail_json(msg=problem, mismatch=True)
    if found is None and not module.check_mode:
        with api_errors(module):
            cluster.create(PATH, ours.to_object())
    written = json.dumps(ours.to_object()["data"], indent=2, sort_keys=True) + "\n" if found is None else ""
    diff = {
        "before": "",
        "after": written,
        "before_header": f"{NAMESPACE}/{NAME}",
        "after_header": f"{NAMESPACE}/{NAME}",
    }
    module.exit_json(changed=found is None, ca=ours.authority, **({"diff": diff} if written else {}))


if __name__ == "__main__":
    main()
