"""The engines' objects: one DaemonSet and one engine.json for each pool and version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.pools import ENGINE

from .render import rendered

POOLS = [
    {"name": "support", "group": "support_nodes"},
    {"name": "runner", "group": "runner_nodes", "engine": True},
    {
        "name": "large",
        "group": "large_nodes",
        "engine": {
            "versions": ["0.21.10", "0.21.11"],
            "memory": "48Gi",
            "environment": {"A": "b"},
            "environment_secret": "engine",
            "config": {"logLevel": "debug"},
            "checkpoints_keep": 0,
        },
    },
]
CLUSTER = {
    "memory": {"runner": "22528Mi", "large": "1Mi"},
    "namespaces": [],
    "secrets": {"engine": "6f1ed002ab559585"},
    "monitoring_kinds": ["PodMonitor", "PrometheusRule"],
    "unused_access": [],
}


@pytest.fixture(scope="module")
def objects(repository: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """By kind and name."""
    given = {
        "fleet_pools": POOLS,
        "fleet_engine_versions": ["0.21.11"],
        "fleet_runner_namespace": "builds",
        "__dagger_engine_cluster": CLUSTER,
        "role_path": str(repository / "roles/dagger_engine"),
    }
    found = rendered(repository, "dagger_engine", "__dagger_engine_objects", given)
    return {(item["kind"], item["metadata"]["name"]): item for item in found if item}


NAMES = ["dagger-engine-large-0-21-10", "dagger-engine-large-0-21-11", "dagger-engine-runner-0-21-11"]


def engine(daemonset: dict[str, Any]) -> dict[str, Any]:
    """Its container."""
    (found,) = daemonset["spec"]["template"]["spec"]["containers"]
    return found  # type: ignore[no-any-return]


def test_each_pool_has_a_daemonset_for_each_of_its_versions(objects: dict[tuple[str, str], dict[str, Any]]) -> None:
    assert sorted(name for kind, name in objects if kind == "DaemonSet") == NAMES
    assert [name for name in NAMES if ("ConfigMap", name) not in objects] == []
    for name in NAMES:
        labels = objects["DaemonSet", name]["metadata"]["labels"]
        (term,) = objects["DaemonSet", name]["spec"]["template"]["spec"]["affinity"]["nodeAffinity"][
            "requiredDuringSchedulingIgnoredDuringExecution"
        ]["nodeSelectorTerms"]
        assert term["matchExpressions"][0]["values"] == [labels["runnerfleet.dev/pool"]] == [name.split("-")[2]]
        assert engine(objects["DaemonSet", name])["image"].endswith(f":v{labels['app.kubernetes.io/version']}")


def test_an_engine_has_no_account_and_no_rights(objects: dict[tuple[str, str], dict[str, Any]]) -> None:
    """What lies on a node may do no more than its kubelet."""
    assert {kind for kind, _name in objects}.isdisjoint(
        {"ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
    )
    for name in NAMES:
        spec = objects["DaemonSet", name]["spec"]["template"]["spec"]
        assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("default", False)
        assert not [volume for volume in spec["volumes"] if "projected" in volume or "secret" in volume]
        assert (
            json.loads(objects["ConfigMap", name]["data"]["settings.json"])["kubeconfig"]
            == "/etc/kubernetes/kubelet.conf"
        )


def test_every_program_is_where_the_pod_looks_for_it(
    repository: Path, objects: dict[tuple[str, str], dict[str, Any]]
) -> None:
    files = {path.name for path in (repository / "roles/dagger_engine/files").glob("*.py")}
    assert set(objects["ConfigMap", NAMES[0]]["data"]) - {"engine.json", "settings.json"} == files


def test_what_a_pool_says_of_its_engines_holds_for_them_alone(objects: dict[tuple[str, str], dict[str, Any]]) -> None:
    small, large = objects["DaemonSet", NAMES[2]], objects["DaemonSet", NAMES[0]]
    assert engine(small)["resources"]["limits"]["memory"] == "22528Mi"  # what the machines have
    assert engine(large)["resources"]["limits"]["memory"] == "48Gi"
    assert [{"name": "A", "value": "b"} in engine(item)["env"] for item in (small, large)] == [False, True]
    configs = [json.loads(objects["ConfigMap", name]["data"]["engine.json"]) for name in (NAMES[2], NAMES[0])]
    assert [config["logLevel"] for config in configs] == ["info", "debug"]
    # Two engines share a disk, and one keeps room for checkpoints.
    assert [config["gc"]["policies"][-1]["maxUsedSpace"] for config in configs] == ["72%", "45%"]
    settings = [json.loads(objects["ConfigMap", name]["data"]["settings.json"]) for name in (NAMES[2], NAMES[0])]
    assert [item["keep"] for item in settings] == [2, 0]
    assert {item["runner_namespace"] for item in settings} == {"builds"}


def test_a_secret_is_read_where_its_pool_says_so(objects: dict[tuple[str, str], dict[str, Any]]) -> None:
    """By its name, and another content is another template."""
    note = "runnerfleet.dev/engine-environment-secret"
    small, large = objects["DaemonSet", NAMES[2]], objects["DaemonSet", NAMES[0]]
    assert engine(large)["envFrom"] == [{"secretRef": {"name": "engine"}}]
    assert large["spec"]["template"]["metadata"]["annotations"][note] == "6f1ed002ab559585"
    assert "envFrom" not in engine(small) and note not in small["spec"]["template"]["metadata"]["annotations"]
    assert all("envFrom" not in item for item in large["spec"]["template"]["spec"]["initContainers"])


def test_alerts_look_at_the_runners_of_this_fleet(objects: dict[tuple[str, str], dict[str, Any]]) -> None:
    rules = json.dumps(objects["PrometheusRule", "dagger-engine"])
    assert 'namespace=\\"builds\\"' in rules and "arc-runners" not in rules


def test_a_pool_may_say_whatever_can_be_said_of_all(repository: Path) -> None:
    """And nothing of a pool's engine is forgotten when it leaves a key out."""
    common = yaml.safe_load((repository / "roles/dagger_engine/vars/main.yml").read_text())["__dagger_engine_common"]
    assert set(common) == set(ENGINE)
    for key, value in common.items():
        assert f"dagger_engine_{key}" in value
