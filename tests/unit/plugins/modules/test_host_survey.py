"""The survey of the machine that runs the test."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.modules import host_survey

PEM = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n"


def test_this_machine(run_module: Callable[..., dict[str, Any]]) -> None:
    result = run_module(host_survey.main, {"drives": ["/dev/disk/by-id/none", "/dev/null"]}, check=True)
    survey = result["survey"]
    assert result["changed"] is False
    assert survey["vcpus"] >= 1 and survey["memory_bytes"] > 10**8 and survey["cgroup_version"] in (1, 2)
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
def test_membership(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: dict[str, str], member: bool, authority: str) -> None:
    for name, text in content.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(host_survey, "KUBERNETES", str(tmp_path))
    assert (host_survey.member(), host_survey.cluster_ca()) == (member, authority)
