"""ansible-playbook with its tasks counted, by this collection's own callback plugin. A part of `make bench`."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.process import run

ROOT = Path(__file__).resolve().parents[2]
CONFIG = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}


@dataclass(frozen=True)
class Counted:
    """One run: seconds with and without the start of Ansible, what the callback wrote of each host, and what was
    printed.
    """

    seconds: float
    play_seconds: float
    hosts: dict[str, dict[str, Any]]
    printed: str


def playbook(counts: Path, inventory: Path, *arguments: str, **environment: str) -> Counted:
    """Run a playbook of this project; `counts` is where the callback writes."""
    counts.unlink(missing_ok=True)
    counting = {"ANSIBLE_CALLBACKS_ENABLED": "runnerfleet.baremetal.task_budget", "TASK_BUDGET_FILE": str(counts)}
    name, *more = arguments
    start = time.monotonic()
    command = ["ansible-playbook", "-i", str(inventory), str(ROOT / name), *more]
    printed = run(*command, env={**os.environ, **CONFIG, **counting, **environment}).stdout
    seconds = time.monotonic() - start
    counted = json.loads(counts.read_text().splitlines()[-1])
    return Counted(seconds, counted["seconds"], counted["hosts"], printed)
