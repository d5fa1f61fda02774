"""Run other programs, and say clearly which one failed."""

from __future__ import annotations

import fcntl
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")


class LabError(RuntimeError):
    """Something the lab needs is missing or failed; the text says what and what to do."""


def run(
    *command: str, check: bool = True, text: str | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program and keep its output. With check, a failure raises LabError with the end of what it printed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, input=text, env=env, check=False)
    except FileNotFoundError as error:
        raise LabError(f"{command[0]} is not installed: run `python3 -m lab setup`") from error
    if check and done.returncode:
        raise LabError(f"`{' '.join(command)}` failed ({done.returncode}):\n{(done.stderr or done.stdout)[-2000:]}")
    return done


def plain(text: str) -> str:
    """Text without a terminal's codes: a real dagger writes colours into files and pipes as well, with --progress=plain
    too.
    """
    return _ESCAPE.sub("", text)


def output(*command: str) -> str:
    """What a program prints, stripped."""
    return run(*command).stdout.strip()


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Make this file or directory while other processes that want to make it wait. The lock lies beside it and ends
    with the process.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(f".{path.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def ssh_options(facts: Mapping[str, Any]) -> list[str]:
    """How a node of the fleet that lab.json describes is reached: with its key, and only if its host key is the known
    one.
    """
    known = ["-o", f"UserKnownHostsFile={facts['known_hosts']}", "-o", "StrictHostKeyChecking=yes"]
    return ["-i", facts["ssh_key"], *known, "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "LogLevel=ERROR"]
