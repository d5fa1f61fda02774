# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the numbers of runners follow queues and windows of the week, as the objects of the cluster say it. No I/O.
Private to the collection.

`entries`: of runner_pools_pools, without problems. `carried`: runners at most of those with a size, by name, as module
runner_capacity has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.runner_share import follows_queue
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.schedule import DAY, at, changes, parse

MONDAY = datetime(2026, 1, 5)  # from which on windows recur: any Monday that is over
# Where no queue can be read: more runners when most are busy, fewer when most are idle.
BY_BUSY = {
    "type": "PercentageRunnersBusy",
    "scaleUpThreshold": "0.75",
    "scaleDownThreshold": "0.25",
    "scaleUpFactor": "2",
    "scaleDownFactor": "0.5",
}


def autoscalers(
    entries: Sequence[Mapping[str, Any]], carried: Mapping[str, int], zone: tzinfo, now: datetime
) -> dict[str, dict[str, Any]]:
    """Specs of HorizontalRunnerAutoscalers, by the name of their entry.

    The legacy controller knows no time zones: windows are given by what `zone` is ahead of UTC `now`.
    """
    ahead = timezone(now.astimezone(zone).utcoffset() or timedelta())
    found = {}
    for entry in entries:
        if follows_queue(entry, "legacy"):
            name = str(entry["name"])
            least, most = _numbers(entry, carried)
            overrides = [
                {
                    "startTime": _time(start, ahead),
                    "endTime": _time(end, ahead),
                    "minReplicas": window.least,
                    "recurrenceRule": {"frequency": "Weekly"},
                }
                for window in parse(entry.get("schedule") or ())
                for start, end in window.spans
            ]
            found[name] = {
                "scaleTargetRef": {"kind": "RunnerDeployment", "name": name},
                "minReplicas": least,
                "maxReplicas": most,
                "metrics": [_metric(entry)],
                **({"scheduledOverrides": overrides} if overrides else {}),
            }
    return found


def numbers(entries: Sequence[Mapping[str, Any]], carried: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """The min and max of each scale set outside of any window, by its name."""
    found = {str(entry["name"]): _numbers(entry, carried) for entry in entries}
    return {name: {"min": least, "max": most} for name, (least, most) in found.items()}


def window_jobs(entries: Sequence[Mapping[str, Any]], carried: Mapping[str, int]) -> list[dict[str, Any]]:
    """What a CronJob for each change of a scale set's numbers does, and when: name, set, cron, min and max."""
    found: list[dict[str, Any]] = []
    for entry in entries:
        name, taken = str(entry["name"]), 0
        for change in changes(parse(entry.get("schedule") or ())):
            clock = f"{change.minute // 60:02}{change.minute % 60:02}"
            taken = taken + 1 if found and found[-1]["name"].startswith(f"{name}-{clock}") else 0
            least, most = _numbers(entry, carried, change.least, change.most)
            suffix = f"-{taken}" if taken else ""
            found.append(
                {"name": f"{name}-{clock}{suffix}", "set": name, "cron": change.cron, "min": least, "max": most}
            )
    return found


def numbers_due(
    entries: Sequence[Mapping[str, Any]],
    carried: Mapping[str, int],
    zone: tzinfo,
    now: datetime,
    observed: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Name, min and max of scale sets that have other numbers than those of now. `observed`: the same as the cluster
    has them; a set that it does not have yet is deployed with its own.
    """
    local = now.astimezone(zone)
    minute = local.weekday() * DAY + local.hour * 60 + local.minute
    there = {item["name"]: (item["min"] or 0, item["max"]) for item in observed}
    found = []
    for entry in entries:
        name = str(entry["name"])
        due = _numbers(entry, carried, *at(parse(entry.get("schedule") or ()), minute))
        if due != there.get(name, _numbers(entry, carried)):
            found.append({"name": name, "min": due[0], "max": due[1]})
    return found


def _numbers(
    entry: Mapping[str, Any],
    carried: Mapping[str, int],
    least: int | None = None,
    most: int | str | None = None,
) -> tuple[int, int]:
    """A window's numbers, or the entry's own where it has none. Never fewer at most than at least."""
    low = int(entry.get("min") or 0) if least is None else least
    high = entry.get("max") if most is None else most
    limit = int(carried[str(entry["name"])]) if high in (None, "auto") else int(high)
    return low, max(low, limit)


def _metric(entry: Mapping[str, Any]) -> dict[str, Any]:
    names = [str(entry["repository"]).partition("/")[2]] if entry.get("repository") else entry.get("repositories")
    if not names:
        return BY_BUSY
    return {"type": "TotalNumberOfQueuedAndInProgressWorkflowRuns", "repositoryNames": list(map(str, names))}


def _time(minute: int, ahead: tzinfo) -> str:
    """A minute of the week as the API returns times."""
    moment = (MONDAY + timedelta(minutes=minute)).replace(tzinfo=ahead)
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
