"""Run other programs, and say clearly which one failed."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping


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


def output(*command: str) -> str:
    """What a program prints, stripped."""
    return run(*command).stdout.strip()
