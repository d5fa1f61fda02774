"""The survey of the machine that runs the test."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight import probe_host
from ansible_collections.runnerfleet.baremetal.plugins.modules import host_survey

PEM = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="some of what the kernel says is for root alone")
def test_this_machine(run_module: Callable[..., dict[str, Any]]) -> None:
    wanted = {"drives": ["/dev/disk/by-id/none", "/dev/null"], "kernel_modules": ["overlay", "no_such_module"]}
    result = run_module(host_survey.main, wanted, check=True)
    survey = result["survey"]
    assert result["changed"] is False
    assert (
        survey["hardware"]["vcpus"] >= 1
        and survey["hardware"]["memory_bytes"] > 10**8
        and survey["cgroup_version"] in (1, 2)
    )
    assert "no_such_module" in survey["kernel_modules_missing"] and "overlay" not in survey["kernel_modules_missing"]
    assert set(survey["packet_filters"]) <= {"nf_tables", "ip_tables"} and survey["packet_filters"]
    assert all(set(network) == {"cidr", "interface"} for network in survey["networks"])
    assert [drive["device"] for drive in survey["drives"]] == ["", ""]
    assert "is not a block device of this host" in survey["drives"][0]["problem"]


@pytest.mark.parametrize(
    ("content", "member", "authority"),
    [
        ({}, False, ""),
        ({"kubelet.conf": "x"}, True, ""),
        ({"pki/ca.crt": PEM}, True, hashlib.sha256(b"hello").hexdigest()),
        ({"pki/ca.crt": "nonsense"}, True, "not-a-certificate"),
    ],
    ids=["fresh", "joined", "with a CA", "with a broken CA"],
)
def test_membership(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: dict[str, str], member: bool, authority: str
) -> None:
    for name, text in content.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(probe_host, "KUBERNETES", str(tmp_path))
    assert (probe_host.member(), probe_host.cluster_ca()) == (member, authority)


def test_what_every_file_of_logind_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {
        "usr/logind.conf.d/distribution.conf": "[Login]\nInhibitDelayMaxSec=30\n",
        "etc/logind.conf": "[Login]\n#InhibitDelayMaxSec=5\n",
        "etc/logind.conf.d/zz-runnerfleet.conf": "[Login]\nInhibitDelayMaxSec=810\n",
        "etc/logind.conf.d/other.conf": "[Login]\nKillUserProcesses=no\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(probe_host, "LOGIND", tuple(str(tmp_path / folder) for folder in ("usr", "run", "etc")))
    assert probe_host.inhibit_delays() == {
        str(tmp_path / "usr/logind.conf.d/distribution.conf"): "30",
        str(tmp_path / "etc/logind.conf.d/zz-runnerfleet.conf"): "810",
    }


def test_options_equal_those_of_the_documentation(run_module: Callable[..., dict[str, Any]]) -> None:
    assert run_module(host_survey.main, {"drive": []})["failed"]
