# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.runnerfleet.baremetal.plugins.module_utils import _endpoint


def api_endpoint(host: str, port: int = _endpoint.PORT) -> str:
    """host:port of an API server on this host."""
    try:
        return _endpoint.api_endpoint(str(host), int(port))
    except ValueError as error:
        raise AnsibleFilterError(f"{error}. Set fleet_api_endpoint") from error


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {"api_endpoint": api_endpoint}
