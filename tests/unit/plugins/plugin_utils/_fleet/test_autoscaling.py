"""Numbers of runners as the objects of the cluster say them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet.autoscaling import (
    BY_BUSY,
    autoscalers,
    numbers_due,
    window_jobs,
)

BERLIN = ZoneInfo("Europe/Berlin")
WINTER, SUMMER = datetime(2026, 1, 14, 7, 30, tzinfo=UTC), datetime(2026, 7, 15, 7, 30, tzinfo=UTC)
WORK = {"days": ["wed", "thu"], "from": "08:00", "to": "18:00", "min": 2}
ENTRY: dict[str, Any] = {"name": "small", "repository": "acme/shop", "size": "1c-4g", "schedule": [WORK]}


def test_an_autoscaler_reads_the_queue_of_its_repository() -> None:
    spec = autoscalers([ENTRY], {"small": 5}, BERLIN, WINTER)["small"]
    assert spec["scaleTargetRef"] == {"kind": "RunnerDeployment", "name": "small"}
    assert (spec["minReplicas"], spec["maxReplicas"]) == (0, 5)
    assert spec["metrics"] == [{"type": "TotalNumberOfQueuedAndInProgressWorkflowRuns", "repositoryNames": ["shop"]}]


def test_windows_are_given_by_the_offset_of_now() -> None:
    """The legacy controller has no time zones."""
    hours = {
        now: [
            item["startTime"] for item in autoscalers([ENTRY], {"small": 5}, BERLIN, now)["small"]["scheduledOverrides"]
        ]
        for now in (WINTER, SUMMER)
    }
    assert hours == {
        WINTER: ["2026-01-07T07:00:00Z", "2026-01-08T07:00:00Z"],
        SUMMER: ["2026-01-07T06:00:00Z", "2026-01-08T06:00:00Z"],
    }


def test_without_a_queue_to_read_runners_follow_how_many_are_busy() -> None:
    entry = {"name": "all", "organization": "acme", "min": 1, "max": 4}
    assert autoscalers([entry], {}, BERLIN, WINTER)["all"]["metrics"] == [BY_BUSY]
    named = {**entry, "repositories": ["shop", "till"]}
    metric = autoscalers([named], {}, BERLIN, WINTER)["all"]["metrics"][0]
    assert metric["repositoryNames"] == ["shop", "till"]


def test_a_fixed_number_has_no_autoscaler() -> None:
    assert autoscalers([{"name": "fixed", "repository": "acme/shop", "replicas": 3}], {}, BERLIN, WINTER) == {}


def test_a_window_begins_and_ends_by_a_job_of_the_cluster() -> None:
    jobs = window_jobs([{**ENTRY, "max": 4}], {"small": 9})
    assert jobs == [
        {"name": "small-0800", "set": "small", "cron": "0 8 * * 3,4", "min": 2, "max": 4},
        {"name": "small-1800", "set": "small", "cron": "0 18 * * 3,4", "min": 0, "max": 4},
    ]


def test_two_jobs_of_one_time_have_two_names() -> None:
    weekend = {"days": ["sat"], "from": "08:00", "to": "18:00", "min": 1}
    names = [job["name"] for job in window_jobs([{**ENTRY, "schedule": [WORK, weekend]}], {"small": 9})]
    assert names == ["small-0800", "small-0800-1", "small-1800"]


def test_a_window_with_more_runners_at_least_than_the_pool_has_at_most() -> None:
    (begin, _end) = window_jobs([{**ENTRY, "max": 1}], {"small": 9})
    assert (begin["min"], begin["max"]) == (2, 2)


def test_numbers_are_due_where_the_cluster_has_others() -> None:
    inside, outside = [{"name": "small", "min": 2, "max": 5}], [{"name": "small", "min": None, "max": 5}]
    assert WINTER.astimezone(BERLIN).strftime("%a %H:%M") == "Wed 08:30"

    def due(observed: list[dict[str, Any]], now: datetime) -> list[dict[str, Any]]:
        return numbers_due([ENTRY], {"small": 5}, BERLIN, now, observed)

    assert due(inside, WINTER) == []
    assert due(outside, WINTER) == inside
    assert due([], WINTER) == inside  # deployed a moment ago, with the entry's own
    late = datetime(2026, 1, 14, 19, 0, tzinfo=UTC)
    assert due(outside, late) == due([], late) == []
    assert due(inside, late) == [{"name": "small", "min": 0, "max": 5}]
