"""One report for a fleet of 200 hosts, 30 of them broken: exactly the expected findings, and nothing about the
others.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.simulated import inventory

from .report import report_on

Host = dict[str, Any]
GIB = 1024**3


def setting(key: str, value: Any) -> Callable[[Host], None]:
    """A survey that answers something else."""
    return lambda host: host["simulated_survey"]["survey"].update({key: value})


def hardware(**values: Any) -> Callable[[Host], None]:
    """A machine that is another one."""
    return lambda host: host["simulated_survey"]["survey"]["hardware"].update(values)


def variable(name: str, value: Any) -> Callable[[Host], None]:
    """A variable of the inventory."""
    return lambda host: host.update({name: value})


def drives(**values: Any) -> Callable[[Host], None]:
    """Another drive than the good one."""
    return lambda host: host["simulated_survey"]["survey"]["hardware"]["drives"][0].update(values)


# Host, what is wrong with it, and the findings that this leads to, each with the host's name in its subject or in what
# was found.
BROKEN: list[tuple[str, Callable[[Host], None], set[str]]] = [
    ("runner-3", variable("simulated_survey", {"unreachable": True, "msg": "No route to host"}), {"host_unreachable"}),
    ("runner-4", variable("simulated_survey", {"msg": "no Python", "failed": True}), {"host_survey_failed"}),
    ("runner-5", hardware(vcpus=1), {"vcpus_below_minimum"}),
    ("runner-6", hardware(vcpus=3), {"vcpus_below_recommended"}),
    ("runner-7", hardware(memory_bytes=7 * 10**9), {"memory_below_minimum"}),
    ("runner-8", hardware(memory_bytes=8 * 10**9), {"memory_below_recommended"}),
    ("runner-9", drives(size_bytes=10**11 - 1), {"nvme_below_minimum"}),
    ("runner-10", drives(size_bytes=10**11), {"nvme_below_recommended"}),
    ("runner-11", drives(boot=True), {"nvme_missing", "storage_refused"}),
    ("runner-12", drives(in_use="mounted: /srv"), {"nvme_missing", "storage_refused"}),
    ("runner-13", drives(transport="sata"), {"drive_not_nvme"}),
    ("runner-14", setting("drives", []), {"drive_unusable"}),
    ("runner-15", variable("nvme_storage_drives", []), {"drives_not_named"}),
    ("runner-16", setting("cgroup_version", 1), {"cgroup_v1"}),
    ("runner-17", setting("arch", "riscv64"), {"arch_unsupported"}),
    ("runner-18", setting("os", "gentoo"), {"os_unsupported"}),
    ("runner-19", setting("kernel", "4.19.0"), {"kernel_too_old"}),
    ("runner-20", setting("kernel_modules_missing", ["br_netfilter"]), {"kernel_module_missing"}),
    ("runner-21", setting("packet_filters", []), {"packet_filter_missing"}),
    ("runner-22", setting("swap_bytes", GIB), {"swap_on"}),
    ("runner-23", setting("listening", [22, 10250]), {"port_in_use"}),
    ("runner-24", setting("epoch", 1790000900.0), {"clock_skew"}),
    ("runner-25", setting("machine_id", f"{1:032x}"), {"machine_id_duplicate"}),
    ("runner-26", setting("product_uuid", f"00000000-0000-0000-0000-{1:012x}"), {"product_uuid_duplicate"}),
    ("runner-27", setting("hostname", "support-1"), {"hostname_duplicate"}),
    ("runner-28", setting("networks", [{"cidr": "10.244.7.0/24", "interface": "eth1"}]), {"network_overlap"}),
    ("runner-29", setting("cluster_ca", "f" * 64), {"member_of_other_cluster"}),
    (
        "runner-30",
        setting("inhibit_delays", {"/etc/systemd/logind.conf.d/zzz.conf": "30"}),
        {"shutdown_inhibitor_short"},
    ),
    ("cp-1", setting("etcd_data", True), {"etcd_leftover"}),
    ("support-2", setting("cni_files", ["10-calico.conflist"]), {"cni_leftover"}),
]


@pytest.mark.parametrize("hosts", [200, 1000])
def test_hosts_with_nothing_wrong(tmp_path: Path, hosts: int) -> None:
    """What `make bench` times: no error, or the report would end before it is written."""
    done, told = report_on(inventory(hosts), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {item["code"] for item in told} == {"images_by_tag"}


def test_200_hosts_of_which_30_are_broken(tmp_path: Path) -> None:
    fleet = inventory(200)
    hosts: dict[str, Host] = {
        name: host for group in fleet["all"]["children"].values() for name, host in group["hosts"].items()
    }
    assert len(hosts) == 200 and len(BROKEN) == 30
    for name, spoil, _codes in BROKEN:
        spoil(hosts[name])
    fleet["all"]["vars"] |= {"fleet_kubeconfig": str(tmp_path / "none"), "runner_pools_pools": []}
    done, told = report_on(fleet, tmp_path)
    assert done.returncode != 0 and "Preflight looked at 200 hosts: " in done.stdout, done.stdout + done.stderr
    found = {(name, item["code"]) for item in told for name in hosts if name in names(item)}
    assert found == {(name, code) for name, _spoil, codes in BROKEN for code in codes} | {
        # The other one of each pair.
        ("support-1", "machine_id_duplicate"),
        ("support-1", "product_uuid_duplicate"),
        ("support-1", "hostname_duplicate"),
    }
    assert [item["severity"] for item in told] == sorted(
        (item["severity"] for item in told), key=["error", "warning", "info"].index
    )


def names(finding: dict[str, str]) -> set[str]:
    """The words of a finding's subject and of what was found: hosts are named in either."""
    return set(f"{finding['subject']} {finding['found']}".replace(",", " ").replace("(", " ").replace(")", " ").split())
