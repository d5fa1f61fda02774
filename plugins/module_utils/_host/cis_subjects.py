# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the CIS Kubernetes Benchmark looks at on a host: files by patterns, and programs. Private to the collection."""

from __future__ import annotations

MANIFESTS = "/etc/kubernetes/manifests"
FILES = (
    f"{MANIFESTS}/kube-apiserver.yaml",
    f"{MANIFESTS}/kube-controller-manager.yaml",
    f"{MANIFESTS}/kube-scheduler.yaml",
    f"{MANIFESTS}/etcd.yaml",
    "/etc/cni/net.d/*",
    "/var/lib/etcd",
    "/etc/kubernetes/*admin.conf",
    "/etc/kubernetes/scheduler.conf",
    "/etc/kubernetes/controller-manager.conf",
    "/etc/kubernetes/pki/**/*.crt",
    "/etc/kubernetes/pki/**/*.key",
    "/etc/systemd/system/kubelet.service",
    "/etc/kubernetes/kubelet.conf",
    "/etc/kubernetes/pki/ca.crt",
    "/var/lib/kubelet/config.yaml",
)
API, MANAGER, SCHEDULER, ETCD, KUBELET = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "etcd",
    "kubelet",
)
PROGRAMS = (API, MANAGER, SCHEDULER, ETCD, KUBELET)
