# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.operator import due
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._kubeconfig import (
    KubeconfigCluster,
    KubeconfigError,
    holder,
    read,
    rebuilt,
)


def kubeconfig_cluster(path: str) -> dict[str, str | int]:
    """Server and CA of the current cluster of a file, in a kubeconfig's own words, and how many it names; empty for an
    empty path.
    """
    try:
        found = read(path) if path else KubeconfigCluster(names=0)
    except (KubeconfigError, OSError) as error:
        raise AnsibleFilterError(
            f"kubeconfig {path}: found {error}, expected a kubeconfig. Correct fleet_kubeconfig"
        ) from error
    data = base64.b64encode(found.authority.encode()).decode()
    return {"server": found.server, "certificate-authority-data": data, "clusters": found.names}


def kubeconfig_due(path: str, hours: int) -> bool:
    """See kubeconfig_due.yml."""
    try:
        if not path or read(path).names > 1:
            return not path
        return due(*holder(path, datetime.now(UTC)), int(hours))
    except (KubeconfigError, OSError) as error:
        raise AnsibleFilterError(
            f"kubeconfig {path}: found {error}, expected a kubeconfig. Correct fleet_kubeconfig"
        ) from error


def rebuilt_kubeconfig(text: str) -> str:
    """See rebuilt_kubeconfig.yml."""
    try:
        return rebuilt(text)
    except KubeconfigError as error:
        hint = "a cluster with its CA and a user with certificate and key, as kubeadm writes it"
        raise AnsibleFilterError(
            f"/etc/kubernetes/admin.conf of the control plane: found {error}, expected {hint}"
        ) from None


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {
            "kubeconfig_cluster": kubeconfig_cluster,
            "kubeconfig_due": kubeconfig_due,
            "rebuilt_kubeconfig": rebuilt_kubeconfig,
        }
