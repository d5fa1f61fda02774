# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests to the Kubernetes API about engines and runners; plain dicts. Private to the collection."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.client import (
    CONFLICT,
    FORBIDDEN,
    GONE,
    LEGACY_RUNNERS,
    NOT_FOUND,
    SCALE_SETS,
    Cluster,
    status,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.conditions import TIME, owner
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.drain_plan import UNREGISTER
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.readiness import (
    stuck_container,
    with_taint,
    without_taint,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.rollout_plan import (
    Progress,
    RolloutError,
    notes,
    read_gauges,
    read_progress,
    read_state,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._names import POOL_LABEL
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._text import clean

ENGINE_SELECTOR = "app.kubernetes.io/name=dagger-engine"
FORMER_ACCOUNT = "dagger-engine"
METRICS_PORTS = (9090, 9091)  # of the engine, and of what watches its state
TRIES = 10
# Of a runner pod's owner, by its kind: a scale set's, and the legacy controller's.
RUNNER_RESOURCES = {
    "EphemeralRunner": (SCALE_SETS, "ephemeralrunners"),
    "Runner": (LEGACY_RUNNERS, "runners"),
}
MAX_ANSWER = 4 << 20  # characters of what a pod answers


class EngineCluster(Cluster):
    """A cluster with engines in one namespace, and runners in another."""

    def __init__(self, api: Any, pools: list[str], namespace: str, runner_namespace: str = "") -> None:
        super().__init__(api)
        self.pools = pools
        self.namespace = namespace
        self.runner_namespace = runner_namespace

    def nodes(self) -> list[dict[str, Any]]:
        """The nodes that carry engines."""
        return self.items("/api/v1/nodes", {"labelSelector": f"{POOL_LABEL} in ({','.join(self.pools)})"})

    def all_nodes(self) -> list[dict[str, Any]]:
        """The nodes of the cluster."""
        return self.items("/api/v1/nodes")

    def daemonsets(self) -> list[dict[str, Any]]:
        """One for each pool and version."""
        return self.items(f"/apis/apps/v1/namespaces/{self.namespace}/daemonsets", {"labelSelector": ENGINE_SELECTOR})

    def namespaces(self) -> list[str]:
        """Names of all namespaces."""
        return [str(item["metadata"]["name"]) for item in self.items("/api/v1/namespaces")]

    def secret_digest(self, name: str) -> str:
        """A checksum of what a Secret of the engines' namespace holds, empty where there is none of that name."""
        found = self.get(f"/api/v1/namespaces/{self.namespace}/secrets/{name}", passed=(NOT_FOUND,))
        if not found:
            return ""
        # With the object's own identity, so that equal secrets of two fleets have different sums.
        held = json.dumps([found["metadata"]["uid"], found.get("data") or {}], sort_keys=True)
        return hashlib.sha256(held.encode()).hexdigest()[:16]

    def former_access(self) -> list[dict[str, str]]:
        """What earlier releases made for the engines' pods, where it is there and no pod or DaemonSet uses it: the
        account comes last.
        """
        place = f"/api/v1/namespaces/{self.namespace}"
        account = self.get(f"{place}/serviceaccounts/{FORMER_ACCOUNT}", passed=(NOT_FOUND,))
        if not account:
            return []
        ours = (account["metadata"].get("labels") or {}).get("app.kubernetes.io/managed-by") == "runnerfleet"
        user = f"spec.serviceAccountName={FORMER_ACCOUNT}"
        used = any(
            item["spec"]["template"]["spec"].get("serviceAccountName") == FORMER_ACCOUNT for item in self.daemonsets()
        )
        if not ours or used or self.items(f"{place}/pods", {"fieldSelector": user, "limit": "1"}):
            return []
        rbac, found = "rbac.authorization.k8s.io/v1", []
        for suffix in ("Binding", ""):
            found.append(
                {"apiVersion": rbac, "kind": f"ClusterRole{suffix}", "name": f"{self.namespace}-{FORMER_ACCOUNT}"}
            )
            for namespace in (self.namespace, self.runner_namespace):
                found.append(
                    {"apiVersion": rbac, "kind": f"Role{suffix}", "name": FORMER_ACCOUNT, "namespace": namespace}
                )
        return [
            *found,
            {"apiVersion": "v1", "kind": "ServiceAccount", "name": FORMER_ACCOUNT, "namespace": self.namespace},
        ]

    def kinds(self, group: str) -> list[str]:
        """Kinds of a group of the API with its version; none where the cluster does not have it."""
        found = self.get(f"/apis/{group}", passed=(NOT_FOUND,)).get("resources") or []
        return sorted({str(item["kind"]) for item in found if "/" not in item["name"]})

    def revisions(self) -> list[dict[str, Any]]:
        """The templates that the DaemonSets had, as far as the cluster remembers."""
        return self.items(
            f"/apis/apps/v1/namespaces/{self.namespace}/controllerrevisions", {"labelSelector": ENGINE_SELECTOR}
        )

    def engine_pods(self, node: str = "") -> list[dict[str, Any]]:
        """Engine pods of one node, or all of them."""
        place = {"fieldSelector": f"spec.nodeName={node}"} if node else {}
        return self.items(f"/api/v1/namespaces/{self.namespace}/pods", {"labelSelector": ENGINE_SELECTOR, **place})

    def runner_pods(self, node: str = "") -> list[dict[str, Any]]:
        """Pods in the runners' namespace, on one node or all of them."""
        place = {"fieldSelector": f"spec.nodeName={node}"} if node else None
        return self.items(f"/api/v1/namespaces/{self.runner_namespace}/pods", place)

    def runner(self, pod: dict[str, Any]) -> dict[str, Any]:
        """The object of the controller whose pod this is; empty where it is gone, or the pod is no runner."""
        for kind, resources in RUNNER_RESOURCES.items():
            if name := owner(pod, kind):
                path = f"{resources[0]}/namespaces/{pod['metadata']['namespace']}/{resources[1]}/{name}"
                return self.get(path, passed=(NOT_FOUND,))
        return {}

    def gauges(self, pod: str) -> dict[str, float]:
        """What the engine and its state say of themselves; empty when they do not answer."""
        found: dict[str, float] = {}
        for port in METRICS_PORTS:
            try:
                text = self.text(self._proxy(pod, port, "metrics"), timeout=15)
            except Exception as error:
                # Whatever the way through the API server throws: the pod is starting, stopping, or does not serve this
                # port.
                if status(error) == FORBIDDEN:
                    raise
                continue
            found.update(read_gauges(text[:MAX_ANSWER]))
        return found

    def state(self, pod: str) -> dict[str, Any]:
        """What the node says of an engine's state, see read_state. Empty when it does not answer."""
        try:
            return read_state(self.text(self._proxy(pod, METRICS_PORTS[1], "state"))[:MAX_ANSWER])
        except Exception as error:
            if status(error) == FORBIDDEN:
                raise
            return {}

    def mark(self, node: str, progress: Progress | None) -> None:
        """Write down how far the node's roll is, and keep new runners away from it; without progress, let them in."""
        for _try in range(TRIES):
            now = self.get(f"/api/v1/nodes/{node}")
            meta = {
                "resourceVersion": now["metadata"]["resourceVersion"],
                "annotations": notes(read_progress(now), progress),
            }
            taints = with_taint(now) if progress else without_taint(now)
            if self._patch_node(node, {"metadata": meta, "spec": {"taints": taints or None}}):
                return
        raise RolloutError(_busy_node(node))

    def set_closed(self, node: str, closed: bool, taint: bool = False) -> None:
        """Cordon a node, with the taint of engines that do not answer yet or without; or uncordon it and leave its
        taints.
        """
        for _try in range(TRIES):
            now = self.get(f"/api/v1/nodes/{node}")
            spec: dict[str, Any] = {"unschedulable": True if closed else None}
            if taint:
                spec["taints"] = with_taint(now)
            meta = {"resourceVersion": now["metadata"]["resourceVersion"]}
            if self._patch_node(node, {"metadata": meta, "spec": spec}):
                return
        raise RolloutError(_busy_node(node))

    def set_taints(self, node: dict[str, Any], taints: list[Any]) -> bool:
        """Change a node's taints; False when somebody changed the node since it was read."""
        body = {
            "metadata": {"resourceVersion": node["metadata"]["resourceVersion"]},
            "spec": {"taints": taints or None},
        }
        return self._patch_node(node["metadata"]["name"], body)

    def last_line(self, pod: dict[str, Any]) -> str:
        """The last line that the container in trouble wrote, if the kubelet can tell."""
        query = {"tailLines": "1", "container": stuck_container(pod)}
        for previous in ("false", "true"):
            try:
                found = self.text(
                    f"{self._path(pod, '/api/v1', 'pods')}/log", {**query, "previous": previous}, timeout=10
                )
            except Exception:  # whatever its transport throws: what is wrong is told without it
                continue
            if found.strip():
                return clean(found.strip()[-500:], 500)
        return ""

    def unregister(self, pod: dict[str, Any]) -> None:
        """Ask the legacy controller to take a runner off the service's list once it has no job."""
        note = {"metadata": {"annotations": {UNREGISTER: time.strftime(TIME, time.gmtime())}}}
        self.patch(self._path(pod, "/api/v1", "pods"), note, passed=GONE)

    def release(self, pod: dict[str, Any]) -> None:
        """Ask the scale-set controller to let a runner go once it has no job: it has the name of its pod."""
        self.delete(self._path(pod, *RUNNER_RESOURCES["EphemeralRunner"]), passed=GONE)

    def remove(self, pod: dict[str, Any]) -> None:
        """Ask a pod to stop, with all the time that it was given, and no other pod of that name."""
        body = {"preconditions": {"uid": pod["metadata"]["uid"]}}
        self.delete(self._path(pod, "/api/v1", "pods"), body, passed=GONE)

    def stopped(self, pod: str, uid: str, container: str, timeout: float) -> tuple[bool, int | None]:
        """Wait until a pod is gone; returns whether it is, and the exit code of its container if that was seen."""
        path, code = f"/api/v1/namespaces/{self.namespace}/pods", None
        deadline = time.monotonic() + timeout
        while True:
            found = self.get(f"{path}/{pod}", passed=(NOT_FOUND,))
            if not found or found["metadata"]["uid"] != uid:
                return True, code
            code = _exit_code(found, container, code)
            left = deadline - time.monotonic()
            if left <= 0:
                return False, code
            # The last thing that is said of a pod has its exit code, and is gone with the pod: only a watch gets to see
            # it.
            seconds = max(1, min(30, int(left)))
            query = {
                "watch": "true",
                "fieldSelector": f"metadata.name={pod}",
                "resourceVersion": found["metadata"]["resourceVersion"],
                "timeoutSeconds": str(seconds),
            }
            for line in self.request("GET", path, query, timeout=seconds + 15):
                event = json.loads(line) if line.strip() else {}
                if (event.get("object") or {}).get("kind") == "Pod":
                    code = _exit_code(event["object"], container, code)
                if event.get("type") in ("DELETED", "ERROR"):
                    break

    def _patch_node(self, node: str, body: dict[str, Any]) -> bool:
        try:
            self.patch(f"/api/v1/nodes/{node}", body)
        except Exception as error:
            if status(error) != CONFLICT:
                raise
            return False
        return True

    def _proxy(self, pod: str, port: int, path: str) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods/{pod}:{port}/proxy/{path}"

    def _path(self, item: dict[str, Any], group: str, kind: str) -> str:
        return f"{group}/namespaces/{item['metadata']['namespace']}/{kind}/{item['metadata']['name']}"


def _busy_node(node: str) -> str:
    return f"{node} was written to by others {TRIES} times in a row, expected a quiet moment"


def _exit_code(pod: dict[str, Any], container: str, known: int | None) -> int | None:
    for item in (pod.get("status") or {}).get("containerStatuses") or []:
        ended = (item.get("state") or {}).get("terminated")
        if item.get("name") == container and ended:
            return int(ended["exitCode"])
    return known
