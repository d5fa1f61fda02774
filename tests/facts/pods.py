"""An engine's pod without a cluster: the program that acts beside an engine runs the lab's, and is started anew
whenever it ends.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.facts.engines import CHROOT, METRICS, STARTED, Client, wait_for

ROOT = Path(__file__).resolve().parents[2]
VERSION = "0.21.11"
BACK = 1  # second that a kubelet takes to see that a container has ended, at least
# The kubelet: $0 is the container's root, $1 the rest of the command of a container.
KUBELET = """
mount -o loop "$0/cache.img" "$0/cache"
while test ! -e "$0/over"; do
  setpriv --pdeathsig KILL unshare --net --mount sh -ec "$1" "$0" & echo $! > "$0/pid.new"; mv "$0/pid.new" "$0/pid"
  wait $! && echo 0 >> "$0/codes" || echo $? >> "$0/codes"
  sleep {back}
done
"""
# As in the pod, but for the chroot: descriptor 3 is the container's root.
CONTAINER = (
    CHROOT.rpartition("exec")[0]
    + """
mount --rbind "$0/cache" "$0/var/lib/dagger"
test ! -e "$0/slow" || export _STAND_IN_START=60s
exec 3< "$0"
exec {python} -IBc '{program}' "$0/program"
"""
)
# A cluster that asks for nothing, and an engine that counts as idle after one look. They come every ten seconds after
# it answered.
PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
sys.argv[1:] = ["run"]
import engine_supervisor
engine_supervisor.Api.call = lambda *_arguments, **_more: {"metadata": {}, "items": []}
engine_supervisor.QUIET = engine_supervisor.CALM = 1
engine_supervisor.SETTLED = 0
engine_supervisor.HOLD = 2
sys.exit(engine_supervisor.main())
"""


@dataclass
class Pod:
    """One engine with its program. `base`: the root of its container."""

    base: Path
    client: Client

    def start(self, interval: int, **environment: str) -> None:
        """Make what the pod mounts, start it, and wait until its engine answers. `interval`: between checkpoints, in
        seconds.
        """
        for directory in ("cache", "program", "proc", "dev", "tmp", "run/dagger", "etc/dagger", "var/lib/dagger"):
            (self.base / directory).mkdir(parents=True, exist_ok=True)
        for file in (ROOT / "roles/dagger_engine/files").glob("*.py"):
            shutil.copy(file, self.base / "program")
        settings = {
            "version": VERSION,
            "cache": str(self.base / "cache"),
            "sockets": str(self.base / "run/dagger"),
            "entrypoint": ["/usr/local/bin/dagger-engine"],
            "interval": interval,
            "min_free": 1,
        }
        (self.base / "program/settings.json").write_text(json.dumps(settings), encoding="utf-8")
        (self.base / "program/engine.json").write_text("{}", encoding="utf-8")
        image = self.base / "cache.img"
        with open(image, "wb") as file:
            file.truncate(512 << 20)
        subprocess.run(["mkfs.xfs", "-q", str(image)], check=True)
        container = CONTAINER.format(python=sys.executable, program=PROGRAM)
        wanted = {
            "_EXPERIMENTAL_DAGGER_METRICS_ADDR": METRICS,
            "_EXPERIMENTAL_DAGGER_METRICS_CACHE_UPDATE_INTERVAL": "200ms",
            "_EXPERIMENTAL_DAGGER_RUNNER_HOST": "unix:///run/dagger/engine.sock",
            "PATH": f"/usr/local/bin:{os.environ['PATH']}",
        }
        kubelet = [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-ec",
            KUBELET.format(back=BACK),
            str(self.base),
            container,
        ]
        with open(self.base / "log", "ab") as log:
            STARTED.start(*kubelet, env={**os.environ, **wanted, **environment}, stdout=log, stderr=log)
        self.wait_for_answer()

    def wait_for_answer(self, times: int = 1) -> None:
        """Until an engine has answered, the first or a later one."""
        wait_for("the engine's answer", lambda: self.log.count("the engine answers") >= times)

    @property
    def log(self) -> str:
        """All that was written in the pod."""
        return (self.base / "log").read_text(encoding="utf-8", errors="replace")

    @property
    def codes(self) -> list[int]:
        """The exit codes of its containers so far."""
        path = self.base / "codes"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def door_is_shut(self) -> bool:
        """Whether clients find no socket."""
        return not (self.base / "run/dagger/engine.sock").exists()

    def terminate(self) -> None:
        """What a kubelet does to end the container that runs; the next one comes as ever."""
        os.kill(int((self.base / "pid").read_text()), signal.SIGTERM)

    def kinds(self) -> list[str]:
        """What the program has told, by kind. Its filesystem is seen by its own processes only."""
        inside = Path(f"/proc/{(self.base / 'pid').read_text().strip()}/root{self.base}/cache/{VERSION}/events.jsonl")
        return (
            [json.loads(line)["kind"] for line in inside.read_text(encoding="utf-8").splitlines()]
            if inside.exists()
            else []
        )

    def knock(self, after: float) -> Knock:
        """A client that begins so many seconds from now."""
        return Knock(self, time.monotonic() + after)


@dataclass
class Knock:
    """A client that begins at a time, as a job's does."""

    pod: Pod
    begins: float
    process: subprocess.Popen[Any] | None = None
    seconds: float = 0  # until it was served

    def look(self) -> bool:
        """Go on with it; whether it is over."""
        now = time.monotonic()
        if not self.process and now >= self.begins:
            home = self.pod.client.home / f"{now}"  # each has its own progress
            home.mkdir()
            self.process = Client(self.pod.client.program, self.pod.client.host, home).start("core", "version")
            self.begins = now
        elif self.process and not self.seconds and self.process.poll() is not None:
            assert self.process.returncode == 0, self.pod.log
            self.seconds = now - self.begins
        return self.seconds > 0
