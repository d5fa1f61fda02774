"""The engines as a person reads them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine import status
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.readiness import ROLLOUT_ANNOTATION
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.rollout_plan import Progress
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._names import ENGINE_TAINT, POOL_LABEL
from ansible_collections.runnerfleet.baremetal.plugins.modules import engine_status

FIGURES = {
    "clients": 1,
    "bytes": 73.4e6,
    "size": 8e9,
    "free": 6e9,
    "checkpoints": 2,
    "checkpoint_time": 3600,
    "wipes": 0,
}
PROVEN = {**FIGURES, "canary": 1, "persisted_results": 4333, "persisted_bytes": 20.8e6}


def node(name: str, *, tainted: bool = False, progress: Progress | None = None, ready: str = "True") -> dict[str, Any]:
    """A node."""
    notes = {ROLLOUT_ANNOTATION: progress.to_json()} if progress else {}
    taints = [{"key": ENGINE_TAINT, "effect": "NoSchedule"}] if tainted else []
    conditions = [{"type": "Ready", "status": ready}]
    meta = {"name": name, "annotations": notes, "labels": {POOL_LABEL: "runner"}}
    return {"metadata": meta, "spec": {"taints": taints}, "status": {"conditions": conditions}}


def pod(place: str, revision: str = "new", ready: str = "True") -> dict[str, Any]:
    """An engine pod."""
    meta = {
        "name": f"engine-{place}",
        "uid": place,
        "creationTimestamp": "T",
        "labels": {"controller-revision-hash": revision, "app.kubernetes.io/version": "0.21.8"},
        "ownerReferences": [{"kind": "DaemonSet", "name": "ds"}],
    }
    return {
        "metadata": meta,
        "spec": {"nodeName": place},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


TEMPLATES = {"ds": {"old": {"image": "a"}, "new": {"image": "b"}}}
NODES = [
    node("a"),
    node("b", tainted=True),
    node("c", tainted=True, progress=Progress("lost", "T", "it has 0 bytes")),
    node("d", ready="Unknown"),
    node("e"),
]
PODS = [pod("a"), pod("b", ready="False"), pod("c"), pod("d"), pod("e", "old")]


def test_the_table() -> None:
    """A line an engine, and one for what is wrong with it."""
    gauges = {
        "engine-a": FIGURES,
        "engine-b": PROVEN,
        "engine-c": {"canary": 0},
        "engine-e": {"size": 8e9, "free": 1e8},
    }
    lines = status.status_lines(status.engines(NODES, PODS, TEMPLATES, gauges, {}), now=7200)
    assert re.split("  +", lines[0]) == list(status.COLUMNS)
    cells = [re.split("  +", line) for line in lines[1:4]]
    assert cells[0] == ["a", "runner", "0.21.8", "ready", "1", "73 MB", "-", "-", "6 GB", "2, 1.0 h old", "0", "-"]
    assert cells[1][5:9] == ["73 MB", "21 MB, 4333 results", "cached", "6 GB"]
    assert cells[2][5:9] == ["-", "-", "RUN ANEW", "-"]
    assert [line for line in lines if line.startswith("!")] == [
        "! b 0.21.8: does not answer",
        "! b 0.21.8: keeps new runners away",
        "! c 0.21.8: in a roll-out at step lost: it has 0 bytes",
        "! c 0.21.8: its canary step was not cached when it started: it had lost its cache",
        "! d 0.21.8: the node's kubelet does not report",
        "! e 0.21.8: runs as it was before a change: image changed",
        "! e 0.21.8: its cache filesystem is nearly full",
    ]


def test_a_node_without_an_engine_is_named() -> None:
    """It has no pod to ask."""
    assert status.status_lines(status.engines([node("a")], [], TEMPLATES, {}, {}))[-1] == "! a : no engine pod"


@pytest.mark.parametrize(
    ("value", "expected"), [(None, "-"), (12, "12 B"), (73.4e6, "73 MB"), (9.9e11, "990 GB"), (2.5e12, "2.5 TB")]
)
def test_sizes(value: float | None, expected: str) -> None:
    """In the units that drives are sold in."""
    assert status.size(value) == expected


class Memory:
    """A cluster of these nodes."""

    def nodes(self) -> list[dict[str, Any]]:
        return NODES

    def engine_pods(self) -> list[dict[str, Any]]:
        return PODS

    def daemonsets(self) -> list[dict[str, Any]]:
        return [{"metadata": {"name": "ds", "uid": "d", "generation": 1}, "status": {"observedGeneration": 1}}]

    def revisions(self) -> list[dict[str, Any]]:
        meta = {"labels": {"controller-revision-hash": "new"}, "ownerReferences": [{"uid": "d"}]}
        return [{"metadata": meta, "revision": 1, "data": {"spec": {"template": {}}}}]

    def gauges(self, name: str) -> dict[str, float]:
        return FIGURES if name == "engine-a" else {}

    def state(self, name: str) -> dict[str, Any]:
        made = {"name": "20260131T120000Z", "version": "0.21.8", "entries": 4333, "bytes": 73.4e6, "method": "btrfs"}
        return {"checkpoints": [made, {**made, "name": "20260130T120000Z", "bad": True}]} if name == "engine-a" else {}


def test_the_module_asks_every_engine_and_changes_nothing(
    run_module: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says when the API is not_reporting."""
    monkeypatch.setattr(engine_status, "connect", lambda _module: Memory())
    result = run_module(engine_status.main, {"kubeconfig": "/k", "pools": ["runner"]})
    assert not result["changed"] and len(result["engines"]) == 5 and result["engines"][0]["figures"] == FIGURES
    assert result["checkpoints"][:3] == [
        "a: 20260131T120000Z of engine 0.21.8: 73 MB, by btrfs",
        "a: 20260130T120000Z of engine 0.21.8: 73 MB, by btrfs, bad",
        "b: no checkpoint of engine 0.21.8",
    ]

    some = run_module(engine_status.main, {"kubeconfig": "/k", "pools": ["runner"], "nodes": ["a", "support-1"]})
    assert {entry["node"] for entry in some["engines"]} == {"a"} and all(
        line.startswith("a:") for line in some["checkpoints"]
    )
    none = run_module(engine_status.main, {"kubeconfig": "/k", "pools": ["runner"], "nodes": ["support-1"]})
    assert none["failed"] and "found support-1, expected some that carry an engine, which are a, b" in none["msg"]

    def refuse(_module: Any) -> None:
        raise ConnectionError("refused")

    monkeypatch.setattr(engine_status, "connect", refuse)
    assert "did not answer" in run_module(engine_status.main, {"kubeconfig": "/k", "pools": ["runner"]})["msg"]
