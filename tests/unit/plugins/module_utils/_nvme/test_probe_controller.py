"""What nvme-cli tells, in the words of its versions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme import probe_controller as health


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        pytest.param(
            {
                "critical_warning": 0,
                "percent_used": 2,
                "avail_spare": 100,
                "media_errors": "0",
                "power_on_hours": "9,204",
            },
            {
                "critical_warnings": [],
                "wear_percent": 2,
                "spare_percent": 100,
                "power_on_hours": 9204,
                "media_errors": 0,
            },
            id="numbers",
        ),
        pytest.param(
            {"critical_warning": {"value": 5, "available_spare": 1}, "percentage_used": 101},
            {"critical_warnings": ["spare_low", "reliability_degraded"], "wear_percent": 101, "spare_percent": None},
            id="bits",
        ),
        pytest.param({}, {"critical_warnings": [], "wear_percent": None}, id="nothing"),
    ],
)
def test_health(log: dict[str, Any], expected: dict[str, Any]) -> None:
    told = health.health(log)
    assert {key: told[key] for key in expected} == expected


@pytest.mark.parametrize(("flbas", "current"), [(0, 0), (1, 1), (0b0100001, 17)])
def test_formats(flbas: int, current: int) -> None:
    lbafs = [
        {"ms": 0, "ds": 9, "rp": 2},
        {"ms": 8, "ds": 12, "rp": 0},
        *[{"ms": 0, "ds": 0, "rp": 0}] * 15,
        {"ms": 0, "ds": 12, "rp": 1},
    ]
    told = health.lba_formats({"flbas": flbas, "lbafs": lbafs})
    assert [f["lbaf"] for f in told] == [0, 1, 17] and [f["lbaf"] for f in told if f["in_use"]] == [current]
    assert told[1] == {"lbaf": 1, "data_bytes": 4096, "metadata_bytes": 8, "performance": 0, "in_use": current == 1}


def test_without_nvme_cli_all_is_null_with_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health.shutil, "which", lambda *_a, **_k: None)
    told = health.ask(lambda *_a, **_k: pytest.fail("ran a command"), "/dev/nvme9n1")
    assert told == {"health": None, "formats": None, "note": "nvme is not installed: install package nvme-cli"}


def test_a_drive_that_does_not_answer_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health.shutil, "which", lambda *_a, **_k: "/usr/sbin/nvme")

    def run(command: list[str]) -> tuple[int, str, str]:
        return (
            (1, "", "Input/output error")
            if command[1] == "smart-log"
            else (0, json.dumps({"flbas": 0, "lbafs": []}), "")
        )

    assert health.ask(run, "/dev/nvme9n1") == {
        "health": None,
        "formats": [],
        "note": "nvme smart-log failed (1): Input/output error",
    }
