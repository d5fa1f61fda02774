"""What a SIGTERM does while a client is attached: the reason why runners go before their engine."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from tests.facts.conftest import PATIENCE
from tests.facts.engines import Client, Process, wait_for

NEEDS = ("process",)
Words = Callable[..., tuple[str, ...]]


@pytest.fixture
def attached(engine: Process, client: Client, pipeline: Words) -> subprocess.Popen[str]:
    """A client whose step runs on an engine that has just been told to stop. A step of the same engine was cached
    before.
    """
    engine.start()
    assert client.run(*pipeline())[0] == 0
    process = client.start(*pipeline("sleep"))
    wait_for("its step", lambda: bool(re.search(r"\| \d{15,}", client.progress())))
    engine.signal(signal.SIGTERM)
    return process


@pytest.fixture
def other(client: Client, engine: Process) -> Client:
    """A second client, which does not write over the progress of the first."""
    return Client(client.program, client.host, engine.client.home)


@pytest.mark.fact("engine/server/server.go:661 and engine/server/session.go:1158", needs=NEEDS)
def test_the_client_is_told(attached: subprocess.Popen[str], client: Client) -> None:
    wait_for("the news", lambda: "engine is shutting down" in client.progress())
    attached.kill()


@pytest.mark.fact("cmd/engine/main.go:485: Shutdown without a deadline", needs=NEEDS)
def test_neither_leaves_by_itself(attached: subprocess.Popen[str], engine: Process) -> None:
    time.sleep(PATIENCE)
    assert engine.process and engine.process.poll() is None, "the engine did not wait"
    assert attached.poll() is None, "the client did not stay"
    attached.kill()


@pytest.mark.fact("cmd/engine/main.go:485: Shutdown closes the listeners first", needs=NEEDS)
def test_no_one_else_gets_in(attached: subprocess.Popen[str], client: Client, other: Client, pipeline: Words) -> None:
    """Who knocks goes on knocking, or is refused."""
    wait_for("the news", lambda: "engine is shutting down" in client.progress())
    try:
        code, _output = other.run(*pipeline("env"), seconds=PATIENCE)
    except subprocess.TimeoutExpired:
        code = 1
    attached.kill()
    assert code != 0


@pytest.mark.fact(
    "cmd/engine/main.go:490, tried on v0.21.8: the client was ended, and the engine stopped clean", needs=NEEDS
)
def test_once_the_client_is_ended_the_stop_is_clean(
    attached: subprocess.Popen[str], engine: Process, client: Client, other: Client, pipeline: Words
) -> None:
    attached.kill()
    assert engine.ended() == 0
    engine.start()
    other.run(*pipeline())
    assert "CACHED" in other.progress().split("withExec", 1)[1]


@pytest.mark.fact(
    "dagql/cache.go:3051 comes last, tried on v0.21.8: killed after 420 seconds, and the cache was gone", needs=NEEDS
)
def test_an_engine_that_is_killed_while_it_waits_drops_its_cache(
    attached: subprocess.Popen[str], engine: Process, other: Client, pipeline: Words
) -> None:
    engine.kill()
    attached.kill()
    engine.start()
    other.run(*pipeline())
    assert "CACHED" not in other.progress().split("withExec", 1)[1]
