# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs one workflow through GitHub. Runs on the controller only; see modules/self_test_workflow.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._api_values import OWNERS
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.runner_credentials import stated
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._github.requests import api
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._github import runners as github
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._github.workflow_run import (
    Workflow,
    WorkflowError,
    run_workflow,
    told_jobs,
)

OTHERWISE = "State one for this run, in a vaulted file of variables (-e @file)"
OPTIONS: dict[str, dict[str, Any]] = {
    "url": {"type": "str", "default": "https://github.com"},
    "repository": {"type": "str", "required": True},
    "workflow": {"type": "str", "default": "runnerfleet-self-test.yml"},
    "ref": {"type": "str", "default": "main"},
    "runner": {"type": "str", "required": True},
    "timeout": {"type": "int", "default": 600},
}


class ActionModule(ActionBase):
    """One workflow run."""

    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Start it and wait for its end."""
        result = super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(OPTIONS)
        # Read here: a credential in an argument of a task would be in the task's events.
        given = {key: str(value) for key, value in stated(self._variable(github.CREDENTIAL, task_vars or {})).items()}
        base = api(options["url"])
        for problem in _problems(options, given, base):
            raise AnsibleActionFail(problem)
        workflow = Workflow(options["repository"], options["workflow"], options["ref"], options["runner"])
        if self._task.check_mode:
            return {**result, "changed": False, "msg": f"Would run {workflow.file} of {workflow.repository}"}
        try:
            found = run_workflow(base, given, workflow, options["timeout"])
        except WorkflowError as error:
            return {**result, "changed": False, "failed": True, "msg": str(error)}
        told = f"{workflow.repository}: run {found['run']} of {workflow.file}: {found['conclusion']}."
        return {**result, "changed": False, "msg": f"{told} {told_jobs(found['jobs'])}", **found}

    def _variable(self, name: str, task_vars: dict[str, Any]) -> Any:
        return self._templar.template(task_vars.get(name))


def _problems(options: dict[str, Any], given: dict[str, str], base: str) -> Iterator[str]:
    """What cannot be, before anybody is asked."""
    if not base:
        yield f"url: found {options['url']!r}, expected the http or https address of a GitHub"
    if OWNERS["repository"](options["repository"]):
        yield f"self_test_repository: found {options['repository']!r}, expected owner/name"
    if not options["runner"]:
        yield "self_test_runner: found nothing, expected a label that runners of the fleet take"
    if "secret" in given or not given:
        found = "the name of a Secret, which the controller cannot use" if given else "nothing"
        yield f"{github.CREDENTIAL}: found {found}, expected a token, or an App's id, installation and key. {OTHERWISE}"
