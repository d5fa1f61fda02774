# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.runner_credentials import secrets
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.runner_share import sized
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.runner_size import parse


def runner_size(value: Any) -> dict[str, Any]:
    """See runner_size.yml."""
    try:
        size = parse(value)
    except ValueError as error:
        raise AnsibleFilterError(f"runner_size: {error}") from error
    return {"resources": size.resources, "disk": size.disk}


def sized_runners(entries: Sequence[Mapping[str, Any]], first: str, flavour: str, size: Any) -> list[dict[str, Any]]:
    """See sized_runners.yml."""
    return sized(entries, first, flavour, size)


def runner_secrets(entries: Sequence[Mapping[str, Any]], common: Mapping[str, Any]) -> dict[str, Any]:
    """See runner_secrets.yml."""
    found = secrets(entries, common)
    return {"names": dict(found.names), "data": {name: dict(data) for name, data in found.data.items()}}


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {"runner_size": runner_size, "sized_runners": sized_runners, "runner_secrets": runner_secrets}
