# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the module and notes between which two moments, by the controller's clock, the host read its own. See
modules/host_survey.py.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.pools import DEFAULT_POOLS
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight import inventory as preflight_inventory
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.node_rules import PATHS, layout
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet import host_needs as _host_needs
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet.variables import Variables, role_values


class ActionModule(ActionBase):
    """The module's result, with the time of the question and of the answer."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask the host."""
        result = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        control_plane = arguments.pop("control_plane_group", None)
        if control_plane:
            arguments = {**arguments, **self._of_inventory(arguments, task_vars or {}, control_plane)}
        asked = time.time()
        result.update(self._execute_module(module_args=arguments, task_vars=task_vars))
        if "survey" in result:
            result["survey"]["asked"] = [asked, time.time()]
        return result

    def _of_inventory(self, arguments: dict[str, Any], task_vars: dict[str, Any], control_plane: str) -> dict[str, Any]:
        """What the host's own variables and the roles' defaults ask for: values that cannot be had are told by the
        report.
        """
        defaults = role_values(self._loader, _host_needs.ROLES)
        variables = Variables(task_vars, defaults, self._loader, {})
        values = {name: variables.value(name)[0] for name in _host_needs.NAMES}
        pools = [pool for pool in variables.value("fleet_pools")[0] or DEFAULT_POOLS if isinstance(pool, Mapping)]
        kind = preflight_inventory.kind_of(task_vars["inventory_hostname"], task_vars["groups"], pools, control_plane)
        if kind != "runner":
            values = {**values, "nvme_storage_drives": None, "nvme_storage_select": None}
        needed: dict[str, Any] = {
            "kernel_modules": _host_needs.kernel_modules(values, arguments.get("kernel_modules") or ())
        }
        storage = layout(values)
        return {**needed, "paths": list(PATHS), **({"storage": storage} if storage else {})}
