"""What a host needs of the release files."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host.plan_artifacts import (
    Wanted,
    difference,
    select,
    wanted,
)

WANT = Wanted(
    "cni", "1.0", "http://m/cni.tgz", "https://u/cni.tgz", "aa", "pinned", "/opt/cni/bin", 0o755, True, ("*",)
)
RECORD = {"version": "1.0", "sha256": "aa", "members": ["*"], "mode": 0o755, "files": {"/opt/cni/bin/bridge": {}}}


def artifact(**sources: str) -> dict[str, Any]:
    """One artifact as the filter gives it."""
    return {
        "name": "cni",
        "version": "1.0",
        "sources": {arch: {"url": "http://m", "upstream": "u", "sha256": s} for arch, s in sources.items()},
    }


@pytest.mark.parametrize(("machine", "expected"), [("x86_64", "aa"), ("aarch64", "bb"), ("arm64", "bb")])
def test_each_host_picks_its_own(machine: str, expected: str) -> None:
    (want,) = wanted([artifact(amd64="aa", arm64="bb")], {"cni": {"path": "/opt/cni/bin/"}}, machine)
    assert want.sha256 == expected
    assert (want.path, want.mode, want.unpack, want.members, want.directory) == (
        "/opt/cni/bin",
        0o755,
        False,
        ("*",),
        "/opt/cni",
    )


@pytest.mark.parametrize(
    ("machine", "destinations", "reason"),
    [
        pytest.param("riscv64", {"cni": {"path": "/a"}}, "a riscv64 machine", id="unknown machine"),
        pytest.param(
            "aarch64", {"cni": {"path": "/a"}}, "there is no release file for arm64, only for amd64", id="other machine"
        ),
        pytest.param("x86_64", {"cnii": {"path": "/a"}}, "must name the same things", id="typo"),
        pytest.param("x86_64", {"cni": {"path": "a"}}, "must be absolute", id="relative"),
    ],
)
def test_refusals(machine: str, destinations: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        wanted([artifact(amd64="aa")], destinations, machine)


@pytest.mark.parametrize(
    ("record", "found", "reason"),
    [
        pytest.param(None, "", "not installed", id="fresh"),
        pytest.param(RECORD, "", "", id="as wanted"),
        pytest.param({**RECORD, "sha256": "bb", "version": "0.9"}, "", "version 0.9 is installed", id="older"),
        pytest.param({**RECORD, "mode": 0o700}, "", "other files or modes are wanted", id="mode"),
        pytest.param({**RECORD, "members": ["bridge"]}, "", "other files or modes are wanted", id="members"),
        pytest.param(RECORD, "is missing", "/opt/cni/bin/bridge is missing", id="removed"),
    ],
)
def test_difference(record: dict[str, Any] | None, found: str, reason: str) -> None:
    assert difference(WANT, record, lambda _path, _recorded: found) == reason


def test_select_programs_by_base_name() -> None:
    members = [("./", False), ("./bridge", True), ("sub/loopback", True), ("LICENSE", False), ("../../etc/evil", True)]
    assert select(members, WANT) == {
        "./bridge": "/opt/cni/bin/bridge",
        "sub/loopback": "/opt/cni/bin/loopback",
        "../../etc/evil": "/opt/cni/bin/evil",
    }
    assert select(members, replace(WANT, members=("bridge",))) == {"./bridge": "/opt/cni/bin/bridge"}


def test_select_refuses_an_archive_without_what_is_wanted() -> None:
    with pytest.raises(ValueError, match="holds no program that matches bin/ctr"):
        select([("bridge", True)], replace(WANT, members=("bridge", "bin/ctr")))
