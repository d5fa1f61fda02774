# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state of runner pools as a person and as a task read it. Pure; private to the collection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners.plan_heal import remedy, told
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners.status import (
    Observed,
    Pool,
    Problem,
    duration,
)

COLUMNS = ("pool", "listener", "queue", "oldest", "busy", "idle", "starting", "failed", "min", "max", "runner", "days")


def status_lines(pools: Sequence[Pool], problems: Sequence[Problem], observed: Observed) -> list[str]:
    """A table of the pools, then a line with `!` for each problem, and what is done about it."""
    rows = [COLUMNS, *map(_row, pools)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    return lines + [f"! {told(problem)}. {_next(problem, observed)}" for problem in problems]


def as_results(problems: Sequence[Problem], observed: Observed) -> list[dict[str, Any]]:
    """The problems as a module returns them."""
    return [
        {
            "kind": problem.kind.value,
            "pool": problem.pool,
            "object": str(problem.about),
            "reason": problem.reason,
            "heals": bool(remedy(problem, observed).actions),
            "next": _next(problem, observed),
        }
        for problem in problems
    ]


def pools_as_results(pools: Sequence[Pool]) -> list[dict[str, Any]]:
    """The pools as a module returns them."""
    return [{**asdict(pool), "oldest": None if pool.oldest is None else round(pool.oldest)} for pool in pools]


def _next(problem: Problem, observed: Observed) -> str:
    found = remedy(problem, observed)
    if found.actions:
        return f"runner_heal.yml would {', '.join(map(str, found.actions))}"
    return found.advice or "it ends by itself"


def _row(pool: Pool) -> tuple[str, ...]:
    oldest = "not known" if pool.oldest is None else duration(pool.oldest) if pool.oldest else "-"
    figures = (_told(pool.busy), _told(pool.idle), str(pool.starting), str(pool.failed), str(pool.min), _told(pool.max))
    queue = _told(pool.queue)
    return (pool.name, pool.listener or "-", queue, oldest, *figures, pool.version or "?", _told(pool.days_left))


def _told(figure: int | None) -> str:
    return "-" if figure is None else str(figure)
