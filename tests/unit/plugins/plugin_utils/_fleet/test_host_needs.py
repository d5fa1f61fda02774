"""Kernel modules and layout that an inventory's options need."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.node_rules import layout
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet import host_needs as needs

BASE = ["overlay"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, []),
        ({"kubernetes_host_kernel_modules": ["overlay", "nf_conntrack"]}, ["nf_conntrack"]),
        ({"pod_network_provider": "flannel", "pod_network_backend": "vxlan"}, ["vxlan"]),
        (
            {"pod_network_provider": "flannel", "pod_network_backend": "wireguard", "pod_network_nftables": True},
            ["wireguard", "nf_tables"],
        ),
        ({"pod_network_provider": "flannel", "pod_network_backend": "host-gw", "pod_network_nftables": False}, []),
        ({"pod_network_provider": "flannel", "pod_network_policies": True}, ["nf_tables", "nfnetlink_queue"]),
        ({"pod_network_provider": "none", "pod_network_policies": True}, []),
        ({"pod_network_provider": "none", "pod_network_backend": "vxlan", "pod_network_nftables": True}, []),
        ({"control_plane_kube_proxy_mode": "nftables"}, ["nf_tables"]),
        ({"control_plane_kube_proxy_mode": "ipvs"}, ["ip_vs", "ip_vs_rr"]),
        ({"nvme_storage_volumes": [{"name": "a", "filesystem": "btrfs"}]}, []),
        (
            {
                "nvme_storage_drives": ["x"],
                "nvme_storage_volumes": [{"name": "a", "filesystem": "btrfs"}, {"name": "b"}],
            },
            ["btrfs", "xfs"],
        ),
        (
            {"nvme_storage_select": {"count": 2}, "nvme_storage_layout": "stripe", "nvme_storage_stripe_with": "lvm"},
            ["dm_mod"],
        ),
        (
            {"nvme_storage_drives": ["x"], "nvme_storage_layout": "stripe", "nvme_storage_stripe_with": "raid10"},
            ["raid10"],
        ),
        ({"nvme_storage_drives": ["x"], "nvme_storage_layout": "single", "nvme_storage_stripe_with": "raid0"}, []),
        ({"nvme_storage_drives": ["x"], "nvme_storage_volumes": "nonsense"}, []),
    ],
)
def test_kernel_modules(values: dict[str, Any], expected: list[str]) -> None:
    assert needs.kernel_modules(values, BASE) == BASE + expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, {}),
        ({"nvme_storage_drives": [], "nvme_storage_select": {}, "nvme_storage_layout": "auto"}, {}),
        (
            {"nvme_storage_drives": ["a"], "nvme_storage_select": {}, "nvme_storage_wipe": ["a"]},
            {"drives": ["a"], "wipe": ["a"]},
        ),
        ({"nvme_storage_drives": [], "nvme_storage_select": {"count": 1}}, {"select": {"count": 1}}),
        (
            {"nvme_storage_drives": ["a"], "nvme_storage_select": {"count": 1}},
            {"drives": ["a"], "select": {"count": 1}},
        ),
    ],
)
def test_layout(values: dict[str, Any], expected: dict[str, Any]) -> None:
    assert layout(values) == expected
