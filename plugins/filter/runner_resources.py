# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.runner_share import limited


def runner_resources(stated: Mapping[str, Any], limits: Mapping[str, Any]) -> dict[str, Any]:
    """See runner_resources.yml."""
    try:
        return limited(stated, limits)
    except ValueError as error:
        raise AnsibleFilterError(f"runner_resources: {error}") from error


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {"runner_resources": runner_resources}
