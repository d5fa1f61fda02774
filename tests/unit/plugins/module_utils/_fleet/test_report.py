"""The report of a fleet, from its API's objects."""

from __future__ import annotations

from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet import report

READY = {"conditions": [{"type": "Ready", "status": "True"}]}
DAEMON = [{"kind": "DaemonSet", "name": "e"}]


def item(name: str, **rest: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **rest.pop("metadata", {})}, **rest}


NODES = [
    item(
        "runner-1",
        metadata={"labels": {report.POOL_LABEL: "runner", "node-role.kubernetes.io/runner": "", "x": "y"}},
        spec={
            "taints": [{"key": "b", "effect": "NoExecute"}, {"key": "a", "value": "1", "effect": "NoSchedule"}],
            "unschedulable": True,
        },
        status={**READY, "nodeInfo": {"kubeletVersion": "v1", "architecture": "amd64"}},
    ),
    item("cp-1", status={"conditions": [{"type": "Ready", "status": "Unknown"}]}),
]
ENGINES = [
    item(
        "e-1",
        metadata={"ownerReferences": DAEMON},
        spec={"nodeName": "runner-1", "containers": [{"image": "e:1"}]},
        status=READY,
    ),
    item("someone-s-job", spec={"containers": [{"image": "x"}]}, status=READY),
]
SELECTED = {"organization": "o", "labels": ["b", "a"], "nodeSelector": {report.POOL_LABEL: "runner"}}
DEPLOYMENTS = [
    item(
        "medium",
        spec={"replicas": 2, "template": {"spec": SELECTED}},
        status={"availableReplicas": 1},
    )
]
RUNNERS = [
    item("m-1", metadata={"labels": {"runner-deployment-name": "medium"}}, status={"phase": "Running", "ready": True}),
    item("m-0"),
]


def test_a_fleet() -> None:
    fleet = report.fleet(
        NODES, ENGINES, DEPLOYMENTS, RUNNERS, [item("m-1", spec={"nodeName": "runner-1"}), item("m-0", spec={})]
    )
    assert [node["name"] for node in fleet["nodes"]] == ["cp-1", "runner-1"]
    assert fleet["nodes"][1] == {
        "name": "runner-1",
        "pool": "runner",
        "roles": ["runner"],
        "ready": True,
        "schedulable": False,
        "taints": ["a=1:NoSchedule", "b:NoExecute"],
        "kubelet": "v1",
        "runtime": "",
        "os": "",
        "arch": "amd64",
    }
    assert fleet["engines"] == [{"name": "e-1", "node": "runner-1", "image": "e:1", "ready": True}]
    assert fleet["runner_deployments"] == [
        {"name": "medium", "pool": "runner", "scope": "o", "labels": ["a", "b"], "desired": 2, "available": 1}
    ]
    assert fleet["runners"][1] == {
        "name": "m-1",
        "node": "runner-1",
        "deployment": "medium",
        "phase": "Running",
        "ready": True,
    }
    assert report.line(fleet) == "1 of 2 nodes, 1 of 1 engines and 1 of 2 runners are ready"


def test_scale_sets_and_their_runners() -> None:
    pod = {"nodeSelector": {report.POOL_LABEL: "runner"}}
    spec = {
        "githubConfigUrl": "https://github.com/acme/app",
        "minRunners": 1,
        "maxRunners": 8,
        "template": {"spec": pod},
    }
    labels = {"actions.github.com/scale-set-name": "small"}
    fleet = report.fleet(
        [],
        [],
        [],
        [],
        [item("r-1", spec={"nodeName": "runner-1"})],
        [item("small", spec=spec), item("open", spec={})],
        [item("r-1", metadata={"labels": labels}, status={"phase": "Running", "ready": True})],
    )
    assert fleet["scale_sets"] == [
        {"name": "open", "pool": "", "scope": "", "min": 0, "max": None},
        {"name": "small", "pool": "runner", "scope": "acme/app", "min": 1, "max": 8},
    ]
    assert fleet["runners"] == [
        {"name": "r-1", "node": "runner-1", "deployment": "small", "phase": "Running", "ready": True}
    ]


def test_an_empty_cluster() -> None:
    fleet = report.fleet([], [], [], [], [])
    assert fleet == {"nodes": [], "engines": [], "runner_deployments": [], "scale_sets": [], "runners": []}
    assert report.line(fleet) == "0 of 0 nodes, 0 of 0 engines and 0 of 0 runners are ready"
