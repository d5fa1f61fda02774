"""What a survey leads to: one host by itself, and all of them compared."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._kubeconfig import KubeconfigCluster
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight import host_rules
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.host_rules import SurveyedHost

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
    "packet_filters": ["nf_tables"],
}


def host(
    name: str = "runner-1", kind: str = "runner", named: tuple[str, ...] = ("/dev/disk/by-id/a",), **survey: Any
) -> SurveyedHost:
    return SurveyedHost(name, kind, {"survey": {**GOOD, **survey}}, named, grace_seconds=780)


def codes(findings: Any) -> list[str]:
    return [finding.code for finding in findings]


def test_a_good_host_has_no_findings() -> None:
    assert host_rules.host_findings(host()) == []


@pytest.mark.parametrize(
    ("survey", "code"),
    [
        ({"arch": "riscv64"}, "arch_unsupported"),
        ({"cgroup_version": 1}, "cgroup_v1"),
        ({"listening": [22, 10250]}, "port_in_use"),
        ({"kernel_modules_missing": ["overlay"]}, "kernel_module_missing"),
        ({"packet_filters": []}, "packet_filter_missing"),
        ({"swap_bytes": 2**30}, "swap_on"),
        ({"cni_files": ["10-calico.conflist"]}, "cni_leftover"),
        ({"inhibit_delays": {"/etc/systemd/logind.conf.d/zzz.conf": "30"}}, "shutdown_inhibitor_short"),
        ({"inhibit_delays": {"/etc/systemd/logind.conf.d/zzz.conf": "soon"}}, "shutdown_inhibitor_short"),
        ({"drives": []}, "drive_unusable"),
        ({"drives": [{"name": "/dev/disk/by-id/a", "device": "", "problem": "a partition"}]}, "drive_unusable"),
    ],
)
def test_one_fault_one_finding(survey: dict[str, Any], code: str) -> None:
    assert codes(host_rules.host_findings(host(**survey))) == [code]


@pytest.mark.parametrize(
    "survey",
    [
        {"listening": [10250], "member": True},
        {"listening": [6443]},
        {"cni_files": ["10-flannel.conflist"], "member": True},
        {"etcd_data": True},
        {"packet_filters": ["ip_tables"]},
        {"inhibit_delays": {"/usr/lib/systemd/logind.conf.d/unattended-upgrades.conf": "30"}},
    ],
    ids=[
        "the kubelet's own port",
        "a port that this kind does not need",
        "its own pod network",
        "etcd is no matter here",
        "legacy iptables",
        "sorted before ours",
    ],
)
def test_what_is_accepted(survey: dict[str, Any]) -> None:
    assert host_rules.host_findings(host(**survey)) == []


def test_two_names_of_one_drive() -> None:
    told = [{"name": name, "device": "/dev/nvme0n1", "problem": ""} for name in ("a", "b")]
    (finding,) = host_rules.host_findings(
        SurveyedHost("runner-1", "runner", {"survey": {**GOOD, "drives": told}}, ("a", "b"))
    )
    assert (finding.code, finding.found) == ("drive_named_twice", "a and b are both /dev/nvme0n1")


def test_a_runner_without_drives_and_a_support_node_without() -> None:
    assert codes(host_rules.host_findings(host(named=()))) == ["drives_not_named"]
    assert host_rules.host_findings(host(kind="support", named=())) == []


@pytest.mark.parametrize(
    ("result", "code", "found"),
    [
        ({"unreachable": True, "msg": "refused\nmore"}, "host_unreachable", "refused"),
        (
            {"msg": "no json", "module_stderr": "python3: not found\n"},
            "host_survey_failed",
            "no json: python3: not found",
        ),
        ({}, "host_survey_failed", "no answer"),
    ],
)
def test_a_silent_host(result: dict[str, Any], code: str, found: str) -> None:
    (finding,) = host_rules.host_findings(SurveyedHost("h", "support", result))
    assert (finding.code, finding.found) == (code, found)


def test_twins_are_told_once_with_their_names() -> None:
    hosts = [host("a"), host("b", hostname="other"), host("c", hostname="third", machine_id="m3")]
    assert [(finding.code, finding.subject) for finding in host_rules.fleet_findings(hosts)] == [
        ("machine_id_duplicate", "a, b")
    ]


PEM = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"


def known(authority: str) -> KubeconfigCluster | None:
    """The kubeconfig of a cluster whose CA is that; none for an empty one."""
    return (
        KubeconfigCluster("https://192.0.2.11:6443", PEM.format(base64.b64encode(authority.encode()).decode()))
        if authority
        else None
    )


def digest(authority: str) -> str:
    return hashlib.sha256(authority.encode()).hexdigest() if authority else ""


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
    hosts = [
        host(name, "control_plane" if name.startswith("cp") else "runner", cluster_ca=digest(value))
        for name, value in authorities.items()
    ]
    findings = host_rules.cluster_findings(hosts, "/kubeconfig", known(fingerprint))
    assert codes(findings) == expected
    assert all(
        "/kubeconfig" in finding.subject + finding.hint or "kubeadm reset" in finding.hint for finding in findings
    )


def test_a_kubeconfig_without_a_ca_is_one_all_the_same() -> None:
    """It names somebody's cluster, and there is none of this fleet yet."""
    findings = host_rules.cluster_findings(
        [host("cp-1", "control_plane", cluster_ca="")], "/kubeconfig", KubeconfigCluster("https://192.0.2.9")
    )
    assert codes(findings) == ["kubeconfig_without_cluster"]


@pytest.mark.parametrize(
    ("path", "cluster", "control_plane", "expected"),
    [
        ("", None, True, []),
        ("/k", KubeconfigCluster(), False, []),
        ("", None, False, ["kubeconfig_missing"]),
        ("/k", None, False, ["kubeconfig_missing"]),
    ],
)
def test_access(path: str, cluster: KubeconfigCluster | None, control_plane: bool, expected: list[str]) -> None:
    assert codes(host_rules.access_findings(path, cluster, control_plane)) == expected


def test_a_control_plane_that_does_not_answer_proves_nothing() -> None:
    assert (
        host_rules.cluster_findings(
            [SurveyedHost("cp-1", "control_plane", {"unreachable": True})], "/kubeconfig", known("A")
        )
        == []
    )


def test_drives_that_a_rule_chooses_need_no_names() -> None:
    assert (
        host_rules.host_findings(SurveyedHost("h", "runner", {"survey": {**GOOD, "drives": []}}, drive_rule=True)) == []
    )


def test_what_etcd_left() -> None:
    assert codes(host_rules.host_findings(host("cp-1", "control_plane", etcd_data=True))) == ["etcd_leftover"]
    assert host_rules.host_findings(host("cp-1", "control_plane", etcd_data=True, member=True)) == []


@pytest.mark.parametrize("name", ["Runner-1", "runner_1", "-runner", "runner-", "r" * 64, "a..b", ""])
def test_names_that_no_node_can_have(name: str) -> None:
    assert codes(host_rules.host_findings(host(name))) == ["hostname_invalid"]


@pytest.mark.parametrize("name", ["runner-1", "runner-1.example.org", "192.0.2.31", "r" * 63])
def test_names_that_a_node_can_have(name: str) -> None:
    assert host_rules.host_findings(host(name)) == []


@pytest.mark.parametrize(
    ("clocks", "expected"),
    [
        ({}, []),
        ({"cp-1": (1000, 999, 1001), "runner-1": (1029, 999, 1001)}, []),
        ({"cp-1": (1000, 1000, 1000), "runner-1": (1030, 1000, 1000)}, []),
        ({"cp-1": (1000, 1000, 1000), "runner-1": (1031, 1000, 1000)}, ["runner-1"]),
        ({"cp-1": (1000, 1000, 1000), "runner-1": (900, 1000, 1000)}, ["runner-1"]),
        ({"cp-1": (1100, 1000, 1000), "runner-1": (1100, 1000, 1000), "runner-2": (1000, 1000, 1000)}, ["runner-2"]),
        (
            {"runner-1": (1000, 1000, 1000), "runner-2": (1000, 1000, 1000), "runner-3": (1100, 1000, 1000)},
            ["runner-3"],
        ),
        ({"cp-1": (1000, 1000, 1000), "runner-1": (1060, 1000, 1040)}, []),
    ],
    ids=[
        "nobody",
        "close",
        "exactly at the tolerance",
        "ahead",
        "behind",
        "the controller's clock is no matter",
        "no control plane in the play",
        "a slow answer proves nothing",
    ],
)
def test_clocks(clocks: dict[str, tuple[float, float, float]], expected: list[str]) -> None:
    hosts = [
        host(name, "control_plane" if name.startswith("cp") else "runner", epoch=epoch, asked=[asked, answered])
        for name, (epoch, asked, answered) in clocks.items()
    ]
    findings = host_rules.clock_findings(hosts, 30)
    assert [finding.subject for finding in findings] == expected
    assert set(codes(findings)) <= {"clock_skew"}


def test_machines_with_one_product_uuid() -> None:
    hosts = [
        host("a", hostname="a", machine_id="a", product_uuid="u"),
        host("b", hostname="b", machine_id="b", product_uuid="u"),
    ]
    assert codes(host_rules.fleet_findings(hosts)) == ["product_uuid_duplicate"]
