"""Prove a fleet by what it does: jobs run on its runner nodes and use the engine, the socket and the drives of their
own node.

Everything is looked at from outside: nodes and pods at the API server, mounts and bytes by ssh, jobs at the GitHub
stand-in. Nothing is asked of the roles that built the fleet, so the same proof holds with the engine's stand-in and
with a real engine image.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lab.process import plain
from lab.proof.model import (
    CACHE_MOUNT,
    ENGINE_NAMESPACE,
    POOL_LABEL,
    POOL_TAINT,
    RUNNER_NAMESPACE,
    SOCKET,
    START_TAINT,
    Disk,
    Job,
    Node,
    Pool,
    World,
)

PAYLOAD = (
    16 << 20
)  # Bytes that each job's pipeline leaves in the cache: random, so that no filesystem makes them fewer.
GROWTH = PAYLOAD * 3 // 4
SLEEP = 4  # Seconds that the pipeline takes unless it is cached.
ROUNDS = 4
ROUND_SECONDS = float(os.environ.get("LAB_PROVE_SECONDS", "300"))


def pipeline(nonce: str) -> str:
    """A pipeline of the real dagger CLI that needs no registry, and that nobody has run before."""
    command = f"sleep {SLEEP}; head -c {PAYLOAD} /dev/urandom > /payload; date +%s; echo {nonce}"
    return f'container | with-rootfs $(host | directory /bb) | with-exec -- sh,-c,"{command}" | stdout'


def job_script(nonce: str) -> str:
    """The job: say where it is, run the pipeline twice, say what came of it."""
    return f"""\
echo "proof place node=[${{NODE_NAME:-}}] host=[$(hostname)] engine=[${{_EXPERIMENTAL_DAGGER_RUNNER_HOST:-}}]"
echo "proof client path=[$(command -v dagger)] version=[$(dagger version)]"
for run in 1 2; do
  began=$(date +%s)
  if ! dagger --progress=plain -c {shlex.quote(pipeline(nonce))} > out 2> progress; then
    cat out progress
    exit 1
  fi
  cat progress
  marked=$(grep -c CACHED progress || true)
  echo "proof run=$run seconds=[$(($(date +%s) - began))] marked=[$marked] stdout=[$(tr '\\n' ' ' < out)]"
done
"""


def check_node(node: Node, drives: Sequence[str]) -> dict[str, str]:
    """What is wrong with a node, by column."""
    wrong = {}
    if not node.ready:
        wrong["node"] = "found NotReady, expected Ready: see `journalctl -u kubelet` there"
    if node.control_plane:
        return wrong
    if not node.pool:
        wrong["pool"] = f"found no label {POOL_LABEL}, expected the name of its pool"
    elif drives and f"{POOL_TAINT}={node.pool}:NoSchedule" not in node.taints:
        wrong["pool"] = f"found taints {node.taints}, expected {POOL_TAINT}={node.pool}:NoSchedule"
    if any(taint.startswith(START_TAINT) for taint in node.taints):
        wrong["engine"] = f"still has the start-up taint {START_TAINT}, expected it lifted"
    if drives and not node.engine:
        wrong["engine"] = f"found no engine pod in namespace {ENGINE_NAMESPACE}"
    elif drives and not node.engine_ready:
        wrong["engine"] = f"engine pod {node.engine} is not ready: see its log in namespace {ENGINE_NAMESPACE}"
    return wrong


def check_disk(disk: Disk) -> dict[str, str]:
    """What is wrong with the disk under a runner node's cache, by column."""
    missing = [path for path, device in disk.drives.items() if not device]
    wrong = {"drives": f"found no {', '.join(missing)}"} if missing else {}
    if disk.target != CACHE_MOUNT:
        wrong["mount"] = (
            f"{disk.state or CACHE_MOUNT} lies on the mount {disk.target or '(none)'}, expected on {CACHE_MOUNT}"
        )
    elif not set(disk.devices) & set(disk.drives.values()):
        wrong["mount"] = (
            f"{CACHE_MOUNT} lies on {' over '.join(disk.devices)}, expected one of the drives {', '.join(disk.drives)}"
        )
    return wrong


def check_jobs(node: Node, jobs: Sequence[Job]) -> str:
    """What is wrong with the jobs that ran on a node; empty when they prove it."""
    for job in jobs:
        if job.conclusion != "success":
            return f"job {job.number} ended with {job.conclusion!r}, its log:\n" + "\n".join(
                f"    {line}" for line in plain(job.log).splitlines()[-15:]
            )
        seen = job.evidence
        place = seen.get("place", {})
        if place.get("node") and place["node"] != node.name:
            return f"job {job.number}: its pod was on {node.name}, its NODE_NAME says {place['node']}"
        if place.get("engine") != SOCKET:
            return f"job {job.number}: found engine {place.get('engine')!r}, expected {SOCKET}"
        first, second = seen.get("run=1", {}), seen.get("run=2", {})
        if not first.get("stdout", "").strip() or int(first.get("seconds", 0)) < SLEEP:
            return f"job {job.number}: first run found {first}, expected at least {SLEEP} s and a time on stdout"
        # The pipeline prints the time, so the same text can only come out of the cache, whatever the progress output
        # says.
        if second.get("stdout") != first["stdout"]:
            return f"job {job.number}: second run is not cached, found {second} after {first}"
    return ""


def check_growth(before: Disk, after: Disk, jobs: int) -> str:
    """What is wrong with the bytes that jobs should have left in their node's cache."""
    grown, expected = after.used - before.used, GROWTH * jobs
    if grown >= expected:
        return ""
    found = f"{after.state} grew by {mebibytes(grown)} with {jobs} job(s)"
    return f"{found}, expected at least {mebibytes(expected)}: the jobs used another engine"


def mebibytes(size: int) -> str:
    """A size for people."""
    return f"{size / (1 << 20):.0f} MiB"


def run_jobs(
    world: World, pools: Sequence[Pool], nodes: Sequence[Node], now: Callable[[], float] = time.monotonic
) -> tuple[list[Job], str]:
    """Queue jobs until every node ran one, within bounds; returns the finished ones and what went wrong."""
    done: list[Job] = []
    serial = 0
    start = f"{time.time():.0f}-{os.getpid()}"
    for number in range(ROUNDS):
        missing = [node.name for node in nodes if node.name not in {job.node for job in done}]
        if not missing:
            return done, ""
        waiting = []
        for _node in missing:
            waiting.append(world.queue(pools[serial % len(pools)], job_script(f"proof-{start}-{serial}")))
            serial += 1
        print(f"round {number + 1}: queued {len(waiting)} jobs for {', '.join(missing)}", flush=True)
        deadline = now() + ROUND_SECONDS
        while waiting:
            waiting = [world.look(job) for job in waiting]
            done += [job for job in waiting if job.status == "completed"]
            waiting = [job for job in waiting if job.status != "completed"]
            if waiting and now() > deadline:
                for job in waiting:
                    world.cancel(job)
                states = ", ".join(f"{job.number} {job.status} {job.runner}".strip() for job in waiting)
                return done, f"jobs not done after {ROUND_SECONDS:.0f} s: {states}. {world.runners()}"
            if waiting:
                time.sleep(1)
        if any(job.conclusion != "success" for job in done):
            return done, ""
    unused = [node.name for node in nodes if node.name not in {job.node for job in done}]
    return done, f"{serial} jobs were run and none of them on {', '.join(unused)}. {world.runners()}" if unused else ""


COLUMNS = ("node", "pool", "drives", "mount", "engine", "cache", "jobs")


@dataclass
class Row:
    """A line of the table, and what of it does not hold."""

    cells: dict[str, str]
    wrong: dict[str, str]


def table(rows: Sequence[Row]) -> str:
    """The table for people; a cell that does not hold is marked, and explained below."""
    lines = [COLUMNS] + [
        tuple(("! " if name in row.wrong else "") + (row.cells.get(name) or "-") for name in COLUMNS) for row in rows
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    text += [f"! {row.cells['node']}, {name}: {reason}" for row in rows for name, reason in row.wrong.items()]
    return "\n".join(text)


@dataclass
class Proof:
    """What came of it: the table's rows, what is wrong beyond them, and the jobs that ran."""

    rows: list[Row]
    problems: list[str]
    jobs: list[Job]

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems and not any(row.wrong for row in self.rows)

    @property
    def stand_ins(self) -> str:
        """Which parts of the fleet are not the real ones; a stand-in of the client says so in its version."""
        known = {client["version"] for job in self.jobs if "version" in (client := job.evidence.get("client", {}))}
        engine = "the Dagger engine and its client, " if any("stand-in" in version for version in known) else ""
        engine = engine or ("" if known else "the engine (not seen in a job), ")
        return f"stand-ins in this fleet: {engine}GitHub and the runner; all else is the real thing (docs/stand-ins.md)"


def examine(world: World, drives: dict[str, list[str]]) -> Proof:
    """Do the whole proof."""
    nodes = sorted(world.nodes(), key=lambda node: (not node.control_plane, bool(drives.get(node.name)), node.name))
    problems = [
        f"{name} has drives and is not a node of the cluster"
        for name in drives
        if name not in {node.name for node in nodes}
    ]
    wrong = {node.name: check_node(node, drives.get(node.name, [])) for node in nodes}
    runners = [node for node in nodes if drives.get(node.name)]
    before = {node.name: world.disk(node, drives[node.name]) for node in runners}
    for node in runners:
        wrong[node.name].update(check_disk(before[node.name]))
    pools = world.pools()
    jobs: list[Job] = []
    if not pools:
        problems.append(f"found no RunnerDeployment in namespace {RUNNER_NAMESPACE}, expected at least one runner pool")
    elif not any(wrong[node.name] for node in runners) and runners:
        jobs, trouble = run_jobs(world, pools, runners)
        problems += [trouble] if trouble else []
    else:
        problems.append("no jobs were queued, since the runner nodes are not as they should be")
    strays = {job.node for job in jobs} - {node.name for node in runners}
    problems += [
        f"jobs ran on {name or 'a node that could not be seen'}, expected runner nodes only" for name in sorted(strays)
    ]
    rows = []
    for node in nodes:
        cells = {"node": node.name, "pool": node.pool or ("(control plane)" if node.control_plane else "")}
        if node.name in before:
            mine = [job for job in jobs if job.node == node.name]
            after = world.disk(node, drives[node.name]) if mine else before[node.name]
            cells |= _runner_cells(node, before[node.name], after, mine)
            if mine and (trouble := check_jobs(node, mine)):
                wrong[node.name]["jobs"] = trouble
            elif mine and (trouble := check_growth(before[node.name], after, len(mine))):
                wrong[node.name]["cache"] = trouble
            elif not mine:
                wrong[node.name].setdefault("jobs", "no job ran here")
        rows.append(Row(cells, wrong[node.name]))
    return Proof(rows, problems + ([] if nodes else ["the cluster has no nodes"]), jobs)


def _runner_cells(node: Node, before: Disk, after: Disk, jobs: Sequence[Job]) -> dict[str, str]:
    times = [f"{first.get('seconds')} s, then {second.get('seconds')} s cached" for first, second in map(_runs, jobs)]
    return {
        "drives": ", ".join(
            path.rpartition("/")[2].rpartition("-")[2] + "=" + (os.path.basename(device) or "?")
            for path, device in after.drives.items()
        ),
        "mount": f"{after.target} ({after.filesystem} on {os.path.basename(after.source)})",
        "engine": node.engine,
        "cache": f"{mebibytes(after.used)} (+{mebibytes(after.used - before.used)})",
        "jobs": "; ".join(f"#{job.number} {text}" for job, text in zip(jobs, times, strict=True)),
    }


def _runs(job: Job) -> tuple[dict[str, str], dict[str, str]]:
    return job.evidence.get("run=1", {}), job.evidence.get("run=2", {})
