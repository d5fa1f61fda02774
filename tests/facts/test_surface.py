"""What an engine shows to the outside: sockets, lock, versions, metrics."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.facts.conftest import PATIENCE
from tests.facts.engines import Client, Process, wait_for

GAUGES = {
    "dagger_connected_clients",
    "dagger_dagql_cache_entries",
    "dagger_local_cache_total_disk_size_bytes",
    "dagger_local_cache_entries",
    "dagger_local_cache_corrupt_db_reset",
}
EVERY = "_EXPERIMENTAL_DAGGER_METRICS_CACHE_UPDATE_INTERVAL"
Words = Callable[..., tuple[str, ...]]


@pytest.mark.fact("core/schema/query.go: version; the probe of Dagger's own chart")
def test_a_client_gets_the_version(engine: Any, client: Client) -> None:
    engine.start()
    code, version = client.run("core", "version")
    assert code == 0
    assert version.strip().startswith("v")


@pytest.mark.fact("cmd/engine/config.go:46", needs=("process",))
def test_it_always_listens_on_its_socket(engine: Process, client: Client) -> None:
    engine.start("--addr", "tcp://127.0.0.1:0")
    assert stat.S_ISSOCK(engine.socket.stat().st_mode)
    assert client.run("core", "version")[0] == 0


@pytest.mark.fact("cmd/engine/main.go:675 to :682 and :835", needs=("process",))
def test_the_socket_belongs_to_root_and_the_group_of_the_process(engine: Process) -> None:
    engine.start()
    found = engine.socket.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (0, 1001, 0o660)


@pytest.mark.fact("cmd/engine/main.go:835", needs=("process",))
def test_a_start_makes_a_new_socket(engine: Process, client: Client) -> None:
    """So whoever mounts the file, and not its directory, is left with a dead one."""
    engine.start()
    old = engine.run / "old.sock"
    os.link(engine.socket, old)
    engine.stop()
    engine.start()
    assert not engine.socket.samefile(old)


@pytest.mark.fact("cmd/engine/main.go:455 to :463", needs=("process",))
def test_a_state_directory_has_one_engine(engine: Process, make_engine: Callable[[str], Process]) -> None:
    engine.start()
    assert (engine.state / "dagger-engine.lock").exists()
    second = make_engine("second")
    os.link(engine.state / "dagger-engine.lock", second.state / "dagger-engine.lock")
    second.start(answers=False)
    assert "could not lock" in second.log


@pytest.mark.fact("seen of v0.21.8: a bridge, and thousands of lines of iptables", needs=("process",))
def test_it_makes_a_bridge_in_the_network_that_it_runs_in(engine: Process) -> None:
    """It leaves it there, so it has a network of its own here: what is seen of it in this machine's fails the run."""
    engine.start()
    assert "dagger0" in engine.inside("ip", "-o", "link")
    engine.stop()


@pytest.mark.fact("engine/server/session.go:1044 and engine/version.go:36", needs=("old client",))
def test_a_client_that_is_too_old_is_refused(engine: Any, client: Client, old_client: Path, pipeline: Words) -> None:
    engine.start()
    older = Client(old_client, client.host, client.home)
    code, _output = older.run(*pipeline())
    assert code != 0
    assert "incompatible client version" in older.progress()


@pytest.mark.fact("engine/client/buildkit.go:26 and :41", needs=("process",))
def test_a_client_waits_for_its_engine(engine: Process, client: Client, pipeline: Words) -> None:
    """For up to ten minutes: a job beside a dead engine hangs rather than fails."""
    waiting = client.start(*pipeline())
    time.sleep(PATIENCE)
    assert waiting.poll() is None
    engine.start()
    assert waiting.wait(60) == 0


@pytest.mark.fact("cmd/engine/metrics.go:17 to :41", needs=("metrics",))
def test_it_has_five_gauges(engine: Any) -> None:
    engine.start()
    assert set(engine.metrics()) >= GAUGES


@pytest.mark.fact("cmd/engine/metrics.go:98 and engine/server/server.go:899", needs=("process",))
def test_clients_are_counted_at_once(engine: Process, client: Client, pipeline: Words) -> None:
    engine.start()
    attached = client.start(*pipeline("sleep"))
    wait_for("the client", lambda: engine.metrics()["dagger_connected_clients"] == 1)
    attached.kill()
    wait_for("its end", lambda: engine.metrics()["dagger_connected_clients"] == 0)
    attached.communicate()


@pytest.mark.fact("cmd/engine/metrics.go:66 to :96", needs=("process",))
@pytest.mark.parametrize("interval", ["1h", "soon"], ids=["longer than the test", "nonsense means five minutes"])
def test_sizes_are_as_old_as_the_interval(engine: Process, client: Client, pipeline: Words, interval: str) -> None:
    engine.start(environment={EVERY: interval})
    before = engine.metrics()["dagger_local_cache_entries"]
    assert client.run(*pipeline("device"))[0] == 0
    assert engine.metrics()["dagger_local_cache_entries"] == before


@pytest.mark.fact("cmd/engine/metrics.go:72", needs=("process",))
def test_sizes_follow_a_shorter_interval(engine: Process, client: Client, pipeline: Words) -> None:
    engine.start(environment={EVERY: "200ms"})
    before = engine.metrics()["dagger_local_cache_total_disk_size_bytes"]
    assert client.run(*pipeline("device"))[0] == 0
    wait_for("4 MiB more", lambda: engine.metrics()["dagger_local_cache_total_disk_size_bytes"] >= before + 4 * 2**20)
