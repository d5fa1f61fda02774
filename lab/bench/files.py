"""What a filesystem of the engine's cache costs: run by lab/bench/engine.py, here and on a virtual machine, with the
standard library only.

python3 - <kind> <mount> <files>      kind is xfs or btrfs; prints one JSON object with seconds
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable

KIND, MOUNT, FILES = sys.argv[1], sys.argv[2], int(sys.argv[3])
STATE, COPY = f"{MOUNT}/state", f"{MOUNT}/copy"


def call(*command: str) -> None:
    """Run a command that must succeed."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def timed(work: Callable[[], None]) -> float:
    """Seconds until the work is on the disk."""
    os.sync()
    start = time.monotonic()
    work()
    os.sync()
    return round(time.monotonic() - start, 3)


def build() -> None:
    """As a build that unpacks, touches and throws away: small files, each written, renamed and looked at, one in four
    deleted.
    """
    call("btrfs", "-q", "subvolume", "create", STATE) if KIND == "btrfs" else os.mkdir(STATE)
    for number in range(FILES):
        folder = f"{STATE}/{number % 100}"
        os.makedirs(folder, exist_ok=True)
        with open(f"{folder}/{number}.new", "wb") as file:
            file.write(b"x" * (512 + number % 4096))
        os.rename(f"{folder}/{number}.new", f"{folder}/{number}")
        os.stat(f"{folder}/{number}")
    for number in range(0, FILES, 4):
        os.unlink(f"{STATE}/{number % 100}/{number}")


def take() -> None:
    """A checkpoint of a state that nobody writes to."""
    if KIND == "btrfs":
        call("btrfs", "-q", "subvolume", "snapshot", STATE, COPY)
    else:
        call("cp", "--archive", "--reflink=always", STATE, COPY)


def restore() -> None:
    """The checkpoint in the state's place; the dirty one is set aside."""
    os.rename(STATE, f"{MOUNT}/dirty")
    if KIND == "btrfs":
        call("btrfs", "-q", "subvolume", "snapshot", COPY, STATE)
    else:
        call("cp", "--archive", "--reflink=always", COPY, STATE)


def delete() -> None:
    """The dirty state goes."""
    if KIND == "btrfs":
        call("btrfs", "-q", "subvolume", "delete", f"{MOUNT}/dirty")
    else:
        shutil.rmtree(f"{MOUNT}/dirty")


print(json.dumps({work.__name__: timed(work) for work in (build, take, restore, delete)}))
