"""The module against an API of a few canned answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.modules import cluster_problems

RunModule = Callable[..., dict[str, Any]]
PRESSURE = {"type": "DiskPressure", "status": "True", "message": "kubelet has disk pressure"}
SELECTOR = {"pool": "support", "a": "b"}


def node(name: str, *conditions: dict[str, str]) -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"conditions": list(conditions)}}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """A cluster with these nodes; returns what it was asked for."""

    def make(*nodes: dict[str, Any], fails: Exception | None = None) -> list[Any]:
        asked: list[Any] = []

        def call_api(path: str, _method: str, query_params: Any = (), **_rest: Any) -> Any:
            asked.append((path, *query_params))
            if fails:
                raise fails
            return SimpleNamespace(data=json.dumps({"items": nodes if path == "/api/v1/nodes" else []}).encode())

        client = SimpleNamespace(call_api=call_api)
        monkeypatch.setattr(cluster_problems, "api_client", lambda _module: client)
        return asked

    return make


def test_a_wait_that_failed_is_explained(run_module: RunModule, cluster: Callable[..., list[Any]]) -> None:
    cluster(node("runner-1", PRESSURE))
    result = run_module(cluster_problems.main, {"kubeconfig": "/k", "failed_wait": "helm: context deadline exceeded"})
    assert result["failed"] and result["problems"] == ["node runner-1: DiskPressure (kubelet has disk pressure)"]
    assert result["msg"].splitlines()[0] == "helm: context deadline exceeded"
    assert "node runner-1: DiskPressure" in result["msg"] and "run again" in result["msg"]


def test_a_wait_that_nothing_explains_keeps_its_own_error(
    run_module: RunModule, cluster: Callable[..., list[Any]]
) -> None:
    cluster(node("runner-1"))
    result = run_module(cluster_problems.main, {"kubeconfig": "/k", "failed_wait": "x" * 9000})
    assert result["failed"] and "no pod that is not ready" in result["msg"] and len(result["msg"]) < 5000


def test_it_can_be_asked_without_a_failure(run_module: RunModule, cluster: Callable[..., list[Any]]) -> None:
    cluster(node("runner-1", PRESSURE))
    result = run_module(cluster_problems.main, {"kubeconfig": "/k"}, check=True)
    assert not result["changed"] and "failed" not in result and len(result["problems"]) == 1


def test_all_nodes_under_pressure_end_a_deployment_before_it_begins(
    run_module: RunModule, cluster: Callable[..., list[Any]]
) -> None:
    asked = cluster(node("s-1", PRESSURE), node("s-2", PRESSURE))
    result = run_module(cluster_problems.main, {"kubeconfig": "/k", "require_room": True, "node_selector": SELECTOR})
    assert result["failed"] and "node s-1: DiskPressure" in result["msg"] and "nothing was changed" in result["msg"]
    assert asked == [("/api/v1/nodes", ("labelSelector", "a=b,pool=support"))]


@pytest.mark.parametrize("check", [False, True], ids=["run", "dry run"])
def test_no_node_with_the_labels(run_module: RunModule, cluster: Callable[..., list[Any]], check: bool) -> None:
    """In a dry run nodes get their labels only later."""
    cluster()
    result = run_module(
        cluster_problems.main, {"kubeconfig": "/k", "require_room": True, "node_selector": SELECTOR}, check=check
    )
    assert ("failed" in result) is not check
    assert check or "no node has the labels a=b,pool=support" in result["msg"]


def test_one_free_node_is_room(run_module: RunModule, cluster: Callable[..., list[Any]]) -> None:
    cluster(node("s-1", PRESSURE), node("s-2"))
    assert "failed" not in run_module(cluster_problems.main, {"kubeconfig": "/k", "require_room": True})


def test_nodes_that_cannot_be_read_are_left_to_the_deployment(
    run_module: RunModule, cluster: Callable[..., list[Any]]
) -> None:
    cluster(fails=OSError("refused"))
    assert "failed" not in run_module(cluster_problems.main, {"kubeconfig": "/k", "require_room": True})


def test_an_api_that_is_down_does_not_hide_the_first_error(
    run_module: RunModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_module: Any) -> None:
        raise OSError("connection refused")

    monkeypatch.setattr(cluster_problems, "api_client", refuse)
    result = run_module(cluster_problems.main, {"kubeconfig": "/k", "failed_wait": "helm: timed out"})
    assert result["failed"] and result["msg"].startswith("helm: timed out\n") and "connection refused" in result["msg"]
