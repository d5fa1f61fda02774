# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What acts beside an engine: `run` starts it on a state that it keeps, `drain` waits for its clients, `serve` says how
it went.

It runs in the engine's pod, chrooted to the host, whose Python and filesystem it uses. Descriptor 3 is the root of the
container.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import http.client
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import quote

import engine_clients
import engine_identity
import engine_policy
from checkpoint_store import StateError, Store, die_with_parent
from engine_canary import Canary
from engine_policy import Marker, Requests, Settings

CONTAINER = 3  # the descriptor of the container's root
CONFIG = "/etc/dagger/engine.json"  # where the engine reads it
STATE = "/var/lib/dagger"  # where the engine wants its state; the pod mounts the cache directory there
METRICS = "http://127.0.0.1:9090/metrics"
PORT = 9091
CLIENTS = 16  # that are answered at a time
PATIENCE = 5  # seconds that a client may take for each piece of what it asks and reads
LONGEST = 15  # and for all of it
QUIET = 6  # looks in a row, ten seconds apart, without a client before an engine counts as idle
# looks that it is waited for at first, since a job begins less often in a calm of ten minutes than in one of one
CALM = 60
AGAIN = (
    3,
    4,
    3,
)  # seconds between looks at an engine with clients: the kubelet's probe is one for a second or two, eight at the first
# Seconds that an engine which starts is waited for when it is to stop, and then until it is looked at again. Most
# answer within half a minute; one that reads in a large cache, or deletes it, may take half an hour.
HOLD = 120
STOP_PATIENCE = 60  # seconds after SIGTERM until clients that stay attached are ended
SETTLED = 90  # seconds after the first answer until the size of the cache is believed: it is counted once a minute
SILENCE = 60  # seconds that an engine which answered may be silent before an Event says so
CANARY_SECONDS = 60  # for the canary step after a start
LAST_CANARY_SECONDS = 15  # and before a stop, which waits for it
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
            return engine_policy.parse_metrics(answer.read().decode())
    except (OSError, ValueError, http.client.HTTPException):
        return None


def clients(metrics: Mapping[str, float] | None) -> int | None:
    """How many clients are connected; None when the engine does not say."""
    return None if metrics is None else int(metrics.get("dagger_connected_clients", 0))


def listens(path: Path) -> bool:
    """Whether the engine's socket takes a connection: it does once the engine has read its cache in. A connection alone
    is no session.
    """
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


class Api:
    """The few calls to the cluster's API that an engine's pod makes. Each is a best effort: an engine starts and stops
    without them.

    The pod has no account. It acts as its node's kubelet, who may read its own Node, list and delete the pods there,
    and write Events.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.pod = {
            "name": os.environ.get("POD_NAME", ""),
            "namespace": settings.namespace,
            "uid": os.environ.get("POD_UID", ""),
        }
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        self.server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"

    def call(self, method: str, path: str, body: Any = None, timeout: float = 5) -> Any:
        """One call; an OSError where it fails, a ValueError where the kubelet's kubeconfig or the answer is none."""
        context = engine_identity.tls(self.settings.kubeconfig)
        request = urllib.request.Request(self.server + path, json.dumps(body).encode() if body else None, method=method)
        request.add_header("Content-Type", "application/json")
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        with opener.open(request, timeout=timeout) as answer:
            return json.load(answer)

    def event(self, kind: str, message: str, pod: Mapping[str, str] | None = None) -> None:
        """An Event about the engine's pod, or another one."""
        involved = pod or self.pod
        reason = "Engine" + "".join(part.capitalize() for part in kind.split("_"))
        body = engine_policy.kubernetes_event(involved, reason, message, kind not in _NORMAL, time.time())
        try:
            self.call("POST", f"/api/v1/namespaces/{involved['namespace']}/events", body)
        except (OSError, ValueError) as error:
            log(f"no Event was written: {error}")

    def _annotations(self, node: str) -> Mapping[str, str]:
        found: Mapping[str, str] = self.call("GET", f"/api/v1/nodes/{node}")["metadata"].get("annotations") or {}
        return found

    def requests(self, node: str) -> Requests:
        """What the node's annotations ask for; nothing where they cannot be read."""
        try:
            return engine_policy.read_requests(self._annotations(node))
        except (OSError, ValueError, KeyError) as error:
            log(f"the annotations of {node} could not be read: {error}")
            return Requests()

    def rolling(self, node: str) -> bool:
        """Whether a roll-out has the node, or may have it for all that is known."""
        try:
            return "runnerfleet.dev/engine-rollout" in self._annotations(node)
        except (OSError, ValueError, KeyError):
            return True

    def runner_pods(self, node: str) -> list[Mapping[str, Any]]:
        """The runner pods of this node that use this engine."""
        path = (
            f"/api/v1/namespaces/{self.settings.runner_namespace}/pods?fieldSelector={quote(f'spec.nodeName={node}')}"
        )
        return engine_policy.runner_pods(self.call("GET", path)["items"], self.settings.sockets)

    def expects_job(self, node: str, at_work: Collection[str]) -> bool:
        """Whether a runner of this engine has a job or is on its way to its first one, or may be for all that is known.

        `at_work`: the uids of pods whose runner has one.
        """
        try:
            return any(
                engine_policy.being_prepared(pod) or pod["metadata"]["uid"] in at_work for pod in self.runner_pods(node)
            )
        except (OSError, ValueError, KeyError):
            return True

    def end_clients(self, node: str, kind: str, why: str, only: Collection[str] | None = None) -> list[str]:
        """Delete the runner pods of this node that use this engine, or of these the ones with the uids of `only`;
        returns their names.
        """
        namespace, names = self.settings.runner_namespace, []
        for pod in self.runner_pods(node):
            name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
            if only is not None and uid not in only:
                continue
            self.event(kind, why, {"name": name, "namespace": namespace, "uid": uid})
            try:
                self.call(
                    "DELETE",
                    f"/api/v1/namespaces/{namespace}/pods/{name}",
                    {"gracePeriodSeconds": self.settings.client_grace},
                )
            except urllib.error.HTTPError as error:
                if error.code != 404:
                    raise
            names.append(name)
        return names


def end_clients(store: Store, api: Api, why: str, only: Collection[str] | None = None) -> None:
    """End the jobs that keep an engine from stopping, for the sake of its cache."""
    text = (
        f"The Dagger engine of {store.node} has to stop and this runner's job did not end in time: it is ended, "
        "and the cache is kept"
    )
    try:
        names = api.end_clients(store.node, "clients_ended", text, only)
    except (OSError, ValueError, KeyError) as error:
        log(f"the clients could not be ended: {error}")
        return
    store.record_event("clients_ended", f"{store.node}: {why}; ended {', '.join(names) or 'no runner pod'}")


def end_stranded(store: Store, api: Api, died: float) -> None:
    """End the jobs whose engine died under them: their clients would wait without end. One that came later waits for
    the next engine.
    """
    text = (
        f"The Dagger engine of {store.node} died under this runner's job, whose client would wait without end: the "
        "runner is ended"
    )
    try:
        pods = [uid for uid, started in engine_clients.oldest_by_pod().items() if started < died]
        names = api.end_clients(store.node, "clients_stranded", text, pods) if pods else []
    except (OSError, ValueError, KeyError) as error:
        log(f"clients of the engine that died could not be ended: {error}")
        return
    if names:
        store.record_event(
            "clients_stranded", f"{store.node}: the engine died under {', '.join(names)}, which were ended"
        )


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
    end_clients(store, api, f"clients stayed for {settings.drain_deadline} s")
    wait(settings.client_grace + 30)
    return 0


class Engine:
    """The engine's process, and what is known of it while it runs."""

    def __init__(self, settings: Settings, store: Store, api: Api) -> None:
        self.settings, self.store, self.api = settings, store, api
        self.canary = Canary(CONTAINER)
        self.metrics: dict[str, float] = {}
        self.answers = threading.Event()
        self.heard = 0.0  # when it last answered, once it has; by the monotonic clock
        self.silent = False  # and that was told
        self.stopping = threading.Event()
        self.closing = threading.Event()  # it has begun to write its cache down
        self.complained = False  # of what it could not write down
        self.dropping = False  # the cache that it found, at this start
        self.lost = False  # its cache, at this start, and that was told
        self.had_cache = False  # before it started
        self.ended_early = False  # by us, before it had answered
        self.used = False  # by a client that is no probe
        self.confirmed = ""  # the canary as it was right before the stop
        self.process: subprocess.Popen[bytes] | None = None
        self.reading: threading.Thread | None = None
        self.socket = Path(settings.sockets, "engine.sock")
        self.closed_socket = self.socket.with_suffix(".shut")

    def on_signal(self, _signal: int, _frame: FrameType | None) -> None:
        """SIGTERM. Before there is an engine, preparations may be cut anywhere, and a state that was clean still is."""
        if self.process is None:
            sys.exit(0 if self.store.marker("clean") else 143)
        self.stopping.set()

    def start(self, known: Marker | None) -> None:
        """Start the engine in the container's root, with its state where it wants it."""
        expected = os.stat(self.store.state)
        inside = os.path.relpath(self.store.state, self.settings.cache)
        libc = ctypes.CDLL(None, use_errno=True)
        config = self.config()

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
            os.makedirs(os.path.dirname(CONFIG), exist_ok=True)
            Path(CONFIG).write_text(config, encoding="utf-8")

        self.closed_socket.unlink(missing_ok=True)
        self.store.starting()
        self.process = subprocess.Popen(
            list(self.settings.entrypoint), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=enter
        )
        self.had_cache = known is not None and known.origin not in ("fresh", "cold")
        self.reading = _in_background(self.read_log)
        _in_background(self.stop_when_told)
        _in_background(self.watch)
        _in_background(lambda: self.prove_cache(known.canary if known else ""))
        _in_background(self.collect_garbage)
        if self.settings.keep and self.settings.when_idle:
            _in_background(self.notice_use)
            _in_background(self.checkpoint_when_idle)

    def config(self) -> str:
        """What engine.json says on this node, whose cache filesystem has a size of its own."""
        wanted = json.loads(Path(__file__).with_name("engine.json").read_text(encoding="utf-8"))
        return json.dumps(engine_policy.exact_config(wanted, self.store.usage()[0]), indent=2, sort_keys=True)

    def wait(self) -> int:
        """Until the engine ends; what it orphans is reaped, since this is process 1 of the container."""
        assert self.process is not None
        while True:
            pid, status = os.waitpid(-1, 0)
            if pid == self.process.pid:
                self.process.returncode = os.waitstatus_to_exitcode(status)
                if self.reading:
                    self.reading.join(5)  # what it said last
                return self.process.returncode

    def size(self) -> int:
        """Bytes of the cache as last counted, -1 before."""
        return int(self.metrics.get("dagger_local_cache_total_disk_size_bytes", -1))

    def read_log(self) -> None:
        """Pass on what the engine says, and hear what it says of its cache."""
        assert self.process is not None and self.process.stderr is not None
        for line in self.process.stderr:
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.buffer.write(line)
                sys.stderr.buffer.flush()
            text = line.decode(errors="replace")
            if any(part in text for part in engine_policy.DROPPED):
                self.dropping = True
                if self.had_cache:
                    self._tell_lost("the engine dropped its cache at the start, its log says why")
            if engine_policy.CLOSING in text:
                self.closing.set()
            if any(part in text for part in engine_policy.NOT_PERSISTED):
                self.complained = True

    def _tell_lost(self, reason: str) -> None:
        if not self.lost:
            self.lost = True
            self.store.record_event("wiped", f"{self.store.node}: {reason}")

    def stop_when_told(self) -> None:
        """The stop of an engine. It gets one SIGTERM, and none while it starts: that costs its cache, as the third one
        does at any time.
        """
        self.stopping.wait()
        if not self._outlast_start():
            return
        try:
            self._confirm_canary()
        except Exception as error:  # whatever it is, the engine is to get its signal
            log(f"the canary step before the stop failed: {type(error).__name__}: {error}")
        with contextlib.suppress(OSError):
            self.store.drop_ballast()  # so that the engine can write down that it stopped clean
        assert self.process is not None
        self.process.terminate()
        # From here on its gauge of clients says 0, whoever goes on holding it.
        if not self.closing.wait(STOP_PATIENCE):
            why = f"clients hold the engine {STOP_PATIENCE} s after it was told to stop"
            end_clients(
                self.store, self.api, why, self._client_pods() or None
            )  # all that mount its socket where none is seen

    def _outlast_start(self) -> bool:
        """Wait for the first answer of an engine that is to stop; False where it was ended instead, since that costs
        nothing.
        """
        if self.answers.is_set():
            return True
        log("the engine is told to stop once it answers")
        for waited in itertools.count(1):
            if self.answers.wait(1):
                return True
            if self.dropping:
                return self._end_early("it deletes the cache that it has dropped")
            if waited % HOLD:
                continue
            if not self.had_cache:
                return self._end_early(f"it did not answer for {waited} s, and had no cache when it started")
            if self._end_before_it_begins():
                return self._end_early(
                    f"it did not answer for {waited} s and was still reading its cache in, which is as it was"
                )
            if waited == HOLD:
                why = (
                    f"the engine is to stop and has not answered for {waited} s; an end now would cost its cache, "
                    "so it is waited for"
                )
                self.store.record_event(
                    "stop_held", f"{self.store.node}: {why}, until the grace period of its pod is over"
                )
        raise AssertionError

    def _end_early(self, why: str) -> bool:
        assert self.process is not None
        self.ended_early = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGKILL)
        self.store.record_event(
            "start_ended", f"{self.store.node}: the engine was to stop while it started, and was ended: {why}"
        )
        return False

    def _end_before_it_begins(self) -> bool:
        """End an engine whose database has its mark still, which goes when all is read in. It is frozen for the look,
        as that is then.
        """
        assert self.process is not None
        pid = self.process.pid
        try:
            os.kill(pid, signal.SIGSTOP)
            state = os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            if state is None or state.si_code != os.CLD_STOPPED:
                return False
            persisted = self.store.persisted()
            if persisted is None or not persisted.clean:
                return False
            os.kill(pid, signal.SIGKILL)
            return True
        except OSError:
            return False  # it has just ended
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _client_pods(self) -> set[str]:
        """The uids of the pods in which clients run, whichever engine of the node is theirs."""
        with contextlib.suppress(OSError):
            return set(engine_clients.oldest_by_pod())
        return set()

    def watch(self) -> None:
        """While the engine runs: note its first answer, until when it answered, and its size."""
        while True:
            found = engine_metrics()
            if found is not None:
                self.metrics = found
                if self.answers.is_set():
                    self.store.alive()
                elif listens(self.socket):
                    self.answers.set()  # first of all: a stop waits for it
                    self.heard = time.monotonic()
                    log("the engine answers")
                    try:
                        self.store.note(answered=True)
                    except OSError as error:
                        log(f"that the engine answers could not be noted: {error}")
            if self.answers.is_set():
                self.notice_silence(found is not None)
            time.sleep(10 if self.answers.is_set() else 0.5)

    def notice_silence(self, has_metrics: bool) -> None:
        """Tell once of an engine that goes on and answers no more, unless it is stopping, and when it answers again."""
        takes_clients = listens(self.socket)
        now = time.monotonic()
        if has_metrics and takes_clients:
            self.heard = now
            if self.silent:
                self.silent = False
                log("the engine answers again")
        elif not self.silent and not self.stopping.is_set() and now - self.heard >= SILENCE:
            self.silent = True
            found = "its metrics do not answer" if takes_clients else f"{self.socket} takes no connection"
            self.store.record_event(
                "not_answering",
                f"{self.store.node}: the engine {self.settings.version} has not answered for {now - self.heard:.0f} "
                f"seconds: {found}. Runners that start here do not register, so they get no job",
            )

    def prove_cache(self, known: str) -> None:
        """Run the canary step: one that was cached before the stop is cached now, or the cache is gone."""
        self.answers.wait()
        nonce = self.canary.nonce(known)
        answer = next(filter(None, (self.canary.answer(nonce, CANARY_SECONDS) for _try in range(3))), "")
        if not answer:
            log("the canary step did not answer: nothing proves that the cache was kept")
            return
        canary, cached = engine_policy.judge_canary(known if known.startswith(nonce) else "", nonce, answer)
        if cached == 0:
            self._tell_lost(
                "the canary step, which was cached before the stop, had to run anew: the engine has lost its cache"
            )
        self.store.note(canary=canary, cached=cached)

    def _confirm_canary(self) -> None:
        """Right before the stop: the collector of garbage may have taken the step, which then runs again and is cached
        anew.
        """
        if not self.socket.exists():
            return  # it was confirmed before the door was shut
        running = self.store.marker("running")
        nonce = self.canary.nonce(running.canary if running else "")
        answer = self.canary.answer(nonce, LAST_CANARY_SECONDS)
        self.confirmed = f"{nonce} {answer}" if answer else ""

    def collect_garbage(self) -> None:
        """Delete what nothing uses, once the engine answers, and keep the disk from filling up."""
        self.answers.wait()
        while True:
            for path in self.store.leftovers():
                self.store.remove(path)
            while self.store.make_room():
                pass
            self.store.take_ballast()
            time.sleep(30)

    def notice_use(self) -> None:
        """Until there was a client: a build may be over between two looks at an idle engine."""
        while not self.used:
            self.used = bool(self._client_pods())
            time.sleep(1)

    def checkpoint_when_idle(self) -> None:
        """Stop when nobody uses the engine and its last checkpoint is old: the container is started anew, and takes one
        first.
        """
        self.answers.wait()
        began, started, quiet, size = time.monotonic(), time.time(), 0, -1
        while not self.stopping.is_set():
            time.sleep(10)
            quiet = quiet + 1 if self.unused() else 0
            if time.monotonic() - began > SETTLED:
                size = self.size() if size < 0 else size
                self.used = self.used or self.size() != size
            if quiet < QUIET:
                continue
            if engine_policy.rest_due(
                self.store.newest(), started, time.time(), self.settings.interval, self.used, quiet >= CALM
            ):
                quiet -= QUIET  # where it comes to nothing, as when a probe came between, again after as many looks
                node, at_work = self.store.node, engine_clients.at_work()
                if self.store.can_take() and not self.api.rolling(node) and not self.api.expects_job(node, at_work):
                    self._stop_unused(at_work)

    def unused(self) -> bool:
        """Whether nobody uses the engine. Who is connected is looked at again, since the kubelet's probes are clients
        too, for a moment.
        """
        for pause in (*AGAIN, 0):
            if clients(engine_metrics()) == 0:
                break
            time.sleep(pause)
        else:
            self.used = True
            return False
        if self._client_pods():
            self.used = True
            return False
        return True

    def _stop_unused(self, at_work: Collection[str]) -> None:
        """With the door shut first: a client that knocks tries again until the next engine opens, and none comes after
        the last look.

        `at_work`: pods that have a job, of other engines. A job that has begun since then is a reason to open again.
        """
        self._confirm_canary()
        try:
            self.socket.rename(self.closed_socket)
            for _look in range(2):
                time.sleep(1)
                if clients(engine_metrics()) != 0 or engine_clients.at_work() - set(at_work):
                    self.closed_socket.rename(self.socket)
                    return
        except OSError as error:
            log(f"no checkpoint while idle: {error}")
            return
        log("nobody uses the engine: it is stopped for a checkpoint")
        self.stopping.set()


def run(settings: Settings, store: Store, api: Api) -> int:
    """Prepare the state, run the engine on it, and say whether it stopped clean."""
    engine = Engine(settings, store, api)
    signal.signal(signal.SIGTERM, engine.on_signal)
    signal.signal(signal.SIGINT, engine.on_signal)
    store.prove()
    with store.locked():
        died = store.last_alive()
        decision = store.prepare(api.requests(store.node))
        log(f"state: {decision.action}: {decision.reason}")
        if decision.missed and died:
            _in_background(lambda: end_stranded(store, api, died))
        before = store.fingerprint()
        engine.start(store.marker("clean"))
        code = engine.wait()
        store.alive()
        persisted = store.persisted()
        if engine_policy.stopped_clean(code, persisted, engine.complained):
            store.stopped(engine.size(), persisted, engine.confirmed)
            log("the engine stopped clean")
        elif engine.ended_early and engine.had_cache and persisted and persisted.clean:
            store.mark_unwritten()
            log("the engine was ended before it had read its cache in, which stays as it is")
        elif not engine.answers.is_set() and before == store.fingerprint():
            store.mark_unwritten()
            log(f"the engine ended with {code} before it wrote to its state, which stays as it is")
        else:
            log(
                f"the engine ended with {code}, not clean: the next start restores a checkpoint, or begins with an "
                "empty cache"
            )
        return 128 - code if code < 0 else code


def _in_background(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


class Server(ThreadingHTTPServer):
    """Answers a few at a time, each for a few seconds: who only holds connections costs others a scrape, and never this
    pod.
    """

    room = threading.BoundedSemaphore(CLIENTS)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Turn away who comes when all places are taken."""
        if not self.room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread was made that would leave
            self.room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and leave. A client that sends a byte now and then ends as well, which the time of one read does not
        see to.
        """
        end = threading.Timer(LONGEST, _hang_up, [request])
        end.daemon = True
        end.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self.room.release()


def _hang_up(request: Any) -> None:
    with contextlib.suppress(OSError):  # it went meanwhile
        request.shutdown(socket.SHUT_RDWR)


def serve(settings: Settings, store: Store) -> int:
    """Metrics and the whole story over HTTP, until the pod ends."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    labels = {"node": store.node, "version": settings.version}

    def answers() -> bool:
        return engine_metrics() is not None and listens(Path(settings.sockets, "engine.sock"))

    class Handler(BaseHTTPRequestHandler):
        """Two pages, read afresh each time."""

        timeout = PATIENCE

        def do_GET(self) -> None:
            marker, clean = store.marker("running"), store.marker("clean")
            checkpoints, events = store.list_checkpoints(), store.events()
            if self.path == "/metrics":
                kind, text = (
                    "text/plain; version=0.0.4",
                    engine_policy.exposition(labels, clean or marker, checkpoints, events, store.usage(), answers()),
                )
            else:
                kind, text = (
                    "application/json",
                    json.dumps({**labels, **engine_policy.describe(clean, marker, checkpoints, events)}),
                )
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_arguments: Any) -> None:
            """Nothing: each scrape would be a line."""

    Server(("", PORT), Handler).serve_forever()
    return 0


def main() -> int:
    """Entry point."""
    settings = engine_policy.parse(Settings, Path(__file__).with_name("settings.json").read_text(encoding="utf-8"))
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
