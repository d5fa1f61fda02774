# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.config import config_changes
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.config import (
    engine_config as _engine_config,
)


def engine_config(
    version: str,
    profile: str = "ci",
    overrides: Mapping[str, Any] | None = None,
    mirror: Mapping[str, Any] | None = None,
    registries: Sequence[str] = (),
    filesystem: Any = None,
    checkpoints: Any = None,
    engines: int = 1,
) -> dict[str, Any]:
    """The content of engine.json for an engine version."""
    try:
        return _engine_config(version, profile, overrides, mirror, registries, filesystem, checkpoints, engines)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


def engine_config_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What differs between two contents of engine.json."""
    for config in (before, after):
        if not isinstance(config, Mapping):
            raise AnsibleFilterError(
                f"engine_config_changes: found {type(config).__name__}, expected the dictionary of an engine.json"
            )
    return config_changes(before, after)


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {"engine_config": engine_config, "engine_config_changes": engine_config_changes}
