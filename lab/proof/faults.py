"""Things that break while many jobs run, one after another: python -m lab.proof.faults listener github --jobs 20.

The fleet of LAB_FLEET has to be up and through site.yml, with runners that take the labels. For each fault jobs are
queued, and when the first of them run it strikes. Every job has to end well, on a runner of its own and on a node whose
engine is ready; one that the fault hit may fail, if that is reported before patience ends. It prints one line of JSON a
fault, and ends with 1 if something does not hold.

Where all jobs stand still for two and a half minutes, somebody who is called runs runner_heal.yml, and its deeds are in
that line.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import kubernetes

from lab.machines import containers
from lab.process import LabError, run
from lab.proof.model import RUNNER_NAMESPACE
from lab.proof.queue import Service, queue_jobs, summary, wait
from lab.proof.world import LiveWorld
from lab.settings import current_fleet

CONTROLLER_NAMESPACE = "arc-systems"
STILL = 75  # seconds, twice


@dataclass(frozen=True)
class Scene:
    """What faults are done with: the service, the cluster, and how long what is broken stays broken."""

    service: Service
    core: Any
    seconds: float
    numbers: set[int]
    look: Callable[[Any], None]

    def running(self) -> dict[int, str]:
        """The runner of each of our jobs that runs now."""
        jobs = self.service.call("GET", "/jobs")
        return {
            job["id"]: job["runner_name"]
            for job in jobs
            if job["id"] in self.numbers and job["status"] == "in_progress"
        }

    def first_running(self) -> tuple[int, str]:
        """One of them, when there is one."""
        deadline = time.monotonic() + 180
        while not (running := self.running()):
            if time.monotonic() > deadline:
                raise LabError("no job was begun within 180 s, so there is no load to break anything under")
            time.sleep(0.2)
        return min(running.items())

    def stay_broken(self) -> None:
        """Let it be broken for as long as was asked for, with an eye on the jobs."""
        mended = time.monotonic() + self.seconds
        wait(self.service, self.numbers, self.seconds, self.look)
        time.sleep(max(0, mended - time.monotonic()))

    def delete_pods(self, namespace: str, **which: str) -> None:
        """What kills a process does: without a word to it."""
        found = self.core.list_namespaced_pod(namespace, **which).items
        if not found:
            raise LabError(f"the namespace {namespace} has no pods of {which}, so there is nothing to break")
        for pod in found:
            self.core.delete_namespaced_pod(pod.metadata.name, namespace, grace_period_seconds=0)


def _nothing(_scene: Scene) -> set[int]:
    return set()


def _runner(scene: Scene) -> set[int]:
    number, runner = scene.first_running()
    scene.delete_pods(RUNNER_NAMESPACE, field_selector=f"metadata.name={runner}")
    return {number}


def _pods(selector: str) -> Callable[[Scene], set[int]]:
    def strike(scene: Scene) -> set[int]:
        scene.first_running()
        scene.delete_pods(CONTROLLER_NAMESPACE, label_selector=selector)
        return set()

    return strike


def _node(scene: Scene) -> set[int]:
    fleet = current_fleet()
    _number, runner = scene.first_running()
    node = scene.core.read_namespaced_pod(runner, RUNNER_NAMESPACE).spec.node_name
    before = scene.running()
    containers.power_off(fleet, node)
    there = {
        pod.metadata.name
        for pod in scene.core.list_namespaced_pod(RUNNER_NAMESPACE, field_selector=f"spec.nodeName={node}").items
    }
    hit = {number for number, runner in {**before, **scene.running()}.items() if runner in there}
    scene.stay_broken()
    containers.start_existing(fleet.container(node))
    return hit


def _github(scene: Scene) -> set[int]:
    # A job that ends meanwhile cannot be reported, and its runner is gone when the service is back.
    scene.first_running()
    before = scene.running()
    scene.service.call("POST", "/faults", {"path": ".*", "status": 502, "seconds": scene.seconds})
    during = scene.running()
    scene.stay_broken()
    return {*before, *during}


@dataclass(frozen=True)
class Fault:
    """One thing that breaks. To strike returns the jobs that may fail by it, and ends when it is mended, if it is."""

    what: str
    strike: Callable[[Scene], set[int]]


FAULTS = {
    "none": Fault("many jobs, and nothing breaks", _nothing),
    "runner": Fault("the pod of a runner that has a job is killed", _runner),
    "listener": Fault(
        "the listeners of all sets are killed", _pods("app.kubernetes.io/component=runner-scale-set-listener")
    ),
    "controller": Fault(
        "the controller of scale sets is killed",
        _pods("app.kubernetes.io/part-of=gha-rs-controller,app.kubernetes.io/component=controller-manager"),
    ),
    "webhook": Fault(
        "the legacy controller, which is its webhook too, is killed",
        _pods("app.kubernetes.io/name=actions-runner-controller"),
    ),
    "node": Fault("the power of a node with a job goes, and comes back", _node),
    "github": Fault("GitHub answers everything with 502", _github),
}


class EngineWatch:
    """Which jobs began while the engine of their node was not ready. Looks at the engines as often as at the jobs."""

    def __init__(self, unready: Callable[[], set[str]]) -> None:
        self._unready = unready
        self._last: set[str] = set()
        self._at_start: dict[int, set[str]] = {}

    def __call__(self, jobs: Sequence[Mapping[str, Any]]) -> None:
        """A job that was begun since the last look began while what was unready then and is now was unready."""
        now = self._unready()
        for job in jobs:
            if job["started_at"]:
                self._at_start.setdefault(job["id"], self._last & now)
        self._last = now

    def found(self, jobs: Sequence[Mapping[str, Any]]) -> set[int]:
        """Their numbers."""
        return {job["id"] for job in jobs if job["node"] in self._at_start.get(job["id"], ())}


def problems(
    jobs: Sequence[Mapping[str, Any]], may_fail: Collection[int], without_engine: Collection[int]
) -> list[str]:
    """What does not hold of these jobs."""
    found = []
    for job in jobs:
        name = f"job {job['id']} on {job['runner_name'] or 'no runner'}"
        if job["status"] != "completed":
            found.append(f"{name} is still {job['status']}, expected that it ends or is reported")
        elif job["conclusion"] != "success" and job["id"] not in may_fail:
            found.append(f"{name} ended with {job['conclusion']}, expected success: the fault did not hit it")
        if job["id"] in without_engine:
            found.append(f"{name} began on {job['node']}, whose engine was not ready")
    runners = Counter(job["runner_name"] for job in jobs if job["runner_name"])
    return found + [f"{runner} had {count} jobs, expected one" for runner, count in runners.items() if count > 1]


def unready_engines(world: LiveWorld) -> set[str]:
    """Nodes whose engine pod is not ready."""
    return {node.name for node in world.nodes() if node.pool and node.engine and not node.engine_ready}


def heal(inventories: Sequence[str]) -> list[str]:
    """Run the playbook as a person does; returns what it says it did."""
    arguments = [part for inventory in inventories for part in ("--inventory", inventory)]
    environment = {**os.environ, "ANSIBLE_CALLBACK_RESULT_FORMAT": "json", "ANSIBLE_NOCOLOR": "1"}
    printed = run(
        "ansible-playbook",
        *arguments,
        "--extra-vars=runner_status_grace=60",
        "playbooks/runner_heal.yml",
        check=False,
        env=environment,
    ).stdout
    told = re.search(r'"msg": (\[.*?\n    \])', printed, re.DOTALL)
    return deeds(json.loads(told.group(1))) if told else [printed[-500:]]


def deeds(lines: Sequence[str]) -> list[str]:
    """What was done stands before the table of the pools."""
    table = next((index for index, line in enumerate(lines) if line.split()[:2] == ["pool", "listener"]), len(lines))
    return list(lines[:table])


def attend(scene: Scene, patience: float, inventories: Sequence[str]) -> tuple[Any, list[str]]:
    """Wait for the jobs, and heal what is stuck where none of them moves on; returns them, and what was done."""
    deadline, healed, before = time.monotonic() + patience, list[str](), None
    while True:
        jobs = wait(scene.service, scene.numbers, min(STILL, max(0, deadline - time.monotonic())), scene.look)
        now = Counter(job["status"] for job in jobs)
        if now["completed"] == len(jobs) or time.monotonic() > deadline:
            return jobs, healed
        if now == before and inventories:
            healed += heal(inventories)
        before = now


def perform(name: str, world: LiveWorld, service: Service, given: argparse.Namespace) -> dict[str, Any]:
    """Queue jobs, break it, and see what becomes of them."""
    start = time.monotonic()
    watch = EngineWatch(lambda: unready_engines(world))
    numbers = queue_jobs(service, given.repository, given.labels.split(","), given.jobs, given.seconds)
    scene = Scene(service, kubernetes.client.CoreV1Api(world.api), given.broken, numbers, watch)
    may_fail = FAULTS[name].strike(scene)
    mended = time.monotonic()
    jobs, healed = attend(scene, given.patience, given.inventory)
    return {
        "fault": name,
        "what": FAULTS[name].what,
        **summary(jobs, time.monotonic() - start),
        "seconds_after": round(time.monotonic() - mended, 1),
        "may_fail": len(may_fail),
        "healed": healed,
        "problems": problems(jobs, may_fail, watch.found(jobs)),
    }


def main() -> int:
    """Run them on the fleet of LAB_FLEET."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("faults", nargs="+", choices=sorted(FAULTS))
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--labels", default="set-small,set-medium,set-large")
    parser.add_argument("--repository", default="lab/example")
    parser.add_argument("--seconds", type=float, default=8, help="how long a job works")
    parser.add_argument("--broken", type=float, default=60, help="seconds until a node or GitHub is back")
    parser.add_argument("--inventory", action="append", default=[], help="of the fleet, for runner_heal.yml")
    parser.add_argument("--patience", type=float, default=600, help="seconds until all jobs have ended after that")
    given = parser.parse_args()
    fleet = current_fleet()
    world = LiveWorld(fleet, json.loads((fleet.directory / "lab.json").read_text()))
    failed = False
    for name in given.faults:
        found = perform(name, world, Service(fleet), given)
        print(json.dumps(found), flush=True)
        failed |= bool(found["problems"])
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
