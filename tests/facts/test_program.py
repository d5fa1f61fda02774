"""The program beside an engine, without a cluster: what its idle stop costs a job, and what a stop costs while the
engine starts.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from tests.facts.conftest import Words
from tests.facts.engines import Client, wait_for
from tests.facts.pods import Pod

NEEDS = ("process", "program")
LONGEST = 30.0  # seconds between two tries of a client, give or take a fifth, which is FIFTH of it
FIFTH = 0.2
SERVED = 2.0  # seconds that a client and a busy machine may take beside that


@pytest.fixture
def pod(tmp_path: Path, programs: Path) -> Pod:
    """Not started."""
    base = tmp_path / "pod"
    (base / "usr/local/bin").mkdir(parents=True)
    for name in ("dagger", "dagger-engine"):
        shutil.copy(programs / name, base / "usr/local/bin" / name)
    home = tmp_path / "home"
    home.mkdir()
    return Pod(base, Client(programs / "dagger", f"unix://{base}/run/dagger/engine.sock", home))


def longest_wait(away: float) -> float:
    """The longest that a client waits whose engine is away for so many seconds more."""
    tried, pause = 0.0, 1.0
    while tried + pause * (1 - FIFTH) <= away:
        tried += pause * (1 - FIFTH)
        pause = min(pause * 1.6, LONGEST)
    return away + pause * (1 + FIFTH)


@pytest.mark.fact("engine/client/buildkit.go:26: gRPC's own waits, of half a minute at most", needs=NEEDS)
def test_a_job_that_begins_while_an_idle_engine_is_away_waits_no_longer_than_its_client(
    pod: Pod, pipeline: Words
) -> None:
    pod.start(interval=5, _STAND_IN_STOP="4s")
    time.sleep(11)  # until the first look
    assert pod.client.run(*pipeline("device"))[0] == 0
    wait_for("the stop", pod.door_is_shut, 40)
    shut = time.monotonic()
    knocks = [pod.knock(after) for after in (0.2, 1.5, 3, 5)]
    back = 0.0
    waiting = list(knocks)
    while waiting or not back:
        waiting = [knock for knock in knocks if not knock.look()]
        assert time.monotonic() < shut + 60, pod.log
        if not back and not pod.door_is_shut():
            back = time.monotonic()
        time.sleep(0.02)
    away = back - shut
    waits = {round(knock.begins - shut, 1): round(knock.seconds, 1) for knock in knocks}
    print(f"away {away:.1f} s; a client that began so long after the start of it waited: {waits}")
    for knock in knocks:
        assert knock.seconds <= longest_wait(max(away - (knock.begins - shut), 0)) + SERVED, (away, waits)
    assert max(waits.values()) > 2, "none of them found the door shut"
    assert (pod.codes, pod.kinds()) == ([0], ["checkpoint"])


@pytest.mark.fact("dagql/cache.go:201: the mark of a clean stop goes once all is read in", needs=NEEDS)
def test_an_engine_that_is_ended_while_it_reads_its_cache_in_keeps_it(pod: Pod, pipeline: Words) -> None:
    pod.start(interval=0)
    first = pod.client.run(*pipeline())[1]
    assert first.strip()
    slow = pod.base / "slow"
    slow.touch()
    pod.terminate()
    wait_for("a start that takes long", lambda: pod.log.count("starting dagger engine") == 2)
    time.sleep(1)
    pod.terminate()
    wait_for("its end", lambda: len(pod.codes) == 2)
    slow.unlink()
    pod.wait_for_answer(2)
    assert pod.codes == [0, 128 + 9]
    assert "start_ended" in pod.kinds() and not {"wiped", "restored", "clean_stop_missed"} & set(pod.kinds())
    assert pod.client.run(*pipeline())[1] == first
