# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils import _api_values


def engine_problems(pools: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is wrong with the environment of these pools' engines, by the checks of the preflight."""
    return list(dict.fromkeys(str(problem) for problem in _api_values.engine_problems(pools)))


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {"engine_problems": engine_problems}
