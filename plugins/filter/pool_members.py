# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nodes import plan_pools


def pool_members(pools: Sequence[Mapping[str, Any]], groups: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """See pool_members.yml."""
    try:
        return plan_pools.pool_members(pools, groups)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Pools with their hosts."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names of the filters."""
        return {"pool_members": pool_members}
