# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a fleet is, from the objects of its API. Without timestamps: an unchanged fleet reads the same twice. Private to
the collection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.conditions import is_ready
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._names import POOL_LABEL, ROLE_LABEL

Object = Mapping[str, Any]


def _by_name(items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(items, key=lambda item: (str(item.get("node", "")), item["name"]))


def node(item: Object) -> dict[str, Any]:
    """One node."""
    labels, spec, status = item["metadata"].get("labels") or {}, item.get("spec") or {}, item.get("status") or {}
    info = status.get("nodeInfo") or {}
    taints = (
        f"{taint['key']}={taint.get('value') or ''}:{taint['effect']}".replace("=:", ":")
        for taint in spec.get("taints") or ()
    )
    return {
        "name": item["metadata"]["name"],
        "pool": labels.get(POOL_LABEL, ""),
        "roles": sorted(label[len(ROLE_LABEL) :] for label in labels if label.startswith(ROLE_LABEL)),
        "ready": is_ready(item),
        "schedulable": not spec.get("unschedulable", False),
        "taints": sorted(taints),
        "kubelet": str(info.get("kubeletVersion", "")),
        "runtime": str(info.get("containerRuntimeVersion", "")),
        "os": str(info.get("osImage", "")),
        "arch": str(info.get("architecture", "")),
    }


def engine(pod: Object) -> dict[str, Any]:
    """One engine, by its pod."""
    containers = (pod.get("spec") or {}).get("containers") or [{}]
    return {
        "name": pod["metadata"]["name"],
        "node": str((pod.get("spec") or {}).get("nodeName") or ""),
        "image": str(containers[0].get("image") or ""),
        "ready": is_ready(pod),
    }


def deployment(item: Object) -> dict[str, Any]:
    """One RunnerDeployment: where its runners register, and how many there are."""
    spec, status = item.get("spec") or {}, item.get("status") or {}
    runner = (spec.get("template") or {}).get("spec") or {}
    return {
        "name": item["metadata"]["name"],
        "pool": str((runner.get("nodeSelector") or {}).get(POOL_LABEL, "")),
        "scope": str(runner.get("repository") or runner.get("organization") or runner.get("enterprise") or ""),
        "labels": sorted(runner.get("labels") or ()),
        "desired": int(status.get("desiredReplicas") or spec.get("replicas") or 0),
        "available": int(status.get("availableReplicas") or 0),
    }


def runner(item: Object, nodes: Mapping[str, str]) -> dict[str, Any]:
    """One Runner and the node of its pod."""
    name, status = item["metadata"]["name"], item.get("status") or {}
    owner = (item["metadata"].get("labels") or {}).get("runner-deployment-name", "")
    return {
        "name": name,
        "node": nodes.get(name, ""),
        "deployment": owner,
        "phase": str(status.get("phase") or ""),
        "ready": bool(status.get("ready")),
    }


def scale_set(item: Object) -> dict[str, Any]:
    """One AutoscalingRunnerSet: where its runners register, and how many there may be."""
    spec = item.get("spec") or {}
    pod = (spec.get("template") or {}).get("spec") or {}
    address = str(spec.get("githubConfigUrl") or "").partition("://")[2]
    return {
        "name": item["metadata"]["name"],
        "pool": str((pod.get("nodeSelector") or {}).get(POOL_LABEL, "")),
        "scope": address.partition("/")[2],
        "min": int(spec.get("minRunners") or 0),
        "max": int(spec["maxRunners"]) if spec.get("maxRunners") is not None else None,
    }


def ephemeral_runner(item: Object, nodes: Mapping[str, str]) -> dict[str, Any]:
    """One runner of a scale set and the node of its pod."""
    name, status = item["metadata"]["name"], item.get("status") or {}
    return {
        "name": name,
        "node": nodes.get(name, ""),
        "deployment": (item["metadata"].get("labels") or {}).get("actions.github.com/scale-set-name", ""),
        "phase": str(status.get("phase") or ""),
        "ready": bool(status.get("ready")),
    }


def fleet(
    nodes: Sequence[Object],
    engines: Sequence[Object],
    deployments: Sequence[Object],
    runners: Sequence[Object],
    runner_pods: Sequence[Object],
    scale_sets: Sequence[Object] = (),
    ephemeral_runners: Sequence[Object] = (),
) -> dict[str, Any]:
    """The whole fleet. `engines`: pods of the engine's namespace; those that no DaemonSet made are left out."""
    places = {pod["metadata"]["name"]: str((pod.get("spec") or {}).get("nodeName") or "") for pod in runner_pods}
    made = [
        pod
        for pod in engines
        if any(owner.get("kind") == "DaemonSet" for owner in pod["metadata"].get("ownerReferences") or ())
    ]
    return {
        "nodes": _by_name([node(item) for item in nodes]),
        "engines": _by_name([engine(pod) for pod in made]),
        "runner_deployments": _by_name([deployment(item) for item in deployments]),
        "scale_sets": _by_name([scale_set(item) for item in scale_sets]),
        "runners": _by_name(
            [
                *(runner(item, places) for item in runners),
                *(ephemeral_runner(item, places) for item in ephemeral_runners),
            ]
        ),
    }


def line(content: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """The fleet in one line."""

    def count(kind: str) -> str:
        return f"{sum(bool(item.get('ready')) for item in content[kind])} of {len(content[kind])}"

    return f"{count('nodes')} nodes, {count('engines')} engines and {count('runners')} runners are ready"
