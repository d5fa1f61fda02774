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
  - Signs a certificate for the user C(runnerfleet), with C(kubeadm kubeconfig user), so that the administrator's own
    kubeconfig stays where it is.
  - The user is in a group of its own, which a ClusterRoleBinding C(runnerfleet-operators) makes an administrator. Roles
    and bindings that charts bring can be made by nobody less.
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

import http.client
import json
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster import operator
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host.plan_membership import decoded, kubeconfig

ADMIN = Path("/etc/kubernetes/admin.conf")
LOCAL_BIN = "/usr/local/bin"
TIMEOUT = 30
_BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
_CONFIG = "/api/v1/namespaces/kube-system/configmaps/kubeadm-config"


@contextmanager
def in_memory(name: str, text: str) -> Iterator[int]:
    """A file that lies on no disk: what is read by its path is gone with this process."""
    handle = os.memfd_create(name)
    try:
        os.write(handle, text.encode())
        yield handle
    finally:
        os.close(handle)


class Administrator:
    """The API as this host's administrator; a control plane need not have kubectl."""

    def __init__(self, text: str) -> None:
        conf = kubeconfig(text, "client-key-data")
        self.server = conf.get("server", "")
        self.context = ssl.create_default_context(cadata=decoded(conf.get("certificate-authority-data", "")))
        pair = (decoded(conf.get(f"client-{part}-data", "")) for part in ("certificate", "key"))
        with in_memory("administrator", "".join(pair)) as handle:
            self.context.load_cert_chain(f"/proc/self/fd/{handle}")

    def call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """One call; an empty answer where there is no such object. RuntimeError with what the API says."""
        place = urlsplit(self.server)
        connection = http.client.HTTPSConnection(
            str(place.hostname), place.port or 443, timeout=TIMEOUT, context=self.context
        )
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        found = json.loads(answer.read())
        if answer.status == http.client.NOT_FOUND:
            return {}
        if answer.status >= http.client.BAD_REQUEST:
            raise RuntimeError(str(found.get("message"))[:500])
        return dict(found)


def sign(module: AnsibleModule, configuration: str, group: str, hours: int) -> str:
    """A kubeconfig of kubeadm's making, by the cluster's own configuration."""
    program = module.get_bin_path("kubeadm", required=True, opt_dirs=[LOCAL_BIN])
    with in_memory("cluster-configuration", configuration) as handle:
        who = [f"--client-name={operator.USER}", f"--org={group}", f"--validity-period={hours}h"]
        arguments = [program, "kubeconfig", "user", f"--config=/proc/self/fd/{handle}", *who]
        code, out, err = module.run_command(arguments, pass_fds=[handle])
    if code:
        raise RuntimeError((err.strip().splitlines() or [f"kubeadm ended with {code}"])[-1][:500])
    return str(out)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={"hours": {"type": "int", "default": 24}}, supports_check_mode=True)
    if not ADMIN.exists():
        module.exit_json(changed=False, kubeconfig="")
    text = ADMIN.read_text(encoding="utf-8")
    try:
        administrator = Administrator(text)
        group = operator.group_of(administrator.call("GET", f"{_BINDINGS}/{operator.BINDING}"))
        changed = not group
        if changed and module.check_mode:
            module.exit_json(changed=True, kubeconfig=text)
        if changed:
            group = operator.new_group()
            administrator.call("POST", _BINDINGS, operator.binding(group))
        configuration = administrator.call("GET", _CONFIG).get("data", {}).get("ClusterConfiguration", "")
        signed = sign(module, configuration, group, module.params["hours"])
    except (OSError, ValueError, RuntimeError, http.client.HTTPException) as error:
        expected = f"the cluster of {ADMIN} to answer, and kubeadm to sign a certificate"
        module.fail_json(msg=f"no kubeconfig was made: found {type(error).__name__}: {error}, expected {expected}")
    module.exit_json(changed=changed, kubeconfig=signed)


if __name__ == "__main__":
    main()
