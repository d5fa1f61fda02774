"""Roll-outs of the engines while jobs run, one after another: python -m lab.proof.rollouts --rolls 20.

The fleet of LAB_FLEET has to be up and through site.yml. Each engine runs a pipeline that prints the time, which has to
be cached after each roll-out. Jobs are queued at the stand-in of GitHub all the while. With `--kill`, each roll-out is
killed at some step, and the next run has to finish it. At the end it says how many jobs failed, and how often a
pipeline had to run anew.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import kubernetes
from kubernetes.stream import stream

from lab.bench.counted import CONFIG, ROOT
from lab.process import LabError, plain
from lab.proof.model import ENGINE_NAMESPACE, POOL_LABEL, Job, Pool
from lab.proof.world import LiveWorld
from lab.settings import current_fleet

SELECTOR = "app.kubernetes.io/name=dagger-engine"
ANNOTATION = "runnerfleet.dev/engine-rollout"
STEPS = ("drain", "stop", "start")
WAITING = 4  # jobs that are queued or run at all times
PAYLOAD = 1 << 20


class Load(threading.Thread):
    """Keeps jobs coming, each with a pipeline that nobody has run before."""

    def __init__(self, world: LiveWorld, pool: Pool) -> None:
        super().__init__(daemon=True)
        self.world, self.pool = world, pool
        self.jobs: dict[int, Job] = {}
        self.ending = threading.Event()

    def run(self) -> None:
        for number in itertools.count():
            self.jobs = {
                key: job if job.status == "completed" else self.world.look(job) for key, job in self.jobs.items()
            }
            open_jobs = sum(job.status != "completed" for job in self.jobs.values())
            if self.ending.is_set() and not open_jobs:
                return
            for place in range(0 if self.ending.is_set() else WAITING - open_jobs):
                job = self.world.queue(self.pool, script(f"load {time.time()} {number} {place}"))
                self.jobs[job.number] = job
            time.sleep(1)

    def end(self) -> list[Job]:
        """Wait for the last job; returns those that did not succeed."""
        self.ending.set()
        self.join(300)
        return [job for job in self.jobs.values() if job.conclusion != "success"]


def script(nonce: str) -> str:
    """A job that needs no registry."""
    command = f"sleep 4; head -c {PAYLOAD} /dev/urandom > /payload; date +%s; echo {nonce}"
    line = f'container | with-rootfs $(host | directory /bb) | with-exec -- sh,-c,"{command}" | stdout'
    return f"dagger --progress=plain -c {shlex.quote(line)}\n"


def begin(kubeconfig: str) -> subprocess.Popen[str]:
    """Start the module, as a task of a playbook would."""
    environment = {
        **os.environ,
        **CONFIG,
        "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1",
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
    }
    options = json.dumps({"kubeconfig": kubeconfig, "pools": ["runner"]})
    command = [
        "ansible",
        "localhost",
        "-i",
        "localhost,",
        "-c",
        "local",
        "-e",
        f"ansible_python_interpreter={sys.executable}",
    ]
    return subprocess.Popen(
        [*command, "-m", "runnerfleet.baremetal.engine_rollout", "-a", options],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def result(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What the module returned."""
    printed = process.communicate(timeout=900)[0]
    try:
        tasks = json.loads(printed[printed.index("{") :])["plays"][0]["tasks"]
        return dict(tasks[0]["hosts"]["localhost"])
    except (ValueError, LookupError) as error:
        raise LabError(f"engine_rollout printed no result:\n{printed[-2000:]}") from error


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL for the run and all that it started, in whatever session; its module is a process of its own."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # gone meanwhile
        children.setdefault(parent, []).append(int(path.parent.name))

    def family(pid: int) -> Iterator[int]:
        yield pid
        for child in children.get(pid, []):
            yield from family(child)

    for pid in family(process.pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.communicate()


def printed(client: Any, pod: str, name: str) -> str:
    """What a pipeline prints in an engine's pod: the time of its one real run. The engine's image has a busybox in
    /bin.
    """
    line = f'/busybox,sh,-c,"/busybox sleep 1; /busybox date +%s; echo {name}"'
    command = ["dagger", "-c", f"container | with-rootfs $(host | directory /bin) | with-exec -- {line} | stdout"]
    core = kubernetes.client.CoreV1Api(kubernetes.client.ApiClient(client.configuration))  # stream changes its client
    ask = {"container": "engine", "command": command, "stdout": True, "stderr": False}
    answer: str = stream(core.connect_get_namespaced_pod_exec, pod, ENGINE_NAMESPACE, **ask)
    text = plain(answer).strip()
    if name not in text:
        raise LabError(f"{pod}: a pipeline printed {text[-500:]!r}, expected a time and {name}")
    return text


class Engines:
    """The engines of a fleet, through the API."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.core, self.apps = kubernetes.client.CoreV1Api(client), kubernetes.client.AppsV1Api(client)

    def change(self) -> None:
        """Give every engine a template that it does not run yet."""
        body = {"spec": {"template": {"metadata": {"annotations": {"runnerfleet.dev/changed": str(time.time())}}}}}
        for item in self.apps.list_namespaced_daemon_set(ENGINE_NAMESPACE, label_selector=SELECTOR).items:
            self.apps.patch_namespaced_daemon_set(item.metadata.name, ENGINE_NAMESPACE, body)

    def printed(self, name: str) -> dict[str, str]:
        """What a pipeline prints on each engine, by node and DaemonSet."""
        pods = self.core.list_namespaced_pod(ENGINE_NAMESPACE, label_selector=SELECTOR).items
        return {
            f"{pod.spec.node_name} {pod.metadata.owner_references[0].name}": printed(
                self.client, pod.metadata.name, name
            )
            for pod in pods
        }

    def steps(self) -> set[str]:
        """The steps that nodes are at."""
        notes = [
            (node.metadata.annotations or {}).get(ANNOTATION)
            for node in self.core.list_node(label_selector=POOL_LABEL).items
        ]
        return {json.loads(note)["step"] for note in notes if note}


def unproven(outcome: dict[str, Any]) -> list[str]:
    """The nodes of which the module itself could not say that their caches came through."""
    return [
        node["node"] for node in outcome.get("rolled", []) for engine in node["engines"] if engine["cache"] != "kept"
    ]


def main(arguments: Sequence[str]) -> int:
    """Roll as often as asked; the exit code says whether everything came through."""
    parser = argparse.ArgumentParser(prog="python -m lab.proof.rollouts")
    parser.add_argument("--rolls", type=int, default=20)
    parser.add_argument(
        "--kill", action="store_true", help="kill each roll-out at a step, and let the next run finish it"
    )
    chosen = parser.parse_args(arguments)
    fleet = current_fleet()
    facts = json.loads((fleet.directory / "lab.json").read_text())
    world = LiveWorld(fleet, facts)
    engines, load = Engines(world.api), Load(world, world.pools()[0])
    name = f"rolled{int(time.time())}"
    kept = engines.printed(name)
    load.start()
    anew, problems = 0, []
    for number in range(chosen.rolls):
        engines.change()
        process = begin(facts["kubeconfig"])
        step = STEPS[number % len(STEPS)] if chosen.kill else ""
        while step and step not in engines.steps() and process.poll() is None:
            time.sleep(0.1)
        if step:
            kill(process)
            process = begin(facts["kubeconfig"])
        began, outcome = time.monotonic(), result(process)
        seconds, now = time.monotonic() - began, engines.printed(name)
        lost = [engine for engine in kept if now.get(engine) != kept[engine]]
        anew, kept = anew + len(lost), now
        problems += [outcome["msg"]] if outcome.get("failed") else []
        problems += [
            f"{node}: it is not known whether its cache came through roll {number + 1}" for node in unproven(outcome)
        ]
        nodes = ", ".join(f"{node['node']} {node['seconds']} s" for node in outcome.get("rolled", []))
        at = f" (killed at {step})" if step else ""
        print(
            f"roll {number + 1}{at}: {seconds:.0f} s: {nodes}; not cached afterwards: {', '.join(lost) or 'none'}",
            flush=True,
        )
    failed = load.end()
    print(
        f"{chosen.rolls} roll-outs, {len(load.jobs)} jobs, {len(failed)} of them failed; {anew} times a pipeline was "
        "not cached afterwards"
    )
    for line in [
        *problems,
        *(f"job {job.number} ended with {job.conclusion!r}:\n{job.log[-500:]}" for job in failed[:3]),
    ]:
        print(f"! {line}")
    return 1 if problems or failed or anew else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
