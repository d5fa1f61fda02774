"""Every query of the dashboard, evaluated by promtool against what the engines' pages of metrics said."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.monitoring.conftest import ROOT
from tests.monitoring.series import NAME, engine, recorded, state

DASHBOARD: dict[str, Any] = json.loads((ROOT / "roles/dagger_engine/files/dashboard.json").read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
VARIABLES = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
NODES = ("runner-1", "runner-2")
MADE = {"$node": ".*", "$version": ".*"}  # what Grafana puts in for "All"


QUERIES = [
    pytest.param(panel, target["expr"], id=f"{panel['title']} {target['refId']}")
    for panel in PANELS
    for target in panel["targets"]
]


def filled(query: str) -> str:
    """The query as Grafana sends it."""
    for name, value in MADE.items():
        query = query.replace(name, value)
    return query


@pytest.fixture(scope="module")
def fleet() -> dict[str, str]:
    """An hour of two nodes that say what was recorded."""
    series: dict[str, str] = {}
    for node in NODES:
        series |= {
            engine(name.removeprefix("dagger_"), node=node): f"{value}x60" for name, value in recorded("engine").items()
        }
        series |= {
            state(name.removeprefix("runnerfleet_engine_"), node=node): f"{value}x60"
            for name, value in recorded("state").items()
        }
    return series


@pytest.mark.parametrize(("panel", "query"), QUERIES)
def test_a_panel_shows_each_node(
    panel: dict[str, Any], query: str, fleet: dict[str, str], evaluate: Callable[..., None]
) -> None:
    rows = 1 if panel["type"] == "stat" else len(NODES)
    evaluate(fleet, "50m", [(f"count({filled(query)})", {"{}": float(rows)})])


@pytest.mark.parametrize(("panel", "query"), QUERIES)
def test_a_panel_asks_for_metrics_that_exist(panel: dict[str, Any], query: str) -> None:
    assert set(NAME.findall(query)) and set(NAME.findall(query)) <= {*recorded("engine"), *recorded("state")}


def test_the_numbers_on_top(fleet: dict[str, str], evaluate: Callable[..., None]) -> None:
    counters = ("wipes_total", "restores_total", "clean_stop_missed_total")
    lost = {state(counter, "b", node="runner-2"): "_x30 1x30" for counter in counters}
    lost |= {state(counter, "a", node="runner-2"): "0x29 stale" for counter in counters}
    top = [filled(panel["targets"][0]["expr"]) for panel in PANELS if panel["type"] == "stat"]
    evaluate(
        fleet | lost,
        "50m",
        [(query, {"{}": float(number)}) for query, number in zip(top, (2, 0, 0, 1, 1, 1), strict=True)],
    )


def test_an_engine_that_does_not_answer_is_counted(fleet: dict[str, str], evaluate: Callable[..., None]) -> None:
    half = {name: values for name, values in fleet.items() if not (name.startswith("dagger_") and "runner-2" in name)}
    query = next(filled(panel["targets"][0]["expr"]) for panel in PANELS if panel["title"] == "Engines that do not")
    evaluate(half, "50m", [(query, {"{}": 1.0})])


def test_variables_are_filled_from_metrics_that_exist() -> None:
    assert set(VARIABLES) == {"datasource", *(name.removeprefix("$") for name in MADE)}
    for name in ("node", "version"):
        assert VARIABLES[name]["definition"] == f"label_values(runnerfleet_engine_state_clean, {name})"


def test_the_panels_have_their_own_numbers_and_places() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    places = {(x, y) for panel in PANELS for x in covered(panel, "x", "w") for y in covered(panel, "y", "h")}
    assert len(places) == sum(panel["gridPos"]["w"] * panel["gridPos"]["h"] for panel in PANELS)
    assert max(x for x, _y in places) < 24


def covered(panel: dict[str, Any], start: str, length: str) -> range:
    """What a panel covers of the grid in one direction."""
    return range(panel["gridPos"][start], panel["gridPos"][start] + panel["gridPos"][length])


def test_every_source_is_the_one_that_the_reader_chose() -> None:
    assert {json.dumps(panel["datasource"]) for panel in PANELS} == {'{"type": "prometheus", "uid": "${datasource}"}'}
