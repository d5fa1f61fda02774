"""What the accounts that lie on a runner node may do, and what the policies refuse: python -m lab.identities
[--kubeconfig FILE].

The fleet of LAB_FLEET has to be up and through site.yml, with a runner on a runner node. Questions are access reviews;
what is written is a dry run, as the account itself: by a token that is bound to its pod where policies look at that,
else by impersonation. Nothing is changed.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import kubernetes

from lab.proof.model import ENGINE_NAMESPACE, POOL_LABEL, RUNNER_NAMESPACE
from lab.settings import current_fleet

CONTROLLERS = "arc-systems"
# (verb, group, resource, subresource, namespace; empty: all). No account of a pod on a runner node may do any of them.
FORBIDDEN = (
    *((verb, "", "pods", "", RUNNER_NAMESPACE) for verb in ("get", "list", "watch", "create", "delete", "patch")),
    ("create", "", "pods", "exec", RUNNER_NAMESPACE),
    ("create", "", "pods", "eviction", RUNNER_NAMESPACE),
    ("list", "", "pods", "", ""),
    *(
        (verb, "", "secrets", "", namespace)
        for verb in ("get", "list")
        for namespace in (RUNNER_NAMESPACE, CONTROLLERS, "kube-system", "")
    ),
    *((verb, "", "nodes", "", "") for verb in ("update", "patch", "delete", "create")),
    ("update", "", "nodes", "status", ""),
    ("create", "", "serviceaccounts", "token", "kube-system"),
    *((verb, "rbac.authorization.k8s.io", "clusterroles", "", "") for verb in ("bind", "escalate")),
    ("impersonate", "", "users", "", ""),
)
# What of it is known, and why.
_READS_PODS = (
    "who holds network policies reads the labels and addresses of all pods, and the API shows no part of a pod alone"
)
STATED = {
    ("system:serviceaccount:kube-flannel:kube-network-policies", verb, "pods", where): _READS_PODS
    for verb in ("list", "watch")
    for where in (RUNNER_NAMESPACE, "")
}


@dataclass(frozen=True)
class Answer:
    """An answer of the API: its code and what it said."""

    code: int
    text: str = ""

    @property
    def data(self) -> Any:
        """What was sent."""
        return json.loads(self.text)


@dataclass
class Report:
    """What was tried, a line each, and how many of it came out otherwise than it should."""

    wrong: int = 0
    lines: list[str] = field(default_factory=list)

    def add(self, what: str, found: str, good: bool) -> None:
        """Note one result."""
        self.wrong += not good
        self.lines.append(f"{'ok   ' if good else 'WRONG'} {what}: {found}")


class Cluster:
    """Raw calls, as whoever the kubeconfig names or as somebody else."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def call(self, method: str, path: str, body: Any = None, kind: str = "", **who: str) -> Answer:
        """One call. `who`: user and groups to impersonate, or a token to use instead of the kubeconfig's credential."""
        headers = {"Accept": "application/json", "Content-Type": kind or "application/json"}
        if "user" in who:
            headers["Impersonate-User"] = who["user"]
        if "group" in who:
            headers["Impersonate-Group"] = who["group"]
        client = self.client
        if "token" in who:
            configuration = copy.copy(client.configuration)
            configuration.cert_file = configuration.key_file = None
            configuration.api_key = {"authorization": f"Bearer {who['token']}"}
            configuration.api_key_prefix = {}
            client = kubernetes.client.ApiClient(configuration)
        try:
            answer = client.call_api(
                path.partition("?")[0],
                method,
                query_params=[tuple(part.split("=", 1)) for part in path.partition("?")[2].split("&") if part],
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _return_http_data_only=True,
                _request_timeout=60,
            )
        except kubernetes.client.ApiException as error:
            return Answer(error.status, str(json.loads(error.body or "{}").get("message", error.reason)))
        return Answer(200, answer.data.decode())

    def list(self, path: str) -> list[dict[str, Any]]:
        """The items of a list; an AssertionError where there is none."""
        answer = self.call("GET", path)
        assert answer.code == 200, answer
        return list(answer.data["items"])


def accounts(pods: Sequence[Mapping[str, Any]], nodes: Sequence[str]) -> list[str]:
    """The accounts of pods on these nodes, as the API calls them: a kubelet can have a token of each, whether it is
    mounted or not.
    """
    found = {
        f"system:serviceaccount:{pod['metadata']['namespace']}:{pod['spec'].get('serviceAccountName', 'default')}"
        for pod in pods
        if pod["spec"].get("nodeName") in nodes
    }
    return sorted(found)


def review(cluster: Cluster, report: Report, account: str) -> None:
    """One account and the table."""
    namespace = account.split(":")[2]
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
    allowed = []
    stated: dict[str, None] = {}
    for verb, group, resource, subresource, where in FORBIDDEN:
        attributes = {
            "verb": verb,
            "group": group,
            "resource": resource,
            "subresource": subresource,
            "namespace": where,
        }
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview"}
        spec = {"user": account, "groups": groups, "resourceAttributes": attributes}
        answer = cluster.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", {**body, "spec": spec})
        if answer.code != 200 or answer.data["status"].get("allowed"):
            reason = STATED.get((account, verb, resource, where)) if not subresource else None
            if reason:
                stated[reason] = None
                continue
            place = f" in {where}" if where else ""
            allowed.append(f"{verb} {resource}{'/' if subresource else ''}{subresource}{place} ({answer.code})")
    report.add(
        account,
        f"may {', '.join(allowed)}"
        if allowed
        else f"none of {len(FORBIDDEN)}" + "".join(f", but for this: {reason}" for reason in stated),
        not allowed,
    )


def expect(report: Report, what: str, answer: Answer, refused: str = "") -> None:
    """`refused`: a part of what the refusal says; empty where it must be let through."""
    good = answer.code in (403, 422) and refused in answer.text if refused else answer.code < 300
    report.add(what, "allowed" if answer.code < 300 else f"{answer.code} {answer.text[-200:]}", good)


def flannel(cluster: Cluster, report: Report, here: str, elsewhere: str) -> None:
    """Its account may patch the status of nodes, as far as RBAC goes."""
    pods = cluster.list(
        f"/api/v1/namespaces/kube-flannel/pods?fieldSelector=spec.nodeName={here}&labelSelector=app=flannel"
    )
    meta = pods[0]["metadata"]
    bound = {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"boundObjectRef": bound}}
    token = cluster.call("POST", "/api/v1/namespaces/kube-flannel/serviceaccounts/flannel/token", request).data[
        "status"
    ]["token"]

    def patch(node: str, body: Any) -> Answer:
        path = f"/api/v1/nodes/{node}/status?dryRun=All"
        return cluster.call("PATCH", path, body, "application/strategic-merge-patch+json", token=token)

    own = {"metadata": {"annotations": {"flannel.alpha.coreos.com/backend-type": "none"}}}
    condition = {"status": {"conditions": [{"type": "NetworkUnavailable", "status": "False", "reason": "FlannelIsUp"}]}}
    owner = [{"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "0"}]
    expect(report, "flannel: its annotation of its node", patch(here, own))
    expect(report, "flannel: whether its node has a network", patch(here, condition))
    expect(report, "flannel: its annotation of another node", patch(elsewhere, own), "node that it runs on")
    expect(
        report,
        "flannel: another annotation",
        patch(here, {"metadata": {"annotations": {"a": "b"}}}),
        "its own annotations",
    )
    expect(
        report,
        "flannel: another condition",
        patch(here, {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}),
        "network",
    )
    expect(
        report,
        "flannel: an owner of its node",
        patch(here, {"metadata": {"ownerReferences": owner}}),
        "ownerReferences",
    )
    expect(
        report,
        "flannel: an address",
        patch(here, {"status": {"addresses": [{"type": "Hostname", "address": "x"}]}}),
        "addresses",
    )
    for amount in ("capacity", "allocatable"):
        expect(report, f"flannel: {amount}", patch(here, {"status": {amount: {"pods": "1"}}}), amount)
    # Two policies refuse it, and either may be the one that is named.
    expect(
        report,
        "flannel: the pool of its node",
        patch(here, {"metadata": {"labels": {POOL_LABEL: "support"}}}),
        "denied request",
    )


def node(cluster: Cluster, report: Report, here: str, elsewhere: str) -> None:
    """What the kubelet's certificate opens, which the program beside an engine uses."""
    pods = f"/api/v1/namespaces/{ENGINE_NAMESPACE}/pods"
    engine = {
        place: cluster.list(f"{pods}?fieldSelector=spec.nodeName={place}")[0]["metadata"]["name"]
        for place in (here, elsewhere)
    }
    runners = f"/api/v1/namespaces/{RUNNER_NAMESPACE}/pods"
    label = {"metadata": {"labels": {POOL_LABEL: "support"}}}
    taints: dict[str, Any] = {"spec": {"taints": []}}
    merge = "application/merge-patch+json"

    def call(method: str, path: str, body: Any = None, kind: str = "") -> Answer:
        return cluster.call(method, path, body, kind, user=f"system:node:{here}", group="system:nodes")

    expect(report, "kubelet: its Node", call("GET", f"/api/v1/nodes/{here}"))
    expect(report, "kubelet: another Node", call("GET", f"/api/v1/nodes/{elsewhere}"), "forbidden")
    expect(report, "kubelet: runners of its node", call("GET", f"{runners}?fieldSelector=spec.nodeName={here}"))
    expect(
        report,
        "kubelet: runners of another node",
        call("GET", f"{runners}?fieldSelector=spec.nodeName={elsewhere}"),
        "forbidden",
    )
    expect(report, "kubelet: all runners", call("GET", runners), "forbidden")
    expect(report, "kubelet: end a pod of its node", call("DELETE", f"{pods}/{engine[here]}?dryRun=All"))
    expect(
        report,
        "kubelet: end a pod of another node",
        call("DELETE", f"{pods}/{engine[elsewhere]}?dryRun=All"),
        "nodeName",
    )
    expect(
        report,
        "kubelet: Secrets of the controller",
        call("GET", f"/api/v1/namespaces/{CONTROLLERS}/secrets"),
        "forbidden",
    )
    expect(
        report,
        "kubelet: the pool of its node",
        call("PATCH", f"/api/v1/nodes/{here}?dryRun=All", label, merge),
        "forbidden",
    )
    expect(
        report,
        "kubelet: the taints of its node",
        call("PATCH", f"/api/v1/nodes/{here}?dryRun=All", taints, merge),
        "forbidden",
    )


def changed(pod: Mapping[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """A copy of a pod with a change to its spec."""
    other: dict[str, Any] = copy.deepcopy(dict(pod))
    change(other["spec"])
    return other


def runner_pods(cluster: Cluster, report: Report, nodes: Sequence[str]) -> None:
    """Pods in the runners' namespace, made of one that the controller made there, and the controller elsewhere."""
    there = cluster.list(f"/api/v1/namespaces/{RUNNER_NAMESPACE}/pods?labelSelector=runnerfleet.dev/runner-pool")
    model = next(pod for pod in there if pod["spec"].get("nodeName") in nodes)
    spec = {key: value for key, value in model["spec"].items() if key not in ("nodeName", "priority")}
    good = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "runnerfleet-probe"}, "spec": spec}
    socket = next(volume for volume in spec["volumes"] if "hostPath" in volume)

    def path(value: str) -> Callable[[Any], Any]:
        return lambda spec: next(item for item in spec["volumes"] if item["name"] == socket["name"])["hostPath"].update(
            path=value
        )

    def writable(spec: Any) -> None:
        for mount in spec["containers"][0]["volumeMounts"]:
            if mount["name"] == socket["name"]:
                mount.pop("readOnly")

    def context(**what: Any) -> Callable[[Any], Any]:
        return lambda spec: spec["containers"][0].update(securityContext=what)

    cases: list[tuple[str, Callable[[Any], Any], str]] = [
        ("as the controller made it", lambda _spec: None, ""),
        ("with sudo", context(), ""),
        ("with the root of its node", path("/"), "socket directories"),
        ("with the sockets of all versions", path("/run/runnerfleet/engine"), "socket directories"),
        ("with a way around", path(socket["hostPath"]["path"] + "/.."), "must not contain '..'"),
        ("with the socket directory writable", writable, "read-only"),
        ("privileged", context(privileged=True), "no privileged containers"),
        ("with a capability", context(capabilities={"add": ["NET_ADMIN"]}), "adds no capabilities"),
        (
            "with a privileged first container",
            lambda s: s["initContainers"][0].update(securityContext={"privileged": True}),
            "privileged",
        ),
        ("in the network of its node", lambda spec: spec.update(hostNetwork=True), "namespaces and ports"),
        ("among the processes of its node", lambda spec: spec.update(hostPID=True), "namespaces and ports"),
        ("in the IPC of its node", lambda spec: spec.update(hostIPC=True), "namespaces and ports"),
        (
            "on a port of its node",
            lambda s: s["containers"][0].update(ports=[{"containerPort": 1, "hostPort": 80}]),
            "and ports",
        ),
        ("in another pool", lambda spec: spec.update(nodeSelector={POOL_LABEL: "support"}), "names a pool"),
        ("in no pool", lambda spec: spec.pop("nodeSelector"), "names a pool"),
        ("on a node by its name", lambda spec: spec.update(nodeName=nodes[0]), "nodeName"),
    ]
    for name, change, refused in cases:
        pods = f"/api/v1/namespaces/{RUNNER_NAMESPACE}/pods?dryRun=All"
        expect(report, f"a runner {name}", cluster.call("POST", pods, changed(good, change)), refused)

    account = {
        "user": f"system:serviceaccount:{CONTROLLERS}:actions-runner-controller",
        "group": "system:serviceaccounts",
    }
    for namespace, refused in (
        (RUNNER_NAMESPACE, ""),
        ("default", "namespaces of runners only"),
        ("kube-system", "namespaces of runners"),
    ):
        pods = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
        expect(
            report, f"the runner controller: a pod in {namespace}", cluster.call("POST", pods, good, **account), refused
        )
    victim = cluster.list("/api/v1/namespaces/kube-system/pods?limit=1")[0]["metadata"]["name"]
    answer = cluster.call("DELETE", f"/api/v1/namespaces/kube-system/pods/{victim}?dryRun=All", **account)
    expect(report, "the runner controller: end a pod of kube-system", answer, "namespaces of runners only")
    for namespace in (ENGINE_NAMESPACE, "kube-system"):
        answer = cluster.call("GET", f"/api/v1/namespaces/{namespace}/secrets", **account)
        expect(report, f"the runner controller: Secrets of {namespace}", answer, "forbidden")


def main(arguments: Sequence[str]) -> int:
    """Ask and try all of it; the exit code says whether it came out as it should."""
    parser = argparse.ArgumentParser(prog="python -m lab.identities")
    parser.add_argument("--kubeconfig", default=str(current_fleet().directory / "kubeconfig"))
    cluster = Cluster(kubernetes.config.new_client_from_config(parser.parse_args(arguments).kubeconfig))
    nodes = [item["metadata"]["name"] for item in cluster.list(f"/api/v1/nodes?labelSelector={POOL_LABEL}=runner")]
    report = Report()
    found = accounts(cluster.list("/api/v1/pods"), nodes)
    assert found, f"no pod has an account on {nodes}"
    for account in found:
        review(cluster, report, account)
    flannel(cluster, report, nodes[0], nodes[1])
    node(cluster, report, nodes[0], nodes[1])
    runner_pods(cluster, report, nodes)
    print("\n".join(report.lines))
    print(f"{len(report.lines) - report.wrong} as they should be, {report.wrong} not")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
