"""The module against a cluster that lives in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._names import POOL_LABEL
from ansible_collections.runnerfleet.baremetal.plugins.modules import engine_room

RunModule = Callable[..., dict[str, Any]]
ARGUMENTS = {
    "kubeconfig": "/k",
    "versions": {"runner": ["1.0.0"], "large": ["1.0.0", "1.0.1"]},
    "hosts": {"runner": 2, "large": 1},
}
RUNNERS = [{"name": "medium", "replicas": 2, "resources": {"requests": {"memory": "4Gi"}}}]


class MemoryCluster:
    """Two small machines, and a large one."""

    def nodes(self) -> list[dict[str, Any]]:
        machines = [("runner", "16Gi"), ("runner", "17Gi"), ("large", "64Gi")]
        return [
            {"metadata": {"labels": {POOL_LABEL: pool}}, "status": {"allocatable": {"memory": size}}}
            for pool, size in machines
        ]

    def daemonsets(self) -> list[dict[str, Any]]:
        return []

    def namespaces(self) -> list[str]:
        return ["default"]

    def secret_digest(self, name: str) -> str:
        return "6f1ed002ab559585" if name == "engine" else ""

    def former_access(self) -> list[dict[str, str]]:
        return [{"kind": "ServiceAccount", "name": "dagger-engine"}]

    def kinds(self, group: str) -> list[str]:
        assert group == "monitoring.coreos.com/v1"
        return ["PodMonitor"]


@pytest.fixture
def _cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_room, "api_client", lambda _module: None)
    monkeypatch.setattr(
        engine_room, "EngineCluster", lambda _api, pools, *_namespaces: MemoryCluster() if pools else None
    )


@pytest.mark.usefixtures("_cluster")
def test_each_pool_gets_what_its_machines_have(run_module: RunModule) -> None:
    result = run_module(engine_room.main, {**ARGUMENTS, "runners": RUNNERS})
    assert result["memory"] == {"runner": f"{12 * 1024 - 256}Mi", "large": f"{32 * 1024 - 256}Mi"}
    assert [item["kind"] for item in result["unused_access"]] == ["ServiceAccount"]
    assert (result["changed"], result["namespaces"], result["monitoring_kinds"]) == (False, ["default"], ["PodMonitor"])


@pytest.mark.usefixtures("_cluster")
def test_an_amount_that_is_none_is_told(run_module: RunModule) -> None:
    runners = [{"name": "medium", "resources": {"requests": {"memory": "lots"}}}]
    result = run_module(engine_room.main, {**ARGUMENTS, "runners": runners})
    assert result["failed"] and result["msg"].startswith("runners: found 'lots'")


@pytest.mark.usefixtures("_cluster")
def test_secrets_that_are_there_are_named(run_module: RunModule) -> None:
    result = run_module(engine_room.main, {**ARGUMENTS, "secrets": ["engine", "not-there"]})
    assert result["secrets"] == {"engine": "6f1ed002ab559585"}
