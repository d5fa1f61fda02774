# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Heals runner pools until nothing is stuck that can be healed. Private to the collection."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners.plan_heal import Action, ends, plan, told
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners.status import Observed, judge

POLL = 3  # seconds between two looks


class HealError(Exception):
    """What was not healed in time."""


@dataclass
class Healed:
    """What was done, a line each, and what is left to a person."""

    actions: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def heal(
    look: Callable[[], Observed], carry_out: Callable[[Action], bool], timeout: float, result: Healed, dry: bool = False
) -> Observed:
    """Look, do what is to be done about each problem, and look again until none of these is left. An object is changed
    once in the same way: what comes back under another identity is another problem. `dry` only tells what the first
    look would lead to. Returns the last look. `result` is written to, so that it tells what was done where this fails.
    """
    done: set[Action] = set()
    healed: set[str] = set()
    deadline = time.monotonic() + timeout
    while True:
        observed = look()
        pools, problems = judge(observed)
        actions, result.left = plan(problems, observed)
        for problem, action in actions:
            if action not in done and (dry or carry_out(action)):
                result.actions.append(f"{action}, since {told(problem)}")
            done.add(action)
        waited = [told(problem) for problem in problems if ends(problem, observed)]
        # What an action ended is only healed when what takes its place is there.
        healed = {problem.pool for problem, _action in actions} | healed
        waited += [
            f"{pool.name}: its listener is {pool.listener}, expected running"
            for pool in pools
            if pool.name in healed and pool.listener not in ("running", "")
        ]
        if dry or not waited:
            return observed
        if time.monotonic() >= deadline:
            raise HealError("\n".join([f"not healed after {timeout:.0f} seconds, waited for:", *waited, *result.left]))
        time.sleep(POLL)
