"""What the tests take for the engines' metrics is what the programs say."""

from __future__ import annotations

import pytest

from tests.monitoring.conftest import ROOT
from tests.monitoring.series import recorded

STAND_IN = ROOT / "lab/standins/internal/engine/engine.go"
EXPORTER = ROOT / "roles/dagger_engine/files/engine_policy.py"


@pytest.mark.parametrize("name", recorded("engine"))
def test_the_engine_has_such_a_metric(name: str) -> None:
    assert f'"{name}"' in STAND_IN.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", recorded("state"))
def test_the_exporter_has_such_a_metric(name: str) -> None:
    assert f'"{name.removeprefix("runnerfleet_engine_")}"' in EXPORTER.read_text(encoding="utf-8")
