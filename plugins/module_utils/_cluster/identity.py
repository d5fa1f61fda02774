# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which fleet a cluster is, as it says itself: pure decisions. Private to the collection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._kubeconfig import shown

NAMESPACE, NAME = "kube-system", "runnerfleet"
# Variables of these names lead modules of kubernetes.core, and helm, past the kubeconfig that they are given.
ENVIRONMENT = ("K8S_AUTH_", "HELM_KUBE")
GIVEN = "K8S_AUTH_KUBECONFIG"


@dataclass(frozen=True)
class Identity:
    """A fleet's name and the sha256 of its cluster's CA."""

    fleet: str
    authority: str

    def to_object(self) -> dict[str, Any]:
        """The ConfigMap that says so in the cluster."""
        meta = {"name": NAME, "namespace": NAMESPACE, "labels": {"app.kubernetes.io/managed-by": "runnerfleet"}}
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": meta,
            "data": {"fleet": self.fleet, "ca": self.authority},
        }


def mismatch(config_map: Mapping[str, Any] | None, ours: Identity, adopt: bool) -> str:
    """Why a cluster is not this fleet's, empty where it is; one that says nothing is, where it may be adopted."""
    if config_map is None:
        return (
            ""
            if adopt
            else (
                f"the cluster (CA {shown(ours.authority)}) does not say that it is a fleet: found no ConfigMap "
                f"{NAMESPACE}/{NAME}, expected that of fleet {ours.fleet}. Correct fleet_kubeconfig, or run site.yml "
                "first, which writes it"
            )
        )
    data = config_map.get("data") or {}
    fleet, authority = str(data.get("fleet", "")), str(data.get("ca", ""))
    if fleet != ours.fleet:
        return (
            f"the cluster belongs to another fleet: found {fleet[:100]!r} in ConfigMap {NAMESPACE}/{NAME}, expected "
            f"{ours.fleet!r}. Correct fleet_kubeconfig or fleet_name"
        )
    if authority != ours.authority:
        return (
            f"the cluster's CA is not the one that fleet {fleet} began with: found {shown(ours.authority)} in the "
            f"kubeconfig, expected {shown(authority)}, which ConfigMap {NAMESPACE}/{NAME} says. Correct "
            "fleet_kubeconfig; where the fleet's CA was replaced on purpose, delete that ConfigMap and run site.yml"
        )
    return ""


def overriding(environment: Mapping[str, str], kubeconfig: str) -> list[str]:
    """Variables of the environment that would lead past a kubeconfig."""
    return sorted(
        name
        for name, value in environment.items()
        if name.startswith(ENVIRONMENT) and value and (name, value) != (GIVEN, kubeconfig)
    )
