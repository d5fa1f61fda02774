# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is known of every engine of the fleet, and what of it a person should look at. Private to the collection."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.conditions import is_serving, owner
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.rollout_plan import plan, version
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._names import ENGINE_TAINT, POOL_LABEL

COLUMNS = (
    "node",
    "pool",
    "engine",
    "state",
    "clients",
    "cache",
    "persisted",
    "canary",
    "free",
    "checkpoint",
    "wiped",
    "restored",
)

CANARY = {1: "cached", 0: "RUN ANEW", None: "-"}  # of the step that the pod runs after each start


def engines(
    nodes: Sequence[Mapping[str, Any]],
    pods: Iterable[Mapping[str, Any]],
    templates: Mapping[str, Mapping[str, Mapping[str, Any]]],
    gauges: Mapping[str, Mapping[str, float]],
    states: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """One entry an engine, and one for a node that has none, by node. `gauges` and `states` are by the name of the
    pod.
    """
    pods = list(pods)
    found: list[dict[str, Any]] = []
    for item in plan(nodes, pods, templates):
        node = next(node for node in nodes if node["metadata"]["name"] == item.node)
        stale = {entry.pod: list(entry.reasons) for entry in item.stale}
        common = {
            "node": item.node,
            "pool": (node["metadata"].get("labels") or {}).get(POOL_LABEL, ""),
            "not_reporting": item.not_reporting,
            "tainted": any(taint["key"] == ENGINE_TAINT for taint in (node.get("spec") or {}).get("taints") or []),
            "rolling": item.progress.step if item.progress else "",
            "problem": item.progress.problem if item.progress else "",
        }
        here = [pod for pod in pods if (pod.get("spec") or {}).get("nodeName") == item.node]
        for pod in sorted(here, key=lambda pod: pod["metadata"]["name"]):
            name = pod["metadata"]["name"]
            own = {"daemonset": owner(pod, "DaemonSet"), "version": version(pod), "pod": name, "ready": is_serving(pod)}
            told = {
                "figures": dict(gauges.get(name, {})),
                "checkpoints": list(states.get(name, {}).get("checkpoints") or []),
            }
            found.append({**common, **own, "stale": stale.get(name, []), **told})
        if not here:
            nothing: dict[str, Any] = {"stale": [], "figures": {}, "checkpoints": []}
            found.append({**common, "daemonset": "", "version": "", "pod": "", "ready": False, **nothing})
    return sorted(found, key=lambda entry: (entry["node"], entry["daemonset"]))


def concerns(entry: Mapping[str, Any]) -> list[str]:
    """What of an engine is not as it should be."""
    figures, found = entry["figures"], []
    if entry["not_reporting"]:
        found.append("the node's kubelet does not report")
    elif not entry["pod"]:
        found.append("no engine pod")
    elif not entry["ready"]:
        found.append("does not answer")
    if entry["rolling"]:
        found.append(
            f"in a roll-out at step {entry['rolling']}" + (f": {entry['problem']}" if entry["problem"] else "")
        )
    elif entry["tainted"]:
        found.append("keeps new runners away")
    if entry["stale"]:
        found.append(f"runs as it was before a change: {'; '.join(entry['stale'])}")
    if figures.get("canary") == 0:
        found.append("its canary step was not cached when it started: it had lost its cache")
    if "size" in figures and figures.get("free", 0) * 20 < figures["size"]:
        found.append("its cache filesystem is nearly full")
    return found


def status_lines(entries: Sequence[Mapping[str, Any]], now: float | None = None) -> list[str]:
    """The engines as lines of text, then their concerns."""
    clock = time.time() if now is None else now
    rows = [COLUMNS, *[_row(entry, clock) for entry in entries]]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    return lines + [
        f"! {entry['node']} {entry['version']}: {concern}" for entry in entries for concern in concerns(entry)
    ]


def checkpoints(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line a checkpoint, newest first on each node."""
    lines = []
    for entry in entries:
        for item in entry["checkpoints"]:
            what = f"{size(item.get('bytes'))}, by {item.get('method')}" + (", bad" if item.get("bad") else "")
            lines.append(f"{entry['node']}: {item.get('name')} of engine {item.get('version')}: {what}")
        if entry["pod"] and not entry["checkpoints"]:
            lines.append(f"{entry['node']}: no checkpoint of engine {entry['version']}")
    return lines


def size(value: float | None) -> str:
    """Bytes for a person."""
    if value is None:
        return "-"
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def _row(entry: Mapping[str, Any], now: float) -> tuple[str, ...]:
    figures = entry["figures"]
    state = entry["rolling"] or ("ready" if entry["ready"] else "not ready") + (", stale" if entry["stale"] else "")
    checkpoint = "-"
    if figures.get("checkpoints"):
        age = (now - figures["checkpoint_time"]) / 3600 if figures.get("checkpoint_time") else None
        checkpoint = f"{figures['checkpoints']:.0f}" + (f", {age:.1f} h old" if age is not None else "")
    clients = _count(figures, "clients")
    cache = (size(figures.get("bytes")), _persisted(figures), CANARY[figures.get("canary")], size(figures.get("free")))
    return (
        entry["node"],
        entry["pool"],
        entry["version"] or "none",
        state,
        clients,
        *cache,
        checkpoint,
        _count(figures, "wipes"),
        _count(figures, "restores"),
    )


def _persisted(figures: Mapping[str, float]) -> str:
    """What the engine wrote down when it was last stopped clean."""
    if "persisted_results" not in figures:
        return size(figures.get("persisted_bytes"))
    return f"{size(figures.get('persisted_bytes'))}, {figures['persisted_results']:.0f} results"


def _count(figures: Mapping[str, float], key: str) -> str:
    return f"{figures[key]:.0f}" if key in figures else "-"
