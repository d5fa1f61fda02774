"""The program beside an engine: how it waits for clients, whom it ends, and what it serves."""

from __future__ import annotations

import importlib
import json
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


@pytest.fixture
def program(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Imported as in the pod, where its files lie side by side; its clock is the test's."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for folder in ("plugins/module_utils", "roles/dagger_engine/files"):
        monkeypatch.syspath_prepend(str(repository / folder))
    module = importlib.import_module("engine_state")
    clock = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(module.time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    return module


class Calls:
    """What was asked of the cluster's API."""

    def __init__(self, pods: list[dict[str, Any]], failure: Exception | None = None) -> None:
        self.pods, self.failure = pods, failure
        self.made: list[tuple[str, str]] = []

    def __call__(self, method: str, path: str, body: Any = None, timeout: float = 0) -> Any:
        self.made.append((method, path.split("?")[0]))
        if self.failure:
            raise self.failure
        if method == "DELETE":
            self.pods[:] = [pod for pod in self.pods if not path.endswith("/" + pod["metadata"]["name"])]
        return {"items": list(self.pods)}


def pod(name: str, path: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": name}, "spec": {"volumes": [{"hostPath": {"path": path}}]}}


def drained(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clients: Any, calls: Calls
) -> tuple[list[tuple[str, str]], list[str]]:
    """Drain with these clients (by second), and say what was asked of the API and what was told."""
    settings = program.Settings("0.21.8", str(tmp_path), sockets="/run/e/0.21.8", drain_deadline=60, client_grace=10)
    (tmp_path / "0.21.8").mkdir(exist_ok=True)
    store, api = program.Store(settings, "runner-1"), program.Api(settings)
    told: list[str] = []
    store.listeners.append(lambda kind, _message: told.append(kind))
    monkeypatch.setattr(api, "call", calls)

    def metrics() -> dict[str, float] | None:
        count = clients(program.time.monotonic())
        return None if count is None else {"dagger_connected_clients": count}

    monkeypatch.setattr(program, "engine_metrics", metrics)
    assert program.drain(settings, store, api) == 0
    return calls.made, told


@pytest.mark.parametrize(
    ("clients", "seconds"),
    [
        pytest.param(lambda _now: 0, 2, id="nobody"),
        pytest.param(lambda now: 3 if now < 30 else 0, 32, id="jobs that end in time"),
        pytest.param(lambda now: int(now) % 2, 60, id="a probe that comes and goes is waited for"),
        pytest.param(lambda _now: None, 2, id="an engine that does not answer"),
    ],
)
def test_clients_are_waited_for(program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clients: Any, seconds: float) -> None:
    calls, told = drained(program, tmp_path, monkeypatch, clients, Calls([]))
    assert program.time.monotonic() >= seconds - 1
    if seconds < 60:
        assert (calls, told) == ([], []) and program.time.monotonic() <= seconds


def test_after_the_deadline_the_runners_of_this_engine_are_ended(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pods = [pod("job-1", "/run/e/0.21.8"), pod("job-2", "/run/e/1.0.0")]
    calls, told = drained(program, tmp_path, monkeypatch, lambda _now: sum(p["metadata"]["name"] == "job-1" for p in pods), Calls(pods))
    base = "/api/v1/namespaces/arc-runners"
    assert calls == [("GET", f"{base}/pods"), ("POST", f"{base}/events"), ("DELETE", f"{base}/pods/job-1")]
    assert told == ["clients_ended"]
    assert 60 <= program.time.monotonic() <= 64


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(OSError("no route"), id="no network"),
        pytest.param(urllib.error.HTTPError("u", 403, "forbidden", None, None), id="forbidden"),  # type: ignore[arg-type]
    ],
)
def test_without_the_api_an_engine_stops_all_the_same(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    calls, told = drained(program, tmp_path, monkeypatch, lambda _now: 1, Calls([], failure))
    assert len(calls) == 1 and told == []


def test_a_runner_that_is_gone_is_no_failure(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    api = program.Api(program.Settings("0.21.8", "/cache", sockets="/run/e"))

    def call(method: str, path: str, body: Any = None, timeout: float = 0) -> Any:
        if method == "DELETE":
            raise urllib.error.HTTPError(path, 404, "gone", None, None)  # type: ignore[arg-type]
        return {"items": [pod("job-1", "/run/e")]}

    monkeypatch.setattr(api, "call", call)
    assert api.end_clients("runner-1") == ["job-1"]


@pytest.mark.parametrize(
    ("annotations", "asked"),
    [({"runnerfleet.dev/engine-checkpoint": "1700000000"}, 1.7e9), ({"runnerfleet.dev/engine-checkpoint": "soon"}, None), (None, None)],
    ids=["asked", "nonsense", "not asked"],
)
def test_the_node_may_ask_for_a_checkpoint(program: ModuleType, monkeypatch: pytest.MonkeyPatch, annotations: Any, asked: Any) -> None:
    api = program.Api(program.Settings("0.21.8", "/cache"))
    monkeypatch.setattr(api, "call", lambda *_arguments, **_more: {"metadata": {"annotations": annotations}})
    assert api.asked("runner-1") == asked


def test_the_exporter_serves_metrics_and_the_whole_story(program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = program.Settings("0.21.8", str(tmp_path))
    store = program.Store(settings, "runner-1")
    store.checkpoints.mkdir(parents=True)
    store.tell("wiped", "runner-1: gone")
    servers: list[Any] = []

    class Server(program.ThreadingHTTPServer):  # type: ignore[misc,name-defined]
        def __init__(self, _address: Any, handler: Any) -> None:
            super().__init__(("127.0.0.1", 0), handler)
            servers.append(self)

        def serve_forever(self, poll_interval: float = 0.5) -> None:
            threading.Thread(target=super().serve_forever, daemon=True).start()

    monkeypatch.setattr(program, "ThreadingHTTPServer", Server)
    monkeypatch.setattr(program.signal, "signal", lambda *_arguments: None)
    assert program.serve(settings, store) == 0
    base = f"http://127.0.0.1:{servers[0].server_address[1]}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    page = opener.open(f"{base}/metrics", timeout=5).read().decode()
    assert 'runnerfleet_engine_wipes_total{node="runner-1",version="0.21.8",instance="0"} 1\n' in page
    story = json.load(opener.open(f"{base}/state", timeout=5))
    assert story["events"][0]["message"] == "runner-1: gone" and story["checkpoints"] == [] and story["node"] == "runner-1"
    servers[0].shutdown()


def test_an_event_line_that_was_cut_spoils_no_other(program: ModuleType, tmp_path: Path) -> None:
    store = program.Store(program.Settings("0.21.8", str(tmp_path)), "runner-1")
    store.base.mkdir()
    store.tell("wiped", "one")
    with open(store.base / "events.jsonl", "a", encoding="utf-8") as file:
        file.write('{"kind": "wip')
    store.tell("wiped", "two")
    assert [(event["number"], event["message"]) for event in store.events()] == [(1, "one"), (2, "two")]


class Enough(Exception):
    """Ends a loop that has no end of its own."""


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        pytest.param(lambda _now: 100, [], id="kept"),
        pytest.param(lambda now: 0 if now < 60 else 100, [], id="its figures come late"),
        pytest.param(lambda _now: 3, ["wiped"], id="dropped"),
        pytest.param(lambda now: 100 if now < 30 else 0, [], id="seen whole, then pruned"),
    ],
)
def test_a_cache_that_is_dropped_at_the_start_is_told_from_a_prune(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entries: Any, told: list[str]
) -> None:
    settings = program.Settings("0.21.8", str(tmp_path))
    (tmp_path / "0.21.8").mkdir()
    store, found = program.Store(settings, "runner-1"), []
    store.listeners.append(lambda kind, _message: found.append(kind))
    monkeypatch.setattr(store, "answered", lambda: None)

    def metrics() -> dict[str, float]:
        if program.time.monotonic() > 300:
            raise Enough
        return {"dagger_local_cache_entries": entries(program.time.monotonic())}

    monkeypatch.setattr(program, "engine_metrics", metrics)
    with pytest.raises(Enough):
        program.Engine(settings, store, program.Api(settings)).watch(expected=100)
    assert found == told


class Idle:
    """An engine whose clients and figures are the test's, by second; says when its process was told to stop."""

    def __init__(self, program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clients: Any, **api: Any) -> None:
        settings = program.Settings("0.21.8", str(tmp_path), sockets=str(tmp_path), interval=3600, min_free=0)
        (tmp_path / "0.21.8" / "state").mkdir(parents=True)
        self.door = tmp_path / "engine.sock"
        self.door.touch()
        self.stopped: list[float] = []
        self.doors: list[bool] = []
        store, calls = program.Store(settings, "runner-1"), program.Api(settings)
        self.engine = program.Engine(settings, store, calls)
        monkeypatch.setattr(program.time, "time", program.time.monotonic)
        monkeypatch.setattr(store, "can_take", lambda: api.get("can_take", True))
        monkeypatch.setattr(calls, "rolling", lambda _node: api.get("rolling", False))

        def metrics() -> dict[str, float]:
            now = program.time.monotonic()
            if now > 8000:
                raise Enough
            self.doors.append(self.door.exists())
            self.engine.metrics = {"dagger_local_cache_entries": 5, "dagger_local_cache_total_disk_size_bytes": 5000}
            return {"dagger_connected_clients": clients(now)}

        monkeypatch.setattr(program, "engine_metrics", metrics)
        self.engine.process = SimpleNamespace(terminate=lambda: self.stopped.append(program.time.monotonic()))
        self.engine.answers.set()


def test_an_idle_engine_is_stopped_for_a_checkpoint_behind_a_shut_door(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    idle = Idle(program, tmp_path, monkeypatch, lambda _now: 0)
    idle.engine.rest()
    assert 3600 <= idle.stopped[0] < 3700 and len(idle.stopped) == 1
    assert idle.doors[-2:] == [False, False] and all(idle.doors[:-2]) and not idle.door.exists()


@pytest.mark.parametrize(
    ("clients", "api"),
    [
        pytest.param(lambda now: int(now) % 20 == 0, {}, id="used now and then"),
        pytest.param(lambda now: int(now % 10 == 1), {}, id="a client that came before the door was shut"),
        pytest.param(lambda _now: 0, {"can_take": False}, id="no checkpoint could be taken"),
        pytest.param(lambda _now: 0, {"rolling": True}, id="a roll-out has the node"),
    ],
)
def test_an_engine_is_left_alone(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clients: Any, api: dict[str, bool]
) -> None:
    idle = Idle(program, tmp_path, monkeypatch, clients, **api)
    with pytest.raises(Enough):
        idle.engine.rest()
    assert not idle.stopped and idle.door.exists()


def test_the_api_that_cannot_be_asked_may_have_a_roll_out(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    api = program.Api(program.Settings("0.21.8", "/nowhere"))
    for answer, expected in [({}, False), ({"runnerfleet.dev/engine-rollout": "{}"}, True), (OSError("gone"), True)]:
        monkeypatch.setattr(api, "call", lambda *_arguments, answer=answer: _answer({"metadata": {"annotations": answer}}, answer))
        assert api.rolling("runner-1") is expected


def _answer(found: Any, failure: Any) -> Any:
    if isinstance(failure, Exception):
        raise failure
    return found


@pytest.mark.parametrize(("marker", "code"), [("clean", 0), ("running", 143)])
def test_a_stop_before_the_engine_runs_is_as_clean_as_its_state(program: ModuleType, tmp_path: Path, marker: str, code: int) -> None:
    settings = program.Settings("0.21.8", str(tmp_path))
    (tmp_path / "0.21.8").mkdir()
    (tmp_path / "0.21.8" / f"{marker}.json").write_text('{"version": "0.21.8", "time": 1}')
    engine = program.Engine(settings, program.Store(settings, "runner-1"), program.Api(settings))
    with pytest.raises(SystemExit) as ended:
        engine.stop(15, None)
    assert ended.value.code == code
