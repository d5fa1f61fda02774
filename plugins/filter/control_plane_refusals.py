# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight import inventory as preflight_inventory
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet import networks as _networks


def control_plane_refusals(
    hosts: Sequence[str], pod_cidr: str, service_cidr: str, cluster_config: Mapping[str, Any] | None = None
) -> list[str]:
    """Why no control plane can be made of this, by the checks of the preflight; nothing where it can."""
    if _networks.MISSING:
        raise AnsibleFilterError(_networks.MISSING)
    networks = dict(zip(_networks.CLUSTER, (pod_cidr, service_cidr), strict=False))
    _parsed, findings = _networks.parse(networks, _networks.node_masks(cluster_config or {}))
    return [
        f"{finding.subject}: found {finding.found}, expected {finding.expected}. {finding.hint}"
        for finding in [*preflight_inventory.control_plane_findings(hosts), *findings]
    ]


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {"control_plane_refusals": control_plane_refusals}
