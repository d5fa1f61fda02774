# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the inventory's options need of a host: kernel modules, and a layout of its drives. Private to the
collection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.node_rules import LAYOUT, layout

NAMES = (
    *LAYOUT.values(),
    "control_plane_kube_proxy_mode",
    "kubernetes_host_kernel_modules",
    "pod_network_backend",
    "pod_network_nftables",
    "pod_network_policies",
    "pod_network_provider",
)
# Whose defaults these variables have.
ROLES = ("control_plane", "kubernetes_host", "nvme_storage", "pod_network")
STRIPES = {"lvm": ["dm_mod"], "raid0": ["raid0"], "raid10": ["raid10"]}
BACKENDS = {"vxlan": ["vxlan"], "wireguard": ["wireguard"]}
PROXIES = {"ipvs": ["ip_vs", "ip_vs_rr"], "nftables": ["nf_tables"]}


def kernel_modules(values: Mapping[str, Any], stated: Sequence[str]) -> list[str]:
    """The modules that a host's options ask for, beside those that are stated."""
    asked = [*stated, *(values.get("kubernetes_host_kernel_modules") or ())]
    drives = layout(values)
    if drives:
        volumes = drives.get("volumes") if isinstance(drives.get("volumes"), list) else []
        asked += [str(volume.get("filesystem") or "xfs") for volume in volumes or () if isinstance(volume, Mapping)]
        asked += STRIPES.get(str(drives.get("stripe_with")), []) if drives.get("layout") == "stripe" else []
    if values.get("pod_network_provider") == "flannel":
        asked += BACKENDS.get(str(values.get("pod_network_backend")), [])
        asked += ["nf_tables"] if values.get("pod_network_nftables") is True else []
        asked += ["nf_tables", "nfnetlink_queue"] if values.get("pod_network_policies") is True else []
    asked += PROXIES.get(str(values.get("control_plane_kube_proxy_mode")), [])
    return list(dict.fromkeys(map(str, asked)))
