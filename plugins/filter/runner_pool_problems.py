# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils import _api_values


def runner_pool_problems(
    entries: Sequence[Mapping[str, Any]],
    engines: Mapping[str, Sequence[str]],
    engine_version: str = "",
    flavour: str = "",
    common: Mapping[str, Any] | None = None,
) -> list[str]:
    """What is wrong with these runner pools, by the checks of the preflight."""
    found = _api_values.runner_pool_problems(entries, engines, engine_version, flavour, common)
    return [str(problem) for problem in found]


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {"runner_pool_problems": runner_pool_problems}
