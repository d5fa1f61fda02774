"""What keeps a cluster from being ready, over objects as the API returns them."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.objects import ClusterReader, explain
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.problems import (
    MAX_EVENTS,
    MAX_LINES,
    Objects,
    pressed,
    problems,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._text import MAX_LINE, clean
from hypothesis import given
from hypothesis import strategies as st

READY = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status"}
Found = dict[str, Any]


def node(name: str, *conditions: Found, **spec: Any) -> Found:
    return {"metadata": {"name": name}, "spec": spec, "status": {"conditions": list(conditions) or [READY]}}


def pressure(kind: str = "DiskPressure") -> Found:
    return {"type": kind, "status": "True", "reason": f"KubeletHas{kind}", "message": f"kubelet has {kind}"}


def pod(name: str, namespace: str = "cert-manager", **status: Any) -> Found:
    return {
        "metadata": {"name": name, "namespace": namespace, "uid": f"uid-{name}"},
        "spec": {},
        "status": {"phase": "Pending", **status},
    }


def container(state: Found, **more: Any) -> Found:
    return {"name": "main", "image": "quay.io/jetstack/x:v1", "ready": False, "state": state, "lastState": {}, **more}


def waiting(reason: str, message: str = "", **more: Any) -> Found:
    return container({"waiting": {"reason": reason, "message": message}}, **more)


def event(
    about: str,
    reason: str,
    message: str,
    kind: str = "Pod",
    namespace: str = "cert-manager",
    at: str = "2026-11-26T06:00:00Z",
) -> Found:
    return {
        "type": "Warning",
        "reason": reason,
        "message": message,
        "involvedObject": {"kind": kind, "namespace": namespace, "name": about},
        "lastTimestamp": at,
        "metadata": {"name": f"{about}.1"},
    }


UNSCHEDULABLE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/4 nodes are available: 4 node(s) had untolerated taint {node.kubernetes.io/disk-pressure: }. "
    "preemption: 0/4 nodes",
}
UNREADY = {
    "type": "Ready",
    "status": "False",
    "reason": "ContainersNotReady",
    "message": "containers with unready status: [main]",
}

CASES: dict[str, tuple[Found, list[str]]] = {
    "a fleet that is well": (
        {
            "nodes": [node("n")],
            "pods": [
                pod("p", phase="Running", conditions=[READY]),
                pod("done", phase="Succeeded", conditions=[UNREADY]),
            ],
        },
        [],
    ),
    "disk pressure on all nodes": (
        {
            "nodes": [node(f"runner-{number}", READY, pressure()) for number in range(1, 6)],
            "pods": [pod("webhook-1", conditions=[UNSCHEDULABLE])],
        },
        [
            "node runner-1, runner-2, runner-3 and 2 more: DiskPressure (kubelet has DiskPressure)",
            "pod cert-manager/webhook-1: Unschedulable: 0/4 nodes are available: 4 node(s) had untolerated taint "
            "{node.kubernetes.io/disk-pressure: }. preemption: 0/4 nodes",
        ],
    ),
    "a node that is not ready, one that is silent, one that is cordoned": (
        {
            "nodes": [
                node(
                    "a",
                    {
                        "type": "Ready",
                        "status": "False",
                        "reason": "KubeletNotReady",
                        "message": "cni plugin not initialized",
                    },
                ),
                node("b", {"type": "Ready", "status": "Unknown", "message": "Kubelet stopped posting node status."}),
                node("c", unschedulable=True),
            ]
        },
        [
            "node a: NotReady (cni plugin not initialized)",
            "node b: its kubelet stopped reporting (Kubelet stopped posting node status.)",
            "node c: cordoned (unschedulable)",
        ],
    ),
    "an image that is not there": (
        {
            "pods": [
                pod(
                    "p",
                    conditions=[UNREADY],
                    containerStatuses=[waiting("ImagePullBackOff", 'Back-off pulling "quay.io/x:v1": not found')],
                )
            ]
        },
        [
            "pod cert-manager/p: container main: ImagePullBackOff, image quay.io/jetstack/x:v1: Back-off pulling "
            '"quay.io/x:v1": not found'
        ],
    ),
    "a program that ends": (
        {
            "pods": [
                pod(
                    "p",
                    phase="Running",
                    conditions=[UNREADY],
                    containerStatuses=[
                        waiting(
                            "CrashLoopBackOff",
                            "back-off 5m0s restarting failed container",
                            lastState={"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
                        )
                    ],
                )
            ]
        },
        [
            "pod cert-manager/p: container main: CrashLoopBackOff, image quay.io/jetstack/x:v1: back-off 5m0s "
            "restarting failed container; it ended with exit code 137 (OOMKilled)"
        ],
    ),
    "a program that its liveness probe ends": (
        {
            "pods": [
                pod(
                    "p",
                    phase="Running",
                    conditions=[UNREADY],
                    containerStatuses=[waiting("CrashLoopBackOff", "back-off")],
                )
            ],
            "events": [event("p", "Unhealthy", "Liveness probe failed: connection refused")],
        },
        [
            "pod cert-manager/p: container main: CrashLoopBackOff, image quay.io/jetstack/x:v1: back-off; "
            "Unhealthy: Liveness probe failed: connection refused"
        ],
    ),
    "a first container that fails": (
        {
            "pods": [
                pod(
                    "p",
                    initContainerStatuses=[
                        container({"terminated": {"exitCode": 1, "reason": "Error", "message": "no route"}})
                    ],
                )
            ]
        },
        ["pod cert-manager/p: container main: ended with exit code 1 (Error): no route, image quay.io/jetstack/x:v1"],
    ),
    "a Secret that is not there": (
        {
            "pods": [
                pod(
                    "p",
                    containerStatuses=[waiting("CreateContainerConfigError", 'secret "controller-manager" not found')],
                )
            ]
        },
        [
            "pod cert-manager/p: container main: CreateContainerConfigError, image quay.io/jetstack/x:v1: "
            'secret "controller-manager" not found'
        ],
    ),
    "a probe that fails": (
        {
            "pods": [
                pod(
                    "p",
                    phase="Running",
                    conditions=[UNREADY],
                    containerStatuses=[container({"running": {"startedAt": "x"}})],
                )
            ],
            "events": [
                event("p", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 500"),
                event("p", "Unhealthy", "an older one", at="2026-11-26T05:00:00Z"),
            ],
        },
        [
            "pod cert-manager/p: Running, not ready: Unhealthy: Readiness probe failed: HTTP probe failed with "
            "statuscode: 500"
        ],
    ),
    "a volume that cannot be mounted": (
        {
            "pods": [pod("p", conditions=[UNREADY], containerStatuses=[waiting("ContainerCreating")])],
            "events": [event("p", "FailedMount", "hostPath type check failed: /var/lib/x is not a directory")],
        },
        [
            "pod cert-manager/p: Pending, not ready: FailedMount: hostPath type check failed: /var/lib/x is not a "
            "directory"
        ],
    ),
    "a pod that no event explains": (
        {"pods": [pod("p", phase="Running", conditions=[UNREADY])]},
        ["pod cert-manager/p: Running, not ready: containers with unready status: [main]"],
    ),
    "an evicted pod": (
        {
            "pods": [
                pod("p", phase="Failed", reason="Evicted", message="The node was low on resource: ephemeral-storage.")
            ]
        },
        ["pod cert-manager/p: Evicted: The node was low on resource: ephemeral-storage."],
    ),
    "a pod that does not go": (
        {
            "pods": [
                {
                    "metadata": {
                        "name": "p",
                        "namespace": "x",
                        "deletionTimestamp": "2026-11-26T05:00:00Z",
                        "finalizers": ["actions.summerwind.dev/runner-pod"],
                    },
                    "status": {"phase": "Running"},
                }
            ]
        },
        ["pod x/p: stopping since 2026-11-26T05:00:00Z, held by actions.summerwind.dev/runner-pod"],
    ),
    "a quota": (
        {
            "workloads": [
                {
                    "kind": "ReplicaSet",
                    "metadata": {"name": "webhook-5d", "namespace": "cert-manager"},
                    "status": {
                        "conditions": [
                            {
                                "type": "ReplicaFailure",
                                "status": "True",
                                "reason": "FailedCreate",
                                "message": 'pods "webhook-5d-x" is forbidden: exceeded quota: small, requested: '
                                "pods=1, limited: pods=0",
                            }
                        ]
                    },
                }
            ]
        },
        [
            'ReplicaSet cert-manager/webhook-5d: FailedCreate: pods "webhook-5d-x" is forbidden: exceeded quota: '
            "small, "
            "requested: pods=1, limited: pods=0"
        ],
    ),
    "a DaemonSet that no node takes": (
        {
            "workloads": [
                {
                    "kind": "DaemonSet",
                    "metadata": {"name": "engine", "namespace": "dagger"},
                    "status": {"desiredNumberScheduled": 0},
                }
            ]
        },
        ["DaemonSet dagger/engine: no node takes its pods: none has the labels and lacks the taints that it asks for"],
    ),
    "a DaemonSet that security admission refuses": (
        {
            "workloads": [
                {
                    "kind": "DaemonSet",
                    "metadata": {"name": "engine", "namespace": "dagger"},
                    "status": {"desiredNumberScheduled": 2, "currentNumberScheduled": 0},
                }
            ],
            "events": [
                event(
                    "engine",
                    "FailedCreate",
                    'violates PodSecurity "baseline:latest": privileged',
                    kind="DaemonSet",
                    namespace="dagger",
                )
            ],
        },
        ['DaemonSet dagger/engine: FailedCreate: violates PodSecurity "baseline:latest": privileged'],
    ),
    "a claim without a volume": (
        {
            "claims": [{"metadata": {"name": "data", "namespace": "x"}, "status": {"phase": "Pending"}}],
            "events": [
                event(
                    "data",
                    "ProvisioningFailed",
                    'storageclass "fast" not found',
                    kind="PersistentVolumeClaim",
                    namespace="x",
                )
            ],
        },
        ['PersistentVolumeClaim x/data: Pending: ProvisioningFailed: storageclass "fast" not found'],
    ),
    "a webhook without a pod": (
        {
            "webhooks": [
                {
                    "metadata": {"name": "cert-manager-webhook"},
                    "webhooks": [
                        {
                            "failurePolicy": "Fail",
                            "clientConfig": {"service": {"namespace": "cert-manager", "name": "cert-manager-webhook"}},
                        },
                        {
                            "failurePolicy": "Ignore",
                            "clientConfig": {"service": {"namespace": "cert-manager", "name": "other"}},
                        },
                        {"failurePolicy": "Fail", "clientConfig": {"url": "https://example.org"}},
                    ],
                },
                {
                    "metadata": {"name": "good"},
                    "webhooks": [{"clientConfig": {"service": {"namespace": "arc-systems", "name": "webhook"}}}],
                },
            ],
            "endpoint_slices": [
                {
                    "metadata": {
                        "namespace": "cert-manager",
                        "labels": {"kubernetes.io/service-name": "cert-manager-webhook"},
                    },
                    "endpoints": [{"conditions": {"ready": False}}],
                },
                {
                    "metadata": {"namespace": "arc-systems", "labels": {"kubernetes.io/service-name": "webhook"}},
                    "endpoints": [{"conditions": {"ready": True}}],
                },
            ],
        },
        [
            "webhook cert-manager-webhook: its Service cert-manager/cert-manager-webhook has no ready endpoint, "
            "so the API refuses its objects"
        ],
    ),
    "a warning about a pod that is ready now": (
        {
            "pods": [pod("p", phase="Running", conditions=[READY])],
            "events": [event("p", "FailedScheduling", "0/5 nodes are available")],
        },
        [],
    ),
    "the same warning about several things": (
        {"events": [event(name, "FailedMount", "no such Secret", kind="Thing") for name in ("a", "b")]},
        ["event Thing cert-manager/a, Thing cert-manager/b: FailedMount: no such Secret"],
    ),
    "a warning about something else": (
        {
            "events": [
                event("runner-1", "FreeDiskSpaceFailed", "wanted to free 9 bytes, freed 0", kind="Node", namespace="")
            ]
        },
        ["event Node runner-1: FreeDiskSpaceFailed: wanted to free 9 bytes, freed 0"],
    ),
}


@pytest.mark.parametrize(("found", "expected"), CASES.values(), ids=CASES)
def test_each_kind_is_one_line(found: Found, expected: list[str]) -> None:
    assert problems(Objects(**found)) == expected


def test_the_same_of_many_pods_is_one_line() -> None:
    pods = [pod(f"p-{number:02}", conditions=[UNSCHEDULABLE]) for number in range(40)]
    lines = problems(Objects(pods=pods))
    assert len(lines) == 1 and lines[0].startswith(
        "pod cert-manager/p-00, cert-manager/p-01, cert-manager/p-02 and 37 more: Unschedulable:"
    )


def test_a_large_cluster_gives_a_short_text() -> None:
    """However many different things are wrong, and whatever they say."""
    pods = [
        pod(f"p-{number}", phase="Failed", reason="Error", message=f"{number} " + "x" * 5000) for number in range(900)
    ]
    events = [event(f"thing-{number}", "Odd", f"{number} " + "y" * 5000, kind="Thing") for number in range(900)]
    lines = problems(Objects(pods=pods, events=events))
    assert len(lines) == MAX_LINES + 1 + MAX_EVENTS
    assert lines[MAX_LINES] == f"and {900 - MAX_LINES} more lines" and max(map(len, lines)) < 2 * MAX_LINE


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred\x1b[0m\r\n\ttwo\x00", "[31mred [0m two"),
        ("a\u202eb\u200bc\ufeff", "abc"),
        ("a\u2028b", "a b"),
        (
            "pull from https://robot:s3cret@registry.example.org/x failed",
            "pull from https://***@registry.example.org/x failed",
        ),
        ("{{ lookup('pipe', 'id') }}", "{{ lookup('pipe', 'id') }}"),
        (None, "None"),
    ],
    ids=["terminal", "direction", "line separator", "password", "template", "none"],
)
def test_texts_of_the_cluster_are_data(text: Any, expected: str) -> None:
    assert clean(text) == expected


@given(st.text(max_size=500))
def test_any_text_is_one_bounded_line(text: str) -> None:
    told = clean(text)
    assert len(told) <= MAX_LINE and told.isprintable() and "\n" not in told


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([], False),
        ([node("a", READY, pressure()), node("b", READY, pressure("MemoryPressure"))], True),
        ([node("a", READY, pressure()), node("b", READY, pressure("PIDPressure")), node("c")], False),
        ([node("a", READY, {"type": "DiskPressure", "status": "False"})], False),
    ],
    ids=["no node", "all", "one is free", "no pressure"],
)
def test_pressed(nodes: list[Found], expected: bool) -> None:
    assert pressed(nodes) is expected


class Refused(Exception):
    status, reason = 403, "Forbidden"


class Api:
    """Answers the lists that it has, as the client does."""

    def __init__(self, lists: dict[str, Any]) -> None:
        self.lists, self.asked = lists, list[str]()

    def call_api(self, path: str, method: str, **_rest: Any) -> Any:
        assert method == "GET"
        self.asked.append(path)
        found = self.lists.get(path, [])
        if isinstance(found, Exception):
            raise found
        return SimpleNamespace(data=json.dumps({"items": found}).encode())


def test_one_look_reads_the_namespaces_and_the_nodes() -> None:
    api = Api(
        {
            "/api/v1/nodes": [node("a", READY, pressure())],
            "/api/v1/namespaces/x/pods": [pod("p", "x", conditions=[UNSCHEDULABLE])],
            "/apis/apps/v1/namespaces/x/daemonsets": [
                {"metadata": {"name": "d", "namespace": "x"}, "status": {"desiredNumberScheduled": 0}}
            ],
        }
    )
    text = explain(api, ["x", "kube-system", "x"])
    assert (
        "node a: DiskPressure" in text
        and "pod x/p: Unschedulable" in text
        and "DaemonSet x/d: no node takes its pods" in text
    )
    assert len(api.asked) == len(set(api.asked)) == 2 * 7 + 4


def test_what_may_not_be_read_is_said_and_does_not_end_the_look() -> None:
    lists: dict[str, Any] = {
        "/api/v1/nodes": Refused(),
        "/api/v1/namespaces/x/events": OSError("connection refused\nto https://u:p@host"),
        "/api/v1/namespaces/x/pods": [pod("p", "x", conditions=[UNSCHEDULABLE])],
    }
    lines = problems(ClusterReader(Api(lists)).objects(["x"]))
    assert "could not read /api/v1/nodes: HTTP 403 Forbidden" in lines
    assert "could not read /api/v1/namespaces/x/events: OSError: connection refused to https://***@host" in lines
    assert lines[-1].startswith("pod x/p: Unschedulable")


def test_webhooks_are_not_judged_where_endpoints_cannot_be_read() -> None:
    webhook = {"metadata": {"name": "w"}, "webhooks": [{"clientConfig": {"service": {"namespace": "x", "name": "s"}}}]}
    path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    assert "webhook w: its Service x/s has no ready endpoint" in explain(Api({path: [webhook]}), ["x"])
    told = explain(Api({path: [webhook], "/apis/discovery.k8s.io/v1/endpointslices": Refused()}), ["x"])
    assert "webhook w" not in told and "could not read /apis/discovery.k8s.io/v1/endpointslices" in told
