"""Pinned versions beside what there is: compared, judged, put into a table. What is asked, and of whom, stands in
lab/pins.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

CURRENT = "current"
PATCH = "newer patch"
LINE = "newer line"
UNKNOWN = "not known"  # never counts as current
COLUMNS = ("pin", "ours", "newest of its line", "newest", "asked", "verdict")
NOTHING = "-"


@dataclass(frozen=True)
class Answer:
    """What was told, by whom; or why nothing was."""

    asked: str
    versions: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Row:
    """One pin, judged."""

    pin: str
    ours: str
    of_line: str
    newest: str
    asked: str
    verdict: str
    why: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        """As they stand in the table."""
        verdict = f"{self.verdict}: {self.why}" if self.why else self.verdict
        return (self.pin, self.ours, self.of_line, self.newest, self.asked, verdict)


def number(text: str) -> Version | None:
    """A version as it compares, with or without a v; nothing where it is none, as a commit or a word."""
    plain = text.strip().removesuffix("+incompatible")
    # The second form: what somebody built of a release, as 1.9.1-flannel3.
    for form in (plain, re.sub(r"-[a-z]+(\d+)$", r".post\1", plain)):
        try:
            return Version(form)
        except InvalidVersion:
            continue
    return None


def releases(texts: Iterable[str]) -> dict[Version, str]:
    """What is no pre-release, the oldest first, with its text as it is printed."""
    numbers = {
        found: text.strip().removeprefix("v") for text in texts if (found := number(text)) and not found.is_prerelease
    }
    return dict(sorted(numbers.items()))


def line(version: Version, parts: int) -> tuple[int, ...]:
    """The line that a version is a patch of: its first `parts` numbers, 2.3 of 2.3.7 and 26.10 of 26.10.1."""
    return tuple([*version.release, 0, 0][:parts])


def judge(pin: str, ours: str, answer: Answer, parts: int = 2) -> Row:
    """A pin of one version. A list that ends before our own is not whole, and says nothing."""
    mine, told = number(ours), releases(answer.versions)
    if not mine or not told:
        return _unknown(pin, ours, answer, "" if mine else f"{ours} is no version")
    newest, same = max(told), [version for version in told if line(version, parts) == line(mine, parts)]
    row = Row(pin, ours, told[same[-1]] if same else NOTHING, told[newest], answer.asked, CURRENT)
    if same and same[-1] > mine:
        return replace(row, verdict=PATCH)
    if line(newest, parts) > line(mine, parts):
        return replace(row, verdict=LINE)
    return row if mine in told else replace(row, verdict=UNKNOWN, why="our own is not among what was told")


def judge_ranges(pin: str, ranges: Sequence[SpecifierSet], answer: Answer) -> Row:
    """A floor, or the lines that a list names: whether the newest is among them, and which is the newest that is."""
    told = releases(answer.versions)
    ours = str(ranges[0]) + (f" and {len(ranges) - 1} more" if len(ranges) > 1 else "")
    if not told:
        return _unknown(pin, ours, answer)
    within = [version for version in told if any(range_.contains(version) for range_ in ranges)]
    verdict = CURRENT if max(told) in within else LINE
    return Row(pin, ours, told[within[-1]] if within else NOTHING, told[max(told)], answer.asked, verdict)


def table(rows: Sequence[Row]) -> str:
    """The rows below their heads, in columns."""
    cells = [COLUMNS, *(row.cells for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(COLUMNS) - 1)]
    return "\n".join(
        "  ".join([*(text.ljust(width) for text, width in zip(line, widths, strict=False)), line[-1]]) for line in cells
    )


def summary(rows: Sequence[Row]) -> str:
    """How many pins have which verdict."""
    counts = {verdict: sum(row.verdict == verdict for row in rows) for verdict in (CURRENT, PATCH, LINE, UNKNOWN)}
    return f"{len(rows)} pins: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items())


def stale(rows: Sequence[Row]) -> bool:
    """Whether something is to be done: a patch to take, or somebody to ask elsewhere. A newer line is a decision, and
    may wait for one.
    """
    return any(row.verdict in (PATCH, UNKNOWN) for row in rows)


def _unknown(pin: str, ours: str, answer: Answer, why: str = "") -> Row:
    return Row(pin, ours, NOTHING, NOTHING, answer.asked, UNKNOWN, answer.problem or why or "no release was told")
