"""The module against an API of a few canned answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.modules import cluster_objects

RunModule = Callable[..., dict[str, Any]]
API = {
    "/api/v1/nodes": {"items": [{"metadata": {"name": "runner-1"}}, {"metadata": {"name": "runner-2"}}]},
    "/api/v1/namespaces/dagger": {"kind": "Namespace", "metadata": {"name": "dagger"}},
    "/api/v1/namespaces/dagger/secrets": {"items": None},
}


class Refusal(Exception):
    """As the client library raises one."""

    def __init__(self, status: int, reason: str) -> None:
        self.status, self.reason = status, reason


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, str], str]]:
    """What the API was asked: path, query, what was accepted."""
    calls: list[tuple[str, dict[str, str], str]] = []

    def call_api(path: str, _method: str, **rest: Any) -> Any:
        calls.append((path, dict(rest["query_params"]), rest["header_params"]["Accept"]))
        if path == "/api/v1/forbidden":
            raise Refusal(403, "Forbidden")
        if path not in API:
            raise Refusal(404, "Not Found")
        return SimpleNamespace(data=json.dumps(API[path]).encode())

    monkeypatch.setattr(cluster_objects, "api_client", lambda _module: SimpleNamespace(call_api=call_api))
    return calls


def get(run_module: RunModule, *objects: dict[str, Any]) -> dict[str, Any]:
    """The result for these."""
    return run_module(cluster_objects.main, {"kubeconfig": "/k", "objects": list(objects)}, check=True)


def test_lists_and_objects_are_answered_by_name(run_module: RunModule, asked: list[Any]) -> None:
    names = "[].metadata.name"
    result = get(
        run_module,
        {"name": "nodes", "path": "/api/v1/nodes", "query": names, "label_selectors": ["a=b", "c in (d,e)"]},
        {"name": "one", "path": "/api/v1/namespaces/dagger", "query": names},
        {"name": "secrets", "path": "/api/v1/namespaces/dagger/secrets", "query": names, "metadata_only": True},
        {"name": "kind", "path": "/apis/example.org/v1/nothing", "query": names},
        {"name": "count", "path": "/api/v1/nodes", "query": "length(@)"},
    )
    assert not result["changed"]
    assert result["objects"] == {
        "nodes": ["runner-1", "runner-2"],
        "one": ["dagger"],
        "secrets": [],
        "kind": [],
        "count": 2,
    }
    assert asked[0][1] == {"labelSelector": "a=b,c in (d,e)"}
    assert "PartialObjectMetadataList" in asked[2][2] and "Partial" not in asked[0][2]


def test_a_refusal_of_the_api_is_none_that_is_passed_over(run_module: RunModule, asked: list[Any]) -> None:
    result = get(run_module, {"name": "nodes", "path": "/api/v1/forbidden", "query": "@"})
    assert result["failed"] and "HTTP 403 Forbidden" in result["msg"] and len(asked) == 1


def test_a_query_that_is_none_is_told(run_module: RunModule, asked: list[Any]) -> None:
    result = get(run_module, {"name": "nodes", "path": "/api/v1/nodes", "query": "[?"})
    assert result["failed"] and "[?" in result["msg"] and not asked
