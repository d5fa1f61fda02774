"""Windows of the week, and when numbers of runners change."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.schedule import (
    DAY,
    DAYS,
    WEEK,
    Window,
    at,
    changes,
    parse,
    problems,
)
from hypothesis import given
from hypothesis import strategies as st

WORK = {"days": ["mon", "tue", "wed", "thu", "fri"], "from": "08:00", "to": "18:00", "min": 2, "max": 6}
NIGHT = {"from": "22:00", "to": "06:00", "min": 0}


def test_a_window_of_working_days() -> None:
    windows = parse([WORK])
    assert at(windows, 8 * 60) == (2, 6)
    assert at(windows, 18 * 60) == (None, None)
    assert at(windows, 5 * DAY + 9 * 60) == (None, None)  # Saturday
    assert [(change.cron, change.least, change.most) for change in changes(windows)] == [
        ("0 8 * * 1,2,3,4,5", 2, 6),
        ("0 18 * * 1,2,3,4,5", None, None),
    ]


def test_a_window_over_midnight_ends_on_the_next_day_and_the_week_goes_round() -> None:
    windows = parse([{**NIGHT, "days": ["sun"]}])
    assert at(windows, 6 * DAY + 23 * 60) == (0, None)
    assert at(windows, 5 * 60) == (0, None)  # Monday
    assert at(windows, 6 * 60) == (None, None)
    assert [change.cron for change in changes(windows)] == ["0 6 * * 1", "0 22 * * 0"]


def test_windows_that_touch_change_once() -> None:
    windows = parse([{"from": "08:00", "to": "12:00", "max": 2}, {"from": "12:00", "to": "18:00", "max": 4}])
    assert [(change.cron, change.most) for change in changes(windows)] == [
        ("0 8 * * *", 2),
        ("0 12 * * *", 4),
        ("0 18 * * *", None),
    ]


def test_what_is_always_so_never_changes() -> None:
    assert changes(parse([{"from": "00:00", "to": "00:00", "max": 2}])) == []


@pytest.mark.parametrize(
    ("schedule", "told"),
    [
        pytest.param({"from": "08:00"}, ("", "a list of windows"), id="no list"),
        pytest.param([{**WORK, "from": 480}], ("[0].from", "a time of day in quotes"), id="YAML's sexagesimal"),
        pytest.param([{**WORK, "to": "24:00"}], ("[0].to", "a time of day in quotes"), id="24:00"),
        pytest.param([{**WORK, "days": ["Monday"]}], ("[0].days", "a list of mon, tue"), id="a day by its name"),
        pytest.param([{"from": "08:00", "to": "18:00"}], ("[0]", "one of them"), id="no number"),
        pytest.param([{**WORK, "min": 7}], ("[0].max", "at least 7"), id="upside down"),
        pytest.param([{**WORK, "min": -1}], ("[0].min", "0 or more"), id="less than none"),
        pytest.param([{**WORK, "minimum": 1}], ("[0].minimum", "one of days, from"), id="unknown key"),
        pytest.param(
            [WORK, {"from": "17:00", "to": "19:00", "min": 1}], ("[1]", "apart from each other"), id="overlap"
        ),
        pytest.param(
            [{**NIGHT, "days": ["sun"]}, {"days": ["mon"], "from": "05:00", "to": "07:00", "min": 1}],
            ("[1]", "apart from each other"),
            id="overlap over the end of the week",
        ),
    ],
)
def test_what_is_wrong_is_named(schedule: Any, told: tuple[str, str]) -> None:
    (found,) = problems(schedule)
    assert found[0] == told[0]
    assert told[1] in found[2]
    with pytest.raises(ValueError, match="expected"):
        parse(schedule)


def test_a_maximum_alone_is_held_against_the_minimum_of_the_pool() -> None:
    schedule = [{"from": "08:00", "to": "18:00", "max": 2}]
    assert not list(problems(schedule, least=2))
    assert [found[0] for found in problems(schedule, least=3)] == ["[0].max"]


@given(
    st.lists(
        st.builds(
            Window,
            days=st.lists(st.sampled_from(range(len(DAYS))), min_size=1, unique=True).map(tuple),
            start=st.integers(0, DAY - 1),
            end=st.integers(0, DAY - 1),
            least=st.integers(0, 3),
            most=st.integers(3, 6),
        ),
        max_size=3,
    ),
    st.integers(0, WEEK - 1),
)
def test_the_last_change_before_a_minute_is_what_holds_then(windows: list[Window], minute: int) -> None:
    moments = {day * DAY + change.minute: change for change in changes(windows) for day in change.days}
    if moments:
        last = max((moment for moment in moments if moment <= minute), default=max(moments))
        assert (moments[last].least, moments[last].most) == at(windows, minute)
    else:
        assert at(windows, minute) == at(windows, 0)
