# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which pools and runner sizes fit a machine, and what runs out first. Private to the collection."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight import sizing as preflight_sizing
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.hardware import Hardware
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._quantity import show_bytes, show_cpu
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet.sizing import node_plan

HEADINGS = (
    "machine",
    "vCPUs",
    "memory",
    "NVMe",
    "place",
    "fits",
    "runners of one size beside the engine",
    "runs out first",
)
# What speaks against a place. That the fleet's runners do not all fit at once only says that more machines are needed.
SHORTAGE = ("plan_cpu_exceeded", "plan_memory_exceeded", "plan_pods_exceeded")


def places(pools: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Name and kind of every place that a machine may take: the pools, and the control plane."""
    return [
        *((str(pool["name"]), "runner" if pool.get("engine") else "support") for pool in pools),
        ("control_plane", "control_plane"),
    ]


def machine_plan(
    name: str,
    hardware: Hardware,
    pools: Sequence[Mapping[str, Any]],
    values: Mapping[str, Any],
    floors: Mapping[str, tuple[preflight_sizing.Floor, preflight_sizing.Floor]],
    drives: Sequence[str],
) -> dict[str, Any]:
    """One machine against every place. `floors`: minimum and recommended by kind; `values`: as node_plan takes them."""
    found = []
    for place, kind in places(pools):
        minimum, recommended = floors[kind]
        plan = node_plan(values, place if kind != "control_plane" else "", 1)
        findings = preflight_sizing.sizing_findings(
            name, kind, hardware, minimum, recommended, plan, drives if kind == "runner" else ()
        )
        told = [finding for finding in findings if finding.code not in SHORTAGE]
        errors = [
            finding for finding in told if finding.severity == "error" and finding.code != "plan_runner_does_not_fit"
        ]
        capacity = preflight_sizing.capacity(hardware, plan)
        found.append(
            {
                "place": place,
                "kind": kind,
                "fits": not errors,
                "findings": [finding.as_dict() for finding in told],
                "runners": [
                    {key: runner[key] for key in ("name", "fits", "limited_by")} for runner in capacity["runners"]
                ],
                "bottleneck": bottleneck(hardware, plan) if plan.runners and not errors else None,
            }
        )
    nvme = sum(
        drive.size_bytes
        for drive in hardware.drives
        if drive.transport == "nvme" and not drive.boot and not drive.in_use
    )
    return {
        "name": name,
        "vcpus": show_cpu(hardware.cpu_millis),
        "memory_bytes": hardware.usable_memory,
        "nvme_bytes": nvme,
        "places": found,
    }


def bottleneck(hardware: Hardware, plan: preflight_sizing.SizingPlan) -> dict[str, Any]:
    """How many runners of every size fit when each has as many, and what one more of each would lack."""

    def left(each: int) -> dict[str, int]:
        runners = tuple(replace(runner, max=each) for runner in plan.runners)
        found: dict[str, int] = preflight_sizing.capacity(hardware, replace(plan, runners=runners))["left"]
        return found

    of_each = 0
    while min(left(of_each + 1).values()) >= 0:
        of_each += 1
    shown: dict[str, tuple[str, Callable[[int], str]]] = {
        "cpu_millis": ("cpu", show_cpu),
        "memory_bytes": ("memory", show_bytes),
        "pods": ("pods", str),
    }
    lacking = {shown[key][0]: shown[key][1](-amount) for key, amount in left(of_each + 1).items() if amount < 0}
    return {"of_each": of_each, "lacking": lacking}


def plan_table(machines: Sequence[Mapping[str, Any]]) -> str:
    """The plan for people: a line for each machine and place, and below it why a place does not fit or is tight."""
    rows: list[tuple[tuple[str, ...], list[str]]] = [(HEADINGS, [])]
    for machine in machines:
        has = (
            machine["name"],
            machine["vcpus"],
            show_bytes(machine["memory_bytes"]),
            show_bytes(machine["nvme_bytes"]),
        )
        for place in machine["places"]:
            reasons = [_reason(machine["name"], item) for item in place["findings"] if item["severity"] != "info"]
            rows.append(((*has, place["place"], *_verdict(place)), reasons))
            has = ("", "", "", "")
    widths = [max(len(row[column]) for row, _reasons in rows) for column in range(len(HEADINGS))]
    lines = []
    for row, reasons in rows:
        lines.append("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        lines += [f"{'':{widths[0]}}    {reason}" for reason in reasons]
    return "\n".join(lines)


def _reason(machine: str, finding: Mapping[str, str]) -> str:
    subject = finding["subject"].removeprefix(machine).strip()
    return f"{f'{subject}: ' if subject else ''}{finding['found']}, expected {finding['expected']}"


def _verdict(place: Mapping[str, Any]) -> tuple[str, str, str]:
    if not place["fits"]:
        return "no", "", ""
    runners = ", ".join(f"{runner['name']}: {runner['fits']} ({runner['limited_by']})" for runner in place["runners"])
    short = place["bottleneck"] or {"lacking": {}, "of_each": 0}
    lacking = ", ".join(
        f"{name} ({amount} short of {short['of_each'] + 1} of each)" for name, amount in short["lacking"].items()
    )
    return ("tight" if any(item["severity"] != "info" for item in place["findings"]) else "yes"), runners, lacking
