# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet import runner_quota as _quota
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.runner_size import parse


def runner_quota(
    runners: Sequence[Mapping[str, Any]], most: Mapping[str, int], limits: Mapping[str, Any], headroom: int, nodes: int
) -> dict[str, Any]:
    """See runner_quota.yml."""
    try:
        sizes = {str(entry["name"]): parse(entry["size"]) for entry in runners}
        found = _quota.quota(sizes, most, limits, int(headroom), int(nodes))
    except ValueError as error:
        raise AnsibleFilterError(f"runner_quota: {error}") from error
    return {
        "hard": dict(found.hard),
        "default": dict(found.default),
        "default_request": dict(found.default_request),
    }


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {"runner_quota": runner_quota}
