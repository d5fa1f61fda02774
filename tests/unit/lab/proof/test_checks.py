"""The proof against fleets that are good, and against each way in which one can be bad."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from lab.proof import checks, model
from lab.proof.model import Disk, Job, Node, Pool

DRIVES = {
    name: [f"/dev/disk/by-id/runnerfleet-lab-{name}-nvme{number}" for number in (0, 1)]
    for name in ("runner-1", "runner-2")
}
TAINT = "runnerfleet.dev/pool=runner:NoSchedule"


def log(
    node: str,
    second: str = "170 nonce ",
    seconds: str = "0",
    engine: str = model.SOCKET,
    version: str = "dagger v0.21.8 (stand-in)",
) -> str:
    """What a job's script prints."""
    return (
        f"proof place node=[{node}] host=[pod] engine=[{engine}]\nproof client path=[/opt/dagger/bin/dagger] "
        f"version=[{version}]\n"
        f"4   : withExec DONE\nproof run=1 seconds=[5] marked=[0] stdout=[170 nonce ]\n"
        f"proof run=2 seconds=[0] marked=[2] stdout=[{second}]\n"
    )


@dataclass
class FakeWorld:
    """A fleet of four nodes whose jobs land where `placement` says."""

    placement: Sequence[str] = ("runner-1", "runner-2")
    text: Callable[[str], str] = log
    conclusion: str = "success"
    status: str = "completed"
    growth: int = 20 << 20
    changes: dict[str, dict[str, object]] = field(default_factory=dict)
    disk_changes: dict[str, object] = field(default_factory=dict)
    queued: list[Job] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)
    pool_list: Sequence[Pool] = (Pool("small", "acme/app", ("self-hosted", "small")),)

    def nodes(self) -> list[Node]:
        """Four nodes as they should be, but for the changes."""
        nodes = [
            Node("cp-1", "10.0.0.11", True, True, "", ["node-role.kubernetes.io/control-plane=:NoSchedule"]),
            Node("support-1", "10.0.0.21", True, False, "support", []),
            Node("runner-1", "10.0.0.31", True, False, "runner", [TAINT], "engine:v0.21.8", True),
            Node("runner-2", "10.0.0.32", True, False, "runner", [TAINT], "engine:v0.21.8", True),
        ]
        for node in nodes:
            for name, value in self.changes.get(node.name, {}).items():
                setattr(node, name, value)
        return nodes

    def pools(self) -> list[Pool]:
        """One pool, unless told otherwise."""
        return list(self.pool_list)

    def disk(self, node: Node, drives: Sequence[str]) -> Disk:
        """A disk that grows with each job of the node."""
        devices = dict(zip(drives, ("/dev/loop0", "/dev/loop1"), strict=True))
        jobs = sum(1 for job in self.queued if job.node == node.name)
        disk = Disk(
            model.CACHE_MOUNT,
            "/dev/loop0p1",
            "xfs",
            ["/dev/loop0p1", "/dev/loop0"],
            devices,
            jobs * self.growth,
            f"{model.CACHE_MOUNT}/0.21.8/state",
        )
        for name, value in self.disk_changes.items():
            setattr(disk, name, value)
        return disk

    def queue(self, pool: Pool, script: str) -> Job:
        """A job that lands on the next node."""
        number = len(self.queued)
        node = self.placement[number % len(self.placement)]
        job = Job(
            number,
            self.status,
            self.conclusion if self.status == "completed" else "",
            f"pod-{number}",
            node,
            self.text(node),
        )
        self.queued.append(job)
        return job

    def look(self, job: Job) -> Job:
        """It is as it was queued."""
        return job

    def cancel(self, job: Job) -> None:
        """Note it."""
        self.cancelled.append(job.number)

    def runners(self) -> str:
        """For messages."""
        return "Registered runners: none."


def test_good_fleet() -> None:
    world = FakeWorld()
    proof = checks.examine(world, DRIVES)
    text = checks.table(proof.rows)
    assert proof.holds, text
    assert len(world.queued) == 2
    assert [line.split()[0] for line in text.splitlines()] == ["node", "cp-1", "support-1", "runner-1", "runner-2"]
    assert (
        "nvme0=loop0, nvme1=loop1" in text
        and "xfs on loop0p1" in text
        and "20 MiB (+20 MiB)" in text
        and "5 s, then 0 s cached" in text
    )
    assert "Dagger engine" in proof.stand_ins


def test_real_engine_is_not_announced_as_a_stand_in() -> None:
    proof = checks.examine(
        FakeWorld(
            text=lambda node: log(node, version="dagger v0.21.8 (registry.dagger.io/engine:v0.21.8) linux/amd64")
        ),
        DRIVES,
    )
    assert proof.holds and "engine" not in proof.stand_ins


def test_more_jobs_until_each_node_ran_one() -> None:
    world = FakeWorld(placement=("runner-1", "runner-1", "runner-1", "runner-2"))
    assert checks.examine(world, DRIVES).holds
    assert len(world.queued) == 4


def test_a_node_that_gets_no_job() -> None:
    world = FakeWorld(placement=("runner-1",))
    proof = checks.examine(world, DRIVES)
    assert "none of them on runner-2" in proof.problems[0]
    assert len(world.queued) == 2 + checks.ROUNDS - 1  # bounded
    assert proof.rows[3].wrong == {"jobs": "no job ran here"}


@pytest.mark.parametrize(
    ("world", "node", "column", "reason"),
    [
        (FakeWorld(changes={"support-1": {"ready": False}}), "support-1", "node", "found NotReady"),
        (FakeWorld(changes={"support-1": {"pool": ""}}), "support-1", "pool", "found no label"),
        (
            FakeWorld(changes={"runner-2": {"taints": []}}),
            "runner-2",
            "pool",
            "expected runnerfleet.dev/pool=runner:NoSchedule",
        ),
        (
            FakeWorld(changes={"runner-1": {"taints": [TAINT, "runnerfleet.dev/engine-not-ready=:NoSchedule"]}}),
            "runner-1",
            "engine",
            "still has the start-up taint",
        ),
        (FakeWorld(changes={"runner-1": {"engine": ""}}), "runner-1", "engine", "found no engine pod"),
        (FakeWorld(changes={"runner-1": {"engine_ready": False}}), "runner-1", "engine", "is not ready"),
        (FakeWorld(disk_changes={"target": "/"}), "runner-1", "mount", "lies on the mount /"),
        (
            FakeWorld(disk_changes={"devices": ["/dev/sda1", "/dev/sda"]}),
            "runner-1",
            "mount",
            "expected one of the drives",
        ),
        (
            FakeWorld(disk_changes={"drives": {"/dev/disk/by-id/a": "", "/dev/disk/by-id/b": "/dev/loop0"}}),
            "runner-1",
            "drives",
            "by-id/a",
        ),
        (FakeWorld(conclusion="failure"), "runner-1", "jobs", "ended with 'failure'"),
        (FakeWorld(text=lambda node: log("elsewhere")), "runner-1", "jobs", "NODE_NAME says elsewhere"),
        (
            FakeWorld(text=lambda node: log(node, engine="tcp://other:1234")),
            "runner-1",
            "jobs",
            "found engine 'tcp://other:1234'",
        ),
        (FakeWorld(text=lambda node: log(node, second="175 nonce ")), "runner-2", "jobs", "second run is not cached"),
        (FakeWorld(text=lambda node: "nothing"), "runner-1", "jobs", "found engine None"),
        (FakeWorld(growth=0), "runner-2", "cache", "the jobs used another engine"),
    ],
)
def test_what_does_not_hold_is_said(world: FakeWorld, node: str, column: str, reason: str) -> None:
    proof = checks.examine(world, DRIVES)
    row = next(row for row in proof.rows if row.cells["node"] == node)
    assert not proof.holds
    assert reason in row.wrong[column]
    assert f"! {node}, {column}: " in checks.table(proof.rows)


@pytest.mark.parametrize(
    ("world", "drives", "reason"),
    [
        (FakeWorld(pool_list=()), DRIVES, "no RunnerDeployment"),
        (FakeWorld(), {**DRIVES, "runner-3": ["/dev/x"]}, "runner-3 has drives and is not a node"),
        (FakeWorld(placement=("support-1",)), DRIVES, "jobs ran on support-1"),
        (FakeWorld(changes={"runner-1": {"engine": ""}}), DRIVES, "no jobs were queued"),
    ],
)
def test_problems_beyond_a_node(world: FakeWorld, drives: dict[str, list[str]], reason: str) -> None:
    proof = checks.examine(world, drives)
    assert not proof.holds
    assert any(reason in problem for problem in proof.problems)


def test_jobs_that_nobody_takes_are_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "ROUND_SECONDS", -1.0)
    world = FakeWorld(status="queued")
    proof = checks.examine(world, DRIVES)
    assert world.cancelled == [0, 1]
    assert any("jobs not done" in problem and "Registered runners" in problem for problem in proof.problems)


def test_the_script_is_a_shell_script_for_the_real_client() -> None:
    script = checks.job_script("nonce")
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)
    command = "sleep 4; head -c 16777216 /dev/urandom > /payload; date +%s; echo nonce"
    expected = f'container | with-rootfs $(host | directory /bb) | with-exec -- sh,-c,"{command}" | stdout'
    assert f"--progress=plain -c '{expected}'" in script


def test_evidence_is_read_from_the_log() -> None:
    job = Job(1, "completed", "success", "pod", "runner-1", "noise\n" + log("runner-1"))
    assert job.evidence["place"] == {"node": "runner-1", "host": "pod", "engine": model.SOCKET}
    assert job.evidence["run=2"] == {"seconds": "0", "marked": "2", "stdout": "170 nonce "}


@pytest.mark.parametrize(
    "colour",
    [
        pytest.param(lambda line: f"\x1b[0m\x1b[1;32m{line}\x1b[0m", id="around each line"),
        pytest.param(lambda line: line.replace("[", "[\x1b[38;5;4m").replace("]", "\x1b[m]"), id="inside the brackets"),
        pytest.param(lambda line: f"\x1b[2K\x1b]0;dagger\x07{line}\x1b]8;;\x1b\\", id="a title and a link"),
    ],
)
def test_evidence_is_read_from_a_log_in_colours(colour: Callable[[str], str]) -> None:
    """A real client writes them whatever it writes to."""
    text = "".join(f"{colour(line)}\n" for line in log("runner-1").splitlines())
    assert (
        Job(1, "completed", "success", "pod", log=text).evidence
        == Job(1, "completed", "success", "pod", log=log("runner-1")).evidence
    )
