"""Pins and where their files lie."""

from __future__ import annotations

import re

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._pins import (
    ARCHITECTURES,
    ARTIFACTS,
    PINS,
    artifacts,
    pin,
)

COMPLETE = [(name, version) for name, artifact in ARTIFACTS.items() for version in artifact.sha256]
KUBELET = "https://dl.k8s.io/release/v{version}/bin/linux/{arch}/kubelet"
SUM = "a" * 64


@pytest.mark.parametrize(("name", "version"), COMPLETE)
def test_every_pinned_sum_is_complete(name: str, version: str) -> None:
    artifact = ARTIFACTS[name]
    sums = artifact.sha256[version]
    assert sorted(sums) == sorted(ARCHITECTURES)
    assert all(re.fullmatch("[0-9a-f]{64}", total) for total in sums.values())
    assert len(set(sums.values())) == len(ARCHITECTURES)


@pytest.mark.parametrize("name", ARTIFACTS)
def test_addresses_are_whole_and_encrypted(name: str) -> None:
    artifact = ARTIFACTS[name]
    for address in (artifact.upstream("1.2.3", "amd64"), artifact.sums("1.2.3", "amd64")):
        assert address.startswith("https://") and "{" not in address and "1.2.3" in address
    assert artifact.upstream("1.2.3", "amd64") != artifact.upstream("1.2.3", "arm64")


@pytest.mark.parametrize("name", PINS)
def test_pins_have_no_leading_v(name: str) -> None:
    assert pin(name)[0].isdigit()


def test_upstream() -> None:
    found = artifacts(["kubelet"], {}, {})[0]
    assert found["version"] == PINS["kubernetes"]
    assert found["sources"]["arm64"]["url"] == KUBELET.format(version=PINS["kubernetes"], arch="arm64")
    assert found["sources"]["arm64"]["url"] == found["sources"]["arm64"]["upstream"]


def test_mirror_and_its_checksums() -> None:
    upstream = KUBELET.format(version="1.36.3", arch="amd64")
    mirror = {"url": "http://mirror/", "checksums": {upstream: "sha256:" + SUM.upper()}}
    sources = artifacts(["kubelet"], mirror, {"kubernetes": "1.36.3"})[0]["sources"]
    url = "http://mirror/" + upstream.split("://")[1]
    assert sources["amd64"] == {"url": url, "upstream": upstream, "sha256": SUM, "sum_from": "fleet_mirror.checksums"}
    assert sources["arm64"]["sha256"] == ARTIFACTS["kubelet"].sha256["1.36.3"]["arm64"]
    assert sources["arm64"]["sum_from"] == "pinned"


@pytest.mark.parametrize("name", ARTIFACTS)
def test_another_version_needs_the_sum_that_is_published_unless_it_is_told(name: str) -> None:
    artifact = ARTIFACTS[name]
    versions = {artifact.pin: "1.99.9"}
    for arch, source in artifacts([name], {}, versions)[0]["sources"].items():
        assert source == {
            "url": source["upstream"],
            "upstream": artifact.upstream("1.99.9", arch),
            "sums": artifact.sums("1.99.9", arch),
        }
    behind = artifacts([name], {"url": "https://mirror"}, versions)[0]["sources"]["amd64"]
    assert behind["sums"] == "https://mirror/" + artifact.sums("1.99.9", "amd64").split("://")[1]
    told = artifacts([name], {"checksums": {artifact.upstream("1.99.9", "amd64"): SUM}}, versions)[0]["sources"]
    assert told["amd64"]["sha256"] == SUM
    assert "sha256" not in told["arm64"]


@pytest.mark.parametrize(
    ("names", "mirror", "versions", "reason"),
    [
        pytest.param(["kubelt"], {}, {}, "no artifact 'kubelt'", id="unknown artifact"),
        pytest.param("kubelet", {}, {}, "must be a list", id="string"),
        pytest.param(["kubelet"], {}, {"kubernets": "1.2.3"}, "versions names kubernets", id="unknown pin"),
        pytest.param(["kubelet"], {}, {"kubernetes": "v1.36.6"}, "begin with a digit", id="leading v"),
        pytest.param(["kubelet"], {"uri": "http://m"}, {}, "no key uri", id="typo in the mirror"),
    ],
)
def test_refusals(names: list[str], mirror: dict[str, str], versions: dict[str, str], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        artifacts(names, mirror, versions)


def test_unknown_pin() -> None:
    with pytest.raises(ValueError, match="no version is pinned for 'kubernets'"):
        pin("kubernets")
