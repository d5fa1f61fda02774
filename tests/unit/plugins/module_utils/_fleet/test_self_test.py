"""Which nodes a self-test runs on, and what is made of its pods' answers."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.self_test import (
    Trial,
    manifest,
    outcome,
    select,
)

TRIAL = Trial("runner-1", "runner", "1.2.3")
FIRST, SECOND = "0b5c2ac0-0000-4000-8000-000000000001", "0b5c2ac0-0000-4000-8000-000000000002"
MOUNT = "259:3 xfs /dev/nvme0n1p3"


def node(name: str, ready: str = "True", **more: Any) -> dict[str, Any]:
    labels = {"node-restriction.kubernetes.io/runnerfleet-pool": more.get("pool", "runner")}
    return {
        "metadata": {"name": name, "labels": labels, "annotations": more.get("annotations", {})},
        "spec": more.get("spec", {}),
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


def told(**changes: str | None) -> str:
    """What a node says that does everything well, with these changes; None takes a line out."""
    lines: dict[str, str | None] = {
        "first_seconds": "10.00 12.50",
        "first": FIRST,
        "second_seconds": "12.50 13.00",
        "second": FIRST,
        "written": "8388608",
        "mount": MOUNT,
        "drives": "nvme0n1 nvme1n1 ",
        **changes,
    }
    return "".join(f"{key}={value}\n" for key, value in lines.items() if value is not None)


def pod(phase: str, message: str = "", **status: Any) -> dict[str, Any]:
    final = {"state": {"terminated": {"exitCode": 0 if phase == "Succeeded" else 1, "message": message}}}
    return {"status": {"phase": phase, "containerStatuses": [{"name": "runner", **final}], **status}}


def test_nodes_that_are_to_have_no_job_are_left_out_and_those_that_cannot_have_one_fail() -> None:
    nodes = [
        node("b"),
        node("a"),
        node("cordoned", spec={"unschedulable": True}, ready="Unknown"),
        node("rolling", annotations={"runnerfleet.dev/engine-rollout": "{}"}),
        node("dead", ready="Unknown"),
        node("tainted", spec={"taints": [{"key": "runnerfleet.dev/engine-not-ready", "effect": "NoSchedule"}]}),
        node("support", pool="support"),
    ]
    trials, failed, left_out = select(nodes, {"runner": ["1.2.3", "1.3.0"]}, [])
    assert [(trial.node, trial.version) for trial in trials] == [
        ("a", "1.2.3"),
        ("a", "1.3.0"),
        ("b", "1.2.3"),
        ("b", "1.3.0"),
    ]
    assert [(one.trial.node, one.step) for one in failed] == [("dead", "node")] * 2 + [("tainted", "node")] * 2
    assert "condition is Unknown" in failed[0].problem and "engine-not-ready" in failed[2].problem
    assert left_out == {"cordoned": "is cordoned", "rolling": "is in the middle of a roll-out"}
    assert select(nodes, {"runner": ["1.2.3"]}, ["b"])[0] == [Trial("b", "runner", "1.2.3")]


def test_a_pod_goes_to_its_node_by_the_scheduler_and_has_a_word_of_its_own() -> None:
    spec = {"containers": [{"name": "runner", "command": ["sh", "-c", "RUN it", "x", "RUN"]}]}
    made = manifest(TRIAL, spec, "abc")
    assert made["spec"]["containers"][0]["command"] == ["sh", "-c", "RUN it", "x", "abc"]
    assert spec["containers"][0]["command"][-1] == "RUN"
    assert "nodeName" not in made["spec"] and "runner-1" in str(made["spec"]["affinity"])
    others = [
        (TRIAL, "def"),
        (Trial("runner-1", "runner", "2.0.0"), "abc"),
        (Trial("runner-2", "runner", "1.2.3"), "abc"),
    ]
    names = {manifest(trial, spec, word)["metadata"]["name"] for trial, word in others}
    assert len(names) == 3 and made["metadata"]["name"] not in names


def test_a_node_that_does_everything_well() -> None:
    found = outcome(TRIAL, pod("Succeeded", told()), "nvme.*", 300)
    assert (found.step, found.first_seconds, found.second_seconds, found.cached) == ("", 2.5, 0.5, True)
    assert found.drives == ("nvme0n1", "nvme1n1") and found.device == MOUNT
    assert found.line == (
        "runner-1: engine 1.2.3: pipeline 2.5 s, again and cached 0.5 s; "
        "work directory on nvme0n1, nvme1n1 (259:3 xfs /dev/nvme0n1p3)"
    )


@pytest.mark.parametrize(
    ("answer", "step", "problem"),
    [
        pytest.param(told(second=SECOND), "cache", "was not cached", id="not cached"),
        pytest.param(told(drives="sda "), "disk", "found drives sda, expected names that match nvme.*", id="not NVMe"),
        pytest.param(
            told(drives="nvme0n1 sda "), "disk", "found drives nvme0n1, sda", id="a stripe with another drive"
        ),
        pytest.param(told(drives=" "), "disk", "no drive that the kernel names", id="a drive that is not known"),
        pytest.param(told(drives=None), "disk", "no drive that the kernel names", id="nothing said of drives"),
        pytest.param(told(second=None), "end", "without the numbers", id="half an answer"),
        pytest.param(told(second_seconds="now"), "end", "without the numbers", id="no times"),
        pytest.param("", "end", "without the numbers", id="no answer"),
        pytest.param(told(step="x", problem="y"), "end", "y", id="a step that does not exist"),
    ],
)
def test_an_answer_that_is_not_good(answer: str, step: str, problem: str) -> None:
    found = outcome(TRIAL, pod("Succeeded", answer), "nvme.*", 300)
    assert found.step == step and problem in found.problem
    assert found.line.startswith(f"runner-1: engine 1.2.3: failed at step {step}: ")


def test_any_drive_will_do_where_that_is_said() -> None:
    assert outcome(TRIAL, pod("Succeeded", told(drives="")), "", 300).step == ""


def test_what_a_step_said_is_told_as_one_plain_line() -> None:
    answer = told(second=None, second_seconds=None, step="pipeline", problem="the second run did not end\x1b[31m")
    found = outcome(TRIAL, pod("Failed", answer), "nvme.*", 300)
    assert (found.step, found.cached, found.first_seconds) == ("pipeline", None, 2.5)
    assert "the second run did not end" in found.problem and "\x1b" not in found.line


def first_container(name: str, state: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, "state": state}]


@pytest.mark.parametrize(
    ("status", "step", "problem"),
    [
        pytest.param(
            {
                "phase": "Failed",
                "initContainerStatuses": first_container(
                    "engine-answers",
                    {"terminated": {"exitCode": 1, "message": "runner-1: the engine did not answer\n"}},
                ),
            },
            "engine",
            "runner-1: the engine did not answer",
            id="the engine does not answer",
        ),
        pytest.param(
            {
                "phase": "Failed",
                "initContainerStatuses": first_container("dagger-cli", {"terminated": {"exitCode": 127}}),
            },
            "client",
            "dagger-cli ended with 127",
            id="no client",
        ),
        pytest.param(
            {
                "phase": "Pending",
                "conditions": [{"type": "PodScheduled", "status": "False", "message": "Insufficient cpu"}],
            },
            "schedule",
            "Insufficient cpu",
            id="no room",
        ),
        pytest.param(
            {
                "phase": "Pending",
                "initContainerStatuses": first_container(
                    "engine-answers", {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
                ),
            },
            "start",
            "ImagePullBackOff no such image",
            id="no image",
        ),
        pytest.param({"phase": "Pending"}, "start", "not ended after 300", id="a volume that is not there"),
        pytest.param(
            {"phase": "Pending", "initContainerStatuses": first_container("engine-answers", {"running": {}})},
            "engine",
            "not ended after 300",
            id="still asking the engine",
        ),
        pytest.param(
            {"phase": "Running", "containerStatuses": first_container("runner", {"running": {}})},
            "pipeline",
            "not ended after 300",
            id="still at work",
        ),
        pytest.param(
            {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."},
            "end",
            "Evicted The node was low",
            id="evicted",
        ),
    ],
)
def test_a_pod_that_did_not_answer(status: dict[str, Any], step: str, problem: str) -> None:
    found = outcome(TRIAL, {"status": status}, "nvme.*", 300)
    assert found.step == step and problem in found.problem


def test_a_pod_that_is_gone() -> None:
    found = outcome(TRIAL, None, "nvme.*", 300)
    assert found.step == "end" and "removed before it ended" in found.problem
