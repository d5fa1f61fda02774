"""SIGKILL for an engine at random times while jobs run: python -m lab.proof.kills --kills 20.

The fleet of LAB_FLEET has to be up and through site.yml. Each node's engine runs one pipeline and is stopped clean
once, which gives a checkpoint. Then engines are killed, one after another: each time that pipeline has to be cached
afterwards. Jobs that had the killed engine fail with it, which is counted; one that still hangs five minutes after the
last kill is an error.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import kubernetes

from lab.process import LabError, run, ssh_options
from lab.proof.model import ENGINE_NAMESPACE
from lab.proof.rollouts import SELECTOR, Load, printed
from lab.proof.world import LiveWorld
from lab.settings import current_fleet

PATIENCE = 300


def wait(what: str, done: Callable[[], Any]) -> Any:
    """Wait until something is so; returns what it is then."""
    deadline = time.monotonic() + PATIENCE
    while not (found := done()):
        if time.monotonic() > deadline:
            raise LabError(f"waited {PATIENCE} s in vain for {what}")
        time.sleep(0.5)
    return found


class Engine:
    """The engine of one node."""

    def __init__(self, client: Any, node: str, address: str, facts: dict[str, Any]) -> None:
        self.core, self.node = kubernetes.client.CoreV1Api(client), node
        self.ssh = ["ssh", *ssh_options(facts), f"root@{address}"]

    def pod(self) -> Any:
        """Its pod, if it answers and is not asked to stop."""
        pods = self.core.list_namespaced_pod(
            ENGINE_NAMESPACE, label_selector=SELECTOR, field_selector=f"spec.nodeName={self.node}"
        ).items
        good = [
            pod
            for pod in pods
            if not pod.metadata.deletion_timestamp and all(s.ready for s in pod.status.container_statuses or [])
        ]
        return good[0] if len(pods) == 1 and good and good[0].status.container_statuses else None

    def ready(self) -> Any:
        """Wait for it."""
        return wait(f"the engine of {self.node}", self.pod)

    def restarts(self, pod: Any) -> int:
        """How often its containers were started again."""
        return sum(int(status.restart_count) for status in pod.status.container_statuses)

    def pipeline(self, name: str) -> str:
        """Run a pipeline that prints the time of its one real run."""
        return printed(self.core.api_client, self.ready().metadata.name, name)

    def restart(self) -> None:
        """A clean stop, and a new pod, whose kubelet does not hold earlier ends against it."""
        pod = self.ready()
        self.core.delete_namespaced_pod(pod.metadata.name, ENGINE_NAMESPACE)
        wait(f"another engine on {self.node}", lambda: (new := self.pod()) and new.metadata.uid != pod.metadata.uid)

    def kill(self) -> None:
        """What OOM does; waits until it answers again."""
        pod = self.ready()
        run(*self.ssh, "pkill -KILL dagger-e")
        wait(
            f"{self.node} to start its engine again",
            lambda: (now := self.pod()) and self.restarts(now) > self.restarts(pod),
        )


def main(arguments: Sequence[str]) -> int:
    """Kill as often as asked; the exit code says whether each checkpoint came back."""
    parser = argparse.ArgumentParser(prog="python -m lab.proof.kills")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    fleet, chance = current_fleet(), random.Random(chosen.seed)
    facts = json.loads((fleet.directory / "lab.json").read_text())
    world = LiveWorld(fleet, facts)
    engines = [Engine(world.api, node, fleet.address(node), facts) for node in sorted(facts["drives"])]
    name, kept = f"kills{int(time.time())}", {}
    for engine in engines:
        kept[engine.node] = engine.pipeline(name)
        run(*engine.ssh, "for c in /var/lib/runnerfleet/engine/*/; do touch $c/checkpoint-requested; done")
        engine.restart()
    load = Load(world, world.pools()[0])
    load.start()
    cached = 0
    for number in range(chosen.kills):
        engine = engines[number % len(engines)]
        time.sleep(chance.uniform(0, 15))
        began = time.monotonic()
        engine.kill()
        seconds = time.monotonic() - began
        held = engine.pipeline(name) == kept[engine.node]
        cached += held
        print(
            f"kill {number + 1}: {engine.node} answered after {seconds:.0f} s, {'cached' if held else 'NOT CACHED'}",
            flush=True,
        )
        engine.restart()
    failed = load.end()
    print(
        f"{chosen.kills} kills, {cached} times cached afterwards; {len(load.jobs)} jobs, {len(failed)} of them failed "
        "with their engine"
    )
    hanging = [job for job in load.jobs.values() if job.status != "completed"]
    for job in hanging:
        print(f"! job {job.number} hangs")
    return int(cached < chosen.kills or bool(hanging))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
