"""Findings: order, text, and that every code is documented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.findings import (
    CODES,
    SEVERITIES,
    Finding,
    findings_table,
    in_order,
    named,
    summary,
)

SWAPPED = Finding("os_untested", "a", "x", "y", "z")
UNREACHED = Finding("host_unreachable", "b", "no\nanswer", "an answer", "look")


def test_errors_come_first_and_once() -> None:
    assert in_order([SWAPPED, UNREACHED, SWAPPED]) == [UNREACHED, SWAPPED]


def test_table_tells_all_of_a_finding_on_lines_of_its_own() -> None:
    assert findings_table([UNREACHED]).splitlines() == [
        "ERROR    host_unreachable  b",
        "         found     no answer",
        "         expected  an answer",
        "         do        look",
    ]
    assert findings_table([]) == ""


@pytest.mark.parametrize(
    ("findings", "hosts", "text"),
    [
        ([], 1, "Preflight looked at 1 host: nothing to report."),
        ([UNREACHED, SWAPPED], 4, "Preflight looked at 4 hosts: 1 error, 1 warning."),
        ([UNREACHED, UNREACHED], 2, "Preflight looked at 2 hosts: 2 errors."),
    ],
)
def test_summary(findings: list[Finding], hosts: int, text: str) -> None:
    assert summary(findings, hosts) == text


def test_long_lists_are_cut() -> None:
    assert named("abc") == "a, b, c"
    assert named("abcdefg", 2) == "a, b and 5 more"


def test_every_code_is_documented_with_its_severity(repository: Path) -> None:
    documented = re.findall(r"^\| `(\w+)` \| (\w+) \|", (repository / "docs/findings.md").read_text(), re.MULTILINE)
    assert dict(documented) == CODES and len(documented) == len(CODES)
    assert set(CODES.values()) <= set(SEVERITIES)


def test_every_code_is_raised_somewhere(repository: Path) -> None:
    sources = [path for path in (repository / "plugins").rglob("*.py") if path.name != "_findings.py"]
    text = "\n".join(path.read_text() for path in sources)
    assert [code for code in CODES if f'"{code}"' not in text] == []
