"""What is said of jobs after a fault."""

from __future__ import annotations

from typing import Any

import pytest

from lab.proof.faults import EngineWatch, deeds, problems


def job(number: int, **about: Any) -> dict[str, Any]:
    """A job that ended well, but for what is given."""
    good = {"id": number, "status": "completed", "conclusion": "success", "runner_name": f"r{number}", "node": "n1"}
    return {**good, "started_at": "2026-11-28T00:00:00Z", **about}


@pytest.mark.parametrize(
    ("jobs", "may_fail", "expected"),
    [
        ([job(1), job(2)], set(), []),
        ([job(1, conclusion="failure")], {1}, []),
        ([job(1, conclusion="failure")], {2}, ["job 1 on r1 ended with failure, expected success"]),
        ([job(1, status="in_progress", conclusion="")], {1}, ["job 1 on r1 is still in_progress"]),
        ([job(1, status="queued", conclusion="", runner_name="")], {1}, ["job 1 on no runner is still queued"]),
        ([job(1), job(2, runner_name="r1")], set(), ["r1 had 2 jobs, expected one"]),
        ([job(1, runner_name=""), job(2, runner_name="")], set(), []),
    ],
)
def test_problems(jobs: list[dict[str, Any]], may_fail: set[int], expected: list[str]) -> None:
    found = problems(jobs, may_fail, ())
    assert len(found) == len(expected)
    assert all(text.startswith(start) for text, start in zip(found, expected, strict=True))


def test_a_job_on_a_node_without_a_ready_engine() -> None:
    assert problems([job(1)], (), {1}) == ["job 1 on r1 began on n1, whose engine was not ready"]


@pytest.mark.parametrize(
    ("unready", "expected"),
    [
        ([set(), set()], set()),
        ([{"n1"}, {"n1"}], {1}),
        ([{"n2"}, {"n2"}], set()),
        # It may have begun right before that, or right after.
        ([set(), {"n1"}], set()),
        ([{"n1"}, set()], set()),
    ],
)
def test_watch(unready: list[set[str]], expected: set[int]) -> None:
    looks = iter(unready)
    watch = EngineWatch(lambda: next(looks))
    watch([job(1, started_at=None, status="queued", node="")])
    watch([job(1)])
    assert watch.found([job(1)]) == expected


def test_watch_asks_for_the_time_of_the_start_alone() -> None:
    looks = iter([set(), set(), {"n1"}, {"n1"}])
    watch = EngineWatch(lambda: next(looks))
    for _look in range(4):
        watch([job(1)])
    assert watch.found([job(1)]) == set()


def test_what_was_healed_is_told_apart_from_the_table() -> None:
    assert deeds(["delete EphemeralRunner x, since", "pool       listener  queue", "small  running  0"]) == [
        "delete EphemeralRunner x, since"
    ]
    assert deeds(["nothing was stuck that can be healed"]) == ["nothing was stuck that can be healed"]
