#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: secrets_rewritten
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: Has the API server encrypt all Secrets by the key that is first now
description:
  - Waits until the API server has read its keys again, which it does within a minute, and then writes each Secret as it
    is.
  - What changes meanwhile is written by whoever changes it. Contents pass through this module and are in no result.
options:
  keys:
    description: The sha256 of the file of keys that the API server has to have read
      (M(runnerfleet.baremetal.encryption_keys)).
    type: str
    required: true
  timeout:
    description: Seconds to wait until the API server has read its keys.
    type: int
    default: 180
extends_documentation_fragment:
  - runnerfleet.baremetal.cluster
  - runnerfleet.baremetal.attributes
requirements:
  - kubernetes >= 24.2.0
attributes:
  check_mode:
    support: full
  diff_mode: {support: none}
  idempotent:
    support: none
"""

EXAMPLES = r"""
- name: Write all Secrets anew
  runnerfleet.baremetal.secrets_rewritten:
    kubeconfig: "{{ lookup('runnerfleet.baremetal.kubeconfig') }}"
    keys: "{{ keys.sha256 }}"
"""

RETURN = r"""
written:
  description: How many Secrets were written.
  type: int
  returned: success
  sample: 12
"""

import re
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.client import (
    CLUSTER_ARGS,
    CONFLICT,
    NOT_FOUND,
    Cluster,
    api_client,
    api_errors,
)

SECRETS = "/api/v1/secrets"
POLL_SECONDS = 2
# By the sha256 of its content the API server says which file of keys it uses: alpha in Kubernetes 1.36, and there since
# 1.34.
_USED = re.compile(
    r'^apiserver_encryption_config_controller_last_config_info\{[^}]*\bhash="sha256:([0-9a-f]{64})"[^}]*\} 1$', re.M
)
_LATE = (
    "the API server did not read its keys again within {timeout} s: found that it uses {used}, expected {keys} (sha256 "
    "of the file). Secrets are as they were, and both keys stay in the file. See whether it is of Kubernetes 1.34 or "
    "newer and runs with --encryption-provider-config-automatic-reload=true, and run again"
)


class Rewriter:
    """The Secrets of a cluster."""

    def __init__(self, module: AnsibleModule) -> None:
        self.cluster = Cluster(api_client(module))
        self.timeout = module.params["timeout"]

    def metrics(self) -> str:
        """What the API server says of itself."""
        return self.cluster.text("/metrics")

    def wait(self, keys: str) -> str:
        """Until these keys are in use; why not, or nothing."""
        deadline = time.monotonic() + self.timeout
        while keys not in (used := _USED.findall(self.metrics())):
            if time.monotonic() > deadline:
                return _LATE.format(timeout=self.timeout, used=", ".join(used) or "none that it names", keys=keys)
            time.sleep(POLL_SECONDS)
        return ""

    def rewrite(self, dry: bool) -> int:
        """Write each Secret as it is; one that somebody changes or deletes meanwhile is theirs."""
        items = self.cluster.items(SECRETS)
        for item in items:
            meta = item["metadata"]
            path = f"/api/v1/namespaces/{meta['namespace']}/secrets/{meta['name']}"
            body = {**item, "apiVersion": "v1", "kind": "Secret"}
            self.cluster.replace(path, body, {"dryRun": "All"} if dry else None, passed=(NOT_FOUND, CONFLICT))
        return len(items)


def main() -> None:
    """Run the module."""
    spec: dict[str, Any] = {
        **CLUSTER_ARGS,
        "keys": {"type": "str", "required": True, "no_log": False},
        "timeout": {"type": "int", "default": 180},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    late, written = "", 0
    with api_errors(module):
        rewriter = Rewriter(module)
        late = "" if module.check_mode else rewriter.wait(module.params["keys"])
        written = 0 if late else rewriter.rewrite(module.check_mode)
    if late:
        module.fail_json(msg=late)
    module.exit_json(changed=written > 0, written=written)


if __name__ == "__main__":
    main()
