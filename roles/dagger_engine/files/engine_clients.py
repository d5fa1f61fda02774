# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clients of engines on this node, read off the host's processes. An engine's own gauge counts the kubelet's probes as
well, and nobody once it stops; and it says nothing of a client whose engine is gone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import engine_policy
from engine_canary import FOLDER

CLIENT = "dagger"  # the name of the process, whichever SDK has started it
WORKER = "Runner.Worker"  # a runner has a process of this name while it has a job, and only then
PROBE = b"core\0version\0"  # the end of its arguments where the kubelet asks, or a runner that proves its engine


def oldest_by_pod(proc: Path = Path("/proc")) -> Mapping[str, float]:
    """When the oldest client in each pod was started, in seconds since 1970, by the uid of the pod. Probes are no
    clients.
    """
    found: dict[str, float] = {}
    booted = re.search(r"^btime (\d+)$", (proc / "stat").read_text(encoding="utf-8"), re.MULTILINE)
    begin, tick = float(booted.group(1)) if booted else 0.0, os.sysconf("SC_CLK_TCK")
    for pod, name, ticks, words in _processes(proc):
        if name != CLIENT or words.endswith(PROBE) or FOLDER.encode() in words:
            continue  # nobody's: a probe, or the canary step
        started = begin + ticks / tick
        found[pod] = min(started, found.get(pod, started))
    return found


def at_work(proc: Path = Path("/proc")) -> set[str]:
    """The uids of the pods whose runner has a job, whether it has called an engine yet or not."""
    return {
        pod
        for pod, _name, _ticks, words in _processes(proc)
        if Path(os.fsdecode(words.partition(b"\0")[0])).name == WORKER
    }


def _processes(proc: Path) -> Iterator[tuple[str, str, int, bytes]]:
    """Processes of pods: the pod's uid, the name, when it was started in clock ticks since the boot, and the
    arguments.
    """
    for folder in proc.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            name, ticks = engine_policy.start_of((folder / "stat").read_text(encoding="utf-8", errors="replace"))
            words = (folder / "cmdline").read_bytes()
            pod = engine_policy.pod_of((folder / "cgroup").read_text(encoding="utf-8", errors="replace"))
        except (OSError, ValueError, IndexError):
            continue  # it has ended meanwhile
        if pod:
            yield pod, name, ticks, words
