"""What the inventory wants of a node."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.memory import LEAST, OVERHEAD
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.sizing import Resources, Runner
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet import sizing as _fleet_sizing

GIB = 1024**3
VALUES: dict[str, Any] = {
    "dagger_engine_cpu": "500m",
    "dagger_engine_memory": "4Gi",
    "dagger_engine_pools": [
        {"name": "runner", "group": "r", "engine": True},
        {"name": "big", "group": "b", "engine": {}},
    ],
    "dagger_engine_versions": ["0.21.8"],
    "kubernetes_host_eviction_hard": {"memory.available": "500Mi", "nodefs.available": "10%"},
    "kubernetes_host_kube_reserved": {"cpu": "250m", "memory": "512Mi"},
    "kubernetes_host_system_reserved": {"cpu": "250m", "memory": "512Mi", "ephemeral-storage": "1Gi"},
    "kubernetes_host_kubelet_config": {},
    "runner_pools_pools": [
        {"name": "medium", "replicas": 5},
        {"name": "large", "pool": "big", "resources": {"limits": {"cpu": 4, "memory": "8Gi"}, "requests": {"cpu": 2}}},
    ],
    "runner_pools_resources": {"requests": {"cpu": "250m", "memory": "256Mi"}},
}


def test_a_runner_node_carries_its_engine_and_its_share_of_the_runners() -> None:
    plan = _fleet_sizing.node_plan(VALUES, "runner", 2)
    assert plan.engine == Resources(500, 4 * GIB)
    assert plan.reserved == Resources(500, GIB)
    assert (plan.eviction_bytes, plan.max_pods) == (500 * 1024**2, 110)
    assert plan.runners == (Runner("medium", Resources(250, 256 * 1024**2), 3),)


def test_each_version_of_the_engine_is_one_engine() -> None:
    plan = _fleet_sizing.node_plan({**VALUES, "dagger_engine_versions": ["0.21.8", "1.0.0"]}, "runner", 1)
    assert plan.engine == Resources(1000, 8 * GIB)


def test_a_pool_may_have_engines_of_its_own() -> None:
    big = {"versions": ["0.21.8", "1.0.0"], "memory": "16Gi", "cpu": "2"}
    pools = [VALUES["dagger_engine_pools"][0], {"name": "big", "group": "b", "engine": big}]
    plans = [_fleet_sizing.node_plan({**VALUES, "dagger_engine_pools": pools}, pool, 1) for pool in ("runner", "big")]
    assert [plan.engine for plan in plans] == [Resources(500, 4 * GIB), Resources(4000, 32 * GIB)]


def test_memory_that_nobody_stated_is_what_an_engine_gets_at_least() -> None:
    plan = _fleet_sizing.node_plan(
        {**VALUES, "dagger_engine_memory": "", "dagger_engine_versions": ["0.21.8", "1.0.0"]}, "runner", 1
    )
    assert plan.engine == Resources(1000, 2 * LEAST + OVERHEAD)


def test_a_request_that_is_left_out_is_the_limit() -> None:
    assert _fleet_sizing.node_plan(VALUES, "big", 1).runners == (Runner("large", Resources(2000, 8 * GIB), 1),)


def test_a_pools_own_nonsense_is_told_with_the_pool() -> None:
    pools = [{"name": "runner", "group": "r", "engine": {"memory": "lots"}}]
    with pytest.raises(ValueError, match=r"fleet_pools, pool runner: engine.memory: found 'lots'"):
        _fleet_sizing.node_plan({**VALUES, "dagger_engine_pools": pools}, "runner", 1)


@pytest.mark.parametrize("pool", ["support", ""])
def test_a_node_without_engine_carries_neither(pool: str) -> None:
    plan = _fleet_sizing.node_plan(VALUES, pool, 1)
    assert (plan.engine, plan.runners) == (Resources(), ())


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("dagger_engine_memory", "lots", "dagger_engine_memory: found 'lots'"),
        ("dagger_engine_cpu", "2GB", "dagger_engine_cpu: found '2GB'"),
        ("kubernetes_host_kube_reserved", {"memory": "x"}, "kubernetes_host_kube_reserved.memory: found 'x'"),
    ],
)
def test_nonsense_is_told_with_its_variable(name: str, value: Any, told: str) -> None:
    with pytest.raises(ValueError) as caught:
        _fleet_sizing.node_plan({**VALUES, name: value}, "runner", 1)
    assert str(caught.value).startswith(told)


def test_pool_of_a_host() -> None:
    pools = [{"name": "support", "group": "s"}, {"name": "runner", "group": "r", "engine": True}]
    groups = {"s": ["s1"], "r": ["r1", "r2"], "c": ["c1"]}
    assert [_fleet_sizing.pool_of(host, groups, pools) for host in ("s1", "r2", "c1")] == [
        ("support", 1),
        ("runner", 2),
        ("", 1),
    ]
