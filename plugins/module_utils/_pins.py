# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every version and checksum that the collection pins, once. This module util is private to the collection.

Checksums are the sha256 of the release files as upstream publishes them beside each release. Of a version without one
here, the sum that is published is asked for when the file is (_published_sums.py). `make pins` prints each version
beside the newest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._mirror import mirrored, sha256_digits

PINS: dict[str, str] = {
    "kubernetes": "1.36.6",
    # What kubeadm of this minor deploys by itself; see of_kubeadm.
    "etcd": "3.6.8-0",
    "coredns": "1.14.2",
    "pause": "3.10.2",
    "containerd": "2.3.7",
    "runc": "1.4.3",
    "cni_plugins": "1.10.0",
    "flannel": "0.28.10",
    # What flannel's chart of this version deploys beside it.
    "flannel_cni_plugin": "1.9.1-flannel3",
    "network_policies": "1.1.0",
    "helm": "3.22.0",
    "cert_manager": "1.21.2",
    "arc_legacy_chart": "0.23.7",
    "arc_legacy": "0.27.6",
    "arc_scale_set": "0.15.1",
    "engine": "0.21.11",
    "runner": "2.338.1",
    # The newest image with the entrypoint that the legacy controller asks for, as far as is known; see
    # docs/versions.md.
    "runner_legacy": "2.335.1",
}

_KUBERNETES_URL = "https://dl.k8s.io/release/v{version}/bin/linux/{arch}/"
_GITHUB = "https://github.com/"


@dataclass(frozen=True)
class Artifact:
    """A release file: which pin is its version, where upstream has it and its published sum, and its sha256 by version
    and architecture.
    """

    pin: str
    url: str
    published: str
    sha256: Mapping[str, Mapping[str, str]]

    def upstream(self, version: str, arch: str) -> str:
        """The address at upstream."""
        return self.url.format(version=version, arch=arch)

    def sums(self, version: str, arch: str) -> str:
        """The address at upstream of the file with its sum."""
        return self.published.format(url=self.upstream(version, arch), version=version, arch=arch)


ARCHITECTURES = ("amd64", "arm64")
FROM_MIRROR = "fleet_mirror.checksums"
FROM_PINS = "pinned"

ARTIFACTS: dict[str, Artifact] = {
    "kubelet": Artifact(
        "kubernetes",
        _KUBERNETES_URL + "kubelet",
        "{url}.sha256",
        {
            "1.36.3": {
                "amd64": "46707a53209f826ad0f0d62371ac69cd00e78fd9a8176cf5f6f87f18f7f8b718",
                "arm64": "57205a5daf5883873d87b4914e1e00bdd7707acd075714788cfb0fc1f60bc414",
            }
        },
    ),
    "kubeadm": Artifact(
        "kubernetes",
        _KUBERNETES_URL + "kubeadm",
        "{url}.sha256",
        {
            "1.36.3": {
                "amd64": "bba1733c701bf70ec74ba1cc3fd5745404c1134a8a4b0a5f8560cc9832023421",
                "arm64": "276cfbdc43b10fef663288cc1ed76abf77b1b7f700e9f1c053cb5dc3115484de",
            }
        },
    ),
    "kubectl": Artifact(
        "kubernetes",
        _KUBERNETES_URL + "kubectl",
        "{url}.sha256",
        {
            "1.36.3": {
                "amd64": "ebbd080e7c2e275093b55915722043257eb24004363e20acb3c4d71919f88336",
                "arm64": "3d86f24401c41ae5a46ac50eef8865fe891d3647d324a0836f6c63757a126e62",
            }
        },
    ),
    "containerd": Artifact(
        "containerd",
        _GITHUB + "containerd/containerd/releases/download/v{version}/containerd-static-{version}-linux-{arch}.tar.gz",
        "{url}.sha256sum",
        {
            "2.3.4": {
                "amd64": "1d0eccd52471ab75e8d4645b538f73dc635f905cd2be776366eb1036a0089595",
                "arm64": "ad21f456a69bca9c183a8bde892a7576d5d09ae88b3e376a47bde4a886037ab3",
            }
        },
    ),
    "runc": Artifact(
        "runc",
        _GITHUB + "opencontainers/runc/releases/download/v{version}/runc.{arch}",
        _GITHUB + "opencontainers/runc/releases/download/v{version}/runc.sha256sum",
        {
            "1.4.3": {
                "amd64": "f6ae8efc0fa40079e1475e97cbe9d1bd3f106a28d6af78a11d9f1bd565515e60",
                "arm64": "633301e2e32f8a5ad54031aab4901eb00308bec677dd15faa2751e8f9dab5ca4",
            }
        },
    ),
    "cni_plugins": Artifact(
        "cni_plugins",
        _GITHUB + "containernetworking/plugins/releases/download/v{version}/cni-plugins-linux-{arch}-v{version}.tgz",
        "{url}.sha256",
        {
            "1.9.1": {
                "amd64": "b98f74a0f8522f0a83867178729c1aa70f2158f90c45a2ca8fa791db1c76b303",
                "arm64": "56171987d3947707c3563db2f4001bccaf50fd63468611b9f3cbecb1375ee7ec",
            }
        },
    ),
}


def pin(name: str) -> str:
    """The pinned version of a component."""
    if name not in PINS:
        raise ValueError(f"no version is pinned for {name!r}; pinned are: {', '.join(sorted(PINS))}")
    return PINS[name]


def of_kubeadm(kubernetes: str) -> dict[str, str]:
    """Versions of etcd, coredns and pause that kubeadm of this version deploys by itself; nothing where they are not
    known.
    """
    if kubernetes.split(".")[:2] != PINS["kubernetes"].split(".")[:2]:
        return {}
    return {name: PINS[name] for name in ("etcd", "coredns", "pause")}


def artifacts(names: Sequence[str], mirror: Mapping[str, Any], versions: Mapping[str, str]) -> list[dict[str, Any]]:
    """Where to fetch each named artifact, and what its sha256 must be or where it is published, for every
    architecture.
    """
    if isinstance(names, str):
        raise ValueError(f"names of artifacts must be a list, found the string {names!r}")
    unknown_pins = sorted(set(versions) - {artifact.pin for artifact in ARTIFACTS.values()})
    if unknown_pins:
        raise ValueError(f"versions names {', '.join(unknown_pins)}, which no artifact is versioned by")
    return [_resolve(name, mirror, versions) for name in names]


def _resolve(name: str, mirror: Mapping[str, Any], versions: Mapping[str, str]) -> dict[str, Any]:
    if name not in ARTIFACTS:
        raise ValueError(f"there is no artifact {name!r}; known are: {', '.join(sorted(ARTIFACTS))}")
    artifact = ARTIFACTS[name]
    version = str(versions.get(artifact.pin) or pin(artifact.pin))
    if not version[:1].isdigit():
        raise ValueError(
            f"the version of {artifact.pin} must begin with a digit (1.2.3, without a v), found {version!r}"
        )
    return {
        "name": name,
        "version": version,
        "sources": {arch: _source(artifact, version, arch, mirror) for arch in ARCHITECTURES},
    }


def _source(artifact: Artifact, version: str, arch: str, mirror: Mapping[str, Any]) -> dict[str, str]:
    """Where the file is, with its sum where that is known, else with the address of the one that upstream publishes."""
    upstream = artifact.upstream(version, arch)
    source = {"url": mirrored(upstream, mirror), "upstream": upstream}
    told, pinned = (mirror.get("checksums") or {}).get(upstream), artifact.sha256.get(version, {}).get(arch)
    if told:
        return {**source, "sha256": sha256_digits(told), "sum_from": FROM_MIRROR}
    if pinned:
        return {**source, "sha256": pinned, "sum_from": FROM_PINS}
    return {**source, "sums": mirrored(artifact.sums(version, arch), mirror)}
