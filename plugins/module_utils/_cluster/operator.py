# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The account that plays use: its name, its group and what makes the group an administrator. Private to the
collection.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

USER = "runnerfleet"
BINDING = "runnerfleet-operators"
_GROUP = "runnerfleet:operators:"
_RBAC = "rbac.authorization.k8s.io"


def new_group() -> str:
    """A group that no certificate names yet: one that was signed for a binding that is gone opens nothing."""
    return f"{_GROUP}{secrets.token_hex(4)}"


def binding(group: str) -> dict[str, Any]:
    """What makes a group an administrator."""
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": BINDING, "labels": {"app.kubernetes.io/managed-by": "runnerfleet"}},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": _RBAC, "kind": "Group", "name": group}],
    }


def group_of(found: Mapping[str, Any]) -> str:
    """The group of a binding; empty where it names none of ours."""
    names = [str(subject.get("name")) for subject in found.get("subjects") or () if subject.get("kind") == "Group"]
    return next((name for name in names if name.startswith(_GROUP)), "")


def due(name: str, hours_left: float, hours: int) -> bool:
    """Whether a kubeconfig is to be made anew: the administrator's own, or ours in the last third of its life. Others'
    stay.
    """
    return name == "kubernetes-admin" or (name == USER and hours_left < hours / 3)
