"""When an engine keeps its cache, and when it drops all of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.facts.engines import Client, Process, wait_for

NEEDS = ("process",)
EVERY = {"_EXPERIMENTAL_DAGGER_METRICS_CACHE_UPDATE_INTERVAL": "200ms"}
SIZE = "dagger_local_cache_total_disk_size_bytes"
Words = Callable[..., tuple[str, ...]]


def ran(client: Client, words: tuple[str, ...]) -> str:
    """What a pipeline that must succeed printed."""
    code, output = client.run(*words)
    assert code == 0, client.progress()
    assert output.strip()
    return output


@pytest.mark.fact("dagql/cache.go: results are kept by their calls")
def test_the_second_run_is_cached(engine: Any, client: Client, pipeline: Words) -> None:
    engine.start()
    first = ran(client, pipeline())
    assert "CACHED" not in client.progress().split("withExec", 1)[1]
    assert ran(client, pipeline()) == first
    assert "CACHED" in client.progress().split("withExec", 1)[1]


@pytest.mark.fact("dagql/cache.go: another call is another result")
def test_other_arguments_and_variables_are_other_steps(engine: Any, client: Client, pipeline: Words) -> None:
    engine.start()
    first = ran(client, pipeline("env"))
    assert ran(client, pipeline("made")).splitlines()[0] != first.splitlines()[0]
    assert "A = b" in ran(client, pipeline("env", before="with-env-variable A b | "))


@pytest.mark.fact("core/host.go: a directory of the client is known by its content")
def test_another_directory_is_another_step(engine: Any, client: Client, pipeline: Words, rootfs: Path) -> None:
    engine.start()
    first = ran(client, pipeline())
    (rootfs / "more").write_text("more", encoding="utf-8")
    assert ran(client, pipeline()) != first
    (rootfs / "more").unlink()
    assert ran(client, pipeline()) == first


@pytest.mark.fact("core/container_exec.go: an exit code other than 0 is an error")
def test_a_failed_step_is_not_kept(engine: Any, client: Client, pipeline: Words) -> None:
    engine.start()
    for _twice in range(2):
        code, _output = client.run(*pipeline("fail"))
        assert code != 0
        assert "exit code: 3" in client.progress()
        assert "CACHED" not in client.progress().split("withExec", 1)[1]


@pytest.mark.fact("dagql/cache.go:3051", needs=NEEDS)
def test_a_clean_stop_keeps_the_cache(engine: Process, client: Client, pipeline: Words) -> None:
    engine.start()
    first = ran(client, pipeline())
    assert engine.stop() == 0
    engine.start()
    assert ran(client, pipeline()) == first


@pytest.mark.fact("dagql/cache.go:159 to :164 and engine/server/server.go:464", needs=NEEDS)
def test_a_kill_drops_the_whole_cache(engine: Process, client: Client, pipeline: Words) -> None:
    engine.start(environment=EVERY)
    empty = engine.metrics()[SIZE]
    first = ran(client, pipeline("device"))
    wait_for("the size of the cache", lambda: engine.metrics()[SIZE] >= empty + 4 * 2**20)
    engine.kill()
    engine.start(environment=EVERY)
    assert engine.metrics()[SIZE] < empty + 4 * 2**20
    assert "unclean" in engine.log
    assert ran(client, pipeline("device")) != first


@pytest.mark.fact("dagql/cache.go:201", needs=NEEDS)
def test_what_was_clean_before_does_not_count_once_the_engine_runs(
    engine: Process, client: Client, pipeline: Words
) -> None:
    engine.start()
    first = ran(client, pipeline())
    engine.stop()
    engine.start()
    engine.kill()
    engine.start()
    assert ran(client, pipeline()) != first


@pytest.mark.fact("engine/server/server.go:456: only a broken bolt database counts", needs=NEEDS)
def test_a_dropped_cache_is_counted_nowhere(engine: Process, client: Client, pipeline: Words) -> None:
    engine.start()
    ran(client, pipeline())
    engine.kill()
    engine.start()
    assert engine.metrics()["dagger_local_cache_corrupt_db_reset"] == 0


@pytest.mark.fact("dagql/cache.go:89 and :133", needs=NEEDS)
def test_a_cache_of_another_schema_is_dropped(engine: Process, client: Client, pipeline: Words) -> None:
    engine.start()
    first = ran(client, pipeline())
    engine.stop()
    assert (engine.meta("clean_shutdown"), engine.meta("schema_version")) == ("1", "16")
    engine.set_meta("schema_version", "17")
    engine.start()
    assert "schema version mismatch; wiping" in engine.log
    assert "reason=dagql_schema_mismatch" in engine.log
    assert ran(client, pipeline()) != first


@pytest.mark.fact("tried on v0.21.8: a checkpoint brings a cache back", needs=NEEDS)
def test_a_copy_of_a_clean_state_brings_the_cache_back_after_a_kill(
    engine: Process, client: Client, pipeline: Words
) -> None:
    engine.start()
    first = ran(client, pipeline())
    engine.stop()
    copy = engine.keep("checkpoint")
    engine.start()
    engine.kill()
    engine.put_back(copy)
    engine.start()
    assert ran(client, pipeline()) == first


@pytest.mark.fact("tried on v0.21.8: a state can move", needs=NEEDS)
def test_a_copy_of_a_clean_state_seeds_another_engine(
    engine: Process, client: Client, pipeline: Words, make_engine: Callable[[str], Process]
) -> None:
    engine.start()
    first = ran(client, pipeline())
    engine.stop()
    other = make_engine("other")
    other.put_back(engine.keep("seed"))
    other.start()
    assert ran(Client(client.program, other.address, client.home), pipeline()) == first


@pytest.mark.fact("dagql/cache.go:201", needs=NEEDS)
def test_a_copy_of_a_running_engine_s_state_is_worth_nothing(engine: Process, client: Client, pipeline: Words) -> None:
    engine.start()
    first = ran(client, pipeline())
    copy = engine.keep("snapshot")
    engine.kill()
    engine.put_back(copy)
    engine.start()
    assert ran(client, pipeline()) != first


@pytest.mark.fact(
    "engine/server/server.go: GracefulStop prunes before it closes the cache", needs=(*NEEDS, "collector")
)
def test_a_stop_collects_what_is_above_the_limit(engine: Process, client: Client, pipeline: Words) -> None:
    engine.start(config={"gc": {"policies": [{"all": True, "maxUsedSpace": 1}]}})
    first = ran(client, pipeline())
    assert engine.stop() == 0
    engine.start()
    assert ran(client, pipeline()) != first
