# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What API objects say of themselves: conditions such as Ready, owners, whether a pod has ended. No I/O. Private to the
collection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TIME = "%Y-%m-%dT%H:%M:%SZ"  # as the API writes times, and as we do in annotations


def condition(item: Mapping[str, Any], kind: str) -> str:
    """The status of a condition: True, False or Unknown; empty where the object has none of that kind."""
    for entry in (item.get("status") or {}).get("conditions") or []:
        if entry.get("type") == kind:
            return str(entry.get("status"))
    return ""


def is_ready(item: Mapping[str, Any]) -> bool:
    """Whether a pod or a node is Ready."""
    return condition(item, "Ready") == "True"


def is_not_reporting(node: Mapping[str, Any]) -> bool:
    """Whether a node's kubelet has stopped reporting."""
    return condition(node, "Ready") == "Unknown"


def owner(item: Mapping[str, Any], kind: str) -> str:
    """The name of the owner of that kind."""
    for reference in item["metadata"].get("ownerReferences") or []:
        if reference.get("kind") == kind:
            return str(reference["name"])
    return ""


def ended(pod: Mapping[str, Any]) -> bool:
    """No process of the pod runs any more."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def is_serving(pod: Mapping[str, Any]) -> bool:
    """The pod answers, and nobody has asked it to stop."""
    return is_ready(pod) and not pod["metadata"].get("deletionTimestamp")
