# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What acts beside an engine: `run` starts it on a state that it keeps, `drain` waits for its clients, `serve` says how it went.

It runs in the engine's pod, chrooted to the host, whose Python and filesystem it uses. Descriptor 3 is the root of the container.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import quote

import _engine_state as decide
from _engine_state import Settings
from engine_store import StateError, Store, die_with_parent

CONTAINER = 3  # the descriptor of the container's root
STATE = "/var/lib/dagger"  # where the engine wants its state; the pod mounts the cache directory there
METRICS = "http://127.0.0.1:9090/metrics"
PORT = 9091
ACCOUNT = f"/proc/self/fd/{CONTAINER}/run/runnerfleet/account"
QUIET = 6  # looks in a row, ten seconds apart, without a client before an engine counts as idle
STOP_PATIENCE = 60  # seconds after SIGTERM until clients that stay attached are ended
SETTLED = 90  # seconds after the first answer until the size of the cache is believed
_NORMAL = {"checkpoint"}  # all other events are warnings
_MS_BIND = 4096

_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def log(text: str) -> None:
    """A line in the container's log."""
    print(f"engine-state: {text}", file=sys.stderr, flush=True)


def engine_metrics() -> dict[str, float] | None:
    """What the engine says of itself; None while it does not answer."""
    try:
        with _open(METRICS, timeout=5) as answer:
            return decide.parse_metrics(answer.read().decode())
    except (OSError, ValueError, http.client.HTTPException):
        return None


def clients(metrics: Mapping[str, float] | None) -> int | None:
    """How many clients are connected; None when the engine does not say."""
    return None if metrics is None else int(metrics.get("dagger_connected_clients", 0))


class Api:
    """The few calls to the cluster's API that an engine's pod may make. Each is a best effort: an engine starts and stops without them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.pod = {"name": os.environ.get("POD_NAME", ""), "namespace": settings.namespace, "uid": os.environ.get("POD_UID", "")}
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        self.server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"

    def call(self, method: str, path: str, body: Any = None, timeout: float = 5) -> Any:
        """One call; an OSError where it fails."""
        token = Path(f"{ACCOUNT}/token").read_text(encoding="utf-8")
        request = urllib.request.Request(self.server + path, json.dumps(body).encode() if body else None, method=method)
        request.add_header("Authorization", f"Bearer {token}")
        request.add_header("Content-Type", "application/json")
        context = ssl.create_default_context(cafile=f"{ACCOUNT}/ca.crt")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
        with opener.open(request, timeout=timeout) as answer:
            return json.load(answer)

    def event(self, kind: str, message: str, pod: Mapping[str, str] | None = None) -> None:
        """An Event about the engine's pod, or another one."""
        involved = pod or self.pod
        reason = "Engine" + "".join(part.capitalize() for part in kind.split("_"))
        body = decide.kubernetes_event(involved, reason, message, kind not in _NORMAL, time.time())
        try:
            self.call("POST", f"/api/v1/namespaces/{involved['namespace']}/events", body)
        except (OSError, ValueError) as error:
            log(f"no Event was written: {error}")

    def _annotations(self, node: str) -> Mapping[str, str]:
        found: Mapping[str, str] = self.call("GET", f"/api/v1/nodes/{node}")["metadata"].get("annotations") or {}
        return found

    def asked(self, node: str) -> float | None:
        """When the node's annotation asked for a checkpoint."""
        try:
            return float(self._annotations(node)["runnerfleet.dev/engine-checkpoint"])
        except (OSError, ValueError, KeyError):
            return None

    def rolling(self, node: str) -> bool:
        """Whether a roll-out has the node, or may have it for all that is known."""
        try:
            return "runnerfleet.dev/engine-rollout" in self._annotations(node)
        except (OSError, ValueError, KeyError):
            return True

    def end_clients(self, node: str) -> list[str]:
        """Delete the runner pods of this node that use this engine; returns their names."""
        namespace = self.settings.runner_namespace
        base = f"/api/v1/namespaces/{namespace}/pods"
        found = self.call("GET", f"{base}?fieldSelector={quote(f'spec.nodeName={node}')}")["items"]
        names = decide.runner_pods(found, self.settings.sockets)
        uids = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in found}
        for name in names:
            text = f"The Dagger engine of {node} has to stop and this runner's job did not end in time: it is ended, and the cache is kept"
            self.event("clients_ended", text, {"name": name, "namespace": namespace, "uid": uids[name]})
            try:
                self.call("DELETE", f"{base}/{name}", {"gracePeriodSeconds": self.settings.client_grace})
            except urllib.error.HTTPError as error:
                if error.code != 404:
                    raise
        return names


def drain(settings: Settings, store: Store, api: Api) -> int:
    """Before the engine is told to stop: wait for its clients, and after the deadline end them, never the engine."""

    def wait(seconds: float) -> bool:
        """Whether the last client is gone; an engine that does not answer has none that could be waited for."""
        end, quiet = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            quiet = quiet + 1 if not clients(engine_metrics()) else 0
            if quiet == 2:  # A probe is a client too, for a moment.
                return True
            time.sleep(1)
        return False

    if wait(settings.drain_deadline):
        return 0
    try:
        names = api.end_clients(store.node)
    except (OSError, ValueError, KeyError) as error:
        log(f"the clients could not be ended: {error}")
        return 0
    message = f"{store.node}: clients stayed for {settings.drain_deadline} s; ended {', '.join(names) or 'no runner pod'}"
    store.tell("clients_ended", message)
    wait(settings.client_grace + 30)
    return 0


class Engine:
    """The engine's process, and what is known of it while it runs."""

    def __init__(self, settings: Settings, store: Store, api: Api) -> None:
        self.settings, self.store, self.api = settings, store, api
        self.metrics: dict[str, float] = {}
        self.answers = threading.Event()
        self.stopping: float | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.door = Path(settings.sockets, "engine.sock")
        self.shut = self.door.with_suffix(".shut")

    def stop(self, _signal: int, _frame: FrameType | None) -> None:
        """SIGTERM goes on to the engine. Before there is one, preparations may be cut anywhere, and a state that was clean still is."""
        if self.process is None:
            sys.exit(0 if self.store.marker("clean") else 143)
        self.stopping = self.stopping or time.monotonic()
        with contextlib.suppress(OSError):
            self.store.drop_ballast()  # so that the engine can write down that it stopped clean
        self.process.terminate()

    def start(self) -> None:
        """Start the engine in the container's root, with its state where it wants it."""
        expected = os.stat(self.store.state)
        inside = os.path.relpath(self.store.state, self.settings.cache)
        libc = ctypes.CDLL(None, use_errno=True)

        def enter() -> None:
            die_with_parent()
            os.fchdir(CONTAINER)
            os.chroot(".")
            if libc.mount(f"{STATE}/{inside}".encode(), STATE.encode(), None, _MS_BIND, None):
                raise OSError(ctypes.get_errno(), f"mount {STATE}")
            found = os.stat(STATE)
            if (found.st_dev, found.st_ino) != (expected.st_dev, expected.st_ino):
                raise OSError(errno.ESTALE, "the pod's cache volume is not the filesystem that was proven")
            os.chdir("/")

        self.shut.unlink(missing_ok=True)
        self.store.starting()
        self.process = subprocess.Popen(list(self.settings.entrypoint), stdin=subprocess.DEVNULL, preexec_fn=enter)

    def wait(self) -> int:
        """Until the engine ends; what it orphans is reaped, since this is process 1 of the container."""
        assert self.process is not None
        while True:
            pid, status = os.waitpid(-1, 0)
            if pid == self.process.pid:
                self.process.returncode = os.waitstatus_to_exitcode(status)
                return self.process.returncode

    def entries(self) -> int:
        """Entries of the cache as last seen, -1 before."""
        return int(self.metrics.get("dagger_local_cache_entries", -1))

    def size(self) -> int:
        """Bytes of the cache as last seen, -1 before."""
        return int(self.metrics.get("dagger_local_cache_total_disk_size_bytes", -1))

    def watch(self, expected: int) -> None:
        """While the engine runs: note its first answer, what it has in its cache, and clients that keep it from stopping."""
        ended = False
        answered = 0.0
        while True:
            found = engine_metrics()
            if found is not None:
                self.metrics = found
                if not answered:
                    answered = time.monotonic()
                    self.store.answered()
                    self.answers.set()
                    log("the engine answers")
            if expected > 0 and not decide.cache_lost(expected, self.entries()):
                expected = 0  # what goes from here on, a prune or the collector of garbage takes
            if expected > 0 and answered and time.monotonic() - answered > SETTLED:
                text = f"the engine dropped its cache at the start: found {self.entries()} entries, expected {expected}"
                self.store.tell("wiped", f"{self.store.node}: {text}")
                expected = 0
            if self.stopping and not ended and time.monotonic() - self.stopping > STOP_PATIENCE and clients(found) != 0:
                ended = True
                self._end_clients()
            time.sleep(2 if self.stopping or not answered else 10)

    def _end_clients(self) -> None:
        try:
            names = self.api.end_clients(self.store.node)
            self.store.tell(
                "clients_ended", f"{self.store.node}: the engine waits for clients to leave; ended {', '.join(names) or 'none'}"
            )
        except (OSError, ValueError, KeyError) as error:
            log(f"the clients could not be ended: {error}")

    def tidy(self) -> None:
        """Delete what nothing uses, once the engine answers, and keep the disk from filling up."""
        self.answers.wait()
        while True:
            for path in self.store.leftovers():
                self.store.remove(path)
            while self.store.make_room():
                pass
            self.store.take_ballast()
            time.sleep(30)

    def rest(self) -> None:
        """Stop when nobody uses the engine and its last checkpoint is old: the container is started anew, and takes one first."""
        self.answers.wait()
        started, quiet = time.time(), 0
        while self.stopping is None:
            time.sleep(10)
            quiet = quiet + 1 if clients(engine_metrics()) == 0 else 0
            if quiet < QUIET:
                continue
            if decide.rest_due(self.store.newest(), started, time.time(), self.settings.interval, self.entries(), self.size()):
                quiet = 0
                if self.store.can_take() and not self.api.rolling(self.store.node):
                    self._stop_unused()

    def _stop_unused(self) -> None:
        """With the door shut first: a client that knocks tries again until the next engine opens, and none comes after the last look."""
        try:
            self.door.rename(self.shut)
            for _look in range(2):
                time.sleep(1)
                if clients(engine_metrics()) != 0:
                    self.shut.rename(self.door)
                    return
        except OSError as error:
            log(f"no checkpoint while idle: {error}")
            return
        log("nobody uses the engine: it is stopped for a checkpoint")
        self.stop(signal.SIGTERM, None)


def run(settings: Settings, store: Store, api: Api) -> int:
    """Prepare the state, run the engine on it, and say whether it stopped clean."""
    engine = Engine(settings, store, api)
    signal.signal(signal.SIGTERM, engine.stop)
    signal.signal(signal.SIGINT, engine.stop)
    store.prove()
    with store.locked():
        decision = store.prepare(api.asked(store.node))
        log(f"state: {decision.action}: {decision.reason}")
        before = store.fingerprint()
        marker = store.marker("clean")
        engine.start()
        _in_background(lambda: engine.watch(marker.entries if marker else 0))
        _in_background(engine.tidy)
        if settings.keep and settings.when_idle:
            _in_background(engine.rest)
        code = engine.wait()
        if code == 0:
            store.stopped(engine.entries(), engine.size())
            log("the engine stopped clean")
        elif not engine.answers.is_set() and before == store.fingerprint():
            store.untouched()
            log(f"the engine ended with {code} before it wrote to its state, which stays as it is")
        else:
            log(f"the engine ended with {code}, not clean: the next start restores a checkpoint, or begins with an empty cache")
        return 128 - code if code < 0 else code


def _in_background(work: Callable[[], None]) -> None:
    threading.Thread(target=work, daemon=True).start()


def serve(settings: Settings, store: Store) -> int:
    """Metrics and the whole story over HTTP, until the pod ends."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    labels = {"node": store.node, "version": settings.version, "instance": str(settings.instance)}

    class Handler(BaseHTTPRequestHandler):
        """Two pages, read afresh each time."""

        def do_GET(self) -> None:
            marker, clean = store.marker("running"), store.marker("clean")
            checkpoints, events = store.found(), store.events()
            if self.path == "/metrics":
                kind, text = "text/plain; version=0.0.4", decide.exposition(labels, clean or marker, checkpoints, events, store.usage())
            else:
                kind, text = "application/json", json.dumps({**labels, **decide.describe(clean, marker, checkpoints, events)})
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_arguments: Any) -> None:
            """Nothing: each scrape would be a line."""

    ThreadingHTTPServer(("", PORT), Handler).serve_forever()
    return 0


def main() -> int:
    """Entry point."""
    settings = decide.parse(Settings, Path(__file__).with_name("settings.json").read_text(encoding="utf-8"))
    if settings is None:
        raise SystemExit("engine-state: settings.json could not be understood")
    store = Store(settings, os.environ.get("NODE_NAME", "this node"))
    api = Api(settings)
    store.listeners.append(lambda _kind, message: log(message))
    store.listeners.append(api.event)
    try:
        if sys.argv[1:] == ["run"]:
            return run(settings, store, api)
        return drain(settings, store, api) if sys.argv[1:] == ["drain"] else serve(settings, store)
    except StateError as error:
        log(str(error))
        api.event("refused", str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main())
