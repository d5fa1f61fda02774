# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads identity, SMART health and LBA formats of an NVMe namespace. Private to the collection."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.probe_drives import BAD_ANSWER, Run, text

# The bits of the critical warning, as the NVMe base specification numbers them.
WARNINGS = (
    "spare_low",
    "temperature",
    "reliability_degraded",
    "read_only",
    "volatile_backup_failed",
    "memory_region_unreliable",
)


def identity(sysfs: Path) -> dict[str, Any]:
    """Who a namespace is, from sysfs; what it does not have is empty."""
    number = text(sysfs / "nsid")
    return {
        "wwid": text(sysfs / "wwid") or text(sysfs / "device/wwid"),
        "serial": text(sysfs / "device/serial") or text(sysfs / "serial"),
        "subsystem_nqn": text(sysfs / "device/subsysnqn"),
        "nsid": int(number) if number.isdigit() else None,
        "model": " ".join(text(sysfs / "device/model").split()),
        "firmware": text(sysfs / "device/firmware_rev"),
    }


def number(value: Any) -> int | None:
    """128 bit counters come as text, with or without separators."""
    digits = str(value).replace(",", "")
    return int(digits) if digits.isdigit() else None


def health(log: dict[str, Any]) -> dict[str, Any]:
    """Wear, spare and warnings of a SMART log, whose field names differ between versions of nvme-cli."""
    warning = log.get("critical_warning", 0)
    bits = int(warning.get("value", 0) if isinstance(warning, dict) else warning)
    return {
        "critical_warnings": [name for bit, name in enumerate(WARNINGS) if bits >> bit & 1],
        "wear_percent": number(log.get("percent_used", log.get("percentage_used"))),
        "spare_percent": number(log.get("avail_spare")),
        "spare_threshold_percent": number(log.get("spare_thresh")),
        "media_errors": number(log.get("media_errors")),
        "power_on_hours": number(log.get("power_on_hours")),
    }


def lba_formats(namespace: dict[str, Any]) -> list[dict[str, Any]]:
    """The sector formats that a namespace can have, and which one it has."""
    bits = int(namespace.get("flbas", 0))
    current = (bits & 0xF) | (bits >> 5 & 0x3) << 4
    return [
        {
            "lbaf": n,
            "data_bytes": 1 << f["ds"],
            "metadata_bytes": f["ms"],
            "performance": f["rp"],
            "in_use": n == current,
        }
        for n, f in enumerate(namespace.get("lbafs", []))
        if f["ds"]
    ]


def ask(run: Run, node: str) -> dict[str, Any]:
    """Health and sector formats of a namespace, null with a note where nvme-cli is missing or fails."""
    if not shutil.which("nvme", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
        return {"health": None, "formats": None, "note": "nvme is not installed: install package nvme-cli"}
    told: dict[str, Any] = {}
    notes = []
    for command, read in (("smart-log", health), ("id-ns", lba_formats)):
        status, out, error = run(["nvme", command, node, "--output-format=json"])
        try:
            told[command] = None if status else read(json.loads(out))
        except BAD_ANSWER as problem:
            told[command], status, error = None, -1, f"its answer cannot be read: {problem!r}"
        if status:
            notes.append(f"nvme {command} failed ({status}): {error.strip()}")
    return {
        "health": told["smart-log"],
        "formats": told["id-ns"],
        "note": "; ".join(notes),
    }
