"""API objects of runner pools, as small as a judgement needs them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners.status import (
    DEPLOYMENT_LABEL,
    FINALIZERS,
    PROTECTION,
    SET_ID,
    SET_LABEL,
    VERSION_LABEL,
    Answers,
    Observed,
)

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
OLD, YOUNG = 3600, 10
Thing = dict[str, Any]
RUNS = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
BOTH = list(FINALIZERS[:2])


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def thing(name: str, age: float = OLD, going: float | None = None, **more: Any) -> Thing:
    meta = {"name": name, "namespace": "arc-runners", "uid": f"uid-{name}", "creationTimestamp": ago(age)}
    meta |= {"deletionTimestamp": ago(going)} if going is not None else {}
    return {"metadata": meta | more.pop("metadata", {}), **more}


def scale_set(name: str = "small", number: str = "7", version: str = "0.6.1", **more: Any) -> Thing:
    spec = {"githubConfigSecret": "github", "maxRunners": 4, **more.pop("spec", {})}
    meta = {"labels": {VERSION_LABEL: version}, "annotations": {SET_ID: number} if number else {}}
    return thing(name, spec=spec, metadata=meta | more.pop("metadata", {}), **more)


def runner_set(replicas: int = 1, **more: Any) -> Thing:
    meta = {"labels": {SET_LABEL: "small"}, "ownerReferences": [{"uid": "uid-small"}]} | more.pop("metadata", {})
    spec = {"replicas": replicas, "ephemeralRunnerSpec": {"githubConfigSecret": "github"}}
    return thing("small-abc", spec=spec, metadata=meta, **more)


def runner(name: str = "r", finalizers: list[str] | None = None, **more: Any) -> Thing:
    meta = {"labels": {SET_LABEL: "small"}, "ownerReferences": [{"uid": "uid-small-abc"}]}
    meta["finalizers"] = BOTH if finalizers is None else finalizers
    status = {"runnerId": 11, "ready": True, "phase": "Running", **more.pop("status", {})}
    return thing(name, spec={"githubConfigSecret": "github"}, status=status, metadata=meta, **more)


def pod(name: str = "r", node: str = "runner-1", **more: Any) -> Thing:
    return thing(name, spec={"nodeName": node}, status=more.pop("status", RUNS), **more)


def ended(seconds: float) -> Thing:
    return {
        "phase": "Succeeded",
        "containerStatuses": [
            {"name": "runner", "state": {"terminated": {"exitCode": 0, "finishedAt": ago(seconds)}}},
        ],
    }


def listener(of: str = "small", **more: Any) -> Thing:
    meta = {"namespace": "arc-systems", "finalizers": [FINALIZERS[2]]} | more.pop("metadata", {})
    return thing("small-listener", spec={"autoscalingRunnerSetName": of}, metadata=meta, **more)


def deployment(ready: int = 1, label: tuple[str, str] = ("app.kubernetes.io/part-of", "gha-rs-controller")) -> Thing:
    return thing(
        "controller", metadata={"labels": dict([label])}, spec={"replicas": 1}, status={"readyReplicas": ready}
    )


def protected(kind: str = "Role", of: str = "gone", **more: Any) -> Thing:
    return thing("p", kind=kind, metadata={"labels": {SET_LABEL: of}, "finalizers": [PROTECTION]}, **more)


def legacy(replicas: int | None = 1, **more: Any) -> Thing:
    return thing("old", spec={"replicas": replicas}, **more)


def legacy_runner(name: str = "old-1", **more: Any) -> Thing:
    meta = {"labels": {DEPLOYMENT_LABEL: "old"}, "finalizers": ["runner.actions.summerwind.dev"]}
    return thing(name, metadata=meta, status=more.pop("status", {"phase": "Running"}), **more)


def observed(**more: Any) -> Observed:
    """A healthy set with one idle runner, but for what is given."""
    healthy: dict[str, Any] = {
        "now": NOW,
        "sets": [scale_set()],
        "runner_sets": [runner_set()],
        "runners": [runner()],
        "listeners": [listener()],
        "pods": [pod()],
        "listener_pods": [pod("small-listener")],
        "controllers": [deployment()],
        "nodes": frozenset({"runner-1"}),
        "secrets": frozenset({"github"}),
        "answers": {"small": Answers(set_exists=True, available=0, assigned=0, running=0, agents={})},
    }
    return Observed(**(healthy | more))
