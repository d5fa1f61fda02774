# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts what a run costs each host."""

from __future__ import annotations

DOCUMENTATION = r"""
name: task_budget
type: aggregate
short_description: Counts the tasks that a run evaluates on each host
version_added: 0.1.0
description:
  - Every host-task costs the controller a fork, a skipped one too, and the sum decides how long a large fleet takes.
    This plugin counts them, so that a test can hold a playbook to a budget.
  - At the end of a playbook one line of JSON is appended to a file, with the playbook's name, whether it was a dry run,
    the seconds that it took and the counts of each host.
  - The counts are V(evaluated) (all tasks of the host itself), V(skipped) among them, V(changed), V(delegated)
    (evaluated for this host on another one than the controller), V(once) (tasks with C(run_once), which a host runs for
    all), V(failed) and V(unreachable).
options:
  path:
    description:
      - The file to append to.
      - Without it nothing is counted.
    type: path
    env:
      - name: TASK_BUDGET_FILE
requirements:
  - enable in configuration
author:
  - runnerfleet contributors (@runnerfleet)
"""

import json
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from ansible import context
from ansible.plugins.callback import CallbackBase

COUNTS = ("evaluated", "skipped", "changed", "delegated", "once", "failed", "unreachable")
CONTROLLER = ("localhost", "127.0.0.1", "::1")


class CallbackModule(CallbackBase):
    """Counts host-tasks; nothing is printed."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "runnerfleet.baremetal.task_budget"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        """Start at zero."""
        super().__init__()
        self._hosts: dict[str, Counter[str]] = defaultdict(Counter)
        self._playbook = ""
        self._start = time.monotonic()

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Remember the name and the time."""
        self._playbook = Path(playbook._file_name).name
        self._start = time.monotonic()

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        """A host is about to evaluate a task, whether it then skips it or not."""
        counts = self._hosts[host.get_name()]
        if task.run_once:
            counts["once"] += 1
            return
        counts["evaluated"] += 1
        if task.delegate_to and task.delegate_to not in (*CONTROLLER, host.get_name()):
            counts["delegated"] += 1

    def v2_runner_on_ok(self, result: Any) -> None:
        """A task is through."""
        self._hosts[result.host.get_name()]["changed"] += bool(result.result.get("changed"))

    def v2_runner_on_skipped(self, result: Any) -> None:
        """A task was not wanted after all; one that the host would have run for all is no cost of its own."""
        self._hosts[result.host.get_name()]["skipped"] += not result.task.run_once

    def v2_runner_on_failed(self, result: Any, **_given: Any) -> None:
        """A task failed, rescued or not."""
        self._hosts[result.host.get_name()]["failed"] += 1

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """A host did not answer."""
        self._hosts[result.host.get_name()]["unreachable"] += 1

    def v2_playbook_on_stats(self, _stats: Any) -> None:
        """Write the line."""
        path = self.get_option("path")
        if not path:
            return
        line = {
            "playbook": self._playbook,
            "check": bool(context.CLIARGS.get("check")),
            "seconds": round(time.monotonic() - self._start, 1),
            "hosts": {name: {count: counts[count] for count in COUNTS} for name, counts in sorted(self._hosts.items())},
        }
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
