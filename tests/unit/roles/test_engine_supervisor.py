"""The program beside an engine: how it waits for clients, whom it ends, and what it serves."""

from __future__ import annotations

import contextlib
import importlib
import json
import socket
import sqlite3
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


@pytest.fixture
def program(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Imported as in the pod, where its files lie side by side; its clock is the test's."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(repository / "roles/dagger_engine/files"))
    module = importlib.import_module("engine_supervisor")
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
def test_clients_are_waited_for(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clients: Any, seconds: float
) -> None:
    calls, told = drained(program, tmp_path, monkeypatch, clients, Calls([]))
    assert program.time.monotonic() >= seconds - 1
    if seconds < 60:
        assert (calls, told) == ([], []) and program.time.monotonic() <= seconds


def test_after_the_deadline_the_runners_of_this_engine_are_ended(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pods = [pod("job-1", "/run/e/0.21.8"), pod("job-2", "/run/e/1.0.0")]
    calls, told = drained(
        program, tmp_path, monkeypatch, lambda _now: sum(p["metadata"]["name"] == "job-1" for p in pods), Calls(pods)
    )
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
    assert api.end_clients("runner-1", "clients_ended", "why") == ["job-1"]


def test_what_a_node_asks_for_is_read_at_a_start(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    api = program.Api(program.Settings("0.21.8", "/cache"))
    asked = {"runnerfleet.dev/engine-checkpoint": "1700000000", "runnerfleet.dev/engine-restore": "id name"}
    monkeypatch.setattr(api, "call", lambda *_arguments, **_more: {"metadata": {"annotations": asked}})
    assert api.requests("runner-1") == program.Requests(1.7e9, "id", "name")
    for answer in (OSError("gone"), ValueError("no JSON")):
        monkeypatch.setattr(api, "call", lambda *_arguments, answer=answer: _answer(None, answer))
        assert api.requests("runner-1") == program.Requests()


def serving(program: ModuleType, store: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The exporter, on a port of its own and in the background."""
    servers: list[Any] = []

    class Server(program.Server):  # type: ignore[misc,name-defined]
        room = threading.BoundedSemaphore(program.CLIENTS)

        def __init__(self, _address: Any, handler: Any) -> None:
            super().__init__(("127.0.0.1", 0), handler)
            servers.append(self)

        def serve_forever(self, poll_interval: float = 0.5) -> None:
            threading.Thread(target=super().serve_forever, daemon=True).start()

    monkeypatch.setattr(program, "Server", Server)
    monkeypatch.setattr(program.signal, "signal", lambda *_arguments: None)
    assert program.serve(settings, store) == 0
    return servers[0]


def test_the_exporter_serves_metrics_and_the_whole_story(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = program.Settings("0.21.8", str(tmp_path))
    store = program.Store(settings, "runner-1")
    store.checkpoints.mkdir(parents=True)
    store.record_event("wiped", "runner-1: gone")
    server = serving(program, store, settings, monkeypatch)
    base = f"http://127.0.0.1:{server.server_address[1]}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    page = opener.open(f"{base}/metrics", timeout=5).read().decode()
    assert 'runnerfleet_engine_wipes_total{node="runner-1",version="0.21.8"} 1\n' in page
    assert 'runnerfleet_engine_answers{node="runner-1",version="0.21.8"} 0\n' in page
    story = json.load(opener.open(f"{base}/state", timeout=5))
    assert (
        story["events"][0]["message"] == "runner-1: gone" and story["checkpoints"] == [] and story["node"] == "runner-1"
    )
    server.shutdown()


@pytest.mark.parametrize(
    ("metrics", "takes_clients", "answers"),
    [({}, True, 1), (None, True, 0), ({}, False, 0)],
    ids=["it answers", "it hangs", "its socket is gone"],
)
def test_the_exporter_says_whether_the_engine_answers(
    program: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    metrics: Any,
    takes_clients: bool,
    answers: int,
) -> None:
    settings = program.Settings("0.21.8", str(tmp_path), sockets=str(tmp_path))
    store = program.Store(settings, "runner-1")
    store.checkpoints.mkdir(parents=True)
    monkeypatch.setattr(program, "engine_metrics", lambda: metrics)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(tmp_path / "engine.sock"))
        if takes_clients:
            door.listen()
        server = serving(program, store, settings, monkeypatch)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        page = opener.open(f"http://127.0.0.1:{server.server_address[1]}/metrics", timeout=5).read().decode()
        server.shutdown()
    assert f'runnerfleet_engine_answers{{node="runner-1",version="0.21.8"}} {answers}\n' in page


def silences(program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopping: bool = False) -> list[str]:
    """What is told of an engine that answers for 100 seconds, is silent for 200, answers for 100, and is silent."""
    store = program.Store(program.Settings("1.2.3", str(tmp_path), sockets="/run/e"), "runner-7")
    store.base.mkdir(parents=True)
    told: list[str] = []
    store.listeners.append(lambda kind, message: told.append(f"{kind} {message}"))
    engine = program.Engine(store.settings, store, SimpleNamespace())

    def metrics() -> dict[str, float] | None:
        now = program.time.monotonic()
        if now > 600:
            raise Enough
        return {} if now < 100 or 300 <= now < 400 else None

    monkeypatch.setattr(program, "engine_metrics", metrics)
    monkeypatch.setattr(program, "listens", lambda _path: True)
    if stopping:
        engine.stopping.set()
    with pytest.raises(Enough):
        engine.watch()
    return told


def test_an_engine_that_answers_no_more_is_told_once_and_again_after_it_answered(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = silences(program, tmp_path, monkeypatch)
    assert len(told) == 2 and told[0].startswith("not_answering runner-7: the engine 1.2.3 has not answered for 6"), (
        told
    )
    assert "its metrics do not answer. Runners that start here do not register" in told[0]


def test_an_engine_that_is_to_stop_may_be_silent(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert silences(program, tmp_path, monkeypatch, stopping=True) == []


@pytest.mark.parametrize("said", [b"", b"GET /metrics HTTP/1.1\r\nX: "], ids=["nothing", "a byte now and then"])
def test_who_only_holds_connections_takes_few_threads_and_not_for_long(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    store = program.Store(program.Settings("0.21.8", str(tmp_path)), "runner-1")
    store.base.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(program, "PATIENCE", 5 if said else 1)
    monkeypatch.setattr(program, "LONGEST", 1 if said else 15)
    server = serving(program, store, store.settings, monkeypatch)
    before = threading.active_count()
    held = [socket.create_connection(server.server_address, timeout=5) for _number in range(program.CLIENTS)]
    for connection in held:
        connection.sendall(said)
    late = socket.create_connection(server.server_address, timeout=5)
    assert late.recv(1) == b"", "it is turned away at once"
    # A thread of a connection, and one that ends it.
    assert threading.active_count() - before <= 2 * program.CLIENTS
    for connection in held:
        while connection.recv(1024):  # an error page, or nothing
            pass
    page = urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
        f"http://127.0.0.1:{server.server_address[1]}/metrics", timeout=5
    )
    assert page.status == 200
    server.shutdown()


def test_an_event_line_that_was_cut_spoils_no_other(program: ModuleType, tmp_path: Path) -> None:
    store = program.Store(program.Settings("0.21.8", str(tmp_path)), "runner-1")
    store.base.mkdir()
    store.record_event("wiped", "one")
    with open(store.base / "events.jsonl", "a", encoding="utf-8") as file:
        file.write('{"kind": "wip')
    store.record_event("wiped", "two")
    assert [(event["number"], event["message"]) for event in store.events()] == [(1, "one"), (2, "two")]


class Step:
    """A canary step of which the test says what it prints, and when."""

    def __init__(self, *answers: str) -> None:
        self.answers, self.nonces = list(answers), []  # type: ignore[var-annotated]

    def nonce(self, known: str = "") -> str:
        return known.partition(" ")[0] or "new"

    def answer(self, nonce: str, _seconds: float) -> str:
        self.nonces.append(nonce)
        return self.answers.pop(0) if self.answers else ""


def running(program: ModuleType, tmp_path: Path, **more: Any) -> tuple[Any, list[str]]:
    """An engine that runs and answers, with the kinds of what is told of it."""
    settings = program.Settings("0.21.8", str(tmp_path), sockets=str(tmp_path))
    (tmp_path / "0.21.8").mkdir()
    (tmp_path / "engine.sock").touch()
    store, told = program.Store(settings, "runner-1"), []
    store.listeners.append(lambda kind, _message: told.append(kind))
    (store.base / "running.json").write_text(json.dumps({"version": "0.21.8", "time": 1, **more}))
    engine = program.Engine(settings, store, program.Api(settings))
    engine.answers.set()
    return engine, told


@pytest.mark.parametrize(
    ("known", "answers", "cached", "told"),
    [
        pytest.param("n a", ["a"], 1, [], id="cached"),
        pytest.param("n a", ["b"], 0, ["wiped"], id="it had to run anew"),
        pytest.param("", ["b"], -1, [], id="the first one"),
        pytest.param("n a", ["", "", "a"], 1, [], id="it answers at the third try"),
        pytest.param("n a", [], -1, [], id="it does not answer"),
    ],
)
def test_the_canary_step_says_whether_a_cache_was_kept(
    program: ModuleType, tmp_path: Path, known: str, answers: list[str], cached: int, told: list[str]
) -> None:
    engine, kinds = running(program, tmp_path, canary=known)
    engine.canary = Step(*answers)
    engine.prove_cache(known)
    marker = engine.store.marker("running")
    assert (marker.cached, kinds) == (cached, told)
    assert marker.canary == (f"{known.partition(' ')[0] or 'new'} {answers[-1]}" if answers else known)


@pytest.mark.parametrize(
    "line",
    ["local cache state invalid; resetting worker", "dagql persistence store marked unclean; wiping and cold-starting"],
)
@pytest.mark.parametrize(("had_cache", "told"), [(True, ["wiped"]), (False, [])])
def test_the_log_of_an_engine_says_that_it_drops_its_cache(
    program: ModuleType,
    tmp_path: Path,
    capfdbinary: pytest.CaptureFixture[bytes],
    line: str,
    had_cache: bool,
    told: list[str],
) -> None:
    engine, kinds = running(program, tmp_path)
    lines = [b"\x1b[33mWARN\x1b[0m " + line.encode() + b"\n", b"\xff not UTF-8\n", line.encode() + b"\n"]
    engine.process = SimpleNamespace(stderr=iter(lines))
    engine.had_cache = had_cache
    engine.read_log()
    assert kinds == told and engine.dropping and not engine.closing.is_set() and not engine.complained
    assert b"".join(lines) in capfdbinary.readouterr().err


def test_the_log_of_an_engine_says_how_its_stop_goes(program: ModuleType, tmp_path: Path) -> None:
    engine, kinds = running(program, tmp_path)
    engine.process = SimpleNamespace(
        stderr=iter([b"starting dagql cache close\n", b"dagql cache close exiting with error\n"])
    )
    engine.had_cache = True
    engine.read_log()
    assert engine.closing.is_set() and engine.complained and kinds == [] and not engine.dropping


class Stop:
    """A stop: what is done, in its order, and at which second."""

    def __init__(
        self,
        program: ModuleType,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        holds: bool = False,
        clients: Any = None,
    ) -> None:
        self.engine, self.told = running(program, tmp_path, canary="n a")
        self.done: list[str] = []
        self.engine.canary = Step("c")
        self.engine.process = SimpleNamespace(terminate=lambda: self.done.append("SIGTERM"))
        monkeypatch.setattr(self.engine.store, "drop_ballast", lambda: self.done.append("ballast"))
        monkeypatch.setattr(self.engine.closing, "wait", lambda _seconds: not holds)
        monkeypatch.setattr(program.engine_clients, "oldest_by_pod", lambda: clients or {})
        monkeypatch.setattr(
            self.engine.api, "end_clients", lambda *given: self.done.append(f"clients {given[3]}") or ["job-1"]
        )
        self.thread = threading.Thread(target=self.engine.stop_when_told, daemon=True)


def test_an_engine_that_starts_is_told_to_stop_once_it_answers(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = Stop(program, tmp_path, monkeypatch)
    stop.engine.answers.clear()
    stop.thread.start()
    for _signal in range(3):
        stop.engine.on_signal(15, None)
    stop.thread.join(0.3)
    assert stop.done == [] and stop.thread.is_alive()
    stop.engine.answers.set()
    stop.thread.join(10)
    assert stop.done == ["ballast", "SIGTERM"] and stop.engine.confirmed == "n c"


@dataclass
class Starting:
    """An engine that never answers, as a process, which is told to stop."""

    engine: Any
    told: list[str]
    process: subprocess.Popen[bytes]

    @property
    def lives(self) -> bool:
        return self.process.poll() is None


@pytest.fixture
def starting(program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Starting]]:
    """`mark`: what its database says of the last stop, None where there is none."""
    processes: list[subprocess.Popen[bytes]] = []

    def make(mark: str | None, had_cache: bool = True, dropping: bool = False) -> Starting:
        engine, told = running(program, tmp_path)
        monkeypatch.setattr(program, "HOLD", 1)
        monkeypatch.setattr(engine.store, "drop_ballast", lambda: pytest.fail("a stop like any other"))
        engine.store.state.mkdir()
        if mark is not None:
            with contextlib.closing(
                sqlite3.connect(engine.store.state / "dagql-cache.db", isolation_level=None)
            ) as database:
                database.executescript(
                    "PRAGMA journal_mode=WAL; CREATE TABLE results (id INTEGER); CREATE TABLE meta (key TEXT, value "
                    f"TEXT);INSERT INTO meta VALUES ('clean_shutdown', '{mark}')"
                )
        engine.answers.clear()
        engine.had_cache, engine.dropping = had_cache, dropping
        processes.append(subprocess.Popen(["sleep", "1000"]))
        engine.process = processes[0]
        engine.stopping.set()
        return Starting(engine, told, processes[0])

    yield make
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("state", "why"),
    [
        pytest.param({"mark": "1"}, "still reading its cache in, which is as it was", id="it has not begun"),
        pytest.param(
            {"mark": "0", "dropping": True}, "it deletes the cache that it has dropped", id="its cache is gone"
        ),
        pytest.param({"mark": None, "had_cache": False}, "had no cache when it started", id="it had none"),
    ],
)
def test_an_engine_that_never_answers_is_ended_where_that_costs_nothing(
    starting: Callable[..., Starting], capsys: pytest.CaptureFixture[str], state: dict[str, Any], why: str
) -> None:
    made = starting(**state)
    made.engine.stop_when_told()
    assert made.process.wait(10) == -9 and made.engine.ended_early
    assert made.told == ["start_ended"] and why in made.engine.store.events()[0]["message"]


@pytest.mark.parametrize("mark", ["0", "", None], ids=["it has begun", "no mark", "no database"])
def test_an_engine_that_has_begun_to_use_its_cache_is_waited_for(
    starting: Callable[..., Starting], mark: str | None
) -> None:
    made = starting(mark)
    thread = threading.Thread(target=made.engine.stop_when_told, daemon=True)
    made.engine.store.drop_ballast = lambda: None
    made.engine.canary = Step("c")
    thread.start()
    thread.join(3.5)
    assert thread.is_alive() and made.lives and not made.engine.ended_early
    assert made.told == ["stop_held"] and "it is waited for" in made.engine.store.events()[0]["message"]
    assert Path(f"/proc/{made.process.pid}/stat").read_text().split()[2] == "S"  # it goes on
    made.engine.closing.set()
    made.engine.answers.set()
    thread.join(10)
    assert made.process.wait(10) == -15


@pytest.mark.parametrize(
    ("holds", "clients", "done"),
    [
        pytest.param(
            True,
            {"job-1": 1.0},
            ["ballast", "SIGTERM", "clients {'job-1'}"],
            id="the pods with clients, no idle runner",
        ),
        pytest.param(
            True, {}, ["ballast", "SIGTERM", "clients None"], id="all that mount the socket, where none is seen"
        ),
        pytest.param(False, {"job-1": 1.0}, ["ballast", "SIGTERM"], id="it closes by itself"),
    ],
)
def test_clients_that_hold_an_engine_are_ended_whatever_its_gauge_says(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, holds: bool, clients: Any, done: list[str]
) -> None:
    stop = Stop(program, tmp_path, monkeypatch, holds, clients)
    monkeypatch.setattr(program, "engine_metrics", lambda: {"dagger_connected_clients": 0})
    stop.engine.stopping.set()
    stop.engine.stop_when_told()
    assert stop.done == done and stop.told == (["clients_ended"] if holds else [])


def test_a_canary_that_breaks_keeps_no_engine_from_its_signal(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = Stop(program, tmp_path, monkeypatch)
    monkeypatch.setattr(stop.engine, "_confirm_canary", lambda: 1 / 0)
    stop.engine.stopping.set()
    stop.engine.stop_when_told()
    assert stop.done == ["ballast", "SIGTERM"] and stop.engine.confirmed == ""


@pytest.mark.parametrize(
    ("clients", "ended"),
    [
        pytest.param({"job-1": 50.0, "job-2": 150.0}, ["job-1"], id="one hangs, one came later"),
        pytest.param({"job-2": 150.0}, [], id="none hangs"),
        pytest.param({}, [], id="no clients"),
        pytest.param({"engine-pod": 10.0}, [], id="a probe"),
    ],
)
def test_jobs_whose_engine_died_under_them_are_ended(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clients: dict[str, float], ended: list[str]
) -> None:
    engine, told = running(program, tmp_path)
    calls = Calls([pod(name, str(tmp_path)) for name in ("job-1", "job-2", "idle")])
    monkeypatch.setattr(engine.api, "call", calls)
    monkeypatch.setattr(program.engine_clients, "oldest_by_pod", lambda: clients)
    program.end_stranded(engine.store, engine.api, died=100.0)
    assert [path.rpartition("/")[2] for method, path in calls.made if method == "DELETE"] == ended
    assert told == (["clients_stranded"] if ended else [])


def test_clients_are_found_among_the_processes_of_a_machine(program: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu 1 2 3\nbtime 1700000000\n")
    uid, other = "12345678-aaaa-bbbb-cccc-123456789abc", "87654321-aaaa-bbbb-cccc-123456789abc"
    ticks = program.os.sysconf("SC_CLK_TCK")
    job, probe, canary = (
        b"dagger\0call\0build\0",
        b"dagger\0core\0version\0",
        b"dagger\0-c\0host | directory /run/runnerfleet/canary\0",
    )
    for number, (name, start, group, words) in enumerate(
        [
            ("dagger", 20, f"/pod{uid}/x", job),
            ("dagger", 10, f"/pod{uid}/x", job),
            ("sh", 5, f"/pod{uid}/x", job),
            ("dagger", 4, f"/pod{uid}/x", probe),
            ("dagger", 3, f"/pod{uid}/x", canary),
            ("dagger", 1, "/user.slice", job),
            ("Runner.Worker", 7, f"/pod{other}/x", b"/runner/bin/Runner.Worker\0spawnclient\0117\0120\0"),
            ("Runner.Listener", 6, f"/pod{uid}/x", b"/runner/bin/Runner.Listener\0run\0"),
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "stat").write_text(f"{number} ({name}) S " + "0 " * 18 + f"{start * ticks} 0")
        (folder / "cgroup").write_text(f"0::{group}\n")
        (folder / "cmdline").write_bytes(words)
    (tmp_path / "99").mkdir()  # it has ended
    (tmp_path / "self").mkdir()
    assert program.engine_clients.oldest_by_pod(tmp_path) == {uid: 1700000010.0}
    assert program.engine_clients.at_work(tmp_path) == {other}


class Enough(Exception):
    """Ends a loop that has no end of its own."""


class Idle:
    """An engine whose clients and figures are the test's, by second; says when its process was told to stop."""

    def __init__(
        self, program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clients: Any, **api: Any
    ) -> None:
        settings = program.Settings("0.21.8", str(tmp_path), sockets=str(tmp_path), interval=3600, min_free=0)
        self.processes: dict[str, float] = api.get("processes", {})
        (tmp_path / "0.21.8" / "state").mkdir(parents=True)
        self.socket = tmp_path / "engine.sock"
        self.socket.touch()
        self.stopped: list[float] = []
        self.doors: list[bool] = []
        store, calls = program.Store(settings, "runner-1"), program.Api(settings)
        self.engine = program.Engine(settings, store, calls)
        monkeypatch.setattr(program.time, "time", program.time.monotonic)
        monkeypatch.setattr(store, "can_take", lambda: api.get("can_take", True))
        monkeypatch.setattr(calls, "rolling", lambda _node: api.get("rolling", False))
        pods = [pod("ours", str(tmp_path)) | {"status": {"phase": "Pending" if api.get("preparing") else "Running"}}]
        monkeypatch.setattr(calls, "call", lambda *_arguments, **_more: {"items": pods})
        monkeypatch.setattr(program.engine_clients, "oldest_by_pod", lambda: self.processes)
        monkeypatch.setattr(
            program.engine_clients,
            "at_work",
            lambda: set(api.get("at_work", lambda _shut: ())(not self.socket.exists())),
        )
        monkeypatch.setattr(self.engine, "stopping", self)
        monkeypatch.setattr(self.engine, "canary", Step("a"))

        def metrics() -> dict[str, float]:
            now = program.time.monotonic()
            if now > 8000:
                raise Enough
            self.doors.append(self.socket.exists())
            # Its bytes grow for a while, as of one that a job uses at first.
            self.engine.metrics = {
                "dagger_local_cache_total_disk_size_bytes": 5000 + (min(now, 600) if api.get("used", True) else 0)
            }
            late = api.get("late") and not self.socket.exists()
            return {"dagger_connected_clients": 1 if late else clients(now)}

        monkeypatch.setattr(program, "engine_metrics", metrics)
        self.now = program.time.monotonic
        self.engine.answers.set()

    def is_set(self) -> bool:
        return bool(self.stopped)

    def set(self) -> None:
        self.stopped.append(self.now())


def test_an_idle_engine_is_stopped_for_a_checkpoint_behind_a_shut_door(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    idle = Idle(program, tmp_path, monkeypatch, lambda _now: 0)
    idle.engine.checkpoint_when_idle()
    assert 3600 <= idle.stopped[0] < 3700 and len(idle.stopped) == 1
    assert idle.doors[-2:] == [False, False] and all(idle.doors[:-2]) and not idle.socket.exists()
    assert idle.engine.confirmed == "new a"  # while its door was open


def test_a_job_of_another_engine_keeps_none_from_its_checkpoint(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    idle = Idle(program, tmp_path, monkeypatch, lambda _now: 0, at_work=lambda _shut: ["theirs"])
    idle.engine.checkpoint_when_idle()
    assert 3600 <= idle.stopped[0] < 3700


def test_a_stop_waits_for_a_calm_of_ten_minutes_until_another_interval_has_passed(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a job of a minute every five minutes."""
    idle = Idle(program, tmp_path, monkeypatch, lambda now: int(now % 300 < 60))
    idle.engine.checkpoint_when_idle()
    assert 7200 <= idle.stopped[0] < 7500


@pytest.mark.parametrize("offset", [0.0, 1.3, 4.9, 7.7, 9.9, 14.0])
@pytest.mark.parametrize("length", [1.1, 2.5])
def test_the_probes_of_a_kubelet_keep_no_engine_from_its_checkpoint(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offset: float, length: float
) -> None:
    """Readiness every 15 s and liveness every 30 s, of a length that was measured, against looks ten seconds apart."""
    idle = Idle(
        program,
        tmp_path,
        monkeypatch,
        lambda now: int((now + offset) % 15 < length or (now + offset + 3) % 30 < length),
    )
    idle.engine.checkpoint_when_idle()
    assert idle.stopped[0] < 3900


@pytest.mark.parametrize(
    ("clients", "api"),
    [
        pytest.param(lambda now: now % 40 < 25, {}, id="used now and then"),
        pytest.param(lambda _now: 0, {"late": True}, id="a client that came before the door was shut"),
        pytest.param(lambda _now: 0, {"processes": {"job-1": 1.0}}, id="a job's client between two sessions"),
        pytest.param(lambda _now: 0, {"used": False}, id="nobody used it since its start"),
        pytest.param(lambda _now: 0, {"can_take": False}, id="no checkpoint could be taken"),
        pytest.param(lambda _now: 0, {"rolling": True}, id="a roll-out has the node"),
        pytest.param(lambda _now: 0, {"preparing": True}, id="a runner is being prepared"),
        pytest.param(
            lambda _now: 0, {"at_work": lambda _shut: ["ours"]}, id="a job that has not called the engine yet"
        ),
        pytest.param(
            lambda _now: 0, {"at_work": lambda shut: ["ours"] * shut}, id="a job that began while the door was shut"
        ),
    ],
)
def test_an_engine_is_left_alone(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clients: Any, api: dict[str, Any]
) -> None:
    idle = Idle(program, tmp_path, monkeypatch, clients, **api)
    with pytest.raises(Enough):
        idle.engine.checkpoint_when_idle()
    assert not idle.stopped and idle.socket.exists()


def test_a_build_between_two_looks_is_a_use(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    idle = Idle(program, tmp_path, monkeypatch, lambda _now: 0, used=False)
    monkeypatch.setattr(
        program.engine_clients, "oldest_by_pod", lambda: {"job-1": 1.0} if 13 <= program.time.monotonic() < 15 else {}
    )
    idle.engine.notice_use()
    assert idle.engine.used and program.time.monotonic() < 16
    monkeypatch.setattr(program.engine_clients, "oldest_by_pod", dict)
    idle.engine.checkpoint_when_idle()
    assert 3600 <= idle.stopped[0] < 3700


def test_the_api_that_cannot_be_asked_may_have_a_roll_out(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    api = program.Api(program.Settings("0.21.8", "/nowhere"))
    for answer, expected in [({}, False), ({"runnerfleet.dev/engine-rollout": "{}"}, True), (OSError("gone"), True)]:
        monkeypatch.setattr(
            api, "call", lambda *_arguments, answer=answer: _answer({"metadata": {"annotations": answer}}, answer)
        )
        assert api.rolling("runner-1") is expected


def _answer(found: Any, failure: Any) -> Any:
    if isinstance(failure, Exception):
        raise failure
    return found


@pytest.mark.parametrize(("marker", "code"), [("clean", 0), ("running", 143)])
def test_a_stop_before_the_engine_runs_is_as_clean_as_its_state(
    program: ModuleType, tmp_path: Path, marker: str, code: int
) -> None:
    settings = program.Settings("0.21.8", str(tmp_path))
    (tmp_path / "0.21.8").mkdir()
    (tmp_path / "0.21.8" / f"{marker}.json").write_text('{"version": "0.21.8", "time": 1}')
    engine = program.Engine(settings, program.Store(settings, "runner-1"), program.Api(settings))
    with pytest.raises(SystemExit) as ended:
        engine.on_signal(15, None)
    assert ended.value.code == code
