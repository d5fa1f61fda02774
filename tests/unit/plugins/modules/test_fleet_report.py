"""The report against an API of a few canned answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.modules import fleet_report


class NotFound(Exception):
    status = 404


class Api:
    """Answers the lists that it has, as the client does."""

    def __init__(self, lists: dict[str, list[Any]]) -> None:
        self.lists = lists
        self.asked: list[str] = []

    def call_api(self, path: str, method: str, **_rest: Any) -> SimpleNamespace:
        assert method == "GET"
        self.asked.append(path)
        if path not in self.lists:
            raise NotFound(path)
        return SimpleNamespace(data=json.dumps({"items": self.lists[path]}).encode())


def test_seven_requests_and_no_crds(run_module: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api({"/api/v1/nodes": [{"metadata": {"name": "n"}}], "/api/v1/namespaces/dagger/pods": []})
    monkeypatch.setattr(fleet_report, "api_client", lambda _module: api)
    result = run_module(fleet_report.main, {"kubeconfig": "/k"}, check=True)
    assert result["changed"] is False and len(api.asked) == 7
    assert [node["name"] for node in result["fleet"]["nodes"]] == ["n"] and result["fleet"]["runners"] == []


def test_an_api_that_is_down(run_module: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_module: Any) -> None:
        raise OSError("connection refused")

    monkeypatch.setattr(fleet_report, "api_client", refuse)
    result = run_module(fleet_report.main, {"kubeconfig": "/k"})
    assert result["failed"] and "OSError: connection refused" in result["msg"]
