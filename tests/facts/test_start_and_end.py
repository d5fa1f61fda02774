"""What is persisted, what marks it clean, and what a signal at the wrong moment costs. Each was measured on v0.21.8."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from tests.facts.conftest import PATIENCE
from tests.facts.engines import Client, Process, wait_for

NEEDS = ("process",)
EVERY = {"_EXPERIMENTAL_DAGGER_METRICS_CACHE_UPDATE_INTERVAL": "200ms"}
ENTRIES = "dagger_local_cache_entries"
CLIENTS = "dagger_connected_clients"
Words = Callable[..., tuple[str, ...]]


@pytest.fixture
def attached(engine: Process, client: Client, pipeline: Words) -> Iterator[subprocess.Popen[str]]:
    """A client whose step runs."""
    engine.start()
    process = client.start(*pipeline("sleep"))
    try:
        wait_for("its step", lambda: bool(re.search(r"\| \d{15,}", client.progress())))
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.fact("dagql/cache.go: Close persists the results, then marks them", needs=NEEDS)
def test_a_clean_stop_is_marked_in_the_database(engine: Process, client: Client, pipeline: Words) -> None:
    engine.start()
    assert engine.meta("clean_shutdown") == "0"
    client.run(*pipeline())
    assert engine.stop() == 0
    assert (engine.meta("clean_shutdown"), engine.meta("schema_version")) == ("1", "16")
    assert engine.results() > 4000
    assert "starting dagql cache close" in engine.log


@pytest.mark.fact("dagql/cache.go: what is not marked is wiped, and the log says so", needs=NEEDS)
def test_what_is_not_marked_is_dropped_and_logged(engine: Process, client: Client, pipeline: Words) -> None:
    engine.start()
    first = client.run(*pipeline())[1]
    engine.stop()
    engine.set_meta("clean_shutdown", "0")
    engine.start()
    assert client.run(*pipeline())[1] != first
    assert "dagql persistence store marked unclean; wiping and cold-starting" in engine.log
    assert "local cache state invalid; resetting worker and dagql persistence state" in engine.log


@pytest.mark.fact("dagql/cache.go: NewCache runs under the context that SIGTERM cancels", needs=NEEDS)
def test_a_stop_while_it_starts_costs_the_cache(engine: Process, client: Client, pipeline: Words) -> None:
    engine.start()
    first = client.run(*pipeline())[1]
    engine.stop()
    for pause in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8):
        engine.launch()
        time.sleep(pause)
        engine.signal(signal.SIGTERM)
        if engine.ended() == 1:
            break
    assert "local cache state still invalid after reset (dagql_open_failed)" in engine.log
    assert engine.results() == 0
    engine.start()
    assert client.run(*pipeline())[1] != first


@pytest.mark.fact("cmd/engine/main.go: got 3 SIGTERM/SIGINTs, forcing shutdown", needs=NEEDS)
def test_the_third_signal_forces_it_out(attached: subprocess.Popen[str], engine: Process) -> None:
    for _time in range(3):
        engine.signal(signal.SIGTERM)
        time.sleep(0.5)
    assert engine.ended() != 0
    assert "got 3 SIGTERM/SIGINTs, forcing shutdown" in engine.log
    assert engine.meta("clean_shutdown") == "0"


@pytest.mark.fact("engine/server/session.go: sessions are removed at once", needs=NEEDS)
def test_a_client_that_keeps_it_from_stopping_is_not_on_the_gauge(
    attached: subprocess.Popen[str], engine: Process
) -> None:
    assert engine.metrics()[CLIENTS] == 1
    engine.signal(signal.SIGTERM)
    wait_for("the gauge to fall", lambda: engine.metrics()[CLIENTS] == 0, 5)
    time.sleep(PATIENCE)
    assert engine.process and engine.process.poll() is None and engine.metrics()[CLIENTS] == 0
    assert "starting dagql cache close" not in engine.log
    attached.kill()
    assert engine.ended() == 0
    assert engine.meta("clean_shutdown") == "1"


@pytest.mark.fact("engine/client/client.go: Close waits; seen for 33 minutes", needs=NEEDS)
def test_a_client_whose_engine_is_killed_hangs(
    attached: subprocess.Popen[str], engine: Process, client: Client
) -> None:
    engine.kill()
    wait_for("its complaint", lambda: "unexpected EOF" in client.progress())
    time.sleep(PATIENCE)
    assert attached.poll() is None


@pytest.mark.fact("cmd/engine/metrics.go: entries are those of the schema, too", needs=NEEDS)
def test_entries_are_mostly_not_of_steps(engine: Process, client: Client, pipeline: Words) -> None:
    engine.start(environment=EVERY)
    wait_for("the session of the start to go", lambda: 4000 < engine.metrics()[ENTRIES] < 5000)
    base = engine.metrics()[ENTRIES]
    attached = client.start(*pipeline("sleep"))
    wait_for("the session's own", lambda: engine.metrics()[ENTRIES] > base + 2000)
    attached.kill()
    attached.wait()
    wait_for("them to go", lambda: engine.metrics()[ENTRIES] < base + 100)
    engine.stop()
    engine.start(environment=EVERY)
    wait_for("the session of the start to go", lambda: 4000 < engine.metrics()[ENTRIES] < base + 100)


@pytest.mark.fact("engine/server/server.go: errors of the cache's close are dropped", needs=NEEDS)
def test_a_stop_on_a_full_disk_ends_with_0_and_is_not_marked(engine: Process, client: Client) -> None:
    """The state lies on a filesystem of its own, which is filled up while the engine runs."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(engine.state)], check=True)
    try:
        engine.start()
        subprocess.run(["dd", "if=/dev/zero", f"of={engine.state}/filler", "bs=4k"], check=False, capture_output=True)
        assert engine.stop() == 0
        assert "dagql cache close exiting with error" in engine.log
        (engine.state / "filler").unlink()
        assert engine.meta("clean_shutdown") == "0"
    finally:
        engine.close()
        subprocess.run(["umount", "--lazy", str(engine.state)], check=False)
