"""The one rule of fleet_mirror."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._mirror import (
    check_mirror,
    mirrored,
    registry_hosts,
)

MIRROR = {"url": "http://mirror.example/files/", "registry": "mirror.example:5000/fleet"}


@pytest.mark.parametrize(
    ("reference", "mirror", "expected"),
    [
        pytest.param("https://dl.k8s.io/a/b", MIRROR, "http://mirror.example/files/dl.k8s.io/a/b", id="file"),
        pytest.param("https://dl.k8s.io/a/b", {}, "https://dl.k8s.io/a/b", id="file, no mirror"),
        pytest.param("https://dl.k8s.io/a", {"registry": "m:1"}, "https://dl.k8s.io/a", id="file, images only"),
        pytest.param("oci://quay.io/j/c", MIRROR, "oci://mirror.example:5000/fleet/quay.io/j/c", id="chart"),
        pytest.param("oci://quay.io/j/c", {}, "oci://quay.io/j/c", id="chart, no mirror"),
        pytest.param(
            "registry.k8s.io/pause:3", MIRROR, "mirror.example:5000/fleet/registry.k8s.io/pause:3", id="image"
        ),
        pytest.param("registry.k8s.io/pause:3", {"url": "http://m"}, "registry.k8s.io/pause:3", id="image, files only"),
        pytest.param("nginx:1", {"registry": "m:1"}, "m:1/docker.io/library/nginx:1", id="short image"),
        pytest.param("a/b@sha256:1", {"registry": "m:1"}, "m:1/docker.io/a/b@sha256:1", id="image of a user"),
        pytest.param("localhost/b", {"registry": "m:1"}, "m:1/localhost/b", id="localhost"),
    ],
)
def test_mirrored(reference: str, mirror: dict[str, Any], expected: str) -> None:
    assert mirrored(reference, mirror) == expected


@pytest.mark.parametrize(
    ("mirror", "reason"),
    [
        pytest.param("http://m", "must be a dictionary", id="string"),
        pytest.param({"registri": "m"}, "no key registri", id="typo"),
        pytest.param({"url": "mirror.example"}, "must begin with http", id="no scheme"),
        pytest.param({"registry": "http://m:5000"}, "without a scheme", id="scheme"),
    ],
)
def test_check_mirror_refuses(mirror: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_mirror(mirror)


def test_unknown_scheme() -> None:
    with pytest.raises(ValueError, match="cannot mirror 'ftp://a'"):
        mirrored("ftp://a", {})


@pytest.mark.parametrize(
    ("mirror", "server"),
    [
        pytest.param({"registry": "m:5000", "registry_plain_http": True}, "http://m:5000/v2/docker.io", id="http"),
        pytest.param({"registry": "m"}, "https://m/v2/docker.io", id="https"),
        pytest.param({"registry": "m/a/b/"}, "https://m/v2/a/b/docker.io", id="path"),
    ],
)
def test_registry_hosts(mirror: dict[str, Any], server: str) -> None:
    (file,) = registry_hosts(["docker.io"], mirror)
    assert file["path"] == "/etc/containerd/certs.d/docker.io/hosts.toml"
    assert f'server = "{server}"\n' in file["content"]
    assert "override_path = true" in file["content"]


def test_no_registry_no_file() -> None:
    assert registry_hosts(["docker.io"], {"url": "http://m"}) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [("url", "http://ci:S3cr3t@mirror/raw"), ("url", "https://S3cr3t@mirror"), ("registry", "ci:S3cr3t@mirror:5000")],
)
def test_a_credential_in_the_mirror_s_address_is_refused_and_not_told(key: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"fleet_mirror.{key} carries") as caught:
        mirrored("https://dl.k8s.io/kubelet", {key: value})
    assert "S3cr3t" not in str(caught.value)
