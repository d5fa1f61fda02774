# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calls modules/runner_drain.py part by part, and displays in between what is waited for: a module cannot speak before
it ends.
"""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase

POLL = 30  # seconds of one call at most
REPEAT = 60  # seconds until the same lines are displayed once more
SHOWN = 50
PARTS = ("planned", "asked", "ended")  # of the module's result: what each call has of its own


class ActionModule(ActionBase):
    """A drain that tells while it waits."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Call the module until nothing uses the nodes, or it fails."""
        super().run(tmp, task_vars)
        began, shown = time.monotonic(), -float(REPEAT)
        seen: list[str] = []
        parts: list[dict[str, Any]] = []
        while True:
            waited = int(time.monotonic() - began)
            arguments = {**self._task.args, "poll": POLL, "waited": waited, "seen": seen}
            found = self._execute_module(module_args=arguments, task_vars=task_vars)
            parts.append(found)
            if found.get("failed") or found.get("done") or self._task.check_mode:
                return _whole(parts)
            now = time.monotonic()
            if found["waits_for"] != seen or now - shown >= REPEAT:
                self._show(found["lines"])
                seen, shown = found["waits_for"], now

    def _show(self, lines: list[str]) -> None:
        more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
        for line in [*lines[:SHOWN], *more]:
            self._display.display(line)


def _whole(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """One result: what the last call found, and what all of them did."""
    last = parts[-1]
    for name in PARTS:
        last[name] = list(dict.fromkeys(item for part in parts for item in part.get(name) or []))
    # What was cordoned is in the first one's.
    return {**last, "diff": parts[0].get("diff", {}), "changed": any(part.get("changed") for part in parts)}
