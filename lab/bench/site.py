"""What a run of site.yml costs, and the floor under it: the same nodes brought to the same state by the bare commands,
in the same run.

`make bench` boots a fleet of its own, times site.yml on fresh nodes and again, keeps what the bare commands need to
know (lab/bench/floor.sh), boots the nodes anew and times those. Ratios carry over to other machines, seconds do not.
"""

from __future__ import annotations

import base64
import json
import os
import platform
import re
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lab import fleet as fleets
from lab import simulated
from lab.bench import engine as bench_engine
from lab.bench import storage as bench_storage
from lab.bench.counted import ROOT, playbook
from lab.process import LabError, run, ssh_options
from lab.programs import CACHE
from lab.settings import DEFAULT_NODES, Fleet

PAGE = ROOT / "docs/benchmarks.md"
KEPT = CACHE / "bench"
EARLIER = "## Earlier runs\n"  # written by hand, and kept
RUNNER = "runner-1"
RELEASES = {"flannel": "kube-flannel", "cert-manager": "cert-manager", "actions-runner-controller": "arc-systems"}
# What the roles write below /etc on every node, without the drop-ins that ask for mount units: the floor mounts by
# hand.
NODE_FILES = (
    "etc/containerd",
    "etc/systemd/system/containerd.service",
    "etc/systemd/system/kubelet.service",
    "etc/kubernetes/kubelet.conf.d",
    "etc/modules-load.d",
    "etc/sysctl.d",
)
CONTROL_PLANE = "cp-1"
# What its API server is started with: the audit policy, the keys of the encryption at rest, who may ask without a name.
CONTROL_PLANE_FILES = ("etc/kubernetes/runnerfleet",)
OURS = "-l app.kubernetes.io/managed-by=runnerfleet"
# What the floor applies, file by file, in the order of floor.sh.
OBJECTS = {
    "network": [
        f"validatingadmissionpolicies,validatingadmissionpolicybindings,clusterroles,clusterrolebindings {OURS}",
        f"-n kube-flannel serviceaccounts,daemonsets {OURS}",
        "-n kube-system deployment/coredns",
        "-n kube-system poddisruptionbudget/coredns",
    ],
    "certificates": [
        "-n cert-manager issuers.cert-manager.io,certificates.cert-manager.io,networkpolicies",
    ],
    "engine": [
        "namespace/dagger",
        "namespace/arc-runners",
        "-n dagger serviceaccounts,roles,rolebindings,configmaps,daemonsets,networkpolicies",
        "-n arc-runners roles,rolebindings,networkpolicies",
    ],
    "controller": [
        "namespace/arc-systems",
        "-n arc-systems secret/controller-manager",
        "-n arc-systems networkpolicies",
    ],
    "runners": ["namespace/arc-runners", "-n arc-runners runnerdeployments"],
}


@dataclass(frozen=True)
class Cost:
    """One run of site.yml: seconds, and the host-tasks of a runner node."""

    seconds: float
    evaluated: int
    skipped: int
    delegated: int


def site(fleet: Fleet) -> Cost:
    """Run site.yml and count."""
    counted = playbook(KEPT / "site.jsonl", ROOT / "inventories/lab", "playbooks/site.yml", LAB_FLEET=fleet.name)
    host = counted.hosts[RUNNER]
    return Cost(counted.seconds, host["evaluated"], host["skipped"], host["delegated"])


def report(hosts: int) -> float:
    """Seconds of the preflight's report on simulated hosts: from the play's start to its end, the inventory's reading
    apart.
    """
    inventory = KEPT / "hosts.json"
    inventory.write_text(json.dumps(simulated.inventory(hosts)))
    return playbook(KEPT / "report.jsonl", inventory, str(simulated.REPORT)).play_seconds


class Cluster:
    """The API server, asked with kubectl."""

    def __init__(self, facts: dict[str, Any]) -> None:
        """The fleet's facts name its kubeconfig."""
        self.env = {**os.environ, "KUBECONFIG": facts["kubeconfig"]}

    def get(self, *what: str) -> dict[str, Any]:
        """One object, or a list of them."""
        answer: dict[str, Any] = json.loads(run("kubectl", "get", "-o", "json", *what, env=self.env).stdout)
        return answer

    def wait_for_fleet(self, seconds: float = 300) -> None:
        """Until an engine and a runner are ready on each runner node."""
        deadline = time.monotonic() + seconds
        while True:
            pods = [pod for space in ("dagger", "arc-runners") for pod in self.get("pods", "-n", space)["items"]]
            ready = [pod for pod in pods if is_ready(pod)]
            if len(ready) == 2 * sum(node.startswith("runner-") for node in DEFAULT_NODES):
                return
            if time.monotonic() > deadline:
                raise LabError(f"after {seconds:.0f} s {len(ready)} of the engines and runners are ready")
            time.sleep(0.5)


def is_ready(pod: dict[str, Any]) -> bool:
    """Whether a pod says so itself."""
    conditions = pod.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def bare(item: dict[str, Any]) -> dict[str, Any]:
    """An object as somebody would have written it."""
    metadata = {
        key: item["metadata"][key] for key in ("name", "namespace", "labels", "annotations") if key in item["metadata"]
    }
    return {**{key: value for key, value in item.items() if key != "status"}, "metadata": metadata}


def keep(fleet: Fleet, facts: dict[str, Any]) -> None:
    """Write down what the floor needs to know of the fleet that site.yml made."""
    cluster = Cluster(facts)
    for name, node, files in (
        ("node", RUNNER, NODE_FILES),
        ("control_plane", CONTROL_PLANE, CONTROL_PLANE_FILES),
    ):
        packed = f"tar -cC / {' '.join(files)} | base64"
        tar = run("ssh", *ssh_options(facts), f"root@{fleet.address(node)}", packed).stdout
        path = KEPT / f"{name}.tar"
        path.touch(mode=0o600)
        path.write_bytes(base64.b64decode(tar))
    config = cluster.get("configmap", "-n", "kube-system", "kubeadm-config", "kubelet-config", "kube-proxy")["items"]
    documents = [
        item["data"][key]
        for item in config
        for key in ("ClusterConfiguration", "kubelet", "config.conf")
        if key in item["data"]
    ]
    documents.append("apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\n")
    (KEPT / "kubeadm.yaml").write_text("\n---\n".join(documents))
    for release, space in RELEASES.items():
        values = run(facts["helm"], "get", "values", release, "-n", space, "-o", "json", env=cluster.env).stdout
        (KEPT / f"{release}.yaml").write_text(values)
    for name, wanted in OBJECTS.items():
        answers = [cluster.get(*what.split()) for what in wanted]
        items = [bare(item) for answer in answers for item in answer.get("items", [answer])]
        kept = [item for item in items if item["metadata"]["name"] not in ("kube-root-ca.crt", "default")]
        path = KEPT / f"{name}.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": kept}))


def floor(fleet: Fleet, facts: dict[str, Any]) -> float:
    """Seconds that the bare commands take on fresh nodes."""
    mirror = facts["mirror"]
    behind = {url: f"{mirror['url']}/{url.removeprefix('https://')}" for url in mirror["checksums"]}

    def one(pattern: str) -> str:
        return next(address for url, address in behind.items() if re.search(pattern, url))

    registry = (
        f"oci://{mirror['registry']}/quay.io/jetstack/charts/cert-manager --plain-http --version "
        f"v{facts['pins']['cert_manager']}"
    )
    others = [node for node in DEFAULT_NODES if not node.startswith("cp-")]
    environment = {
        "FLOOR": str(KEPT),
        "CP": fleet.address(CONTROL_PLANE),
        "OTHERS": " ".join(fleet.address(node) for node in others),
        "RUNNERS": " ".join(f"{fleet.address(node)}={','.join(paths)}" for node, paths in facts["drives"].items()),
        "SSH": shlex.join(ssh_options(facts)),
        "BINARIES": " ".join(one(name) for name in (r"/kubelet$", r"/kubeadm$", r"/runc\.")),
        "CONTAINERD": one("containerd-static"),
        "CNI": one("cni-plugins-linux"),
        "FLANNEL": one(r"/flannel\.tgz$"),
        "CERT_MANAGER": registry,
        "ARC": one("/actions-runner-controller-"),
        "HELM": facts["helm"],
        "KUBECONFIG": facts["kubeconfig"],
    }
    start = time.monotonic()
    run("bash", str(ROOT / "lab/bench/floor.sh"), env={**os.environ, **environment})
    Cluster(facts).wait_for_fleet()
    return time.monotonic() - start


def page(
    fresh: Cost,
    again: Cost,
    seconds: float,
    reports: Sequence[tuple[int, float]],
    storage: str,
    engine: str,
    engine_on_vm: str,
) -> str:
    """docs/benchmarks.md."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    machine = (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release().partition('-')[0]}, "
        f"{datetime.now(tz=UTC):%Y-%m-%d}"
    )
    (few, few_seconds), (many, many_seconds) = reports
    return f"""# What a run costs

Written by `make bench`, which boots four nodes (one control plane, one support, two runner nodes with two drives
each) on one machine: {machine}. All figures are of that one run. Ratios carry over to other machines, seconds do not.

| per runner node | evaluated tasks | skipped | delegated to the control plane | aim |
|---|---|---|---|---|
| site.yml on fresh nodes | {fresh.evaluated} | {fresh.skipped} | {fresh.delegated} | at most 25, 1, 0 |
| site.yml again | {again.evaluated} | {again.skipped} | {again.delegated} | at most 16, 2, 0 |

| | seconds | against the floor | aim |
|---|---|---|---|
| floor: the bare commands on fresh nodes (`lab/bench/floor.sh`) | {seconds:.0f} | 1.0 | |
| site.yml on fresh nodes | {fresh.seconds:.0f} | {fresh.seconds / seconds:.2f} | at most 1.5 |
| site.yml again | {again.seconds:.0f} | {again.seconds / seconds:.2f} | at most 0.5 |

The floor takes the same binaries, images and charts from the same mirror, runs on all nodes at once where commands
allow it, and ends when an engine and a runner are ready on each runner node. It proves that cert-manager issues, but
checks no sum, proves no drive empty, no network policy held and no webhook at work, approves no kubelet's serving
certificate, and cannot be run twice.

| the preflight's report on simulated hosts | seconds | for each host |
|---|---|---|
| {few} hosts | {few_seconds:.1f} | 1.0 |
| {many} hosts | {many_seconds:.1f} | {many_seconds / many * few / few_seconds:.2f} |

The aim is under 2 seconds for 1,000 hosts, whose surveys take one task a host beforehand.

{storage}

On a virtual machine with NVMe drives, both sides on blank drives, LVM on all four. The usual modules prove nothing
before they write, and leave neither a plan nor a mark; `nvme_storage` reads 256 MiB of each drive before it calls it
empty, and again right before it writes.

{engine}

Above on loop devices of this machine, below on the same kind of virtual machine, a drive for each.

{engine_on_vm}

Medians of {bench_engine.ROUNDS} rounds, with the lowest and the highest ratio. The engine is down while a checkpoint
is taken or restored; a dirty state is deleted later.

Where the virtual machine is emulated (no KVM), programs on it are far slower than on metal: read ratios, not seconds.

What network policies cost stands in [network.md](network.md), measured apart.

`molecule/default` holds every test run to the task budget; times are compared here and never fail a test.

{EARLIER}{PAGE.read_text().partition(EARLIER)[2]}"""


def main() -> int:
    """Run the benchmark and write the page."""
    fleet = Fleet("bench")
    os.environ["LAB_FLEET"] = fleet.name
    KEPT.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        fleets.down(fleet)
        fleets.up(fleet)
        facts = json.loads((fleet.directory / "lab.json").read_text())
        if not facts["mirror"]:
            raise LabError("the floor takes its artifacts from the lab's mirror: set LAB_SOURCE=mirror")
        reports = [(hosts, report(hosts)) for hosts in (200, 1000)]
        fresh = site(fleet)
        Cluster(facts).wait_for_fleet()
        again = site(fleet)
        keep(fleet, facts)
        fleets.down(fleet)
        fleets.up(fleet)
        seconds = floor(fleet, json.loads((fleet.directory / "lab.json").read_text()))
        fleets.down(fleet)
        storage = bench_storage.table(bench_storage.measure(KEPT))
        engine, engine_on_vm = bench_engine.table(bench_engine.on_loops(KEPT)), bench_engine.table(bench_engine.on_vm())
    finally:
        fleets.down(fleet)
        shutil.rmtree(KEPT)  # It holds the controller's Secret.
    PAGE.write_text(page(fresh, again, seconds, reports, storage, engine, engine_on_vm))
    print(PAGE.read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
