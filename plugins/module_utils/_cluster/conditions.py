# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Conditions of API objects: Ready of a pod or a node. No I/O. Private to the collection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


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
