"""The module against an API server that reads its keys again after a while, or never."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.modules import secrets_rewritten

RunModule = Callable[..., dict[str, Any]]
OLD, NEW = "0" * 64, "1" * 64
ARGUMENTS = {"kubeconfig": "/k", "keys": NEW, "timeout": 0}


class Server:
    """An API server: which keys it says it uses at each look, its Secrets, and what was written."""

    def __init__(self) -> None:
        self.used = [NEW]
        meta = {"namespace": "a", "resourceVersion": "7"}
        self.secrets = [{"metadata": {**meta, "name": name}, "data": {"k": "UzNDUkVU"}} for name in ("x", "y")]
        self.written: list[tuple[str, Any, Any]] = []
        self.refuses = 0

    def call_api(self, path: str, method: str, query_params: Any = None, body: Any = None, **_rest: Any) -> Any:
        if path == "/metrics":
            used = self.used.pop(0) if len(self.used) > 1 else self.used[0]
            name = "apiserver_encryption_config_controller_last_config_info"
            return SimpleNamespace(
                data=f'# TYPE {name} gauge\n{name}{{apiserver_id_hash="sha256:9",hash="sha256:{used}"}} 1\n'.encode()
            )
        if method == "PUT":
            if self.refuses:
                error = RuntimeError(f"HTTP {self.refuses} S3CRET")
                error.status = self.refuses  # type: ignore[attr-defined]
                raise error
            self.written.append((path, dict(query_params or []), body))
        return SimpleNamespace(data=json.dumps({"items": self.secrets}).encode())


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()
    monkeypatch.setattr(secrets_rewritten, "api_client", lambda _module: made)
    monkeypatch.setattr(secrets_rewritten.time, "sleep", lambda _seconds: None)
    return made


def test_each_secret_is_written_as_it_is(server: Server, run_module: RunModule) -> None:
    result = run_module(secrets_rewritten.main, ARGUMENTS)
    assert result["changed"] and result["written"] == 2 and "UzNDUkVU" not in json.dumps(result)
    assert [path for path, _query, _body in server.written] == [
        f"/api/v1/namespaces/a/secrets/{name}" for name in ("x", "y")
    ]
    assert all(
        body["data"] == {"k": "UzNDUkVU"} and body["metadata"]["resourceVersion"] == "7"
        for _path, _query, body in server.written
    )


def test_nothing_is_written_before_the_new_keys_are_in_use(server: Server, run_module: RunModule) -> None:
    server.used = [OLD, OLD, NEW]
    run_module(secrets_rewritten.main, {**ARGUMENTS, "timeout": 60})
    assert server.used == [NEW] and len(server.written) == 2


def test_a_server_that_never_reads_them_is_told(server: Server, run_module: RunModule) -> None:
    server.used = [OLD]
    message = run_module(secrets_rewritten.main, ARGUMENTS)["msg"]
    assert "the API server did not read its keys again within 0 s" in message and OLD in message and NEW in message
    assert server.written == []


def test_a_dry_run_waits_for_nothing_and_writes_nothing(server: Server, run_module: RunModule) -> None:
    server.used = [OLD]
    assert run_module(secrets_rewritten.main, ARGUMENTS, check=True)["changed"]
    assert [query for _path, query, _body in server.written] == [{"dryRun": "All"}] * 2


@pytest.mark.parametrize(("status", "fails"), [(404, False), (409, False), (500, True)])
def test_what_somebody_else_changes_meanwhile_is_theirs(
    server: Server, run_module: RunModule, status: int, fails: bool
) -> None:
    server.refuses = status
    result = run_module(secrets_rewritten.main, ARGUMENTS)
    assert bool(result.get("failed")) is fails and "S3CRET" not in json.dumps(result)
