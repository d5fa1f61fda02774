# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._api_values import engine_of


def runner_engines(
    entries: Sequence[Mapping[str, Any]], engines: Mapping[str, Sequence[Any]], engine_version: str = ""
) -> dict[str, dict[str, str]]:
    """See runner_engines.yml."""
    found = {str(entry["name"]): engine_of(entry, engines, engine_version) for entry in entries}
    return {name: {"pool": pool, "version": version} for name, (pool, version) in found.items()}


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {"runner_engines": runner_engines}
