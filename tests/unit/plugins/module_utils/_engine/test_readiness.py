"""Verdicts over nodes and engine pods, as the API describes them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.readiness import (
    complaint,
    engine_verdicts,
    stuck_container,
    without_taint,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._names import ENGINE_TAINT, POOL_LABEL

VERSION = "0.21.8"
VERSIONS = {"runner": [VERSION]}
ENGINE = "dagger-engine-runner-0-21-8"
OTHER_TAINT = {"key": "runnerfleet.dev/pool", "value": "runner", "effect": "NoSchedule"}


def node(name: str, ready: str = "True", tainted: bool = True, pool: str = "runner") -> dict[str, Any]:
    taints = [OTHER_TAINT] + ([{"key": ENGINE_TAINT, "effect": "NoSchedule"}] if tainted else [])
    conditions = [{"type": "DiskPressure", "status": "False"}, {"type": "Ready", "status": ready}]
    return {
        "metadata": {"name": name, "labels": {POOL_LABEL: pool}},
        "spec": {"taints": taints},
        "status": {"conditions": conditions},
    }


def pod(on: str, ready: str = "True", generation: str = "1", version: str = VERSION, **more: Any) -> dict[str, Any]:
    labels = {
        "app.kubernetes.io/version": version,
        "app.kubernetes.io/instance": ENGINE,
        "pod-template-generation": generation,
    }
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}], **more}
    return {"metadata": {"name": f"engine-{on}", "labels": labels}, "spec": {"nodeName": on}, "status": status}


def daemonset(generation: str = "1") -> dict[str, Any]:
    return {
        "metadata": {
            "name": ENGINE,
            "labels": {"app.kubernetes.io/version": VERSION},
            "annotations": {"deprecated.daemonset.template.generation": generation},
        }
    }


def waiting(reason: str, message: str = "") -> list[dict[str, Any]]:
    return [{"name": "engine", "ready": False, "state": {"waiting": {"reason": reason, "message": message}}}]


def test_a_ready_pod_makes_a_ready_node() -> None:
    (verdict,) = engine_verdicts([node("a")], [pod("a")], [daemonset()], VERSIONS)
    assert verdict.ready and verdict.tainted and not verdict.outdated


def test_verdicts_are_sorted_and_separate() -> None:
    verdicts = engine_verdicts(
        [node("b"), node("a", tainted=False)], [pod("a"), pod("b", ready="False")], [daemonset()], VERSIONS
    )
    assert [(verdict.name, verdict.ready, verdict.tainted) for verdict in verdicts] == [
        ("a", True, False),
        ("b", False, True),
    ]


@pytest.mark.parametrize(
    ("pods", "reason"),
    [
        pytest.param([], "it has no engine pod", id="no pod"),
        pytest.param([pod("other")], "it has no engine pod", id="pod of another node"),
        pytest.param([pod("a", version="0.21.7")], "it has no engine pod", id="pod of another version"),
        pytest.param([pod("a", ready="False")], "pod engine-a is Running and does not answer yet", id="not ready"),
        pytest.param(
            [pod("a", ready="False", containerStatuses=waiting("ImagePullBackOff", "no such tag"))],
            "pod engine-a: ImagePullBackOff no such tag",
            id="image",
        ),
        pytest.param(
            [
                pod(
                    "a",
                    ready="False",
                    initContainerStatuses=waiting("CrashLoopBackOff"),
                    containerStatuses=waiting("PodInitializing"),
                )
            ],
            "pod engine-a: CrashLoopBackOff",
            id="init container",
        ),
    ],
)
def test_why_a_node_waits(pods: list[dict[str, Any]], reason: str) -> None:
    (verdict,) = engine_verdicts([node("a")], pods, [daemonset()], VERSIONS)
    assert not verdict.ready
    assert verdict.waiting[VERSION].startswith(reason)


def test_a_stopping_pod_does_not_answer() -> None:
    stopping = pod("a")
    stopping["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    (verdict,) = engine_verdicts([node("a")], [stopping], [daemonset()], VERSIONS)
    assert verdict.waiting == {VERSION: "pod engine-a is stopping"}


def test_every_version_must_answer() -> None:
    (verdict,) = engine_verdicts([node("a")], [pod("a")], [daemonset()], {"runner": [VERSION, "1.0.0"]})
    assert list(verdict.waiting) == ["1.0.0"]


def test_each_pool_has_versions_of_its_own() -> None:
    nodes = [node("a"), node("b", pool="large"), node("c", pool="support")]
    pods = [pod("a"), pod("b"), pod("b", version="1.0.0")]
    verdicts = engine_verdicts(nodes, pods, [daemonset()], {"runner": [VERSION], "large": [VERSION, "1.0.0", "1.0.1"]})
    assert [list(verdict.waiting) for verdict in verdicts] == [[], ["1.0.1"], []]


def test_an_older_template_of_another_daemonset_says_nothing() -> None:
    other = daemonset("2")
    other["metadata"]["name"] = "dagger-engine-large-0-21-8"
    (verdict,) = engine_verdicts([node("a")], [pod("a", generation="1")], [other, daemonset("1")], VERSIONS)
    assert verdict.outdated == ()


def test_a_silent_node_is_neither_ready_nor_hidden() -> None:
    (verdict,) = engine_verdicts([node("a", ready="Unknown")], [pod("a")], [daemonset()], VERSIONS)
    assert verdict.not_reporting and not verdict.ready


def test_an_older_template_is_outdated_but_ready() -> None:
    (verdict,) = engine_verdicts([node("a")], [pod("a", generation="1")], [daemonset("2")], VERSIONS)
    assert verdict.ready and verdict.outdated == (VERSION,)


def test_only_our_taint_goes() -> None:
    assert without_taint(node("a")) == [OTHER_TAINT]


def test_the_complaint_names_node_pod_and_log() -> None:
    verdicts = engine_verdicts([node("a")], [pod("a", ready="False")], [daemonset()], VERSIONS)
    text = complaint(verdicts, {"engine-a": "json: unknown field"}, 60)
    assert (
        "a: engine 0.21.8: pod engine-a is Running and does not answer yet; last log line: json: unknown field" in text
    )
    assert "within 60 seconds" in text


def test_the_container_in_trouble() -> None:
    done = {"name": "prove-mount", "ready": False, "state": {"terminated": {"exitCode": 0}}}
    failed = {"name": "prove-mount", "ready": False, "state": {"terminated": {"exitCode": 1}}}
    main = {"name": "engine", "ready": False, "state": {"running": {}}}
    assert stuck_container({"status": {"initContainerStatuses": [done], "containerStatuses": [main]}}) == "engine"
    assert (
        stuck_container({"status": {"initContainerStatuses": [failed], "containerStatuses": [main]}}) == "prove-mount"
    )
    assert stuck_container({}) == ""
