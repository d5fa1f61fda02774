# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

NAME = "node_join_addresses"


def serving_addresses(hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """See serving_addresses.yml."""
    found = {}
    for host in hosts:
        variables = hostvars[host]
        stated = variables.get(NAME)
        if stated is not None and (
            not isinstance(stated, list) or not all(isinstance(item, str) and item for item in stated)
        ):
            raise AnsibleFilterError(f"{host}: found {NAME} {str(stated)[:100]!r}, expected a list of addresses")
        usual = variables.get("ansible_host")
        found[str(host)] = [str(item) for item in stated] if stated is not None else [str(usual or host)]
    return found


class FilterModule:
    """Addresses of kubelets."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names of the filters."""
        return {"serving_addresses": serving_addresses}
