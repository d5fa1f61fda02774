"""An inventory of simulated hosts: each carries the survey that it would have answered with. REPORT is the preflight's
report on them, HELM what their controller has for a helm.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
HELM = HERE / "helm.sh"
REPORT = HERE / "report.yml"
DRIVE = "/dev/disk/by-id/nvme-EXAMPLE_{number}"
Inventory = dict[str, Any]


def survey(name: str, number: int) -> dict[str, Any]:
    """What a good host answers."""
    drive = DRIVE.format(number=number)
    address = f"192.0.{2 + number // 250}.{1 + number % 250}"
    return {
        "addresses": [address],
        "api_server": "",
        "arch": "x86_64",
        "asked": [1790000000.0, 1790000001.0],
        "cgroup_version": 2,
        "cluster_ca": "",
        "cni_files": [],
        "drives": [{"name": drive, "device": "/dev/nvme1n1", "problem": ""}],
        "engines": [],
        "epoch": 1790000000.5,
        "etcd_data": False,
        "hardware": {
            "vcpus": 16,
            "memory_bytes": 64 * 10**9,
            "drives": [{"name": drive, "size_bytes": 10**12, "model": "EXAMPLE", "transport": "nvme"}],
        },
        "hostname": name,
        "inhibit_delays": {},
        "kernel": "6.12.0",
        "kernel_modules_missing": [],
        "kubelet": "",
        "listening": [22],
        "machine_id": f"{number:032x}",
        "member": False,
        "networks": [{"cidr": f"{address.rpartition('.')[0]}.0/24", "interface": "eth0"}],
        "os": "debian",
        "os_version": "12",
        "packet_filters": ["nf_tables"],
        "product_uuid": f"00000000-0000-0000-0000-{number:012x}",
        "swap_bytes": 0,
    }


def inventory(hosts: int) -> Inventory:
    """One control plane, a tenth support nodes, the others runner nodes, and nothing wrong with any."""
    names = ["cp-1", *(f"support-{n}" for n in range(1, hosts // 10 + 1))]
    names += [f"runner-{n}" for n in range(1, hosts - len(names) + 1)]
    groups: dict[str, dict[str, Any]] = {"control_plane": {}, "support_nodes": {}, "runner_nodes": {}}
    for number, name in enumerate(names):
        group = {"cp": "control_plane", "support": "support_nodes", "runner": "runner_nodes"}[name.partition("-")[0]]
        groups[group][name] = {"simulated_survey": {"survey": survey(name, number)}}
        if group == "runner_nodes":
            groups[group][name]["nvme_storage_drives"] = [DRIVE.format(number=number)]
    return {
        "all": {
            "vars": {
                "ansible_connection": "local",
                "fleet_api_endpoint": "192.0.2.1:6443",
                "fleet_pod_cidr": "10.240.0.0/12",  # a /24 for each of 4096 nodes
                "fleet_helm_binary": str(HELM),
                "runner_controller_github_auth": {"secret": "github-app"},
                "runner_pools_pools": [
                    {"name": "medium", "pool": "runner", "organization": "example-org", "replicas": 500}
                ],
            },
            "children": {group: {"hosts": members} for group, members in groups.items()},
        }
    }
