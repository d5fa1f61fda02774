"""Parsers of kernel text, and what a survey leads to."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils import _survey
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._survey import Host

GOOD = {
    "addresses": ["192.0.2.31"],
    "arch": "x86_64",
    "cgroup_version": 2,
    "cluster_ca": "",
    "drives": [{"name": "/dev/disk/by-id/a", "device": "/dev/nvme0n1", "problem": ""}],
    "hostname": "runner-1",
    "listening": [22],
    "machine_id": "m1",
    "member": False,
    "memory_bytes": 8 * 10**9,
    "os": "debian",
    "os_version": "13",
    "vcpus": 2,
}
MINIMUM = {"runner": {"vcpus": 2, "memory_mb": 8000}, "support": {"vcpus": 1, "memory_mb": 2000}}


def host(name: str = "runner-1", kind: str = "runner", named: tuple[str, ...] = ("/dev/disk/by-id/a",), **survey: Any) -> Host:
    return Host(name, kind, {"survey": {**GOOD, **survey}}, named)


def codes(findings: Any) -> list[str]:
    return [finding.code for finding in findings]


@pytest.mark.parametrize(
    ("text", "cpus"), [("0-3", {0, 1, 2, 3}), ("0,2-3\n", {0, 2, 3}), ("0", {0}), ("", set()), ("0-511", set(range(512)))]
)
def test_cpu_list(text: str, cpus: set[int]) -> None:
    assert _survey.parse_cpu_list(text) == cpus


def test_meminfo_is_in_bytes() -> None:
    text = "MemTotal:        7890123 kB\nHugePages_Total:       4\nnonsense\n"
    assert _survey.parse_meminfo(text) == {"MemTotal": 7890123 * 1024, "HugePages_Total": 4}


def test_os_release() -> None:
    assert _survey.parse_key_values('# x\nID=debian\nVERSION_ID="13"\n') == {"ID": "debian", "VERSION_ID": "13"}


def test_only_listening_sockets_count() -> None:
    text = (
        "  sl  local_address rem_address   st\n"
        "   0: 00000000:192B 00000000:0000 0A 0\n"
        "   1: 0100007F:280A 0100007F:9999 01 0\n"
        "   2: 00000000000000000000000000000000:0016 0:0 0A 0\n"
    )
    assert _survey.parse_listening(text) == {6443, 22}


def test_a_good_host_has_no_findings() -> None:
    assert _survey.host_findings(host(), MINIMUM) == []


@pytest.mark.parametrize(
    ("survey", "code"),
    [
        ({"vcpus": 1}, "vcpus_below_minimum"),
        ({"memory_bytes": 7359999999}, "memory_below_minimum"),
        ({"arch": "riscv64"}, "arch_unsupported"),
        ({"os": "gentoo"}, "os_untested"),
        ({"cgroup_version": 1}, "cgroup_v1"),
        ({"listening": [22, 10250]}, "port_in_use"),
        ({"drives": []}, "drive_unusable"),
        ({"drives": [{"name": "/dev/disk/by-id/a", "device": "", "problem": "a partition"}]}, "drive_unusable"),
    ],
)
def test_one_fault_one_finding(survey: dict[str, Any], code: str) -> None:
    assert codes(_survey.host_findings(host(**survey), MINIMUM)) == [code]


@pytest.mark.parametrize(
    "survey",
    [{"memory_bytes": 7360000000}, {"memory_bytes": int(7.4 * 2**30)}, {"listening": [10250], "member": True}, {"listening": [6443]}],
    ids=["at the floor", "sold as 8 GB", "the kubelet's own port", "a port that this kind does not need"],
)
def test_what_is_accepted(survey: dict[str, Any]) -> None:
    assert _survey.host_findings(host(**survey), MINIMUM) == []


def test_cgroup_v1_is_accepted_with_its_driver() -> None:
    assert _survey.host_findings(Host("h", "support", {"survey": {**GOOD, "cgroup_version": 1}}, (), "cgroupfs"), MINIMUM) == []


def test_two_names_of_one_drive() -> None:
    told = [{"name": name, "device": "/dev/nvme0n1", "problem": ""} for name in ("a", "b")]
    (finding,) = _survey.host_findings(Host("runner-1", "runner", {"survey": {**GOOD, "drives": told}}, ("a", "b")), MINIMUM)
    assert (finding.code, finding.found) == ("drive_named_twice", "a and b are both /dev/nvme0n1")


def test_a_runner_without_drives_and_a_support_node_without() -> None:
    assert codes(_survey.host_findings(host(named=()), MINIMUM)) == ["drives_not_named"]
    assert _survey.host_findings(host(kind="support", named=()), MINIMUM) == []


@pytest.mark.parametrize(
    ("result", "code", "found"),
    [
        ({"unreachable": True, "msg": "refused\nmore"}, "host_unreachable", "refused"),
        ({"msg": "no json", "module_stderr": "python3: not found\n"}, "host_survey_failed", "no json: python3: not found"),
        ({}, "host_survey_failed", "no answer"),
    ],
)
def test_a_silent_host(result: dict[str, Any], code: str, found: str) -> None:
    (finding,) = _survey.host_findings(Host("h", "support", result), MINIMUM)
    assert (finding.code, finding.found) == (code, found)


def test_twins_are_told_once_with_their_names() -> None:
    hosts = [host("a"), host("b", hostname="other"), host("c", hostname="third", machine_id="m3")]
    assert [(finding.code, finding.subject) for finding in _survey.fleet_findings(hosts)] == [("machine_id_duplicate", "a, b")]


@pytest.mark.parametrize(
    ("authorities", "fingerprint", "expected"),
    [
        ({"cp-1": "", "runner-1": ""}, "", []),
        ({"cp-1": "A", "runner-1": "A"}, "A", []),
        ({"cp-1": "A", "runner-1": ""}, "A", []),
        ({"cp-1": "A", "runner-1": ""}, "", []),
        ({"runner-1": "A"}, "", []),
        ({"runner-1": ""}, "A", []),
        ({"cp-1": "", "runner-1": ""}, "A", ["kubeconfig_without_cluster"]),
        ({"cp-1": "A", "runner-1": "A"}, "B", ["kubeconfig_other_cluster"]),
        ({"cp-1": "A", "runner-1": "B"}, "A", ["member_of_other_cluster"]),
        ({"cp-1": "", "runner-1": "B"}, "", ["member_of_other_cluster"]),
        ({"cp-1": "A", "cp-2": "B"}, "A", ["member_of_other_cluster"]),
        ({"runner-1": "B"}, "A", ["member_of_other_cluster"]),
    ],
)
def test_clusters(authorities: dict[str, str], fingerprint: str, expected: list[str]) -> None:
    hosts = [host(name, "control_plane" if name.startswith("cp") else "runner", cluster_ca=value) for name, value in authorities.items()]
    findings = _survey.cluster_findings(hosts, "/kubeconfig", fingerprint)
    assert codes(findings) == expected
    assert all("/kubeconfig" in finding.subject + finding.hint or "kubeadm reset" in finding.hint for finding in findings)


def test_a_control_plane_that_does_not_answer_proves_nothing() -> None:
    assert _survey.cluster_findings([Host("cp-1", "control_plane", {"unreachable": True})], "/kubeconfig", "A") == []


def test_a_host_address_inside_a_network() -> None:
    hosts = [host(addresses=["10.244.3.4", "2001:db8::7"])]
    (finding,) = _survey.address_findings(hosts, {"fleet_pod_cidr": "10.244.0.0/16", "fleet_service_cidr": "10.96.0.0/12"})
    assert (finding.code, finding.subject) == ("network_overlap", "fleet_pod_cidr 10.244.0.0/16")
    assert "10.244.3.4 of runner-1" in finding.found
