#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: operator_kubeconfig
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: A kubeconfig for whoever runs the plays, made on a control plane
description:
  - Signs a certificate for the user C(runnerfleet), with C(kubeadm kubeconfig user), so that the administrator's own kubeconfig stays where
    it is.
  - The user is in a group of its own, which a ClusterRoleBinding C(runnerfleet-operators) makes an administrator. Roles and bindings that
    charts bring can be made by nobody less.
  - Who deletes that binding ends every kubeconfig that was made before, for good. The next one is for another group.
  - Each call signs another certificate. Nothing of it stays on the control plane.
options:
  hours:
    description: How long the certificate lasts.
    type: int
    default: 24
extends_documentation_fragment: runnerfleet.baremetal.attributes
attributes:
  check_mode:
    support: partial
    details: Where there is no binding yet, a dry run gets the administrator's kubeconfig, and changes nothing.
  diff_mode: {support: none}
  idempotent: {support: none}
"""

EXAMPLES = r"""
- name: Take a kubeconfig for a day
  runnerfleet.baremetal.operator_kubeconfig:
  delegate_to: cp-1
  become: true
  register: operator
  no_log: true
"""

RETURN = r"""
kubeconfig:
  description: The kubeconfig, with its key. Empty where the host is no control plane yet. Register it with C(no_log).
  type: str
  returned: always
"""

import json
import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils import _operator as operator

ADMIN = Path("/etc/kubernetes/admin.conf")
LOCAL_BIN = "/usr/local/bin"


class ControlPlane:
    """kubectl and kubeadm of this host, as its administrator."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module

    def _run(self, program: str, arguments: list[str], **more: Any) -> str:
        path = self.module.get_bin_path(program, required=True, opt_dirs=[LOCAL_BIN])
        code, out, err = self.module.run_command([path, *arguments], **more)
        if code:
            said = (err.strip().splitlines() or [f"it ended with {code}"])[-1][:500]
            self.module.fail_json(msg=f"{program} {' '.join(arguments[:3])}: found {said}, expected an answer of the cluster on this host")
        return str(out)

    def kubectl(self, *arguments: str, data: str | None = None) -> str:
        """What kubectl prints."""
        return self._run("kubectl", ["--kubeconfig", str(ADMIN), *arguments], data=data)

    def group(self) -> str:
        """The group that the binding names, empty where there is none."""
        found = self.kubectl("get", "clusterrolebinding", operator.BINDING, "--ignore-not-found", "--output=json").strip()
        return operator.group_of(json.loads(found)) if found else ""

    def sign(self, group: str, hours: int) -> str:
        """A kubeconfig. kubeadm reads the cluster's own configuration, from memory."""
        query = "--output=jsonpath={.data.ClusterConfiguration}"
        config = os.memfd_create("cluster-configuration")
        try:
            os.write(config, self.kubectl("--namespace=kube-system", "get", "configmap", "kubeadm-config", query).encode())
            path = f"/proc/self/fd/{config}"
            who = [f"--client-name={operator.USER}", f"--org={group}", f"--validity-period={hours}h"]
            return self._run("kubeadm", ["kubeconfig", "user", f"--config={path}", *who], pass_fds=[config])
        finally:
            os.close(config)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={"hours": {"type": "int", "default": 24}}, supports_check_mode=True)
    if not ADMIN.exists():
        module.exit_json(changed=False, kubeconfig="")
    control_plane = ControlPlane(module)
    group = control_plane.group()
    changed = not group
    if changed and module.check_mode:
        module.exit_json(changed=True, kubeconfig=ADMIN.read_text(encoding="utf-8"))
    if changed:
        group = operator.new_group()
        control_plane.kubectl("create", "--filename=-", data=json.dumps(operator.binding(group)))
    module.exit_json(changed=changed, kubeconfig=control_plane.sign(group, module.params["hours"]))


if __name__ == "__main__":
    main()
