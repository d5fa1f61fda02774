# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints which pools and runner sizes fit each machine. Runs on the controller only; see modules/fleet_plan.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight import sizing as preflight_sizing
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.hardware import hardware_from
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet import planner as _planner
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet import sizing as _fleet_sizing
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet.variables import (
    SHARED,
    Variables,
    host_variables,
    role_variables,
)

OPTIONS: dict[str, dict[str, Any]] = {
    "hardware": {"type": "dict", "default": {}},
    "survey": {"type": "str", "default": ""},
}


class ActionModule(ActionBase):
    """One table of all machines."""

    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Plan and print."""
        result = super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(OPTIONS)
        task_vars = task_vars or {}
        played = list(task_vars["ansible_play_hosts_all"])
        specs, defaults = role_variables(self._loader)
        hosts = host_variables(played, specs, defaults, self._loader, task_vars)
        pools = _usable(hosts[played[0]], "fleet_pools") or specs[SHARED]["fleet_pools"]["default"]
        typed = options["hardware"]
        answers = (
            {name: (variables.raw.get(options["survey"]) or {}) for name, variables in hosts.items()}
            if options["survey"]
            else {}
        )
        surveys = {name: answer["survey"] for name, answer in answers.items() if not typed and answer.get("survey")}
        silent = sorted(set(played) - set(surveys)) if not typed else []
        try:
            machines = [self._machine(name, given, hosts[played[0]], pools, False) for name, given in typed.items()]
            machines += [
                self._machine(name, survey["hardware"], hosts[name], pools, True) for name, survey in surveys.items()
            ]
        except ValueError as error:
            raise AnsibleError(f"{error}. Nothing was planned") from error
        told = f"{len(machines)} machine{'' if len(machines) == 1 else 's'} planned."
        if silent:
            told += f" No answer from {', '.join(silent)}."
        self._display.display(f"\n{_planner.plan_table(machines)}\n\n{told}")
        return {**result, "changed": False, "failed": bool(silent), "msg": told, "machines": machines}

    @staticmethod
    def _machine(
        name: str, given: Any, variables: Variables, pools: list[Mapping[str, Any]], installed: bool
    ) -> dict[str, Any]:
        """`installed`: the machine is there, so only the drives that its inventory names are counted."""
        floors = {}
        for kind in preflight_sizing.MINIMUM:
            stated = [
                (_usable(variables, f"preflight_{level}") or {}).get(kind) or {} for level in ("minimum", "recommended")
            ]
            floors[kind] = (
                preflight_sizing.floor_from(preflight_sizing.MINIMUM[kind], stated[0], f"preflight_minimum.{kind}"),
                preflight_sizing.floor_from(
                    preflight_sizing.RECOMMENDED[kind], stated[1], f"preflight_recommended.{kind}"
                ),
            )
        values = {key: _usable(variables, key) for key in _fleet_sizing.NAMES}
        drives = [str(drive) for drive in (_usable(variables, "nvme_storage_drives") or [])] if installed else []
        try:
            return _planner.machine_plan(name, hardware_from(given), pools, values, floors, drives)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error


def _usable(variables: Variables, name: str) -> Any:
    """A variable's value; an error where it has none that can be used."""
    value, trouble = variables.value(name)
    for finding in trouble:
        raise AnsibleError(
            f"{name}: found {finding.found}, expected {finding.expected}; {finding.hint}. Nothing was planned"
        )
    return value
