"""What the role applies so that engines are watched, rendered as Ansible renders it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template

from tests.monitoring.conftest import ALERTS, ROOT

ROLE = ROOT / "roles/dagger_engine"
RENDER = "{{ lookup('ansible.builtin.template', 'monitoring.yml.j2') | from_yaml_all | list }}"


@pytest.fixture(scope="module", autouse=True)
def plugins() -> None:
    """Lookups and filters, by their full names."""
    init_plugin_loader()


def objects(*kinds: str) -> dict[str, dict[str, Any]]:
    """The objects by kind, on a cluster that knows these kinds of the Prometheus operator."""
    variables = {
        "ansible_search_path": [str(ROLE)],
        "dagger_engine_namespace": "engines",
        "dagger_engine_monitor_labels": {"release": "prometheus"},
        "dagger_engine_runner_namespace": "arc-runners",
        "__dagger_engine_cluster": {"monitoring_kinds": list(kinds)},
    }
    rendered = Templar(DataLoader(), variables=variables).template(trust_as_template(RENDER))
    return {item["kind"]: item for item in json.loads(json.dumps(rendered))}


@pytest.mark.parametrize(
    ("known", "applied"),
    [
        pytest.param([], ["Service"], id="no operator"),
        pytest.param(["PodMonitor"], ["Service", "PodMonitor"], id="an operator without rules"),
        pytest.param(
            ["PodMonitor", "PrometheusRule"],
            ["Service", "PodMonitor", "PrometheusRule", "ConfigMap"],
            id="the Prometheus operator",
        ),
    ],
)
def test_what_a_cluster_gets(known: list[str], applied: list[str]) -> None:
    found = objects(*known)
    assert list(found) == applied
    assert {item["metadata"]["namespace"] for item in found.values()} == {"engines"}


def test_rules_and_dashboard_arrive_as_they_are() -> None:
    found = objects("PodMonitor", "PrometheusRule")
    assert found["PrometheusRule"]["spec"] == yaml.safe_load(ALERTS.read_text(encoding="utf-8"))
    assert found["PrometheusRule"]["metadata"]["labels"]["release"] == "prometheus"
    assert found["ConfigMap"]["data"]["dagger-engines.json"] == (ROLE / "files/dashboard.json").read_text(
        encoding="utf-8"
    ).rstrip("\n")


def test_the_ports_are_those_of_the_pods() -> None:
    found = objects("PodMonitor")
    pods = (ROLE / "templates/engines.yml.j2").read_text(encoding="utf-8")
    named = {port["name"]: port["targetPort"] for port in found["Service"]["spec"]["ports"]}
    assert [endpoint["port"] for endpoint in found["PodMonitor"]["spec"]["podMetricsEndpoints"]] == list(named)
    for name, number in named.items():
        assert f"{{name: {name}, containerPort: {number}, protocol: TCP}}" in pods


def test_both_kinds_of_metrics_get_the_labels_that_the_rules_group_by() -> None:
    for endpoint in objects("PodMonitor")["PodMonitor"]["spec"]["podMetricsEndpoints"]:
        assert [relabeling["targetLabel"] for relabeling in endpoint["relabelings"]] == ["node", "version", "engine"]


def test_a_prometheus_without_the_operator_gets_the_same_labels(
    promtool: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    config = yaml.safe_load((ROLE / "files/scrape.yml").read_text(encoding="utf-8"))
    (job,) = config["scrape_configs"]
    relabelings = objects("PodMonitor")["PodMonitor"]["spec"]["podMetricsEndpoints"][1]["relabelings"]
    wanted = [{"source_labels": entry["sourceLabels"], "target_label": entry["targetLabel"]} for entry in relabelings]
    assert [entry for entry in job["relabel_configs"] if entry in wanted] == wanted
    assert job["relabel_configs"][0]["regex"] == objects()["Service"]["metadata"]["name"]
    # Debian builds Prometheus without the discovery of Kubernetes; all else of the job is checked.
    assert job.pop("kubernetes_sd_configs") == [{"role": "endpoints", "namespaces": {"names": ["dagger"]}}]
    path = tmp_path / "prometheus.yml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    done = promtool("check", "config", str(path))
    assert done.returncode == 0, done.stderr
