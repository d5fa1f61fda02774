#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: helm_release_diff
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: Show what a Helm release would change
description:
  - Compares the manifest of the deployed release with what the chart makes of the values, object by object. Needs no
    plugin of helm.
  - Changes nothing. C(changed) says that the release would differ, so that the difference is shown. The deployment
    itself is another task.
  - Contents of Secrets, values of environment variables that are called a secret and passwords in addresses are shown
    as C(***). Custom resource definitions are shown by the sum of their content.
  - The chart is rendered as C(helm template) does, so what it would look up in the cluster is empty.
extends_documentation_fragment:
  - runnerfleet.baremetal.attributes
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
  idempotent: {support: full}
options:
  binary_path:
    description: The helm program.
    type: path
  kubeconfig:
    description: Path of the kubeconfig. Neither the environment nor C(~/.kube/config) is asked instead.
    type: path
    required: true
    aliases: [kubeconfig_path]
  context:
    description: Context of the kubeconfig.
    type: str
    aliases: [kube_context]
  host:
    description: Address of the API.
    type: str
  api_key:
    description: Token for the API.
    type: str
  ca_cert:
    description: Path of the CA certificate of the API.
    type: path
    aliases: [ssl_ca_cert]
  validate_certs:
    description: Whether the certificate of the API is checked.
    type: bool
    default: true
    aliases: [verify_ssl]
  release_name:
    description: Name of the release.
    type: str
    required: true
  release_namespace:
    description: Its namespace.
    type: str
    required: true
  chart:
    description: Path of the chart.
    type: path
    required: true
  values:
    description: Values of the release.
    type: dict
    default: {}
  kube_version:
    description: Version of the cluster, which charts ask for. Without it they see the one that helm was built for.
    type: str
requirements:
  - python >= 3.9
  - PyYAML
  - helm
"""

EXAMPLES = r"""
- name: Show what changes
  runnerfleet.baremetal.helm_release_diff:
    kubeconfig: ./kubeconfig
    release_name: cert-manager
    release_namespace: cert-manager
    chart: /tmp/charts/cert-manager-1.21.2.tgz
    values: {replicaCount: 2}
"""

RETURN = r"""
diff:
  description: The objects that differ, before and after.
  returned: always
  type: dict
"""

import json

from ansible.module_utils.basic import missing_required_lib
from ansible_collections.kubernetes.core.plugins.module_utils.helm import AnsibleHelmModule
from ansible_collections.kubernetes.core.plugins.module_utils.helm_args_common import (
    HELM_AUTH_ARG_SPEC,
    HELM_AUTH_MUTUALLY_EXCLUSIVE,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._helm.diff import manifest_diff, yaml


def main() -> None:
    """Render both and compare."""
    spec = {
        **HELM_AUTH_ARG_SPEC,
        "kubeconfig": {"type": "path", "required": True, "aliases": ["kubeconfig_path"]},
        "release_name": {"type": "str", "required": True},
        "release_namespace": {"type": "str", "required": True},
        "chart": {"type": "path", "required": True},
        "values": {"type": "dict", "default": {}},
        "kube_version": {"type": "str"},
    }
    module = AnsibleHelmModule(
        argument_spec=spec, supports_check_mode=True, mutually_exclusive=HELM_AUTH_MUTUALLY_EXCLUSIVE
    )
    if yaml is None:
        module.fail_json(msg=missing_required_lib("PyYAML"))
    helm, name, given = module.get_helm_binary(), module.params["release_name"], module.params
    code, before, said = module.run_helm_command([helm, "get", "manifest", name], fails_on_error=False)
    if code and "not found" not in said:
        module.fail_json(msg=f"The release {name} could not be read: {said.strip()[-1500:]}")
    # Values go in by stdin: they may hold what must not be seen among the processes.
    command = [
        helm,
        "template",
        name,
        given["chart"],
        "--namespace",
        given["release_namespace"],
        "--no-hooks",
        "--values",
        "-",
    ]
    command += ["--kube-version", given["kube_version"]] if given["kube_version"] else []
    code, after, said = module.run_helm_command(command, fails_on_error=False, data=json.dumps(given["values"] or {}))
    if code:
        module.fail_json(msg=f"The chart {given['chart']} makes no manifest of these values: {said.strip()[-1500:]}")
    try:
        diff = manifest_diff(before, after)
    except yaml.YAMLError as error:
        module.fail_json(msg=f"The manifest of the release {name} is no YAML: {type(error).__name__}")
    module.exit_json(changed=diff["before"] != diff["after"], diff=diff)


if __name__ == "__main__":
    main()
