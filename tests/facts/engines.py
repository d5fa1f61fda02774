"""The engine under test: the lab's stand-in as a process of ours, an image that podman runs, or a socket that somebody
gave us.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from lab import machine
from lab.mirror import serve as mirror_serve
from lab.process import output, plain, run

STAND_INS = Path(__file__).resolve().parents[2] / "lab/standins"
RUNNER_HOST = "_EXPERIMENTAL_DAGGER_RUNNER_HOST"
ENGINE_NETWORK = "dagger"  # is in the names of its bridge, and in the comments of its rules
METRICS = "127.0.0.1:9090"  # in the engine's own network
# The root of the image becomes the root of the process. It has to be a mount: a step makes its mounts private, and
# begins with the root.
CHROOT = """
ip link set lo up
mount --rbind "$0" "$0"
mount -t proc proc "$0/proc"
mount --bind /dev "$0/dev"
exec chroot "$0" /usr/local/bin/dagger-engine "$@"
"""
# What keeps a fact from being tried, by what it needs.
LACKS = {
    "metrics": "no page of metrics is given: set ENGINE_METRICS to its address",
    "process": "the engine's process is not ours to start and stop: give an ENGINE_IMAGE instead of an ENGINE_SOCKET",
    "old client": "no older dagger is given: set ENGINE_OLD_CLIENT to one of 0.18",
    "program": "the program beside an engine is tried with the stand-in",
    "collector": "the stand-in checks the collector's settings and does not collect",
}


def wait_for(what: str, holds: Callable[[], bool], seconds: float = 60) -> None:
    """Until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited {seconds} seconds in vain for {what}"
        time.sleep(0.05)


def kill_group(process: subprocess.Popen[Any]) -> None:
    """SIGKILL for a program that heads a process group, and for what it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


@dataclass
class Started:
    """Programs that were started here. Each heads a process group of its own, which ends with the test, or with this
    process.
    """

    programs: list[subprocess.Popen[Any]] = field(default_factory=list)

    def start(self, *command: str, at_end: str = "KILL", **options: Any) -> subprocess.Popen[Any]:
        """Start one; `at_end`: the signal that it gets where this process dies."""
        tied = ["setpriv", "--pdeathsig", at_end, *command]
        process = subprocess.Popen(tied, start_new_session=True, **options)
        self.programs.append(process)
        return process

    def end(self) -> None:
        """End all of them, and what they started."""
        while self.programs:
            process = self.programs.pop()
            kill_group(process)
            process.wait()
            if process.stdout:
                process.stdout.close()


STARTED = Started()


@dataclass
class Client:
    """A dagger command line, and the engine that it is pointed at."""

    program: Path
    host: str
    home: Path

    def start(self, *argv: str) -> subprocess.Popen[str]:
        """A command that goes on; its progress is read from a file."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            RUNNER_HOST: self.host,
            "DAGGER_NO_NAG": "1",
            "DO_NOT_TRACK": "1",
        }
        with open(self.home / "progress", "w", encoding="utf-8") as progress:
            return STARTED.start(
                str(self.program),
                *argv,
                cwd=self.home,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=progress,
                text=True,
            )

    def progress(self) -> str:
        """What the last command has said so far, without its colours: a real client writes them into files as well."""
        return plain((self.home / "progress").read_text(encoding="utf-8"))

    def run(self, *argv: str, seconds: float = 120) -> tuple[int, str]:
        """A command that ends: its exit code and its output, without colours."""
        process = self.start(*argv)
        try:
            printed, _none = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            kill_group(process)  # all that holds its output
            process.communicate()
            raise
        return process.returncode, plain(printed)


@dataclass
class Given:
    """A socket, and perhaps a page of metrics."""

    address: str
    page: str = ""

    @property
    def can(self) -> frozenset[str]:
        """Not much."""
        return frozenset({"metrics"} if self.page else ())

    def metrics(self) -> dict[str, float]:
        """The samples on its page."""
        return samples(self.page)

    def start(
        self, *argv: str, config: Any = None, answers: bool = True, environment: dict[str, str] | None = None
    ) -> None:
        """It runs."""


@dataclass
class Process:
    """An engine of ours. Its directories lie below `base`.

    Its network is its own, and goes with it: a real one makes a bridge and thousands of iptables rules.
    """

    base: Path
    client: Client
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        for directory in (self.state, self.run, self.etc):
            directory.mkdir(parents=True, exist_ok=True)

    @property
    def state(self) -> Path:
        """/var/lib/dagger of the engine."""
        return self.base / "var/lib/dagger"

    @property
    def run(self) -> Path:
        """/run/dagger of the engine."""
        return self.base / "run/dagger"

    @property
    def etc(self) -> Path:
        """/etc/dagger of the engine."""
        return self.base / "etc/dagger"

    @property
    def socket(self) -> Path:
        """What it always listens on."""
        return self.run / "engine.sock"

    @property
    def address(self) -> str:
        """The same, for clients."""
        return f"unix://{self.socket}"

    @property
    def log(self) -> str:
        """All that this engine and those before it here have written."""
        return (self.base / "log").read_text(encoding="utf-8", errors="replace")

    at_end: ClassVar = "KILL"  # what its process gets where this one dies

    def command(self, argv: tuple[str, ...], environment: dict[str, str]) -> tuple[list[str], dict[str, str]]:
        """The command line and the environment of the process that is the engine."""
        raise NotImplementedError

    def pid(self) -> int:
        """A process in the engine's namespaces."""
        raise NotImplementedError

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the engine."""
        assert self.process
        self.process.send_signal(number)

    def start(
        self, *argv: str, config: Any = None, answers: bool = True, environment: dict[str, str] | None = None
    ) -> None:
        """Start it, with engine.json where there is one, and wait until it answers or, where it is not to, until it has
        ended.
        """
        (self.etc / "engine.json").unlink(missing_ok=True)
        if config is not None:
            (self.etc / "engine.json").write_text(
                config if isinstance(config, str) else json.dumps(config), encoding="utf-8"
            )
        self.launch(*argv, environment=environment)
        assert self.process
        if answers:
            wait_for(
                "the engine's socket",
                lambda: self.socket.exists() or self.process is None or self.process.poll() is not None,
            )
            assert self.process.poll() is None, self.log
            code, _version = self.client.run("core", "version")
            assert code == 0, self.log
        else:
            self.ended(30)

    def launch(self, *argv: str, environment: dict[str, str] | None = None) -> None:
        """Start its process, and wait for nothing."""
        settings = {"_EXPERIMENTAL_DAGGER_METRICS_ADDR": METRICS, **(environment or {})}
        command, variables = self.command(argv, settings)
        with open(self.base / "log", "ab") as log:
            self.process = STARTED.start(
                *command, at_end=self.at_end, env={**os.environ, **variables}, stdout=log, stderr=log
            )

    def inside(self, *command: str) -> str:
        """What a command prints that runs in the engine's network."""
        place = ["nsenter", f"--net=/proc/{self.pid()}/ns/net"]
        return subprocess.run([*place, *command], check=True, capture_output=True, text=True).stdout

    def ended(self, seconds: float = 120) -> int:
        """Its exit code, once it has ended."""
        assert self.process
        code = self.process.wait(seconds)
        self.process = None
        return code

    def stop(self) -> int:
        """A stop as Kubernetes asks for it."""
        self.signal(signal.SIGTERM)
        return self.ended()

    def kill(self) -> None:
        """A stop as nobody should ask for it."""
        self.signal(signal.SIGKILL)
        self.ended()

    def keep(self, name: str) -> Path:
        """A copy of the state directory, as a checkpoint is one."""
        target = self.base / name
        subprocess.run(["cp", "-a", str(self.state), str(target)], check=True)
        return target

    def put_back(self, copy: Path) -> None:
        """A copy in the place of the state directory."""
        shutil.rmtree(self.state)
        subprocess.run(["cp", "-a", str(copy), str(self.state)], check=True)

    def metrics(self) -> dict[str, float]:
        """The samples on its page."""
        return samples(METRICS, self.inside)

    @property
    def database(self) -> Path:
        """What the engine persists at its stop."""
        return self.state / "dagql-cache.db"

    def query(self, statement: str, *values: str) -> list[Any]:
        """The first row of an answer."""
        with contextlib.closing(sqlite3.connect(self.database)) as found:
            row = found.execute(statement, values).fetchone()
            found.commit()
        return list(row or ())

    def meta(self, key: str) -> str | None:
        """A value of the database's table of that name."""
        return next(iter(self.query("select value from meta where key = ?", key)), None)

    def set_meta(self, key: str, value: str) -> None:
        """Change one, while no engine runs."""
        self.query("update meta set value = ? where key = ?", value, key)

    def results(self) -> int:
        """How many results are persisted."""
        return int(self.query("select count(*) from results")[0])

    def close(self) -> None:
        """Leave nothing behind."""
        if self.process and self.process.poll() is None:
            self.kill()


class StandIn(Process):
    """The lab's engine, in a root filesystem that looks like its image's."""

    can: ClassVar = frozenset({"metrics", "process", "old client", "program"})

    def command(self, argv: tuple[str, ...], environment: dict[str, str]) -> tuple[list[str], dict[str, str]]:
        for directory in ("proc", "dev", "tmp"):
            (self.base / directory).mkdir(exist_ok=True)
        # Another group undoes what was said about the end.
        group = ["setpriv", "--regid", "1001", "--clear-groups", "--pdeathsig", self.at_end]
        apart = ["unshare", "--net", "--mount", "--propagation", "private"]
        return [*group, *apart, "sh", "-ec", CHROOT, str(self.base), *argv], environment

    def pid(self) -> int:
        assert self.process
        return self.process.pid


class Image(Process):
    """An engine image that podman runs."""

    can: ClassVar = frozenset({"metrics", "process", "collector"})
    at_end: ClassVar = "TERM"  # which podman passes on

    def __init__(self, base: Path, client: Client, image: str) -> None:
        self.image, self.name = image, f"engine-facts-{uuid.uuid4().hex[:8]}"
        super().__init__(base, client)

    def command(self, argv: tuple[str, ...], environment: dict[str, str]) -> tuple[list[str], dict[str, str]]:
        options = ["--rm", "--replace", "--name", self.name, "--privileged", "--network", "none", "--user", "0:1001"]
        for directory, target in (
            (self.state, "/var/lib/dagger"),
            (self.run, "/run/dagger"),
            (self.etc, "/etc/dagger"),
        ):
            options += ["--volume", f"{directory}:{target}"]
        for name, value in environment.items():
            options += ["--env", f"{name}={value}"]
        here = machine.inspect()
        options += ["--ulimit", f"nofile={here.open_files}", "--ulimit", f"nproc={here.processes}"]
        return ["podman", "--runtime", "runc", "run", *options, self.image, *argv], {}

    def signal(self, number: signal.Signals) -> None:
        # Unchecked: a container that has just ended takes no signal, and whoever sends one waits for its end.
        subprocess.run(["podman", "kill", "--signal", number.name, self.name], check=False, capture_output=True)

    def pid(self) -> int:
        return int(output("podman", "inspect", "--format", "{{.State.Pid}}", self.name))

    def close(self) -> None:
        # Whatever became of the podman that started it.
        subprocess.run(
            ["podman", "rm", "--force", "--ignore", "--time", "0", self.name], check=False, capture_output=True
        )


def network_lines() -> set[str]:
    """What this machine's network has of engines: their links, and their lines of netfilter."""
    lines: set[str] = set()
    for command in (["ip", "-o", "link"], ["iptables-save"], ["ip6tables-save"], ["nft", "list", "ruleset"]):
        printed = subprocess.run(command, check=False, capture_output=True, text=True).stdout
        lines |= {line.strip() for line in printed.splitlines() if ENGINE_NETWORK in line}
    return lines


@contextlib.contextmanager
def usable_image(given: str) -> Iterator[str]:
    """A reference that podman runs, of what ENGINE_IMAGE may name. What is read from the disk for that goes again."""
    source = mirror_serve.engine_source(given, "ENGINE_IMAGE")
    if source.startswith("docker://"):
        yield given.removeprefix("docker://")
        return
    name = f"localhost/engine-facts:{uuid.uuid4().hex[:8]}"
    run("skopeo", "copy", "--quiet", source, f"containers-storage:{name}")
    try:
        yield name
    finally:
        run("podman", "rmi", "--force", name)


def samples(address: str, run: Callable[..., str] = output) -> dict[str, float]:
    """A page of metrics without labels. `run`: a command where the page can be reached, to what it prints."""
    lines = run(
        "curl", "--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", "10", f"http://{address}/metrics"
    ).splitlines()
    return {line.split()[0]: float(line.split()[1]) for line in lines if line.startswith("dagger_")}
