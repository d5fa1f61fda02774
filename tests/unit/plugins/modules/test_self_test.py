"""The module against an API whose pods answer at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.modules import self_test

RunModule = Callable[..., dict[str, Any]]
PODS = [
    {
        "pool": "runner",
        "version": "1.2.3",
        "spec": {"containers": [{"name": "runner", "image": "x", "command": ["sh", "RUN"]}]},
    }
]
GOOD = (
    "first_seconds=1 2\nfirst=0b5c2ac0-0000-4000-8000-000000000001\nsecond_seconds=2 2.5\n"
    "second=0b5c2ac0-0000-4000-8000-000000000001\nmount=259:3 xfs /dev/nvme0n1p3\ndrives=nvme0n1\n"
)
BAD = "step=pipeline\nproblem=the first run ended with 1\n"


class Api:
    """Nodes, a namespace, and pods that have ended when they are looked at."""

    def __init__(self) -> None:
        self.pods: dict[str, Any] = {"self-test-old": {"metadata": {"name": "self-test-old"}, "status": {}}}
        self.made: list[dict[str, Any]] = []
        self.removed: list[str] = []
        self.bad_node = ""
        self.refuse = False
        self.namespace = True
        self.hang = False
        self.keep_old = False
        self.unschedulable: tuple[str, ...] = ()

    def call_api(self, path: str, method: str, body: Any = None, **_rest: Any) -> Any:
        if path == "/api/v1/nodes":
            return self._answer({"items": [self._node(name) for name in ("runner-1", "runner-2")]})
        if path == "/api/v1/namespaces/arc-runners":
            if not self.namespace:
                raise Refusal(404)
            return self._answer({"kind": "Namespace"})
        assert path.startswith("/api/v1/namespaces/arc-runners/pods")
        if method == "POST":
            if self.refuse:
                raise Refusal(403)
            self.made.append(body)
            node = body["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
            name = node["nodeSelectorTerms"][0]["matchFields"][0]["values"][0]
            phase, said, code = ("Failed", BAD, 1) if name == self.bad_node else ("Succeeded", GOOD, 0)
            final = {"name": "runner", "state": {"terminated": {"exitCode": code, "message": said}}}
            status = {"phase": phase, "containerStatuses": [final]} if not self.hang else {"phase": "Pending"}
            self.pods[body["metadata"]["name"]] = {"metadata": body["metadata"], "status": status}
            return self._answer(body)
        if method == "DELETE":
            name = path.rpartition("/")[2]
            self.removed.append(name)
            if self.keep_old:
                return self._answer({})
            if self.pods.pop(name, None) is None:
                raise Refusal(404)
            return self._answer({})
        return self._answer({"items": list(self.pods.values())})

    def _node(self, name: str) -> dict[str, Any]:
        return {
            "metadata": {"name": name, "labels": {"node-restriction.kubernetes.io/runnerfleet-pool": "runner"}},
            "spec": {"unschedulable": True} if name in self.unschedulable else {},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        }

    @staticmethod
    def _answer(content: Any) -> Any:
        return SimpleNamespace(data=json.dumps(content).encode())


class Refusal(Exception):
    """As the client library raises it."""

    def __init__(self, status: int) -> None:
        super().__init__("no")
        self.status, self.reason = status, "no"


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Api:
    found = Api()
    monkeypatch.setattr(self_test, "api_client", lambda _module: found)
    monkeypatch.setattr(self_test, "explain", lambda *_given: "What the cluster says: nothing")
    return found


def run(run_module: RunModule, check: bool = False, **more: Any) -> dict[str, Any]:
    return run_module(self_test.main, {"kubeconfig": "/k", "pods": PODS, **more}, check=check)


def test_every_node_is_tested_and_nothing_is_left(run_module: RunModule, api: Api) -> None:
    result = run(run_module)
    assert not result["changed"] and [one["node"] for one in result["results"]] == ["runner-1", "runner-2"]
    assert all(one["cached"] and not one["step"] for one in result["results"])
    assert api.removed[0] == "self-test-old" and api.pods == {}
    words = {body["spec"]["containers"][0]["command"][1] for body in api.made}
    assert len(words) == 1 and words != {"RUN"}
    run(run_module)
    assert api.made[-1]["spec"]["containers"][0]["command"][1] not in words


def test_a_node_that_fails_is_named_and_its_pod_removed(run_module: RunModule, api: Api) -> None:
    api.bad_node = "runner-2"
    result = run(run_module)
    assert result["failed"] and result["msg"].startswith("1 of 2 engines failed the self-test:\nrunner-2: engine 1.2.3")
    assert "step pipeline: the first run ended with 1" in result["msg"] and "runner-1" not in result["msg"]
    assert [one["step"] for one in result["results"]] == ["", "pipeline"] and api.pods == {}


def test_pods_that_may_not_be_made(run_module: RunModule, api: Api) -> None:
    api.refuse = True
    result = run(run_module)
    assert result["failed"] and "HTTP 403" in result["msg"] and api.pods == {}


def test_a_node_that_is_cordoned_is_named(run_module: RunModule, api: Api) -> None:
    api.unschedulable = ("runner-1",)
    result = run(run_module)
    assert (
        result["left_out"] == {"runner-1": "is cordoned"} and "runner-1: not tested, it is cordoned" in result["lines"]
    )
    assert [one["node"] for one in result["results"]] == ["runner-2"]


@pytest.mark.parametrize(
    ("state", "given", "told"),
    [
        ({"unschedulable": ("runner-1", "runner-2")}, {}, "found no node to test (runner-1 is cordoned, runner-2"),
        ({}, {"nodes": ["support-1"]}, "nodes: found support-1, expected at least one with engines"),
        ({"namespace": False}, {}, "found no namespace arc-runners, expected that of the runners"),
    ],
)
def test_a_test_of_nothing_is_refused(
    run_module: RunModule, api: Api, state: dict[str, Any], given: dict[str, Any], told: str
) -> None:
    for name, value in state.items():
        setattr(api, name, value)
    result = run(run_module, **given)
    assert result["failed"] and result["msg"].startswith(told) and api.made == []


def test_pods_that_do_not_end_are_removed_and_named(run_module: RunModule, api: Api) -> None:
    api.hang = True
    result = run(run_module, timeout=0)
    assert (
        result["failed"]
        and "runner-1: engine 1.2.3: failed at step start: it had not ended after 0 seconds" in result["msg"]
    )
    assert "What the cluster says" in result["msg"] and api.pods == {}


def test_pods_of_an_earlier_run_that_do_not_go(
    run_module: RunModule, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(self_test, "REMOVAL", 0)
    monkeypatch.setattr(self_test, "INTERVAL", 0.01)
    api.keep_old = True
    result = run(run_module)
    assert result["failed"] and "did not go within 0 seconds (self-test-old), expected none" in result["msg"]
    assert api.made == []


def test_a_dry_run_makes_no_pod(run_module: RunModule, api: Api) -> None:
    result = run(run_module, check=True)
    assert result["lines"] == ["runner-1: would be tested", "runner-2: would be tested"]
    assert result["would_test"] == ["runner-1", "runner-2"] and (api.made, api.removed) == ([], [])
