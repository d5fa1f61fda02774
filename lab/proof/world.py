"""How the proof looks at a running fleet: the API server, the nodes by ssh, and the GitHub stand-in."""

from __future__ import annotations

import json
import re
import shlex
import urllib.request
from collections.abc import Sequence
from typing import Any

import kubernetes

from lab.process import run, ssh_options
from lab.proof.model import CACHE_MOUNT, ENGINE_NAMESPACE, POOL_LABEL, RUNNER_NAMESPACE, Disk, Job, Node, Pool
from lab.settings import Fleet


class LiveWorld:
    """A running fleet."""

    def __init__(self, fleet: Fleet, facts: dict[str, Any]) -> None:
        configuration = kubernetes.client.Configuration()
        kubernetes.config.load_kube_config(facts["kubeconfig"], client_configuration=configuration)
        configuration.proxy = None  # The lab's network is local.
        self.api = kubernetes.client.ApiClient(configuration)
        self._core = kubernetes.client.CoreV1Api(self.api)
        self._objects = kubernetes.client.CustomObjectsApi(self.api)
        self._api_error = kubernetes.client.ApiException
        self._facts = facts
        self._github = f"http://{fleet.github_address}/_lab"
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
        self._placed: dict[str, str] = {}

    def nodes(self) -> list[Node]:
        """All nodes, each with the engine pod that runs there."""
        found = [_node(item) for item in self._core.list_node(_request_timeout=30).items]
        by_name = {node.name: node for node in found}
        for pod in self._core.list_namespaced_pod(ENGINE_NAMESPACE, _request_timeout=30).items:
            owners = {owner.kind for owner in pod.metadata.owner_references or []}
            if "DaemonSet" in owners and pod.spec.node_name in by_name and not pod.metadata.deletion_timestamp:
                node = by_name[pod.spec.node_name]
                node.engine = pod.spec.containers[0].image.rpartition("/")[2]
                node.engine_ready = any(
                    state.type == "Ready" and state.status == "True" for state in pod.status.conditions or []
                )
        return found

    def pools(self) -> list[Pool]:
        """The scale sets and the RunnerDeployments."""
        try:
            listed = self._objects.list_namespaced_custom_object(
                "actions.summerwind.dev", "v1alpha1", RUNNER_NAMESPACE, "runnerdeployments", _request_timeout=30
            )
        except self._api_error as error:
            if error.status != 404:
                raise
            listed = {"items": []}  # There is no controller, so there is no such kind.
        pools = self._sets()
        for item in listed["items"]:
            if item["spec"].get("replicas") == 0:
                continue  # Nobody would take its jobs.
            runner = item["spec"]["template"]["spec"]
            repository = runner.get("repository") or f"{runner.get('organization') or 'runnerfleet'}/proof"
            pools.append(Pool(item["metadata"]["name"], repository, ("self-hosted", *runner.get("labels", []))))
        return pools

    def _sets(self) -> list[Pool]:
        try:
            listed = self._objects.list_namespaced_custom_object(
                "actions.github.com", "v1alpha1", RUNNER_NAMESPACE, "autoscalingrunnersets", _request_timeout=30
            )
        except self._api_error as error:
            if error.status == 404:
                return []
            raise
        pools = []
        for item in listed["items"]:
            owner = item["spec"]["githubConfigUrl"].partition("://")[2].partition("/")[2]
            repository = owner if "/" in owner else f"{owner}/proof"
            if item["spec"].get("maxRunners") != 0:
                pools.append(Pool(item["metadata"]["name"], repository, (item["spec"]["runnerScaleSetName"],)))
        return pools

    def disk(self, node: Node, drives: Sequence[str]) -> Disk:
        """Ask the node what is mounted and how much is used."""
        version = re.search(r":v?(\d[^@]*)", node.engine)
        state = f"{CACHE_MOUNT}/{version.group(1)}/state" if version else CACHE_MOUNT
        disk = Disk(state=state)
        found = json.loads(
            self._ssh(node, f"findmnt --json --target {shlex.quote(state)} --output TARGET,SOURCE,FSTYPE || echo {{}}")
            or "{}"
        )
        for mount in found.get("filesystems", []):
            disk.target, disk.filesystem = mount["target"], mount["fstype"]
            disk.source = mount["source"].partition("[")[0]
        if disk.source.startswith("/dev/"):
            text = self._ssh(
                node,
                f"lsblk --noheadings --inverse --list --output PATH {shlex.quote(disk.source)}; readlink -f "
                f"{shlex.quote(disk.source)}",
            )
            disk.devices = list(dict.fromkeys([disk.source, *text.split()]))
        names = " ".join(map(shlex.quote, drives))
        resolved = self._ssh(
            node, f'for drive in {names}; do [ -b "$drive" ] && readlink -f "$drive" || echo; done'
        ).split("\n")
        disk.drives = dict(
            zip(drives, resolved, strict=False)
        )  # A line each, an empty one for a drive that is not there.
        used = self._ssh(
            node, f"sync --file-system {shlex.quote(state)}; du --summarize --block-size=1 {shlex.quote(state)} || true"
        ).split()
        disk.used = int(used[0]) if used else 0
        return disk

    def _ssh(self, node: Node, command: str) -> str:
        return run("ssh", *ssh_options(self._facts), f"root@{node.address}", command).stdout

    def _call(self, method: str, path: str, content: Any = None) -> bytes:
        data = None if content is None else json.dumps(content).encode()
        with self._open(urllib.request.Request(self._github + path, data, method=method), timeout=30) as answer:
            return bytes(answer.read())

    def queue(self, pool: Pool, script: str) -> Job:
        """Queue a job for a pool's runners."""
        wanted = {
            "name": "proof",
            "repository": pool.repository,
            "labels": pool.labels,
            "script": script,
            "timeout_seconds": 240,
        }
        return _job(json.loads(self._call("POST", "/jobs", wanted)))

    def look(self, job: Job) -> Job:
        """The job now; while it runs the API server is asked where its runner's pod is."""
        now = _job(json.loads(self._call("GET", f"/jobs/{job.number}")))
        if now.runner and now.runner not in self._placed:
            try:
                pod = self._core.read_namespaced_pod(now.runner, RUNNER_NAMESPACE, _request_timeout=30)
                self._placed[now.runner] = pod.spec.node_name or ""
            except self._api_error as error:
                if error.status != 404:
                    raise
        now.node = self._placed.get(now.runner, "")
        if now.status == "completed":
            now.log = self._call("GET", f"/jobs/{job.number}/log").decode(errors="replace")
        return now

    def cancel(self, job: Job) -> None:
        """Take the job off the queue; a running one ends by its own timeout."""
        try:
            self._call("POST", f"/jobs/{job.number}/cancel")
        except OSError as error:
            print(f"job {job.number} was not cancelled: {error}")

    def runners(self) -> str:
        """What the service and the cluster know of runners."""
        known = [f"{item['name']} ({item['status']})" for item in json.loads(self._call("GET", "/runners"))]
        pods = [
            f"{pod.metadata.name} on {pod.spec.node_name or 'no node'} ({pod.status.phase})"
            for pod in self._core.list_namespaced_pod(RUNNER_NAMESPACE, _request_timeout=30).items
        ]
        return f"Registered runners: {', '.join(known) or 'none'}. Runner pods: {', '.join(pods) or 'none'}"


def _node(item: Any) -> Node:
    labels = item.metadata.labels or {}
    addresses = {address.type: address.address for address in item.status.addresses or []}
    return Node(
        name=item.metadata.name,
        address=addresses.get("InternalIP", item.metadata.name),
        ready=any(state.type == "Ready" and state.status == "True" for state in item.status.conditions or []),
        control_plane="node-role.kubernetes.io/control-plane" in labels,
        pool=labels.get(POOL_LABEL, ""),
        taints=[f"{taint.key}={taint.value or ''}:{taint.effect}" for taint in item.spec.taints or []],
    )


def _job(item: dict[str, Any]) -> Job:
    return Job(item["id"], item["status"], item["conclusion"], item["runner_name"])
