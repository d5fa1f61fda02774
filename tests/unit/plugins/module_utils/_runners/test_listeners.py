"""Listeners get the credential of their set, and nothing else is touched."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners import listener_run
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners.plan_listeners import (
    Listener,
    is_outdated,
    waits_for,
)

NOW = datetime(2026, 11, 28, tzinfo=UTC)
APP = {"github_app_id": "7", "github_app_installation_id": "8", "github_app_private_key": "-----BEGIN\nabc\n"}


def pod(
    uid: str, seconds: float = 60, now: datetime = NOW, state: Any = None, name: str = "small-754b578d-listener"
) -> Any:
    running = {"running": {"startedAt": (now - timedelta(seconds=seconds)).isoformat()}}
    return {
        "metadata": {"name": name, "uid": uid},
        "spec": {"volumes": [{"name": "x", "emptyDir": {}}, {"name": "c", "secret": {"secretName": f"{name}-config"}}]},
        "status": {"containerStatuses": [{"state": state or running}]},
    }


@pytest.mark.parametrize(
    ("config", "credential", "outdated"),
    [
        pytest.param({"token": "new"}, {"github_token": "new"}, False, id="the same"),
        pytest.param({"token": "new"}, {"github_token": "new\n"}, False, id="the same, with a line's end"),
        pytest.param({"token": "old"}, {"github_token": "new"}, True, id="another token"),
        pytest.param({"github_app_id": 7, "i": "8", "k": "-----BEGIN\nabc\n"}, APP, False, id="the same App"),
        pytest.param({"github_app_id": 7, "i": "8", "k": "-----BEGIN\nxyz\n"}, APP, True, id="another key of it"),
        pytest.param({"token": "old"}, APP, True, id="an App in place of a token"),
        pytest.param({"token": "old"}, {}, False, id="no Secret, which is told elsewhere"),
        pytest.param(None, {"github_token": "new"}, True, id="half made anew"),
    ],
)
def test_who_has_another_credential(config: Any, credential: dict[str, str], outdated: bool) -> None:
    written = {} if config is None else {"config.json": json.dumps(config)}
    found = Listener("small", pod("1"), "c", written, credential)
    assert is_outdated(found) is outdated
    assert "new" not in repr(found) and "BEGIN" not in repr(found)


@pytest.mark.parametrize(
    ("observed", "told"),
    [
        pytest.param(pod("1"), "", id="it listens"),
        pytest.param(pod("1", 3), "its pod has not run for 10 seconds", id="just begun"),
        pytest.param(
            pod("1", state={"waiting": {"reason": "CrashLoopBackOff"}}), "its pod is not running: Crash", id="x"
        ),
        pytest.param({"metadata": {"name": "x"}, "status": {}}, "its pod is not running", id="not begun"),
    ],
)
def test_when_a_listener_listens(observed: Any, told: str) -> None:
    found = waits_for(Listener("small", observed, "c", {"config.json": '{"t": "new"}'}, {"github_token": "new"}), NOW)
    assert found.startswith(told) and bool(found) == bool(told)


class Cluster:
    """Two sets, and a controller that makes what was deleted anew, some looks later."""

    namespace, controller_namespace = "arc-runners", "arc-systems"

    def __init__(self, listens: bool = True) -> None:
        self.credentials = {"small-github": {"github_token": "new"}, "runners-github": {"github_token": "common"}}
        self.tokens = {"small": "old", "large": "common"}
        self.pods = {name: pod(name, 60, datetime.now(UTC), None, f"{name}-listener") for name in self.tokens}
        self.deleted: list[str] = []
        self.listens = listens

    def items(self, path: str, passed: Any = ()) -> list[Any]:
        secrets = {"small": "small-github", "large": "runners-github"}
        if path.endswith("autoscalingrunnersets"):
            return [{"metadata": {"name": name}, "spec": {"githubConfigSecret": secrets[name]}} for name in secrets]
        if path.endswith("autoscalinglisteners"):
            return [
                {"metadata": {"name": f"{one}-listener"}, "spec": {"autoscalingRunnerSetName": one}} for one in secrets
            ]
        return list(self.pods.values())

    def secret(self, namespace: str, name: str) -> dict[str, str]:
        if namespace == self.namespace:
            return self.credentials[name]
        token = self.tokens.get(name.removesuffix("-listener-config"))
        return {"config.json": json.dumps({"token": token})} if token else {}

    def delete(self, path: str, body: Any = None, passed: Any = ()) -> dict[str, Any]:
        self.deleted.append(path.split("/namespaces/")[1])
        if "/pods/" in path:
            assert body == {"preconditions": {"uid": "small"}}
            state = None if self.listens else {"terminated": {"reason": "Error"}}
            self.tokens["small"] = "new"
            self.pods["small"] = pod("anew", 60, datetime.now(UTC), state, "small-listener")
        else:
            del self.tokens["small"]
        return {}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_run, "POLL", 0.01)


def test_only_the_outdated_listener_is_made_anew_once() -> None:
    cluster: Any = Cluster()
    done: list[str] = []
    listener_run.renew(cluster, 5, done)
    assert done == ["small"]
    assert cluster.deleted == ["arc-systems/secrets/small-listener-config", "arc-systems/pods/small-listener"]
    again: list[str] = []
    listener_run.renew(cluster, 5, again)
    assert again == [] and len(cluster.deleted) == 2


def test_a_dry_run_deletes_nothing() -> None:
    cluster: Any = Cluster()
    done: list[str] = []
    listener_run.renew(cluster, 5, done, dry=True)
    assert (done, cluster.deleted) == (["small"], [])


def test_a_listener_that_ends_is_told() -> None:
    cluster: Any = Cluster(listens=False)
    with pytest.raises(listener_run.ListenerError, match="small: its pod is not running: Error"):
        listener_run.renew(cluster, 0.1, [])


def test_what_is_waited_for_is_told_at_the_deadline() -> None:
    cluster: Any = Cluster(listens=False)
    with pytest.raises(listener_run.ListenerError, match="do not listen after 0 seconds: small: it has the credential"):
        listener_run.renew(cluster, 0, [])
