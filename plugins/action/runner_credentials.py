# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tries the credentials of scale sets. Runs on the controller only; see modules/runner_credentials.py."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.findings import Finding
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._github import credential_check

OPTIONS: dict[str, dict[str, Any]] = {
    "ask": {"type": "bool", "default": True},
    "require_access": {"type": "bool", "default": False},
}
# What says that a credential is of no use for its owner, or that nobody could tell.
NO_ACCESS = ("github_access_denied", "github_owner_unknown", "github_unreachable")


class ActionModule(ActionBase):
    """One look at all credentials."""

    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Try them, and fail where one is refused."""
        result = super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(OPTIONS)
        # Read here: a credential in an argument of a task would be in the task's events.
        names = ("runner_pools_github_url", credential_check.COMMON, "runner_pools_pools")
        url, common, pools = (self._templar.template((task_vars or {}).get(name)) for name in names)
        asked = options["ask"]
        findings = credential_check.scale_set_findings(str(url), common, credential_check.COMMON, pools, "", asked)
        doubtful = [finding for finding in findings if finding.code in NO_ACCESS]
        refused = [finding for finding in findings if finding.severity == "error"]
        if options["require_access"]:
            refused, doubtful = refused + doubtful, []
        result.update(changed=False, failed=bool(refused), findings=[finding.as_dict() for finding in findings])
        result["msg"] = " ".join(_sentences(refused)) or "No credential was refused."
        return {**result, **({"warnings": _sentences(doubtful)} if doubtful else {})}


def _sentences(findings: Iterable[Finding]) -> list[str]:
    return [f"{one.subject}: found {one.found}, expected {one.expected}; {one.hint}." for one in findings]
