"""Each alert with series that must raise it and series that must not, evaluated by promtool."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from tests.monitoring.conftest import ALERTS, ROOT
from tests.monitoring.series import NAME, engine, engine_pod, labelled, recorded, runner, state

RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]
]
FIRING = 'count by (alertname) (ALERTS{alertstate="firing"})'
DAY = 24 * 60
# What Kubernetes' own exporters offer, as their documentation names it.
KUBERNETES = {
    "kube_pod_info",
    "kube_pod_status_ready",
    "kube_pod_container_status_ready",
    "kube_pod_container_resource_limits",
    "container_memory_working_set_bytes",
}


@dataclass(frozen=True)
class Case:
    """Series from minute 0 on, and the alerts that fire at a time."""

    name: str
    series: dict[str, str]
    at: str
    firing: tuple[str, ...] = ()
    interval: str = "1m"


def rises() -> list[Case]:
    """The three counters rise with a new pod, whose series are new ones."""
    cases = []
    for counter, alert in (
        ("wipes_total", "EngineCacheWiped"),
        ("clean_stop_missed_total", "EngineCleanStopMissed"),
        ("restores_total", "EngineRestoredFromCheckpoint"),
    ):
        rise = {state(counter, "a"): "0x90 stale", state(counter, "b"): "_x90 1x200"}
        night = {
            state(counter, "a"): "2x36 stale",
            state(counter, "b"): "_x180 3x60",
        }  # every ten minutes: off for a day
        cases += [
            Case(f"{counter}: it rose with the new pod", rise, "100m", (alert,)),
            Case(f"{counter}: an hour later it is quiet again", rise, "200m"),
            Case(f"{counter}: it rose while the node was off", night, "1840m", (alert,), "10m"),
            Case(f"{counter}: first seen with a past", {state(counter): "4x300"}, "200m"),
            Case(
                f"{counter}: a new drive begins at zero",
                {state(counter, "a"): "4x90 stale", state(counter, "b"): "_x90 0x200"},
                "100m",
            ),
            Case(
                f"{counter}: on one node of two", {**rise, state(counter, node="runner-2"): "0x300"}, "100m", (alert,)
            ),
        ]
    return cases


def disk(free: str, version: str = "0.21.8") -> dict[str, str]:
    """A filesystem of 100 GB."""
    return {
        state("cache_filesystem_size_bytes", version=version): "100e9x60",
        state("cache_filesystem_free_bytes", version=version): free,
    }


def memory(used: str) -> dict[str, str]:
    """An engine with 4 GB."""
    pod = {"namespace": "dagger", "pod": "dagger-engine-runner-0-21-8-a", "container": "engine"}
    return {
        labelled("container_memory_working_set_bytes", **pod): used,
        labelled("kube_pod_container_resource_limits", **pod, resource="memory"): "4e9x60",
        labelled("kube_pod_container_resource_limits", **pod, resource="cpu"): "2x60",
    }


SIZE = engine("local_cache_total_disk_size_bytes")
TAKEN = state("checkpoint_timestamp_seconds")
TEN_MINUTES_IN = "600x1200"
CASES = [
    *rises(),
    Case("a database that was reset", {engine("local_cache_corrupt_db_reset"): "1x5"}, "3m", ("EngineDatabaseReset",)),
    Case("a database that was not", {engine("local_cache_corrupt_db_reset"): "0x5"}, "3m"),
    Case("a cache falls to a fifth", {SIZE: "100e9x60 20e9x60"}, "80m", ("EngineCacheShrank",)),
    Case("a cache falls a little", {SIZE: "100e9x60 60e9x60"}, "80m"),
    Case("a small cache falls", {SIZE: "5e9x60 0x60"}, "80m"),
    Case("a starting engine has not counted yet", {SIZE: "100e9x60 0x5 100e9x60"}, "64m"),
    Case("the fall is three hours old", {SIZE: "100e9x60 20e9x240"}, "240m"),
    Case("an old checkpoint", {TAKEN: TEN_MINUTES_IN}, f"{7 * DAY + 180}m", ("EngineCheckpointTooOld",), "10m"),
    Case("a checkpoint of this week", {TAKEN: TEN_MINUTES_IN}, f"{6 * DAY}m", (), "10m"),
    Case("no checkpoint has no age", {TAKEN: "0x1200"}, f"{7 * DAY + 180}m", (), "10m"),
    Case(
        "no checkpoint for two days",
        {state("checkpoints"): "0x500"},
        f"{2 * DAY + 60}m",
        ("EngineWithoutCheckpoint",),
        "10m",
    ),
    Case("no checkpoint yet", {state("checkpoints"): "0x500"}, f"{DAY}m", (), "10m"),
    Case("two checkpoints", {state("checkpoints"): "2x500"}, f"{2 * DAY + 60}m", (), "10m"),
    Case("a disk as the collector leaves it", disk("5e9x60"), "40m"),
    Case("a disk that the collector cannot keep free", disk("3e9x60"), "40m", ("EngineDiskNearlyFull",)),
    Case("a disk that was short for a moment", disk("5e9x30 3e9x5 5e9x25"), "40m"),
    Case("a full disk", disk("5e8x60"), "40m", ("EngineDiskNearlyFull", "EngineDiskFull")),
    Case(
        "two engines on one full disk are one alert",
        {**disk("3e9x60"), **disk("3e9x60", "1.0.0")},
        "40m",
        ("EngineDiskNearlyFull",),
    ),
    Case(
        "runners beside a dead engine",
        {**runner(), **runner("y"), **engine_pod(ready=0)},
        "10m",
        ("EngineNotReadyWhileRunnersAre",),
    ),
    Case(
        "runners beside no engine",
        {**runner(), **engine_pod(node="runner-2")},
        "10m",
        ("EngineNotReadyWhileRunnersAre",),
    ),
    Case("runners beside their engine", {**runner(), **engine_pod()}, "10m"),
    Case("runners that are not ready", {**runner(ready=0), **engine_pod(ready=0)}, "10m"),
    Case("an engine that restarts", {**runner(), **engine_pod(ready=0)}, "4m"),
    Case("a pod without an engine", {state("state_clean"): "1x60"}, "40m", ("EngineNotAnswering",)),
    Case("an engine with a large cache to delete", {state("state_clean"): "0x60"}, "20m"),
    Case("an engine without its exporter", {engine("connected_clients"): "1x60"}, "40m", ("EngineStateNotWatched",)),
    Case("both", {state("state_clean"): "1x60", engine("connected_clients"): "0x60"}, "40m"),
    Case(
        "one of two versions is dead",
        {
            state("state_clean"): "1x60",
            engine("connected_clients"): "0x60",
            state("state_clean", version="1.0.0"): "1x60",
        },
        "40m",
        ("EngineNotAnswering",),
    ),
    Case(
        "an engine that hangs, whose metrics were its last words",
        {state("state_clean"): "1x60", engine("connected_clients"): "0x60", state("answers"): "1x5 0x60"},
        "40m",
        ("EngineNotAnswering",),
    ),
    Case(
        "an engine that answers again",
        {state("state_clean"): "1x60", engine("connected_clients"): "0x60", state("answers"): "0x20 1x60"},
        "40m",
    ),
    Case("an engine near its limit", memory("3.8e9x60"), "20m", ("EngineNearMemoryLimit",)),
    Case("an engine with room", memory("3e9x60"), "20m"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_fires(case: Case, evaluate: Callable[..., None]) -> None:
    evaluate(
        case.series, case.at, [(FIRING, {f'{{alertname="{alert}"}}': 1.0 for alert in case.firing})], case.interval
    )


def test_a_fleet_in_good_order_is_quiet(evaluate: Callable[..., None]) -> None:
    series = {**runner(), **engine_pod(), **memory("2e9x60")}
    series |= {engine(name.removeprefix("dagger_")): f"{value}x60" for name, value in recorded("engine").items()}
    series |= {
        state(name.removeprefix("runnerfleet_engine_")): f"{value}x60" for name, value in recorded("state").items()
    }
    series[state("checkpoint_timestamp_seconds")] = "60x60"
    evaluate(series, "50m", [(FIRING, {})])


def test_the_rules_are_rules(promtool: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = promtool("check", "rules", str(ALERTS))
    assert done.returncode == 0, done.stderr


def test_every_alert_is_seen_to_fire() -> None:
    assert {rule["alert"] for rule in RULES} == {alert for case in CASES for alert in case.firing}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_an_alert_says_what_was_found_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert set(rule["annotations"]) == {"summary", "description"}
    assert "$labels." in rule["annotations"]["summary"]
    assert f"| `{rule['alert']}` |" in (ROOT / "docs/engine-watching.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_an_alert_asks_for_metrics_that_exist(rule: dict[str, Any]) -> None:
    assert set(NAME.findall(rule["expr"])) <= {*recorded("engine"), *recorded("state"), *KUBERNETES}
