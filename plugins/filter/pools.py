# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet import pools as fleet_pools


def pools(given: Any, engine: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """See pools.yml."""
    return [pool.as_dict() for pool in _read(given, engine)]


def engine_pools(given: Any) -> list[str]:
    """See engine_pools.yml."""
    return fleet_pools.engine_pools(_read(given, None))


def _read(given: Any, engine: Mapping[str, Any] | None) -> list[fleet_pools.Pool]:
    try:
        return fleet_pools.pools_from(given, engine)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The pools of the fleet."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {"pools": pools, "engine_pools": engine_pools}
