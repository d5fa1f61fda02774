"""Variables that go to the API, the kubelet or GitHub as they are: what those refuse is told before."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from ansible_collections.runnerfleet.baremetal.plugins.module_utils import _api_values
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._quantity import kubernetes, quantity
from hypothesis import given
from hypothesis import strategies as st

from ....unit.conftest import ROOT

# The expression of apimachinery's quantity.go, and the suffixes that it then accepts.
EXPRESSION = re.compile(r"([0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)")
SUFFIXES = {"", *"numkMGTPE", *(f"{letter}i" for letter in "KMGTPE")}
ORG: dict[str, Any] = {"name": "medium", "organization": "example-org"}
GOOD: list[tuple[str, Any]] = [
    *(
        ("dagger_engine_memory", value)
        for value in ("8Gi", "500M", "1e9", 8589934592, "8589934592", "1.5Gi", "128Mi", "1k", "2E", None, "")
    ),
    *(("dagger_engine_cpu", value) for value in ("500m", 2, "2", 0.5, "0.5")),
    ("kubernetes_host_system_reserved", {"cpu": 1, "memory": "512Mi", "ephemeral-storage": "1Gi", "pid": 1000}),
    (
        "kubernetes_host_eviction_hard",
        {"memory.available": "500Mi", "nodefs.available": "10%", "imagefs.inodesFree": 1000},
    ),
    ("runner_pools_resources", {"requests": {"cpu": "250m", "memory": "1Gi"}, "limits": {"memory": "1024Mi"}}),
    ("runner_pools_resources", {"limits": {"nvidia.com/gpu": 1, "hugepages-2Mi": "64Mi"}}),
    (
        "runner_pools_pools",
        [ORG, {"name": "arc.runner.large", "repository": "a/b", "labels": ["gpu"]}, {"name": 8, "enterprise": "e"}],
    ),
    (
        "fleet_pools",
        [{"name": "Support", "labels": {"a": True, "b": None, "c": 1}}, {"name": "runner", "engine": {"cpu": "2"}}],
    ),
    ("dagger_engine_namespace", "dagger"),
    (
        "dagger_engine_environment",
        {"HTTPS_PROXY": "http://proxy:3128", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://tempo", "A_TOKEN": ""},
    ),
    ("dagger_engine_environment_secret", "engine.environment"),
    ("fleet_pools", [{"name": "a", "engine": {"environment": {"A": "b"}, "environment_secret": "engine-environment"}}]),
    ("preflight_minimum", {"runner": {"memory": "8GB"}}),
    ("nvme_storage_layout", "8 GB"),
]
BAD: list[tuple[str, Any, str]] = [
    *(
        ("dagger_engine_memory", value, "dagger_engine_memory")
        for value in (
            "8GB",
            "8GiB",
            "8 Gi",
            "1K",
            "1KB",
            "128MiB",
            "6gb",
            "lots",
            "-1Gi",
            " 1Gi",
            "1Gi ",
            True,
            "8G i",
            "Gi",
            "1e",
            [],
        )
    ),
    ("dagger_engine_cpu", "2Gi", "dagger_engine_cpu"),
    ("kubernetes_host_system_reserved", {"memory": "512MB"}, "kubernetes_host_system_reserved.memory"),
    ("kubernetes_host_kube_reserved", {"mem": "512Mi"}, "kubernetes_host_kube_reserved.mem"),
    ("kubernetes_host_eviction_hard", {"memory.available": "500MB"}, "kubernetes_host_eviction_hard.memory.available"),
    ("kubernetes_host_eviction_hard", {"nodefs.available": "110%"}, "kubernetes_host_eviction_hard.nodefs.available"),
    ("kubernetes_host_eviction_hard", {"disk.available": "10%"}, "kubernetes_host_eviction_hard.disk.available"),
    ("runner_pools_resources", {"requests": {"memory": "4GB"}}, "runner_pools_resources.requests.memory"),
    ("runner_pools_limits", {"memory": "4GB"}, "runner_pools_limits.memory"),
    ("runner_pools_limits", {"mem": "4Gi"}, "runner_pools_limits.mem"),
    ("runner_pools_quota", {"headroom": -1}, "runner_pools_quota.headroom"),
    (
        "runner_pools_pools",
        [{"name": "a", "organization": "o", "runtime_class": "Kata!"}],
        "runner_pools_pools[0].runtime_class",
    ),
    ("runner_pools_resources", {"requests": {"cpu": 0.5}}, "runner_pools_resources.requests.cpu"),
    ("runner_pools_resources", {"request": {"cpu": 1}}, "runner_pools_resources.request"),
    ("runner_pools_resources", {"requests": {"mem": "1Gi"}}, "runner_pools_resources.requests.mem"),
    (
        "runner_pools_resources",
        {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}},
        "runner_pools_resources.requests.memory",
    ),
    (
        "runner_pools_resources",
        {"requests": {"cpu": "1500m"}, "limits": {"cpu": 1}},
        "runner_pools_resources.requests.cpu",
    ),
    (
        "runner_pools_resources",
        {"requests": {"a.b/c": 1}, "limits": {"a.b/c": 2}},
        "runner_pools_resources.requests.a.b/c",
    ),
    (
        "runner_pools_pools",
        [{**ORG, "resources": {"limits": {"memory": "8GiB"}}}],
        "runner_pools_pools[0].resources.limits.memory",
    ),
    ("runner_pools_pools", [ORG, ORG], "runner_pools_pools"),
    ("runner_pools_pools", [{**ORG, "name": "Linux_X64"}], "runner_pools_pools[0].name"),
    ("runner_pools_pools", [{**ORG, "name": "x" * 64}], "runner_pools_pools[0].name"),
    ("runner_pools_pools", [{**ORG, "labels": ["a", "b c"]}], "runner_pools_pools[0].labels[1]"),
    ("runner_pools_pools", [{"name": "m"}], "runner_pools_pools[0]"),
    ("runner_pools_pools", [{**ORG, "repository": "a/b"}], "runner_pools_pools[0]"),
    ("runner_pools_pools", [{"name": "m", "repository": "app"}], "runner_pools_pools[0].repository"),
    (
        "runner_pools_pools",
        [{"name": "m", "repository": "a/b", "runner_group": "g"}],
        "runner_pools_pools[0].runner_group",
    ),
    ("runner_pools_pools", [{**ORG, "name": "x" * 46}], "runner_pools_pools[0].name"),
    ("runner_pools_pools", [{**ORG, "size": "4c"}], "runner_pools_pools[0].size"),
    ("runner_pools_pools", [{**ORG, "size": {"cpu": 1, "memory": "1GB"}}], "runner_pools_pools[0].size"),
    ("runner_pools_pools", [{**ORG, "min": -1}], "runner_pools_pools[0].min"),
    ("runner_pools_pools", [{**ORG, "min": 2, "max": 1}], "runner_pools_pools[0].max"),
    ("runner_pools_pools", [{**ORG, "max": "all"}], "runner_pools_pools[0].max"),
    ("runner_pools_pools", [{**ORG, "max": True}], "runner_pools_pools[0].max"),
    ("runner_pools_pools", [{**ORG, "credential": {"token": "a", "secret": "b"}}], "runner_pools_pools[0].credential"),
    ("runner_pools_pools", [{**ORG, "credential": {"app_id": 1}}], "runner_pools_pools[0].credential"),
    ("runner_pools_size", "4", "runner_pools_size"),
    ("runner_pools_pools", [{**ORG, "replicas": -1}], "runner_pools_pools[0].replicas"),
    ("fleet_pools", [{"name": "runner_big", "engine": True}], "fleet_pools[0].name"),
    ("fleet_pools", [{"name": "a b"}], "fleet_pools[0].name"),
    ("fleet_pools", [{"name": "a", "labels": {"disk type": "nvme"}}], "fleet_pools[0].labels.disk type"),
    (
        "fleet_pools",
        [{"name": "a", "taints": [{"key": "k", "value": "ci runners", "effect": "NoSchedule"}]}],
        "fleet_pools[0].taints[0]",
    ),
    ("fleet_pools", [{"name": "a", "engine": {"memory": "8GB"}}], "fleet_pools[0].engine.memory"),
    ("fleet_pools", [{"name": "a", "engine": {"cpu": "8Gi"}}], "fleet_pools[0].engine.cpu"),
    ("runner_pools_namespace", "ARC", "runner_pools_namespace"),
    ("fleet_dagger_namespace", "a.b", "fleet_dagger_namespace"),
    ("dagger_engine_environment", {"1A": "x"}, "dagger_engine_environment.1A"),
    *(
        ("dagger_engine_environment", {name: "x"}, f"dagger_engine_environment.{name}")
        for name in (
            "DAGGER_CLOUD_TOKEN",
            "OTEL_EXPORTER_OTLP_HEADERS",
            "AWS_SECRET_ACCESS_KEY",
            "db_passwd",
            "API_KEY",
            "NPM_AUTH",
        )
    ),
    ("dagger_engine_environment", {"CACHE": "type=s3,secret_access_key=x"}, "dagger_engine_environment.CACHE"),
    ("dagger_engine_environment", {"DAGGER_CLOUD_TOKEN=x": ""}, "dagger_engine_environment"),
    ("dagger_engine_environment_secret", "Engine", "dagger_engine_environment_secret"),
    (
        "fleet_pools",
        [{"name": "a", "engine": {"environment": {"A_TOKEN": "x"}}}],
        "fleet_pools[0].engine.environment.A_TOKEN",
    ),
    ("fleet_pools", [{"name": "a", "engine": {"environment_secret": "A"}}], "fleet_pools[0].engine.environment_secret"),
    ("control_plane_taints", [{"key": "a b", "effect": "NoSchedule"}], "control_plane_taints[0]"),
    ("runner_controller_github_auth", {"secret": "My_Secret"}, "runner_controller_github_auth.secret"),
]


@pytest.mark.parametrize(("name", "value"), GOOD)
def test_what_is_taken(name: str, value: Any) -> None:
    assert _api_values.problems(name, value) == []


@pytest.mark.parametrize(("name", "value", "path"), BAD)
def test_what_is_refused_is_told_where_it_stands(name: str, value: Any, path: str) -> None:
    problems = _api_values.problems(name, value)
    assert [problem.path for problem in problems] == [path]
    assert "GB" not in problems[0].hint


@given(st.text(st.sampled_from("0123456789.eEinumkKMGTPB +-"), max_size=8))
def test_a_quantity_is_what_the_api_s_expression_takes(text: str) -> None:
    match = EXPRESSION.fullmatch(text)
    number = match and re.fullmatch(r"[0-9]+(\.[0-9]*)?|\.[0-9]+", match[1])
    legal = bool(match and number and (match[2] in SUFFIXES or re.fullmatch(r"[eE][+-]?[0-9]{1,2}", match[2])))
    try:
        value = kubernetes(text.removeprefix("+"))
    except ValueError:
        assert not legal
    else:
        assert (legal or text.startswith("+")) and value == quantity(text.removeprefix("+"))


def test_every_rule_is_of_an_option_of_a_role() -> None:
    specs = [
        yaml.safe_load(path.read_text())["argument_specs"] for path in ROOT.glob("roles/*/meta/argument_specs.yml")
    ]
    known = {name for spec in specs for entry in spec.values() for name in entry.get("options") or {}}
    assert set(_api_values.RULES) <= known


def test_pools_of_nodes_that_are_none() -> None:
    entries = [ORG, {**ORG, "name": "large", "pool": "runner"}, {**ORG, "name": "huge", "pool": "support"}]
    assert [problem.path for problem in _api_values.runner_pool_problems(entries, {"runner": []})] == [
        "runner_pools_pools[2].pool"
    ]


@pytest.mark.parametrize(
    "environment",
    [
        {"DAGGER_CLOUD_TOKEN": "s3cret-value"},
        {"CACHE": "type=s3,secret_access_key=s3cret-value"},
        {"HTTPS_PROXY": "http://user:s3cret-value@proxy:3128"},
        {"DAGGER_CLOUD_TOKEN=s3cret-value": ""},
    ],
)
def test_a_secret_in_an_engine_s_environment_is_told_by_its_name(environment: dict[str, str]) -> None:
    """By the role as by the preflight, and never by its value."""
    pools = [
        {"name": "support", "engine": False},
        {"name": "large", "engine": {"environment": environment, "environment_secret": None}},
    ]
    (told,) = map(str, _api_values.engine_problems(pools))
    assert told.startswith("pool large, engine.environment") and "s3cret" not in told
    assert (
        list(
            _api_values.engine_problems(
                [{"name": "large", "engine": {"environment": {"A": "b"}, "environment_secret": "a"}}]
            )
        )
        == []
    )


def test_where_a_secret_goes_is_said() -> None:
    (problem,) = _api_values.problems("dagger_engine_environment", {"A_TOKEN": "x"})
    assert (problem.code, "dagger_engine_environment_secret" in problem.hint) == ("environment_secret", True)


REPOSITORY = {"name": "small", "repository": "acme/shop", "max": 4}


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        pytest.param(REPOSITORY, "", id="a number"),
        pytest.param({**REPOSITORY, "max": "auto", "size": "1c-4g"}, "", id="auto with a size"),
        pytest.param({"name": "small", "repository": "acme/shop", "replicas": 3}, "", id="a fixed number"),
        pytest.param({"name": "small", "repository": "acme/shop"}, "", id="no number"),
        pytest.param({**REPOSITORY, "replicas": 3}, ".replicas: found 3 beside min, max or schedule", id="two truths"),
        pytest.param({**REPOSITORY, "max": "auto"}, ".max: found auto without a size", id="auto without a size"),
        pytest.param({**ORG, "max": 4}, ".min: found 0, expected at least 1, or repositories", id="no queue to read"),
        pytest.param({**ORG, "max": 4, "min": 1}, "", id="by busy runners"),
        pytest.param({**ORG, "max": 4, "repositories": ["shop"]}, "", id="named repositories"),
        pytest.param(
            {**REPOSITORY, "schedule": [{"from": "08:00", "to": "18:00", "max": 4}]},
            ".schedule[0].max: found 4, expected none",
            id="a window of max",
        ),
    ],
)
def test_what_the_legacy_autoscaler_cannot_do(entry: dict[str, Any], told: str) -> None:
    """Scale sets can do all of it."""
    problems = [str(item) for item in _api_values.runner_pool_problems([entry], {"runner": []}, "", "legacy")]
    assert len(problems) == bool(told) and told in "".join(problems)
    assert not _api_values.runner_pool_problems([entry], {"runner": []}, "", "scale_set")


@pytest.mark.parametrize(
    ("repositories", "path"),
    [(["acme/shop"], "runner_pools_pools[0].repositories[0]"), (["shop"], "")],
)
def test_repositories_are_named_without_their_owner(repositories: list[str], path: str) -> None:
    problems = _api_values.problems("runner_pools_pools", [{**ORG, "repositories": repositories}])
    assert "".join(problem.path for problem in problems) == path
