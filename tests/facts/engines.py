"""The engine under test: the lab's stand-in as a process of ours, an image that podman runs, or a socket that somebody gave us."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.request import urlopen

from lab import machine

STAND_INS = Path(__file__).resolve().parents[2] / "lab/standins"
RUNNER_HOST = "_EXPERIMENTAL_DAGGER_RUNNER_HOST"
# The root of the image becomes the root of the process. It has to be a mount: a step makes its mounts private, and begins with the root.
CHROOT = """
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
    "collector": "the stand-in checks the collector's settings and does not collect",
}


def wait_for(what: str, holds: Callable[[], bool], seconds: float = 60) -> None:
    """Until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited {seconds} seconds in vain for {what}"
        time.sleep(0.05)


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
            return subprocess.Popen(
                [str(self.program), *argv],
                cwd=self.home,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=progress,
                text=True,
            )

    def progress(self) -> str:
        """What the last command has said so far."""
        return (self.home / "progress").read_text(encoding="utf-8")

    def run(self, *argv: str, seconds: float = 120) -> tuple[int, str]:
        """A command that ends: its exit code and its output."""
        process = self.start(*argv)
        try:
            output, _none = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        return process.returncode, output


@dataclass
class Given:
    """A socket, and perhaps a page of metrics."""

    address: str
    metrics_address: str = ""

    @property
    def can(self) -> frozenset[str]:
        """Not much."""
        return frozenset({"metrics"} if self.metrics_address else ())

    def start(self, *argv: str, config: Any = None, answers: bool = True, environment: dict[str, str] | None = None) -> None:
        """It runs."""


@dataclass
class Process:
    """An engine of ours. Its directories lie below `base`."""

    base: Path
    client: Client
    metrics_address: str = ""
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.metrics_address = f"127.0.0.1:{free.getsockname()[1]}"
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

    def command(self, argv: tuple[str, ...], environment: dict[str, str]) -> tuple[list[str], dict[str, str]]:
        """The command line and the environment of the process that is the engine."""
        raise NotImplementedError

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the engine."""
        assert self.process
        self.process.send_signal(number)

    def start(self, *argv: str, config: Any = None, answers: bool = True, environment: dict[str, str] | None = None) -> None:
        """Start it, with engine.json where there is one, and wait until it answers or, where it is not to, until it has ended."""
        (self.etc / "engine.json").unlink(missing_ok=True)
        if config is not None:
            (self.etc / "engine.json").write_text(config if isinstance(config, str) else json.dumps(config), encoding="utf-8")
        self.launch(*argv, environment=environment)
        assert self.process
        if answers:
            wait_for("the engine's socket", lambda: self.socket.exists() or self.process is None or self.process.poll() is not None)
            assert self.process.poll() is None, self.log
            code, _version = self.client.run("core", "version")
            assert code == 0, self.log
        else:
            self.ended(30)

    def launch(self, *argv: str, environment: dict[str, str] | None = None) -> None:
        """Start its process, and wait for nothing."""
        settings = {"_EXPERIMENTAL_DAGGER_METRICS_ADDR": self.metrics_address, **(environment or {})}
        command, variables = self.command(argv, settings)
        with open(self.base / "log", "ab") as log:
            self.process = subprocess.Popen(command, env={**os.environ, **variables}, stdout=log, stderr=log)

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
        return samples(self.metrics_address)

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

    can: ClassVar = frozenset({"metrics", "process", "old client"})

    def command(self, argv: tuple[str, ...], environment: dict[str, str]) -> tuple[list[str], dict[str, str]]:
        for directory in ("proc", "dev", "tmp"):
            (self.base / directory).mkdir(exist_ok=True)
        group = ["setpriv", "--regid", "1001", "--clear-groups"]
        return [*group, "unshare", "--mount", "--propagation", "private", "sh", "-ec", CHROOT, str(self.base), *argv], environment


class Image(Process):
    """An engine image that podman runs with this machine's network."""

    can: ClassVar = frozenset({"metrics", "process", "collector"})

    def __init__(self, base: Path, client: Client, image: str) -> None:
        self.image, self.name = image, f"engine-facts-{uuid.uuid4().hex[:8]}"
        super().__init__(base, client)

    def command(self, argv: tuple[str, ...], environment: dict[str, str]) -> tuple[list[str], dict[str, str]]:
        options = ["--rm", "--replace", "--name", self.name, "--privileged", "--network", "host", "--user", "0:1001"]
        for directory, target in ((self.state, "/var/lib/dagger"), (self.run, "/run/dagger"), (self.etc, "/etc/dagger")):
            options += ["--volume", f"{directory}:{target}"]
        for name, value in environment.items():
            options += ["--env", f"{name}={value}"]
        here = machine.inspect()
        options += ["--ulimit", f"nofile={here.open_files}", "--ulimit", f"nproc={here.processes}"]
        return ["podman", "--runtime", "runc", "run", *options, self.image, *argv], {}

    def signal(self, number: signal.Signals) -> None:
        # Unchecked: a container that has just ended takes no signal, and whoever sends one waits for its end.
        subprocess.run(["podman", "kill", "--signal", number.name, self.name], check=False, capture_output=True)


def samples(address: str) -> dict[str, float]:
    """A page of metrics without labels."""
    with urlopen(f"http://{address}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    return {line.split()[0]: float(line.split()[1]) for line in lines if line.startswith("dagger_")}
