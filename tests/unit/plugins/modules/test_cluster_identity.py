"""The module against an API that holds one ConfigMap, or none."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible_collections.runnerfleet.baremetal.plugins.modules import cluster_identity

RunModule = Callable[..., dict[str, Any]]
PEM = "-----BEGIN CERTIFICATE-----\nQUFB\n-----END CERTIFICATE-----\n"


class NotFound(Exception):
    """As the client library raises it."""

    status = 404


class Api:
    """Holds what is written to it."""

    def __init__(self, found: dict[str, Any] | None = None) -> None:
        self.found, self.asked = found, []  # type: ignore[var-annotated]

    def call_api(self, path: str, method: str, body: Any = None, **_rest: Any) -> Any:
        self.asked.append(method)
        if method == "POST":
            self.found = body
        if self.found is None:
            raise NotFound(path)
        return SimpleNamespace(data=json.dumps(self.found).encode())


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A kubeconfig with a CA, in an environment without other wishes."""
    for name in list(cluster_identity.os.environ):
        if name.startswith("K8S_AUTH_"):
            monkeypatch.delenv(name)
    cluster = {
        "server": "https://192.0.2.1:6443",
        "certificate-authority-data": base64.b64encode(PEM.encode()).decode(),
    }
    content = {
        "clusters": [{"name": "c", "cluster": cluster}],
        "contexts": [{"name": "x", "context": {"cluster": "c"}}],
        "current-context": "x",
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(content))
    return {"kubeconfig": str(tmp_path / "kubeconfig"), "fleet": "ci"}


def test_it_is_written_once_and_compared_from_then_on(
    run_module: RunModule, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any]
) -> None:
    api = Api()
    monkeypatch.setattr(cluster_identity, "api_client", lambda _module: api)
    assert "run site.yml first" in run_module(cluster_identity.main, arguments)["msg"]
    foretold = run_module(cluster_identity.main, {**arguments, "adopt": True}, check=True)
    assert foretold["changed"] and '"fleet": "ci"' in foretold["diff"]["after"] and api.asked == ["GET", "GET"]
    written = run_module(cluster_identity.main, {**arguments, "adopt": True})
    assert written["changed"] and written["diff"] == foretold["diff"]
    again = run_module(cluster_identity.main, {**arguments, "adopt": True})
    assert not again["changed"] and "diff" not in again and again["ca"] == written["ca"]
    assert not run_module(cluster_identity.main, arguments)["changed"] and api.asked.count("POST") == 1
    other = run_module(cluster_identity.main, {**arguments, "fleet": "prod", "adopt": True})
    assert other["failed"] and "belongs to another fleet: found 'ci'" in other["msg"] and api.asked.count("POST") == 1


def test_an_environment_that_would_override_is_refused_before_anything_is_asked(
    run_module: RunModule, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any]
) -> None:
    api = Api()
    monkeypatch.setattr(cluster_identity, "api_client", lambda _module: api)
    monkeypatch.setenv("K8S_AUTH_HOST", "https://192.0.2.9")
    result = run_module(cluster_identity.main, arguments)
    assert result["failed"] and "environment: found K8S_AUTH_HOST" in result["msg"] and api.asked == []


def test_an_api_that_does_not_answer_and_a_kubeconfig_that_is_none(
    run_module: RunModule, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any]
) -> None:
    def refuse(*_arguments: Any, **_more: Any) -> None:
        raise OSError("connection refused")

    monkeypatch.setattr(cluster_identity, "api_client", lambda _module: SimpleNamespace(call_api=refuse))
    assert (
        "did not answer as expected: OSError: connection refused" in run_module(cluster_identity.main, arguments)["msg"]
    )
    Path(arguments["kubeconfig"]).write_text("token: S3CRET: x")
    told = run_module(cluster_identity.main, arguments)["msg"]
    assert "found mapping values are not allowed here in line 1" in told and "S3CRET" not in told
