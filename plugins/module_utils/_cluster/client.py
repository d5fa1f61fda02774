# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The client of a cluster for our modules: of the kubeconfig that they are given, and of nothing else. Private to the
collection.
"""

from __future__ import annotations

import traceback
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from kubernetes import config
except ImportError:
    config = None
    IMPORT_ERROR: str | None = traceback.format_exc()
else:
    IMPORT_ERROR = None

# No fallback to the environment: a variable of somebody's shell would choose the cluster.
CLUSTER_ARGS: dict[str, Any] = {"kubeconfig": {"type": "path", "required": True}, "context": {"type": "str"}}


def api_client(module: AnsibleModule) -> Any:
    """An ApiClient of the client library for the module's kubeconfig."""
    if config is None:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=IMPORT_ERROR)
    path = module.params["kubeconfig"]
    try:
        return config.new_client_from_config(config_file=path, context=module.params.get("context"))
    except (
        Exception
    ) as error:  # the library lets through whatever its readers throw, with the text that they could not read
        module.fail_json(
            msg=f"kubeconfig {path}: found {type(error).__name__} while reading it, expected a kubeconfig. Correct "
            "fleet_kubeconfig"
        )
