"""What the storage role costs against the usual modules: the same stripe on the same drives of a virtual machine, in
the same run.

A part of `make bench`. The other side is lab/bench/storage_by_hand.yml: fedora.linux_system_roles, which would be the
fairer one, comes from Galaxy alone, so that a machine without it could not run the benchmark.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.bench.counted import CONFIG, ROOT, playbook
from lab.machines import vms
from lab.process import run

INVENTORY = ROOT / "inventories/lab-nvme"
# Ansible says so at -vvv, once for each command that it runs over ssh.
ROUND_TRIP = "SSH: EXEC"


@dataclass(frozen=True)
class Storage:
    """One run: host-tasks, seconds, and commands sent over ssh."""

    tasks: int
    seconds: float
    round_trips: int


def measure(kept: Path) -> dict[str, tuple[Storage, Storage]]:
    """By side, the run on blank drives and the one after it. LAB_FLEET names the machine's set."""
    vms.down()
    try:
        return {"ours": _side(kept, _ours), "by hand": _side(kept, _by_hand)}
    finally:
        vms.down()


def _ours(drives: list[str]) -> list[str]:
    wish = {"nvme_storage_drives": drives, "nvme_storage_layout": "stripe"}
    return ["playbooks/storage.yml", "--extra-vars", json.dumps(wish)]


def _by_hand(drives: list[str]) -> list[str]:
    return ["lab/bench/storage_by_hand.yml", "--extra-vars", json.dumps({"by_hand_drives": drives})]


def _side(kept: Path, arguments: Callable[[list[str]], list[str]]) -> tuple[Storage, Storage]:
    vm = vms.up()
    run(
        "ansible", "-i", str(INVENTORY), "-m", "ansible.builtin.ping", vm.name, env={**os.environ, **CONFIG}
    )  # warms both up
    first, again = (_run(kept, arguments(vm.data_serials())) for _time in range(2))
    vms.down()
    return first, again


def _run(kept: Path, arguments: list[str]) -> Storage:
    counted = playbook(kept / "storage.jsonl", INVENTORY, *arguments, ANSIBLE_VERBOSITY="3")
    (host,) = counted.hosts.values()
    return Storage(host["evaluated"], counted.seconds, counted.printed.count(ROUND_TRIP))


def table(sides: dict[str, tuple[Storage, Storage]]) -> str:
    """The part of docs/benchmarks.md."""
    (ours, ours_again), (hand, hand_again) = sides["ours"], sides["by hand"]

    def line(what: str, one: Storage, floor: Storage) -> str:
        ratio = f"{one.seconds / floor.seconds:.2f}"
        return f"| {what} | {one.tasks} | {one.round_trips} | {one.seconds:.0f} | {ratio} |"

    return "\n".join(
        [
            "| a stripe over four drives, two volumes, 3 binds | host-tasks | commands over ssh | seconds | against "
            "the usual modules |",
            "|---|---|---|---|---|",
            line("by the usual modules (`lab/bench/storage_by_hand.yml`)", hand, hand),
            line("by `nvme_storage`", ours, hand),
            line("again, by the usual modules", hand_again, hand_again),
            line("again, by `nvme_storage`", ours_again, hand_again),
        ]
    )
