"""What a proof looks at: nodes, drives, jobs and pools of a fleet, as the API server, ssh and the stand-in of GitHub
show them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from lab.process import plain

POOL_LABEL = "node-restriction.kubernetes.io/runnerfleet-pool"
POOL_TAINT = "runnerfleet.dev/pool"
START_TAINT = "runnerfleet.dev/engine-not-ready"
CACHE_MOUNT = "/var/lib/runnerfleet/engine"
SOCKET = "unix:///run/dagger/engine.sock"
ENGINE_NAMESPACE = "dagger"
RUNNER_NAMESPACE = "arc-runners"


@dataclass
class Node:
    """A node as the API server and the node itself describe it."""

    name: str
    address: str
    ready: bool
    control_plane: bool
    pool: str
    taints: list[str]
    engine: str = ""  # what its engine pod is, empty when there is none
    engine_ready: bool = False


@dataclass
class Disk:
    """What carries the engine's cache on a node."""

    target: str = ""  # mount point of the state directory
    source: str = ""
    filesystem: str = ""
    devices: list[str] = field(default_factory=list)  # the source and all it lies on
    drives: dict[str, str] = field(default_factory=dict)  # each drive's by-id path, and the device it is
    used: int = 0
    state: str = ""


@dataclass
class Job:
    """A job and what its log says."""

    number: int
    status: str
    conclusion: str
    runner: str
    node: str = ""  # where its pod was, as the API server says
    log: str = ""

    @property
    def evidence(self) -> dict[str, dict[str, str]]:
        """The lines that begin with `proof`, by their first word: `proof run=1 ...` is "run=1"."""
        lines = re.findall(r"^proof (\S+) ?(.*)$", plain(self.log), re.MULTILINE)
        return {head: dict(re.findall(r"(\w+)=\[([^\]]*)\]", rest)) for head, rest in lines}


@dataclass(frozen=True)
class Pool:
    """A scale set or a RunnerDeployment: which jobs its runners take."""

    name: str
    repository: str
    labels: tuple[str, ...]


class World(Protocol):
    """What the proof looks at."""

    def nodes(self) -> list[Node]:
        """All nodes of the cluster."""

    def pools(self) -> list[Pool]:
        """The runner pools."""

    def disk(self, node: Node, drives: Sequence[str]) -> Disk:
        """The cache's disk on a runner node."""

    def queue(self, pool: Pool, script: str) -> Job:
        """Queue a job."""

    def look(self, job: Job) -> Job:
        """The job now."""

    def cancel(self, job: Job) -> None:
        """Take a job off the queue."""

    def runners(self) -> str:
        """One line on runners and their pods, for messages."""
