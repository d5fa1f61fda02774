# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.runner_reach import reach


def runner_reach(entries: Sequence[Mapping[str, Any]], proxy: Any, ca: Any, direct: Sequence[str]) -> dict[str, Any]:
    """See runner_reach.yml."""
    found = reach(entries, proxy, ca, direct)
    return {"proxy": dict(found.proxy), "ca": dict(found.ca), "made": dict(found.made)}


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {"runner_reach": runner_reach}
