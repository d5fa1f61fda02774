# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._pins import artifacts as _artifacts


def artifacts(
    names: Sequence[str], mirror: Mapping[str, Any], versions: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Addresses and checksums of pinned release files."""
    try:
        return _artifacts(names, mirror, versions or {})
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {"artifacts": artifacts}
