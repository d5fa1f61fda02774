"""Alerts and dashboard of scale sets, evaluated by promtool against what the real controller and listener serve."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template

from tests.monitoring.conftest import ROOT, RUNNER_ALERTS
from tests.monitoring.series import RECORDED, labelled
from tests.monitoring.test_alerts import FIRING, Case

ROLE = ROOT / "roles/runner_controller"
RENDER = "{{ lookup('ansible.builtin.template', 'monitoring.yml.j2') | from_yaml_all | select | list }}"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(RUNNER_ALERTS.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((ROLE / "files/dashboard.json").read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
NAME = re.compile(r"\bgha_[a-z_]+\b")
SAMPLE = re.compile(r"^(gha_\w+)\{(.*)\} (\S+)$", re.MULTILINE)
# The recorded listener is that of 0.27.6, which declares these two and never sets them. Newer listeners do.
NEWER = {"gha_min_runners", "gha_max_runners"}


def page(name: str) -> list[tuple[str, dict[str, str], str]]:
    """The samples of a recorded page: name, labels, value."""
    text = (RECORDED / f"{name}.prom").read_text(encoding="utf-8")
    return [(one, dict(re.findall(r'(\w+)="([^"]*)"', tags)), value) for one, tags, value in SAMPLE.findall(text)]


PAGES = {name: page(name) for name in ("arc_controller", "arc_listener")}
SERVED = {name for samples in PAGES.values() for name, _labels, _value in samples}


def gha(name: str, scale_set: str = "small", **labels: str) -> str:
    """A series as it is kept after the monitors' relabelling."""
    return labelled(f"gha_{name}", scale_set=scale_set, **labels)


def jobs(assigned: int, running: int = 0, registered: int = 0) -> dict[str, str]:
    """What a listener says of its set for an hour."""
    figures = {"assigned_jobs": assigned, "running_jobs": running, "registered_runners": registered}
    return {gha(name): f"{value}x60" for name, value in figures.items()}


def startup(seconds: int) -> dict[str, str]:
    """A job a minute that began so long after its assignment."""
    return {
        gha("job_startup_duration_seconds_bucket", le=str(bound)): "0+1x60" if seconds <= bound else "0x60"
        for bound in (60, 120, 240)
    } | {gha("job_startup_duration_seconds_bucket", le="+Inf"): "0+1x60"}


LISTENS = {gha("controller_running_listeners"): "1x60"}
SILENT = {gha("controller_running_listeners"): "0x60"}
WENT = {**SILENT, gha("assigned_jobs"): "0x5 stale"}
CASES = [
    Case("a listener that went", WENT, "30m", ("RunnerListenerMissing",)),
    Case("a listener that is made again", {**WENT, **LISTENS}, "5m"),
    Case("a set that was taken out long ago", SILENT, "30m"),
    Case("a listener without a session", LISTENS, "30m", ("RunnerListenerNotAnswering",)),
    Case("a listener that just began", LISTENS, "10m"),
    Case("jobs and no runner", {**LISTENS, **jobs(2)}, "20m", ("RunnerJobsWithoutRunner",)),
    Case("jobs whose runners start", {**LISTENS, **jobs(2)}, "5m"),
    Case("jobs with a runner each", {**LISTENS, **jobs(2, 2, 2)}, "40m"),
    Case("no job and no runner", {**LISTENS, **jobs(0)}, "40m"),
    Case("fewer than the minimum", {**jobs(0), gha("min_runners"): "1x60"}, "30m", ("RunnerPoolBelowMinimum",)),
    Case("as many as the minimum", {**jobs(0, 0, 1), gha("min_runners"): "1x60"}, "30m"),
    Case(
        "more jobs than runners may be", {**jobs(5, 4, 4), gha("max_runners"): "4x60"}, "40m", ("RunnerPoolAtMaximum",)
    ),
    Case("as many jobs as runners may be", {**jobs(4, 4, 4), gha("max_runners"): "4x60"}, "40m"),
    Case("a runner given up", {gha("controller_failed_ephemeral_runners"): "1x60"}, "20m", ("RunnerFailed",)),
    Case("none given up", {gha("controller_failed_ephemeral_runners"): "0x60"}, "20m"),
    Case("runners that start slowly", startup(200), "50m", ("RunnerStartupSlow",)),
    Case("runners that start", startup(30), "50m"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_fires(case: Case, evaluate: Callable[..., None]) -> None:
    evaluate(case.series, case.at, [(FIRING, {f'{{alertname="{alert}"}}': 1.0 for alert in case.firing})])


def test_two_sets_are_two(evaluate: Callable[..., None]) -> None:
    """What one set has is not counted for the other."""
    series = {**LISTENS, **jobs(2, 2, 2)}
    series |= {gha("assigned_jobs", "large"): "1x60", gha("registered_runners", "large"): "0x60"}
    evaluate(series, "20m", [(FIRING, {'{alertname="RunnerJobsWithoutRunner"}': 1.0})])


def test_every_alert_is_seen_to_fire() -> None:
    assert {rule["alert"] for rule in RULES} == {alert for case in CASES for alert in case.firing}


def test_the_rules_are_rules(promtool: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = promtool("check", "rules", str(RUNNER_ALERTS))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_an_alert_says_what_was_found_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert set(rule["annotations"]) == {"summary", "description"}
    assert "$labels.scale_set" in rule["annotations"]["summary"]
    assert f"| `{rule['alert']}` |" in (ROOT / "docs/runner-watching.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "query", [rule["expr"] for rule in RULES] + [target["expr"] for panel in PANELS for target in panel["targets"]]
)
def test_a_query_asks_for_metrics_that_are_served(query: str) -> None:
    assert set(NAME.findall(query)) and set(NAME.findall(query)) <= SERVED | NEWER


@pytest.fixture(scope="module")
def kept() -> dict[str, str]:
    """The recorded pages for an hour, with the labels that the monitors give them: counters rise."""
    init_plugin_loader()
    monitors = {item["metadata"]["name"]: item for item in objects("PodMonitor") if item["kind"] == "PodMonitor"}
    series = {}
    for name, labels, value in PAGES["arc_controller"]:
        for rule in monitors["runner-controller"]["spec"]["podMetricsEndpoints"][0]["metricRelabelings"]:
            found = re.fullmatch(rule["regex"], ";".join([name, *(labels[key] for key in rule["sourceLabels"][1:])]))
            labels = labels | ({rule["targetLabel"]: found[1]} if found else {})
        series[labelled(name, **labels)] = f"{value}x60"
    for name, labels, value in PAGES["arc_listener"]:
        rising = name.endswith(("_total", "_bucket", "_count", "_sum"))
        series[labelled(name, scale_set="set-small", **labels)] = f"0+{value}x60" if rising else f"{value}x60"
    return series


def objects(*kinds: str) -> list[dict[str, Any]]:
    """What the role applies on a cluster that knows these kinds of the Prometheus operator."""
    variables = {
        "ansible_search_path": [str(ROLE)],
        "runner_controller_monitor_labels": {"release": "prometheus"},
        "__runner_controller_namespace": "arc",
        "__runner_controller_monitoring_kinds": list(kinds),
    }
    found: list[dict[str, Any]] = Templar(DataLoader(), variables=variables).template(trust_as_template(RENDER))
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def filled(query: str) -> str:
    """The query as Grafana sends it for all sets."""
    return query.replace("$scale_set", ".*")


@pytest.mark.parametrize(
    "query",
    [pytest.param(one["expr"], id=f"{panel['id']}{one['refId']}") for panel in PANELS for one in panel["targets"]],
)
def test_a_panel_shows_what_was_recorded(query: str, kept: dict[str, str], evaluate: Callable[..., None]) -> None:
    """Each query has an answer; and that of one set lies with what the controller says of the same set."""
    evaluate(kept, "50m", [(f"count({filled(query)}) > bool 0", {"{}": 1.0})])


def test_controller_and_listener_speak_of_the_same_set(kept: dict[str, str], evaluate: Callable[..., None]) -> None:
    """Though the one names the listener and the other the set of runners."""
    joined = "count(max by (scale_set) (gha_controller_running_listeners) and on (scale_set) gha_assigned_jobs)"
    evaluate(kept, "50m", [(joined, {"{}": 1.0})])


@pytest.mark.parametrize(
    ("kinds", "applied"),
    [
        pytest.param([], [], id="no operator"),
        pytest.param(["PodMonitor"], ["PodMonitor"] * 2, id="an operator without rules"),
        pytest.param(
            ["PodMonitor", "PrometheusRule"], ["PodMonitor"] * 2 + ["PrometheusRule", "ConfigMap"], id="the operator"
        ),
    ],
)
def test_what_a_cluster_gets(kinds: list[str], applied: list[str]) -> None:
    init_plugin_loader()
    found = objects(*kinds)
    assert [item["kind"] for item in found] == applied
    assert {item["metadata"]["namespace"] for item in found} <= {"arc"}
    for item in found:
        if item["kind"] == "PrometheusRule":
            assert item["spec"] == yaml.safe_load(RUNNER_ALERTS.read_text(encoding="utf-8"))
            assert item["metadata"]["labels"]["release"] == "prometheus"


def test_a_prometheus_without_the_operator_gets_the_same_labels(
    promtool: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    init_plugin_loader()
    config = yaml.safe_load((ROLE / "files/scrape.yml").read_text(encoding="utf-8"))
    jobs_by_name = {job["job_name"]: job for job in config["scrape_configs"]}
    for item in objects("PodMonitor"):
        (endpoint,) = item["spec"]["podMetricsEndpoints"]
        job = jobs_by_name[item["metadata"]["name"]]
        given = endpoint.get("relabelings", []) + endpoint.get("metricRelabelings", [])
        wanted = [
            {"source_labels": one["sourceLabels"], "target_label": one["targetLabel"]}
            | ({"regex": one["regex"]} if "regex" in one else {})
            for one in given
        ]
        stated = job["relabel_configs"] + job.get("metric_relabel_configs", [])
        assert [one for one in stated if one.get("target_label")] == wanted
        # Debian builds Prometheus without the discovery of Kubernetes; all else of the job is checked.
        assert job.pop("kubernetes_sd_configs") == [{"role": "pod", "namespaces": {"names": ["arc-systems"]}}]
    path = tmp_path / "prometheus.yml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    done = promtool("check", "config", str(path))
    assert done.returncode == 0, done.stderr
