"""The module against an API that knows nodes, tokens, requests and who approves them by itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nodes import credentials, policies
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nodes import requests as nodes_requests
from ansible_collections.runnerfleet.baremetal.plugins.modules import node_credentials

from tests.unit.plugins.module_utils._nodes.test_credentials import pem, request

RunModule = Callable[..., dict[str, Any]]
BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/"
REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
SECRETS = "/api/v1/namespaces/kube-system/secrets"


class Refused(Exception):
    """As the client library raises it."""

    def __init__(self, status: int, body: str = "") -> None:
        super().__init__(str(status))
        self.status, self.reason, self.body = status, f"HTTP {status}", body


class Api:
    """Objects by path. `automatic`: bindings that let joining machines approve themselves."""

    def __init__(self, nodes: tuple[str, ...] = (), automatic: tuple[str, ...] = ()) -> None:
        self.objects: dict[str, Any] = {f"/api/v1/nodes/{name}": {"metadata": {"name": name}} for name in nodes}
        self.objects.update({f"{BINDINGS}{name}": {"metadata": {"name": name}} for name in automatic})
        self.asked: list[str] = []
        self.down = 0
        self.deaf = 0  # how often it lets pass what a policy denies
        self.kinds = True  # whether it has admission policies

    def under(self, prefix: str) -> list[Any]:
        return [value for path, value in self.objects.items() if path.startswith(f"{prefix}/")]

    def call_api(
        self, path: str, method: str, body: Any = None, query_params: Any = (), header_params: Any = None, **_rest: Any
    ) -> Any:
        self.asked.append(f"{method} {path}")
        if self.down:
            self.down -= 1
            raise Refused(503)
        if path.endswith("subjectaccessreviews"):
            assert (
                body["spec"]["resourceAttributes"]["subresource"] == "nodeclient"
                and credentials.JOIN_GROUP in body["spec"]["groups"]
            )
            return self.answer({"status": {"allowed": bool(self.under(BINDINGS.rstrip("/")))}})
        query = dict(query_params)
        if "Impersonate-User" in (header_params or {}):
            self.impersonated(query, header_params["Impersonate-User"])
        if method == "GET":
            return self.answer(self.found(path, query))
        if method == "POST":
            self.objects[f"{path}/{body['metadata']['name']}"] = body
        elif method == "PUT":
            self.objects[path.removesuffix("/approval")] = body
        elif method == "PATCH" and "dryRun" not in query:
            self.objects[path] = body
        elif method == "DELETE":
            if path not in self.objects:
                raise Refused(404)
            self.objects.pop(path)
        return self.answer(body or {"kind": "Status"})

    def impersonated(self, query: dict[str, str], user: str) -> None:
        """What an admission policy says, once it is held to."""
        assert query == {"dryRun": "All"}
        self.deaf -= 1
        if self.deaf < 0 and user in json.dumps(self.under(policies.GROUP)):
            raise Refused(403, policies.DENIED)
        raise Refused(409)

    def found(self, path: str, query: dict[str, str]) -> Any:
        """An object, or a list by its selector."""
        if path in self.objects:
            return self.objects[path]
        if path.rpartition("/")[2] in ("nodes", "pods", "secrets", "certificatesigningrequests"):
            node = query.get("fieldSelector", "").partition("spec.nodeName=")[2]
            signer = query.get("fieldSelector", "").partition("spec.signerName=")[2]
            items = [item for item in self.under(path) if not node or item["spec"]["nodeName"] == node]
            return {"items": [item for item in items if not signer or item["spec"]["signerName"] == signer]}
        if path.endswith(("policies", "policybindings")) and self.kinds:
            return {"items": []}
        raise Refused(404)

    def answer(self, value: Any) -> Any:
        return SimpleNamespace(data=json.dumps(value).encode())

    def tokens(self) -> dict[str, Any]:
        return {
            secret["metadata"]["annotations"][credentials.JOINS_ANNOTATION]: secret["stringData"]
            for secret in self.under(SECRETS)
        }

    def ask(self, name: str, user: str, node: str) -> None:
        """A kubelet's request for a client certificate."""
        subject = [
            (credentials.NameOID.ORGANIZATION_NAME, "system:nodes"),
            (credentials.NameOID.COMMON_NAME, f"system:node:{node}"),
        ]
        made = request(pem(subject=subject), user=user)
        made["metadata"]["name"] = name
        self.objects[f"{REQUESTS}/{name}"] = made

    def verdict(self, name: str) -> str:
        return str(
            (self.objects[f"{REQUESTS}/{name}"].get("status") or {}).get("conditions", [{"type": "none"}])[0]["type"]
        )


@pytest.fixture
def run(run_module: RunModule, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RunModule:
    """Run the module against an API."""
    monkeypatch.setattr(nodes_requests.time, "sleep", lambda _seconds: None)

    def call(api: Api, check: bool = False, **arguments: Any) -> dict[str, Any]:
        monkeypatch.setattr(node_credentials, "api_client", lambda _module: api)
        given = {"kubeconfig": str(tmp_path / "kubeconfig"), "names": ["runner-1", "runner-2"], **arguments}
        return run_module(node_credentials.main, given, check=check)

    return call


def test_who_has_a_node_is_told(run: RunModule) -> None:
    api = Api(nodes=("runner-1", "support-1"))
    result = run(api)
    assert list(result["taken"]) == ["runner-1"] and not result["changed"]
    assert "kubectl delete node runner-1" in result["taken"]["runner-1"]
    assert api.asked.count("GET /api/v1/nodes") == 1 and {line.split()[0] for line in api.asked} == {"GET"}


def test_a_name_that_has_a_node_gets_no_token(run: RunModule) -> None:
    """Whoever asks, and in one request for all."""
    api = Api(nodes=("runner-1",))
    result = run(api, state="present")
    assert list(result["tokens"]) == list(api.tokens()) == ["runner-2"]
    ident, secret = result["tokens"]["runner-2"].split(".")
    assert (api.tokens()["runner-2"]["token-id"], api.tokens()["runner-2"]["token-secret"]) == (ident, secret)
    assert api.asked.count("GET /api/v1/nodes") == 1
    nobody = Api(nodes=("runner-1", "runner-2"))
    assert run(nobody, state="present")["tokens"] == {}
    assert {line.split()[0] for line in nobody.asked} == {"GET"}


def test_a_later_run_replaces_what_a_killed_one_left(run: RunModule) -> None:
    """And no token of anybody else."""
    api = Api()
    other = {
        "metadata": {"name": "bootstrap-token-zzzzzz", "annotations": {credentials.JOINS_ANNOTATION: "x"}},
        "stringData": {},
    }
    api.objects[f"{SECRETS}/bootstrap-token-zzzzzz"] = other
    first = run(api, state="present")["tokens"]
    second = run(api, state="present")["tokens"]
    assert set(first.values()) & set(second.values()) == set()
    assert sorted(api.tokens()) == ["runner-1", "runner-2", "x"]
    assert run(api, state="absent")["changed"] and sorted(api.tokens()) == ["x"]
    assert not run(api, state="absent")["changed"]


def test_no_token_while_anything_approves_by_itself(run: RunModule) -> None:
    """kubeadm's binding goes; one of another name is somebody's, and ends the run before there is a token."""
    api = Api(automatic=(credentials.AUTOMATIC_BINDING,))
    result = run(api, state="present")
    assert result["ended_automatic_approval"] and api.under(BINDINGS.rstrip("/")) == [] and len(api.tokens()) == 2
    assert not run(api, state="present")["ended_automatic_approval"]


def test_a_binding_of_another_name_ends_the_run(run: RunModule, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 9))
    monkeypatch.setattr(nodes_requests.time, "monotonic", lambda: next(clock))
    api = Api(automatic=(credentials.AUTOMATIC_BINDING, "somebodys"))
    result = run(api, state="present")
    assert result["failed"] and api.tokens() == {}
    assert "the cluster approves every certificate that a joining machine asks for" in result["msg"]


def test_each_gets_its_own_and_nothing_else(run: RunModule, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token of one host gives no certificate for another, nor does anybody else's; the API may fail in between."""
    api = Api()
    tokens = {
        name: f"system:bootstrap:{value.split('.')[0]}" for name, value in run(api, state="present")["tokens"].items()
    }
    api.ask("good", tokens["runner-1"], "runner-1")
    api.ask("evil", tokens["runner-2"], "support-1")
    api.ask("neighbour", tokens["runner-2"], "runner-1")
    api.ask("stranger", "system:bootstrap:zzzzzz", "runner-1")
    api.ask("node", "system:node:runner-1", "runner-1")
    api.down = 2
    looks = iter([None] * 4)

    def sleep(_seconds: float) -> None:
        if next(looks, "end") == "end":
            run_absent.append(nodes_requests.Requests(api).delete_tokens(["runner-1", "runner-2"]))

    run_absent: list[Any] = []
    monkeypatch.setattr(nodes_requests.time, "sleep", sleep)
    result = run(api, state="approved")
    assert result["approved"] == ["runner-1"] and run_absent
    verdicts = {name: api.verdict(name) for name in ("good", "evil", "neighbour", "stranger", "node")}
    assert verdicts == {"good": "Approved", "evil": "Denied", "neighbour": "Denied", "stranger": "none", "node": "none"}


def test_what_was_denied_fails_after_the_tokens_are_gone(run: RunModule) -> None:
    api = Api()
    user = f"system:bootstrap:{run(api, state='present')['tokens']['runner-2'].split('.')[0]}"
    api.ask("evil", user, "support-1")
    nodes_requests.Requests(api).approve_joins(["runner-2"])
    result = run(api, state="absent")
    assert result["failed"] and api.tokens() == {}
    assert "runner-2: refused: found subject" in result["msg"] and "system:node:support-1" in result["msg"]


def test_an_api_that_stays_away_is_told(run: RunModule, monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api()
    api.down = 1000
    clock = iter(range(1000))
    monkeypatch.setattr(nodes_requests.time, "monotonic", lambda: next(clock))
    assert "could not be looked at any more: Refused: 503" in run(api, state="approved", seconds=10)["msg"]
    assert "did not answer as expected" in run(api)["msg"]


def test_a_dry_run_writes_nothing(run: RunModule) -> None:
    api = Api(automatic=(credentials.AUTOMATIC_BINDING,))
    for state in ("gathered", "present", "approved", "absent"):
        assert "tokens" not in run(api, check=True, state=state) or run(api, check=True, state=state)["tokens"] == {}
    assert {line.split()[0] for line in api.asked} == {"GET"}


def test_a_bad_name_is_told_before_anything(run: RunModule) -> None:
    api = Api()
    assert "found 'Runner_1'" in run(api, names=["Runner_1"])["msg"] and api.asked == []
