"""The module against an API that behaves as the real one where it matters."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nodes import plan_pools as pools
from ansible_collections.runnerfleet.baremetal.plugins.modules import node_pools

Run = Callable[..., dict[str, Any]]


class ApiError(Exception):
    """As the client raises it."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason, self.body = status, reason, ""


def answer(body: Any) -> SimpleNamespace:
    """As the client gives it."""
    return SimpleNamespace(data=json.dumps(body).encode())


class Api:
    """Nodes behind call_api, with versions, server-side apply of labels and merge patches."""

    def __init__(self, names: list[str]) -> None:
        self.nodes = {
            name: {
                "metadata": {
                    "name": name,
                    "uid": f"u-{name}",
                    "resourceVersion": "1",
                    "labels": {"arch": "amd64"},
                    "annotations": {},
                },
                "spec": {},
            }
            for name in names
        }
        self.writes = 0
        self.conflicts = 0
        self.forbidden: set[str] = set()
        self.lock = threading.Lock()

    def call_api(self, path: str, method: str, **request: Any) -> Any:
        """One request."""
        with self.lock:
            name = path.removeprefix("/api/v1/nodes").removeprefix("/")
            if method == "GET":
                return answer(self.nodes[name] if name else {"items": list(self.nodes.values())})
            if name in self.forbidden:
                raise ApiError(403, "Forbidden")
            self.writes += 1
            node, body = self.nodes[name], request["body"]
            meta = node["metadata"]
            if request["header_params"]["Content-Type"] == "application/merge-patch+json":
                if self.conflicts:
                    self.conflicts -= 1
                    meta["resourceVersion"] = str(int(meta["resourceVersion"]) + 1)
                if body["metadata"]["resourceVersion"] != meta["resourceVersion"]:
                    raise ApiError(409, "Conflict")
                node["spec"]["taints"] = body["spec"]["taints"] or []
                note = body["metadata"]["annotations"][pools.TAINTS_ANNOTATION]
                meta["annotations"] = {pools.TAINTS_ANNOTATION: note} if note else {}
            else:
                assert body["metadata"]["uid"] == meta["uid"]
                owned = pools.owned_labels(meta)
                labels = body["metadata"]["labels"]
                meta["labels"] = {key: value for key, value in meta["labels"].items() if key not in owned} | labels
                fields = {"f:metadata": {"f:labels": {f"f:{key}": {} for key in labels}}}
                meta["managedFields"] = [
                    {"manager": dict(request["query_params"])["fieldManager"], "operation": "Apply", "fieldsV1": fields}
                ]
            meta["resourceVersion"] = str(int(meta["resourceVersion"]) + 1)
            return answer(node)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Api:
    """A cluster of three nodes, one of them in no pool."""
    fake = Api(["cp-1", "support-1", "runner-1"])
    monkeypatch.setattr(node_pools, "api_client", lambda _module: fake)
    return fake


POOLS = [
    {"name": "support", "nodes": ["support-1"]},
    {
        "name": "runner",
        "nodes": ["runner-1"],
        "engine": True,
        "labels": {"size": "large"},
        "taints": [{"key": "gpu", "effect": "NoExecute"}],
    },
]


def test_check_then_real_then_nothing(api: Api, run_module: Run) -> None:
    """The dry run foretells the real one, and the next one changes nothing."""
    foretold = run_module(node_pools.main, {"kubeconfig": "/k", "pools": POOLS}, check=True)
    assert api.writes == 0
    real = run_module(node_pools.main, {"kubeconfig": "/k", "pools": POOLS})
    assert (real["changed"], real["diff"]) == (True, foretold["diff"])
    assert real["changed_nodes"] == ["runner-1", "support-1"]
    assert api.nodes["runner-1"]["metadata"]["labels"] == {
        "arch": "amd64",
        "size": "large",
        pools.POOL_LABEL: "runner",
        "node-role.kubernetes.io/runner": "",
    }
    assert api.nodes["runner-1"]["metadata"]["annotations"] == {pools.TAINTS_ANNOTATION: '["gpu:NoExecute"]'}
    assert [taint["key"] for taint in api.nodes["runner-1"]["spec"]["taints"]] == ["gpu", pools.POOL_TAINT]
    assert api.nodes["cp-1"]["metadata"]["labels"] == {"arch": "amd64"}
    writes = api.writes
    assert run_module(node_pools.main, {"kubeconfig": "/k", "pools": POOLS})["changed"] is False
    assert api.writes == writes


def test_what_left_the_inventory_is_removed(api: Api, run_module: Run) -> None:
    """What was set from here, and only that."""
    run_module(node_pools.main, {"kubeconfig": "/k", "pools": POOLS})
    api.nodes["runner-1"]["spec"]["taints"].append({"key": pools.ENGINE_TAINT, "effect": "NoSchedule"})
    run_module(
        node_pools.main, {"kubeconfig": "/k", "pools": [{"name": "support", "nodes": ["support-1", "runner-1"]}]}
    )
    assert api.nodes["runner-1"]["metadata"]["labels"] == {
        "arch": "amd64",
        pools.POOL_LABEL: "support",
        "node-role.kubernetes.io/support": "",
    }
    assert api.nodes["runner-1"]["spec"]["taints"] == [{"key": pools.ENGINE_TAINT, "effect": "NoSchedule"}]
    assert api.nodes["runner-1"]["metadata"]["annotations"] == {}


def test_a_write_by_others_is_waited_out(api: Api, run_module: Run) -> None:
    """The node is read again and planned again."""
    api.conflicts = 3
    assert run_module(node_pools.main, {"kubeconfig": "/k", "pools": POOLS})["changed"] is True
    assert run_module(node_pools.main, {"kubeconfig": "/k", "pools": POOLS})["changed"] is False
    api.conflicts = 100
    result = run_module(node_pools.main, {"kubeconfig": "/k", "pools": [{"name": "support", "nodes": ["runner-1"]}]})
    assert result["failed"]
    assert "written to by others" in result["msg"]


def test_missing_nodes(api: Api, run_module: Run) -> None:
    """Named before anything is written, foretold in a dry run, passed over when told."""
    absent = [{"name": "support", "nodes": ["support-1", "support-9"]}]
    result = run_module(node_pools.main, {"kubeconfig": "/k", "pools": absent})
    assert result["failed"]
    assert result["missing"] == ["support-9"]
    assert "support-9" in result["msg"]
    assert api.writes == 0
    assert run_module(node_pools.main, {"kubeconfig": "/k", "pools": absent}, check=True)["missing"] == ["support-9"]
    assert run_module(node_pools.main, {"kubeconfig": "/k", "pools": absent, "allow_missing": True})[
        "changed_nodes"
    ] == ["support-1"]


def test_an_error_of_one_node_names_it(api: Api, run_module: Run) -> None:
    """The others are done."""
    api.forbidden = {"runner-1"}
    result = run_module(node_pools.main, {"kubeconfig": "/k", "pools": POOLS})
    assert result["failed"]
    assert "1 of 2 nodes" in result["msg"]
    assert "runner-1: HTTP 403 Forbidden" in result["msg"]
    assert pools.POOL_LABEL in api.nodes["support-1"]["metadata"]["labels"]


def test_a_thousand_nodes_are_one_call(api: Api, run_module: Run) -> None:
    """Two writes a node at most, and none the second time."""
    names = [f"n-{number}" for number in range(1000)]
    api.nodes = Api(names).nodes
    given = {"kubeconfig": "/k", "pools": [{"name": "runner", "nodes": names, "engine": True}]}
    assert len(run_module(node_pools.main, given)["changed_nodes"]) == 1000
    assert api.writes == 2000
    assert run_module(node_pools.main, given)["changed"] is False


def test_bad_pools_and_a_silent_api_are_told(api: Api, run_module: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person reads these."""
    twice = [{"name": "a", "nodes": ["n"]}, {"name": "b", "nodes": ["n"]}]
    assert "node n is in the pools a and b" in run_module(node_pools.main, {"kubeconfig": "/k", "pools": twice})["msg"]

    def silent(*_path: Any, **_request: Any) -> None:
        raise ConnectionError("refused")

    monkeypatch.setattr(api, "call_api", silent)
    assert "did not answer" in run_module(node_pools.main, {"kubeconfig": "/k", "pools": POOLS})["msg"]
