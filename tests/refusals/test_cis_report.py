"""What the benchmark's report refuses: to accept what is no item, and to call a fleet good of which it read nothing."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .test_refusals import GOOD, Run


@pytest.mark.parametrize(
    ("accepted", "told"),
    [
        ({"1.2.x": "why"}, "cis_report_accepted: found '1.2.x', expected a number as the report has it"),
        ({"1.1.2": "why"}, "it is a part of 1.1.1-2"),
        ({"1.2.9": ""}, "cis_report_accepted['1.2.9']: found '', expected the reason"),
        (["1.2.9"], "expected a mapping"),
    ],
    ids=["no item", "half of one", "no reason", "a list"],
)
def test_what_accepts_nothing(play: Callable[..., Run], accepted: Any, told: str) -> None:
    """Before a host is asked."""
    run = play(copy.deepcopy(GOOD), "cis_report", "-e", json.dumps({"cis_report_accepted": accepted}))
    run.refused()
    assert told in run.output and "Read the settings of each host" not in run.output


def test_hosts_of_which_nothing_is_read_are_not_called_good(play: Callable[..., Run], tmp_path: Path) -> None:
    """As this machine, which is no node; the control plane of a lab that it may carry is left out. The file is written
    in a dry run too.
    """
    report = tmp_path / "cis.json"
    nodes = ["--limit", "support-1,runner-1"]
    arguments = [
        "--check",
        "-e",
        json.dumps({"cis_report_file": str(report), "cis_report_accepted": {"1.2.9": "a gateway limits events"}}),
    ]
    run = play(copy.deepcopy(GOOD), "cis_report", *nodes, *arguments)
    run.refused()
    assert "runner-1, support-1: found no program of Kubernetes that is ours to read" in " ".join(run.output.split())
    told = json.loads(report.read_text())
    assert {item["host"] for item in told} == {"support-1", "runner-1"} and "not read" in {
        item["verdict"] for item in told
    }
    asked_not_to_fail = play(copy.deepcopy(GOOD), "cis_report", *nodes, "-e", "cis_report_fail=false")
    assert asked_not_to_fail.code == 0 and " 0 fail" in asked_not_to_fail.output
