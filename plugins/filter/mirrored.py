# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._mirror import mirrored as _mirrored


def mirrored(reference: str, mirror: Mapping[str, Any]) -> str:
    """Where an upstream address lies when there is a mirror."""
    try:
        return _mirrored(reference, mirror)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {"mirrored": mirrored}
