# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads what the preflight wants to know of a host from its files. Never writes. Private to the collection."""

from __future__ import annotations

import glob
import os
import socket
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host.probe_files import read
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._kubeconfig import KubeconfigError, fingerprint
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight import survey

KUBERNETES = "/etc/kubernetes"
LOGIND = ("/usr/lib/systemd", "/run/systemd", "/etc/systemd")


def text(path: str) -> str:
    """A small file's text, empty where it cannot be read."""
    try:
        return read(path) or ""
    except OSError:
        return ""


def addresses() -> list[str]:
    """The host's address toward elsewhere, of each family. Connecting a datagram socket chooses it and sends
    nothing.
    """
    found = []
    for family, elsewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((elsewhere, 9))
                found.append(probe.getsockname()[0])
        except OSError:
            continue
    return found


def cluster_ca() -> str:
    """The sha256 of the cluster's CA certificate that the host holds; empty for none."""
    try:
        return fingerprint(text(KUBERNETES + "/pki/ca.crt"))
    except KubeconfigError:
        return "not-a-certificate"


def member() -> bool:
    """Whether a cluster was begun or joined here, even by a run that was interrupted: its ports are then its own."""
    names = (
        "kubelet.conf",
        "bootstrap-kubelet.conf",
        "admin.conf",
        "pki/ca.crt",
        "manifests/etcd.yaml",
        "manifests/kube-apiserver.yaml",
    )
    return any(os.path.exists(os.path.join(KUBERNETES, name)) for name in names)


def filesystem(path: str) -> dict[str, Any]:
    """The filesystem that a path lies on, or will lie on."""
    place = path
    while not os.path.exists(place):
        place = os.path.dirname(place)
    found, device = os.statvfs(place), os.stat(place).st_dev
    return {
        "path": path,
        "device": f"{os.major(device)}:{os.minor(device)}",
        "size": found.f_blocks * found.f_frsize,
        "available": found.f_bavail * found.f_frsize,
        "inodes": found.f_files,
        "inodes_free": found.f_favail,
    }


def inhibit_delays() -> dict[str, str]:
    """InhibitDelayMaxSec as each file of logind's configuration sets it, by path."""
    paths = [
        path for folder in LOGIND for path in (f"{folder}/logind.conf", *glob.glob(f"{folder}/logind.conf.d/*.conf"))
    ]
    found = {path: survey.parse_key_values(text(path)).get("InhibitDelayMaxSec", "") for path in paths}
    return {path: value for path, value in found.items() if value}
