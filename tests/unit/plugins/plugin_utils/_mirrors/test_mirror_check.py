"""The mirror's checks that need no server, and the memory of what was verified."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._pins import ARTIFACTS, PINS
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._mirrors import mirror_check as _mirror_check

MIRROR = {"url": "http://192.0.2.9"}


def test_files_of_the_architectures_that_hosts_have() -> None:
    files = _mirror_check.needed(MIRROR, ["runc"], {}, ["amd64"])
    assert list(files.values()) == [ARTIFACTS["runc"].sha256[PINS["runc"]]["amd64"]]
    assert all(url.startswith("http://192.0.2.9/github.com/opencontainers/runc/") for url in files)
    assert len(_mirror_check.needed(MIRROR, ["runc"], {}, ["amd64", "arm64"])) == 2


def test_a_published_sum_is_not_taken_without_tls() -> None:
    (finding,) = [item for item in _mirror_check._files(MIRROR, ["runc"], {"runc": "9.9.9"}, {"amd64"}, True) if item]
    assert (
        finding.code == "mirror_checksum_unknown"
        and "9.9.9/runc.sha256sum" in finding.found
        and "not https" in finding.found
    )
    assert finding.hint.startswith("Set the sum of runc.amd64 in fleet_mirror.checksums")


@pytest.mark.parametrize(
    ("content", "sums", "code"),
    [
        pytest.param(b"runc", "{}  runc.amd64\n", "", id="right"),
        pytest.param(b"other", "{}  runc.amd64\n", "mirror_checksum_wrong", id="another file"),
        pytest.param(b"runc", "{}  runc.arm64\n", "mirror_checksum_unknown", id="of another machine"),
        pytest.param(b"runc", None, "mirror_checksum_unknown", id="not mirrored"),
    ],
)
def test_a_published_sum_behind_the_mirror(
    https: Any, content: bytes, sums: str | None, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(https.directory))
    directory = https.directory / "github.com/opencontainers/runc/releases/download/v9.9.9"
    directory.mkdir(parents=True)
    (directory / "runc.amd64").write_bytes(content)
    if sums:
        (directory / "runc.sha256sum").write_text(sums.format(hashlib.sha256(b"runc").hexdigest()))
    told = _mirror_check.mirror_findings({"url": https.url}, ["runc"], {"runc": "9.9.9"}, ["amd64"], True)
    assert [finding.code for finding in told] == ([code] if code else [])


def test_other_files_that_the_mirror_names() -> None:
    sums = {"https://example.org/chart.tgz": "sha256:AB", "https://example.org/tool-arm64": "cd"}
    assert _mirror_check.others({**MIRROR, "checksums": sums}, {}, ["amd64"]) == {
        "http://192.0.2.9/example.org/chart.tgz": "ab"
    }


def test_the_memory_survives_and_a_broken_one_costs_only_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = _mirror_check.memory_path()
    assert path and _mirror_check.load(path) == {}
    _mirror_check.save(path, {"a": "b"})
    assert _mirror_check.load(path) == {"a": "b"}
    path.write_text("{")
    assert _mirror_check.load(path) == {}
    _mirror_check.save(Path("/proc/nowhere/x"), {})


def test_a_user_without_a_home_has_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    assert _mirror_check.memory_path() is None and _mirror_check.load(None) == {}


@pytest.mark.parametrize(
    ("mirrors", "subjects"),
    [
        ({"fleet_mirror": {}, "pod_network_mirror": None}, []),
        ({"fleet_mirror": {"url": "https://m", "registry": "m", "registry_plain_http": False}}, []),
        ({"fleet_mirror": {"registry_plain_http": True}}, []),
        ({"fleet_mirror": {"url": "http://m"}}, ["fleet_mirror.url http://m"]),
        (
            {
                "fleet_mirror": {"url": "http://m/", "registry": "m:5000", "registry_plain_http": True},
                "pod_network_mirror": {"url": "http://m"},
            },
            ["fleet_mirror.url http://m/", "fleet_mirror.registry m:5000"],
        ),
        (
            {"fleet_mirror": {"url": "https://m"}, "cert_manager_mirror": {"url": "http://m"}},
            ["cert_manager_mirror.url http://m"],
        ),
    ],
)
def test_mirrors_without_tls(mirrors: dict[str, Any], subjects: list[str]) -> None:
    told = _mirror_check.plain_http(mirrors)
    assert [finding.subject for finding in told] == subjects
    assert {finding.code for finding in told} <= {"mirror_plain_http"} and all(
        finding.severity == "warning" for finding in told
    )
