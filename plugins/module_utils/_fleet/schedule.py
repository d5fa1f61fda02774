# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Windows of the week in which a runner pool has other numbers of runners. No I/O. Private to the collection.

A time is a minute of the week, which begins on Monday at midnight, in the time zone of the schedule.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY = 24 * 60
WEEK = len(DAYS) * DAY
KEYS = ("days", "from", "to", "min", "max")
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


@dataclass(frozen=True)
class Window:
    """From `start` to `end`, minutes of a day, on each of `days`; one that ends before it starts ends on the next day.
    None for a number is the pool's own.
    """

    days: tuple[int, ...]
    start: int
    end: int
    least: int | None = None
    most: int | str | None = None

    @property
    def length(self) -> int:
        """Minutes, up to a day."""
        return (self.end - self.start) % DAY or DAY

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Start and end of each, as minutes of the week; the end of one may lie in the next week."""
        return [(day * DAY + self.start, day * DAY + self.start + self.length) for day in self.days]

    def has(self, minute: int) -> bool:
        """Whether a minute of the week lies in it."""
        return any(start <= minute < end or start <= minute + WEEK < end for start, end in self.spans)


@dataclass(frozen=True)
class Change:
    """At this minute of these days a pool gets these numbers."""

    days: tuple[int, ...]
    minute: int
    least: int | None
    most: int | str | None

    @property
    def cron(self) -> str:
        """The same as a CronJob's schedule has it."""
        days = sorted((day + 1) % len(DAYS) for day in self.days)
        return (
            f"{self.minute % 60} {self.minute // 60} * * {','.join(map(str, days)) if len(days) < len(DAYS) else '*'}"
        )


def problems(value: Any, least: int = 0) -> Iterator[tuple[str, str, str]]:
    """What is wrong with a schedule as the inventory has it: where, what was found, what was expected.

    `least`: the pool's own minimum, for a window that states a maximum alone.
    """
    if not isinstance(value, Sequence) or isinstance(value, str):
        yield "", repr(value), "a list of windows, each with days, from, to, and min, max or both"
        return
    sound = True
    for index, entry in enumerate(value):
        for found in _window_problems(entry, least):
            sound = False
            yield f"[{index}]{found[0]}", *found[1:]
    if sound:
        yield from _overlaps(_windows(value))


def parse(value: Any) -> list[Window]:
    """The windows of a schedule. Raises ValueError with the first problem that it has."""
    for where, found, expected in problems(value):
        raise ValueError(f"schedule{where}: found {found}, expected {expected}")
    return _windows(value)


def at(windows: Sequence[Window], minute: int) -> tuple[int | None, int | str | None]:
    """The numbers of that minute of the week; see Window."""
    for window in windows:
        if window.has(minute % WEEK):
            return window.least, window.most
    return None, None


def changes(windows: Sequence[Window]) -> list[Change]:
    """Every change of the numbers in a week, by the time of day. What changes to the same at the same time is one."""
    moments = {minute % WEEK for window in windows for span in window.spans for minute in span}
    days: dict[tuple[Any, ...], list[int]] = {}
    for moment in sorted(moments):
        now = at(windows, moment)
        if now != at(windows, moment - 1):
            days.setdefault((moment % DAY, *now), []).append(moment // DAY)
    found = [Change(tuple(on), minute, least, most) for (minute, least, most), on in days.items()]
    return sorted(found, key=lambda change: (change.minute, change.days))


def _windows(value: Sequence[Mapping[str, Any]]) -> list[Window]:
    return [
        Window(
            tuple(DAYS.index(day) for day in entry.get("days") or DAYS),
            _minute(entry["from"]),
            _minute(entry["to"]),
            entry.get("min"),
            entry.get("max"),
        )
        for entry in value
    ]


def _minute(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


def _window_problems(entry: Any, least: int) -> Iterator[tuple[str, str, str]]:
    if not isinstance(entry, Mapping):
        yield "", repr(entry), "a window with days, from, to, and min, max or both"
        return
    for key in sorted(set(entry) - set(KEYS)):
        yield f".{key}", f"the key {key}", f"one of {', '.join(KEYS)}"
    for key in ("from", "to"):
        if not (isinstance(entry.get(key), str) and _CLOCK.fullmatch(entry[key])):
            # YAML takes 18:00 without quotes for a number.
            yield f".{key}", repr(entry.get(key)), "a time of day in quotes, such as '08:00'"
    days = entry.get("days")
    if days is not None and not (isinstance(days, list) and days and set(map(str, days)) <= set(DAYS)):
        yield ".days", repr(days), f"a list of {', '.join(DAYS)}; without it every day"
    low, high = entry.get("min"), entry.get("max")
    if low is None and high is None:
        yield "", "neither min nor max", "one of them, or both"
    if low is not None and not _is_number(low):
        yield ".min", repr(low), "0 or more"
        return
    floor = least if low is None else low
    if high is not None and high != "auto" and not (_is_number(high) and high >= floor):
        yield ".max", repr(high), f"auto, or a number of at least {floor}, which is min"


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _overlaps(windows: Sequence[Window]) -> Iterator[tuple[str, str, str]]:
    seen: dict[int, int] = {}
    for index, window in enumerate(windows):
        for start, end in window.spans:
            for minute in range(start, end):
                other = seen.setdefault(minute % WEEK, index)
                if other != index:
                    told = f"{DAYS[minute % WEEK // DAY]} {minute % DAY // 60:02}:{minute % 60:02}"
                    yield f"[{index}]", f"a window that overlaps [{other}] on {told}", "windows apart from each other"
                    return
