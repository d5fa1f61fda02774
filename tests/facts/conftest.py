"""Which engine the facts are tried on, and what of them cannot be tried there.

By default it is the lab's stand-in. ENGINE_IMAGE names an image that podman runs instead, by a reference or a path.
ENGINE_SOCKET (unix:///... or tcp://...) names an engine that runs already, with ENGINE_CLIENT for a dagger of its
version, and ENGINE_METRICS (host:port) where it shows metrics. What cannot be tried is skipped with the reason, by
name.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.process import output, run
from tests.facts.engines import (
    LACKS,
    STAND_INS,
    STARTED,
    Client,
    Given,
    Image,
    Process,
    StandIn,
    network_lines,
    usable_image,
)

SOCKET, IMAGE = os.environ.get("ENGINE_SOCKET", ""), os.environ.get("ENGINE_IMAGE", "")
OLD_CLIENT = os.environ.get("ENGINE_OLD_CLIENT", "")
# How long to watch something that must not happen: the real engine was seen to wait for a client for seven minutes.
PATIENCE = float(os.environ.get("ENGINE_PATIENCE", "2"))
Words = Callable[..., tuple[str, ...]]
METRICS = os.environ.get("ENGINE_METRICS", "")


def pytest_configure(config: pytest.Config) -> None:
    """The mark that each test here carries."""
    config.addinivalue_line("markers", "fact(source, needs): where dagger v0.21.8 does so, and what a trial needs")


def able() -> frozenset[str]:
    """What can be done with the chosen engine."""
    ours = Given(SOCKET, METRICS).can if SOCKET else Image.can if IMAGE else StandIn.can
    return frozenset({*ours, *({"old client"} if OLD_CLIENT else ())})


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what the chosen engine does not let us try, and say why."""
    fact = item.get_closest_marker("fact")
    assert fact and fact.args, f"{item.name} does not say which line it copies"
    for need in fact.kwargs.get("needs", ()):
        if need not in able():
            pytest.skip(LACKS[need])


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    """No program outlives the test that started it, however that ended."""
    yield
    STARTED.end()


@pytest.fixture(autouse=True, scope="session")
def _network() -> Iterator[None]:
    """Engines leave nothing in this machine's network."""
    before = network_lines()
    yield
    left = network_lines() - before
    assert not left, f"engines left {len(left)} lines in this machine's network, such as: {sorted(left)[0]}"


@pytest.fixture(scope="session")
def image() -> Iterator[str]:
    """What podman knows the image of ENGINE_IMAGE by."""
    with usable_image(IMAGE) as name:
        yield name


def go_build(target: Path, package: str, *flags: str) -> Path:
    """A static program of the stand-ins' module."""
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false"}
    subprocess.run(["go", "build", *flags, "-o", str(target), package], cwd=STAND_INS, env=environment, check=True)
    return target


@pytest.fixture(scope="session")
def programs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs that the facts are tried with."""
    target = tmp_path_factory.mktemp("programs")
    go_build(target / "payload", "./internal/engine/testdata/payload")
    if SOCKET:
        found = os.environ.get("ENGINE_CLIENT") or shutil.which("dagger")
        assert found, "ENGINE_SOCKET needs a dagger of that engine's version: set ENGINE_CLIENT"
        (target / "dagger").symlink_to(found)
    elif IMAGE:
        made = output("podman", "create", request.getfixturevalue("image"))
        try:
            run("podman", "cp", f"{made}:/usr/local/bin/dagger", str(target / "dagger"))
        finally:
            run("podman", "rm", made)
    else:
        go_build(target / "dagger-engine", "./engine")
        go_build(target / "dagger", "./dagger")
    return target


@pytest.fixture(scope="session")
def old_client(programs: Path) -> Path:
    """A dagger that is older than the engine takes."""
    return (
        Path(OLD_CLIENT)
        if OLD_CLIENT
        else go_build(programs / "dagger-0.18", "./dagger", "-ldflags", "-X main.version=v0.18.19")
    )


@pytest.fixture
def rootfs(tmp_path: Path, programs: Path) -> Path:
    """A root filesystem that no other test has: nothing in it is cached yet."""
    target = tmp_path / "rootfs"
    (target / "bin").mkdir(parents=True)
    shutil.copy(programs / "payload", target / "bin/payload")
    (target / "name").write_text(uuid.uuid4().hex, encoding="utf-8")
    return target


@pytest.fixture
def make_engine(request: pytest.FixtureRequest, tmp_path: Path, programs: Path) -> Iterator[Callable[[str], Process]]:
    """Engines of ours by name; not started."""
    made: list[Process] = []

    def make(name: str) -> Process:
        base = tmp_path / name
        (base / "home").mkdir(parents=True)
        client = Client(programs / "dagger", f"unix://{base}/run/dagger/engine.sock", base / "home")
        if IMAGE:
            engine: Process = Image(base, client, request.getfixturevalue("image"))
        else:
            (base / "usr/local/bin").mkdir(parents=True)
            shutil.copy(programs / "dagger-engine", base / "usr/local/bin/dagger-engine")
            engine = StandIn(base, client)
        made.append(engine)
        return engine

    yield make
    for engine in made:
        engine.close()


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> Any:
    """The engine: one of ours that is not started yet, or the given one."""
    return Given(SOCKET, METRICS) if SOCKET else request.getfixturevalue("make_engine")("engine")


@pytest.fixture
def client(engine: Any, tmp_path: Path, programs: Path) -> Client:
    """A dagger that is pointed at the engine, with a home of its own: it may run beside the one that waits for the
    engine's start.
    """
    home = tmp_path / "client"
    home.mkdir()
    return Client(programs / "dagger", engine.address, home)


@pytest.fixture
def pipeline(rootfs: Path) -> Callable[..., tuple[str, ...]]:
    """The arguments of a pipeline that runs a payload, which prints the time: only a cache can print the same one
    twice.
    """

    def words(*payload: str, before: str = "") -> tuple[str, ...]:
        step = ",".join(("payload", *payload))
        return (
            "--progress=plain",
            "-c",
            f"container | with-rootfs $(host | directory {rootfs}) | {before}with-exec -- {step} | stdout",
        )

    return words
