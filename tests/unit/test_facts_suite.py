"""The facts suite itself: what it starts ends with it, and what it leaves in the machine's network fails it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.process import LabError
from tests.facts import engines
from tests.facts.engines import Client, Started

ROOT = Path(__file__).resolve().parents[2]
# A client that goes on for long, with a child of its own that does too. It writes both numbers down once it runs.
CLIENT = """#!/bin/sh
sleep 1000 &
echo $$ $! > "$HOME/pids.new" && mv "$HOME/pids.new" "$HOME/pids"
wait
"""
CASE = """
import os, time
import pytest
from pathlib import Path
from tests.facts.engines import Client, wait_for

HOME = Path(os.environ["CASE"])

@pytest.fixture
def attached():
    Client(HOME / "dagger", "unix:///nowhere", HOME).start("core", "version")
    wait_for("its numbers", (HOME / "pids").exists, 10)
    {then}

@pytest.mark.fact("none: a case of this test")
def test_it(attached):
    pass
"""


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(holds: Callable[[], bool], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.02)
    return holds()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "dagger").write_text(CLIENT)
    (tmp_path / "dagger").chmod(0o755)
    return tmp_path


def pids(home: Path) -> list[int]:
    return [int(word) for word in (home / "pids").read_text().split()]


def suite(home: Path, then: str, **environment: str) -> subprocess.Popen[str]:
    """Run a case with the fixtures of the facts, in a process of its own."""
    (home / "test_case.py").write_text(CASE.format(then=then))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.facts.conftest"]
    return subprocess.Popen(
        [*command, "--rootdir", str(home), str(home / "test_case.py")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CASE": str(home), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_client_of_a_fixture_that_fails_ends_with_it(home: Path) -> None:
    printed = suite(home, 'raise RuntimeError("in vain")').communicate(timeout=60)[0]
    assert "1 error" in printed and "in vain" in printed, printed
    assert [pid for pid in pids(home) if is_alive(pid)] == []


def test_clients_end_with_a_suite_that_is_killed(home: Path) -> None:
    run = suite(home, "time.sleep(1000)")
    try:
        assert wait_until((home / "pids").exists, 60)
    finally:
        run.kill()
        run.communicate()
    try:
        assert wait_until(lambda: not is_alive(pids(home)[0]))
    finally:
        if is_alive(pids(home)[1]):
            os.kill(pids(home)[1], signal.SIGKILL)


def test_what_a_client_started_ends_with_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = Started()
    monkeypatch.setattr(engines, "STARTED", started)
    client = Client(home / "dagger", "unix:///nowhere", home)
    with pytest.raises(subprocess.TimeoutExpired):
        client.run("core", "version", seconds=1)
    assert wait_until(lambda: not any(map(is_alive, pids(home))))
    (home / "pids").unlink()
    client.start("core", "version")
    assert wait_until((home / "pids").exists) and all(map(is_alive, pids(home)))
    started.end()
    assert wait_until(lambda: not any(map(is_alive, pids(home)))) and started.programs == []


@pytest.mark.parametrize(
    "line", ["7: dagger0: <BROADCAST> mtu 1500", '-A CNI-1 -m comment --comment "name: dagger" -j ACCEPT']
)
def test_what_is_left_in_the_network_fails_the_suite(home: Path, tmp_path: Path, line: str) -> None:
    """With programs in the PATH that print a file's content, which the case writes."""
    for name in ("ip", "iptables-save", "ip6tables-save", "nft"):
        (home / name).write_text(
            f"#!/bin/sh\nif test {name} = {'ip' if line[0] == '7' else 'nft'}; then cat {home}/lines; fi\n"
        )
        (home / name).chmod(0o755)
    (home / "lines").write_text("1: lo: <LOOPBACK>\n3: dagger9: <BROADCAST> of somebody else\n")
    more = f"with open(HOME / 'lines', 'a') as file: file.write({line!r} + chr(10))"
    printed = suite(home, more, PATH=f"{home}:{os.environ['PATH']}").communicate(timeout=60)[0]
    assert "engines left 1 lines in this machine's network" in printed, printed
    assert "1 passed" in printed and "1 error" in printed


def test_the_progress_of_a_client_is_read_without_its_colours(home: Path) -> None:
    (home / "progress").write_text("3   : \x1b[2m[0.1s]\x1b[0m \x1b[2m|\x1b[0m 1795649732163930161\n")
    assert Client(home / "dagger", "unix:///nowhere", home).progress() == "3   : [0.1s] | 1795649732163930161\n"


@pytest.mark.parametrize("kind", ["docker-archive", "oci"])
def test_an_image_on_the_disk_is_loaded_and_goes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(engines.mirror_serve, "engine_source", lambda given, _variable: f"{kind}:{given}")
    done: list[tuple[str, ...]] = []
    monkeypatch.setattr(engines, "run", lambda *command: done.append(command))
    with pytest.raises(RuntimeError), engines.usable_image(str(tmp_path)) as name:
        assert name.startswith("localhost/engine-facts:")
        assert done == [("skopeo", "copy", "--quiet", f"{kind}:{tmp_path}", f"containers-storage:{name}")]
        raise RuntimeError
    assert done[1:] == [("podman", "rmi", "--force", name)]


@pytest.mark.parametrize("given", ["registry.dagger.io/engine:v0.21.8", "docker://registry.dagger.io/engine:v0.21.8"])
def test_an_image_by_its_reference_is_left_to_podman(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setattr(engines, "run", lambda *command: pytest.fail(f"ran {command}"))
    with engines.usable_image(given) as name:
        assert name == "registry.dagger.io/engine:v0.21.8"


def test_an_image_that_is_not_there() -> None:
    with (
        pytest.raises(LabError, match=r"ENGINE_IMAGE names \./engine\.tar, which is not there"),
        engines.usable_image("./engine.tar"),
    ):
        pass
