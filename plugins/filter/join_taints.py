# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nodes.plan_pools import join_taints


class FilterModule:
    """Taints of a host that joins."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names of the filters."""
        return {"join_taints": join_taints}
