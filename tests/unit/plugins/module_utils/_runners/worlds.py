"""A cluster and a GitHub that live in memory: what was asked of each, and what they answer."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

TOKEN, QUEUE_TOKEN = "ghp_c4n4ry", "eyJhb.c4n4ry"


class Refused(Exception):
    """An answer of the API that is none."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status, self.reason = status, "refused"


class MemoryApi:
    """Objects by their path; lists are what lies below a path. Merges patches as the API does."""

    def __init__(self, objects: dict[str, Any]) -> None:
        self.objects, self.asked = objects, list[tuple[str, str, Any]]()
        for item in objects.values():
            if isinstance(item, dict):
                item["metadata"].setdefault("resourceVersion", "1")

    def call_api(self, path: str, method: str, body: Any = None, **_more: Any) -> Any:
        self.asked.append((method, path, body))
        if path.endswith("/log"):
            return SimpleNamespace(data=str(self.objects.get(path, "")).encode())
        if method == "GET" and path not in self.objects:
            below = [item for key, item in self.objects.items() if key.rpartition("/")[0] == path]
            if not below and "/secrets/" in path:
                raise Refused(404)
            return SimpleNamespace(data=json.dumps({"items": below}).encode())
        if path not in self.objects:
            raise Refused(404)
        item = self.objects[path]
        if method == "DELETE":
            if body["preconditions"]["uid"] != item["metadata"]["uid"]:
                raise Refused(409)
            del self.objects[path]
        if method == "PATCH":
            if body["metadata"]["resourceVersion"] != item["metadata"]["resourceVersion"]:
                raise Refused(409)
            merge(item, body)
        return SimpleNamespace(data=json.dumps(item).encode())

    def wrote(self) -> list[tuple[str, str]]:
        """What was changed: the method, and the last two parts of the path."""
        return [(method, "/".join(path.split("/")[-2:])) for method, path, _body in self.asked if method != "GET"]


def merge(item: dict[str, Any], change: dict[str, Any]) -> None:
    for key, value in change.items():
        if value is None:
            item.pop(key, None)
        elif isinstance(value, dict):
            merge(item.setdefault(key, {}), value)
        else:
            item[key] = value


class Site:
    """A GitHub on loopback. `answers`: by method and path without its query; everything else is 404."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.answers: dict[str, tuple[int, Any]] = {}
        self.url = ""

    def answer(self, method: str, path: str, authorization: str, sent: bytes) -> tuple[int, Any, dict[str, str]]:
        """What `serving` asks for."""
        self.asked.append((f"{method} {path}", authorization + sent.decode()))
        return *self.answers.get(f"{method} {path.split('?')[0]}", (404, {})), {}

    def with_service(self, owner: str) -> None:
        """What it takes to be told of the scale sets of an owner."""
        self.answers[f"POST /api/v3/{owner}/actions/runners/registration-token"] = 201, {"token": "AREG"}
        registered = {"url": f"{self.url}/tenant/1/", "token": QUEUE_TOKEN}
        self.answers["POST /api/v3/actions/runner-registration"] = 200, registered

    def with_set(self, number: int, **statistics: int) -> None:
        """A scale set in the service."""
        answer = {"id": number, "labels": [{"name": "gpu"}], "statistics": statistics}
        self.answers[f"GET /tenant/1/_apis/runtime/runnerscalesets/{number}"] = 200, answer
