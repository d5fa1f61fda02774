"""Pins and where their files lie."""

from __future__ import annotations

import re

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._pins import ARCHITECTURES, ARTIFACTS, PINS, artifacts, pin

KUBELET = "https://dl.k8s.io/release/v{version}/bin/linux/{arch}/kubelet"
SUM = "a" * 64


@pytest.mark.parametrize("name", ARTIFACTS)
def test_every_artifact_is_complete(name: str) -> None:
    artifact = ARTIFACTS[name]
    sums = artifact.sha256[PINS[artifact.pin]]
    assert sorted(sums) == sorted(ARCHITECTURES)
    assert all(re.fullmatch("[0-9a-f]{64}", total) for total in sums.values())
    assert len(set(sums.values())) == len(ARCHITECTURES)
    assert "{" not in artifact.upstream("1", "amd64")


@pytest.mark.parametrize("name", PINS)
def test_pins_have_no_leading_v(name: str) -> None:
    assert pin(name)[0].isdigit()


def test_upstream() -> None:
    found = artifacts(["kubelet"], {}, {})[0]
    assert found["version"] == PINS["kubernetes"]
    assert found["sources"]["arm64"]["url"] == KUBELET.format(version=PINS["kubernetes"], arch="arm64")
    assert found["sources"]["arm64"]["url"] == found["sources"]["arm64"]["upstream"]


def test_mirror_and_its_checksums() -> None:
    upstream = KUBELET.format(version=PINS["kubernetes"], arch="amd64")
    mirror = {"url": "http://mirror/", "checksums": {upstream: "sha256:" + SUM.upper()}}
    sources = artifacts(["kubelet"], mirror, {})[0]["sources"]
    assert sources["amd64"] == {"url": "http://mirror/" + upstream.split("://")[1], "upstream": upstream, "sha256": SUM}
    assert sources["arm64"]["sha256"] == ARTIFACTS["kubelet"].sha256[PINS["kubernetes"]]["arm64"]


def test_another_version_needs_a_checksum_and_takes_one() -> None:
    upstream = KUBELET.format(version="1.35.9", arch="amd64")
    with pytest.raises(ValueError, match=r"kubelet 1\.35\.9: no sha256 is known.*fleet_mirror\.checksums") as refused:
        artifacts(["kubelet"], {}, {"kubernetes": "1.35.9"})
    assert upstream in str(refused.value)
    found = artifacts(["kubelet"], {"checksums": {upstream: SUM}}, {"kubernetes": "1.35.9"})[0]
    assert list(found["sources"]) == ["amd64"]


@pytest.mark.parametrize(
    ("names", "mirror", "versions", "reason"),
    [
        pytest.param(["kubelt"], {}, {}, "no artifact 'kubelt'", id="unknown artifact"),
        pytest.param("kubelet", {}, {}, "must be a list", id="string"),
        pytest.param(["kubelet"], {}, {"kubernets": "1.2.3"}, "versions names kubernets", id="unknown pin"),
        pytest.param(["kubelet"], {}, {"kubernetes": "v1.36.3"}, "begin with a digit", id="leading v"),
        pytest.param(["kubelet"], {"uri": "http://m"}, {}, "no key uri", id="typo in the mirror"),
    ],
)
def test_refusals(names: list[str], mirror: dict[str, str], versions: dict[str, str], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        artifacts(names, mirror, versions)


def test_unknown_pin() -> None:
    with pytest.raises(ValueError, match="no version is pinned for 'kubernets'"):
        pin("kubernets")
