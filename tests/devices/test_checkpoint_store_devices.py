"""Engine states on real filesystems: a kill at any step, a full disk or a missing mount leave the old or the new state
of affairs.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import ROOT, Bench, sh

FILESYSTEMS = ("btrfs", "xfs")
FILES = 40
# One preparation in a process of its own. Where an n is given it is killed before its nth step that changes something.
PREPARE = """
import json, os, signal, sys
sys.dont_write_bytecode = True
sys.path[:0] = json.loads(sys.argv[1])
import checkpoint_store
from engine_policy import Settings
settings = Settings(**json.loads(sys.argv[2]))
last, clock, count = int(sys.argv[3]), float(sys.argv[4]), 0
CHANGES = {"rename", "mkdir", "rmdir", "unlink", "fsync", "ioctl", "fork_exec", "write", "flush"}
def step(frame, event, function):
    global count
    if event == "c_call" and getattr(function, "__name__", "") in CHANGES:
        count += 1
        if count == last:
            os.kill(os.getpid(), signal.SIGKILL)
store = checkpoint_store.Store(settings, "node-1", lambda: clock)
store.prove()
sys.setprofile(step)
decision = store.prepare()
for path in store.leftovers() if "tidy" in sys.argv else ():
    store.remove(path)
sys.setprofile(None)
print(json.dumps({"action": decision.action, "steps": count}))
"""


class Node:
    """A cache filesystem on a loop device, and what an engine would do to the state there."""

    def __init__(self, bench: Bench, kind: str, size: str = "1G", options: tuple[str, ...] = ()) -> None:
        drive = bench.drive(size)
        sh(f"mkfs.{kind}", "-q", *options, drive.node)
        self.mount = bench.folder / f"cache-{len(bench.drives)}"
        self.mount.mkdir()
        sh("mount", drive.node, str(self.mount))
        bench.cleanups.append(lambda: sh("umount", str(self.mount)))
        self.settings: dict[str, Any] = {"version": "0.21.11", "cache": str(self.mount), "interval": 0, "min_free": 0}
        self.base = self.mount / "0.21.11"
        self.state = self.base / "state"
        self.clock = time.time()

    def now(self) -> float:
        """A clock of its own: checkpoints are named by the second."""
        self.clock += 2
        return self.clock

    def start(self, last: int = 0, *arguments: str) -> subprocess.Popen[str]:
        paths = [str(ROOT / "roles/dagger_engine/files")]
        argv = [
            sys.executable,
            "-c",
            PREPARE,
            json.dumps(paths),
            json.dumps(self.settings),
            str(last),
            str(self.now()),
            *arguments,
        ]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def prepare(self, last: int = 0, *arguments: str) -> dict[str, Any] | None:
        """What was decided; None after a kill."""
        process = self.start(last, *arguments)
        out, error = process.communicate(timeout=60)
        if process.returncode == -9:
            return None
        assert process.returncode == 0, error
        found: dict[str, Any] = json.loads(out)
        return found

    def work(self, content: str, files: int = FILES) -> None:
        """As an engine that runs: the marker is taken, and the state is written to."""
        (self.base / "clean.json").rename(self.base / "running.json")
        self.mark("running", answered=True)
        (self.state / "worker").mkdir(exist_ok=True)
        for number in range(files):
            (self.state / "worker" / str(number)).write_text(content)

    def mark(self, name: str, **more: Any) -> None:
        marker = {"version": "0.21.11", "time": self.now(), "bytes": 4096, "results": FILES, **more}
        (self.base / f"{name}.json").write_text(json.dumps(marker))

    def stop_clean(self) -> None:
        self.mark("clean")
        (self.base / "running.json").unlink()

    def begin(self, *contents: str) -> None:
        """An engine that ran and stopped clean once for each content."""
        self.prepare()
        for content in contents:
            self.work(content)
            self.stop_clean()
            self.prepare()

    def checkpoints(self) -> list[Path]:
        return sorted(path for path in (self.base / "checkpoints").iterdir() if path.suffix != ".partial")

    def events(self) -> list[str]:
        path = self.base / "events.jsonl"
        return [json.loads(line)["kind"] for line in path.read_text().splitlines()] if path.exists() else []

    def last_message(self) -> str:
        return str(json.loads((self.base / "events.jsonl").read_text().splitlines()[-1])["message"])


def content(state: Path) -> set[str]:
    """What the files of a whole state say; a state that lacks a file is half a one."""
    texts = [path.read_text() for path in (state / "worker").iterdir()]
    assert len(texts) == FILES, f"{state} has {len(texts)} of {FILES} files"
    return set(texts)


@pytest.fixture(params=FILESYSTEMS)
def node(request: pytest.FixtureRequest, bench: Bench) -> Iterator[Node]:
    return Node(bench, request.param)


def test_a_clean_stop_gives_a_checkpoint_and_a_kill_gives_it_back(node: Node) -> None:
    node.begin("one", "two")
    assert [content(path / "state") for path in node.checkpoints()] == [{"one"}, {"two"}]
    described = json.loads((node.checkpoints()[-1] / "checkpoint.json").read_text())
    assert (
        described["clean"]
        and described["schema"] == 16
        and described["node"] == "node-1"
        and described["version"] == "0.21.11"
    )
    node.work("dirty")
    decision = node.prepare()
    assert decision and decision["action"] == "restore"
    assert content(node.state) == {"two"}
    assert node.events() == ["checkpoint", "checkpoint", "clean_stop_missed", "restored"]
    node.prepare(0, "tidy")
    assert not [path for path in node.base.iterdir() if path.name.startswith("dirty")]
    assert content(node.state) == {"two"} and len(node.checkpoints()) == 2


def test_a_restored_state_is_apart_from_its_checkpoint(node: Node) -> None:
    node.begin("one")
    for _time in range(2):
        node.work("dirty")
        node.prepare()
        assert content(node.state) == {"one"} == content(node.checkpoints()[-1] / "state")


def test_without_a_checkpoint_a_kill_is_a_cold_start_at_once(node: Node) -> None:
    node.settings["keep"] = 0
    node.begin("one")
    node.work("dirty")
    decision = node.prepare()
    assert decision and decision["action"] == "cold"
    assert list(node.state.iterdir()) == [] and node.events() == ["clean_stop_missed", "wiped"]


def test_no_more_are_kept_than_wanted(node: Node) -> None:
    node.begin("one", "two", "three")
    node.prepare(0, "tidy")
    assert [content(path / "state") for path in node.checkpoints()] == [{"two"}, {"three"}]


def test_a_partial_checkpoint_is_never_restored(node: Node) -> None:
    node.begin("one")
    whole = node.checkpoints()[-1]
    partial = whole.with_name("20990101T000000Z.partial")
    sh("cp", "-a", str(whole), str(partial))
    node.work("dirty")
    node.prepare()
    assert content(node.state) == {"one"} and whole.name in node.last_message()
    node.prepare(0, "tidy")
    assert not partial.exists()


def test_take_killed_at_every_step(node: Node) -> None:
    node.begin("one")
    taken = len(node.checkpoints())
    last, decision = 0, None
    while decision is None:
        last += 1
        node.work(f"two {last}")
        node.stop_clean()
        decision = node.prepare(last)
        assert content(node.state) == {f"two {last}"}
        for path in node.checkpoints():
            assert (path / "checkpoint.json").exists() and len(content(path / "state")) == 1
        again = node.prepare(0, "tidy")
        assert again and again["action"] == "keep" and content(node.state) == {f"two {last}"}
        assert not [path for path in (node.base / "checkpoints").iterdir() if path.suffix == ".partial"]
        assert all(len(content(path / "state")) == 1 for path in node.checkpoints())
    assert last > 8 and len(node.checkpoints()) > taken


def test_restore_killed_at_every_step(node: Node) -> None:
    node.begin("one")
    last, decision = 0, None
    while decision is None:
        last += 1
        node.work("dirty")
        decision = node.prepare(last)
        # Cut or not, the next start finds its way to the checkpoint, and the checkpoint is whole.
        again = node.prepare(0, "tidy")
        assert again and again["action"] in ("restore", "keep")
        assert content(node.state) == {"one"} and content(node.checkpoints()[-1] / "state") == {"one"}
        assert not [path.name for path in node.base.iterdir() if path.name.startswith(("dirty", "restoring"))]
    assert last > 8


def test_killed_at_random_times(node: Node) -> None:
    node.begin("one")
    chance, killed = random.Random(4711), 0
    node.work("zero")
    node.stop_clean()
    began = time.monotonic()
    node.prepare()
    length = time.monotonic() - began  # of one that is let alone, on this machine
    for turn in range(24):
        dirty = turn % 2 == 1
        node.work(f"work {turn}")
        if not dirty:
            node.stop_clean()
        known = [content(path / "state") for path in node.checkpoints()]
        process = node.start()
        time.sleep(chance.uniform(0, length))
        process.kill()
        process.communicate()
        killed += process.returncode == -9
        time.sleep(0.05)  # its children have died with it
        assert node.prepare(0, "tidy")
        found = content(node.state)
        assert found in known or (not dirty and found == {f"work {turn}"})
        assert all(len(content(path / "state")) == 1 for path in node.checkpoints())
    assert killed > 6, f"{killed} of 24 were killed before they were done"


@pytest.mark.parametrize("kind", FILESYSTEMS)
def test_a_disk_that_fills_up_while_a_checkpoint_is_taken(bench: Bench, kind: str) -> None:
    node = Node(bench, kind, "400M")
    node.begin("one")
    for count in (200, 3000):
        node.work("two")
        for number in range(count):
            (node.state / f"more-{count}-{number}").write_bytes(os.urandom(600))
        node.stop_clean()
        for size in ("64k", "512"):
            subprocess.run(
                ["dd", "if=/dev/zero", f"of={node.mount}/filler-{size}", f"bs={size}"], capture_output=True, check=False
            )
        before = node.checkpoints()
        decision = node.prepare()
        assert decision and decision["action"] == "keep" and content(node.state) == {"two"}
        files = len(list(node.state.iterdir()))
        assert all(len(list((path / "state").iterdir())) == files for path in node.checkpoints() if path not in before)
        for path in node.mount.glob("filler*"):
            path.unlink()
        node.prepare(0, "tidy")


@pytest.mark.parametrize("kind", FILESYSTEMS)
def test_a_checkpoint_comes_back_on_a_full_disk(bench: Bench, kind: str) -> None:
    node = Node(bench, kind, "400M")
    node.begin("one")
    node.work("dirty")
    (node.state / "large").write_bytes(os.urandom(20 << 20))
    for size in ("64k", "512"):
        subprocess.run(
            ["dd", "if=/dev/zero", f"of={node.mount}/filler-{size}", f"bs={size}"], capture_output=True, check=False
        )
    decision = node.prepare()
    assert decision and decision["action"] == "restore" and content(node.state) == {"one"}
    assert node.checkpoints() and (
        kind == "btrfs" or node.events()[-1] == "restored"
    )  # a full btrfs does not keep the event


@pytest.mark.parametrize("kind", FILESYSTEMS)
def test_after_a_clean_stop_on_a_full_disk_an_engine_has_room_to_start(bench: Bench, kind: str) -> None:
    node = Node(bench, kind, "400M")
    node.begin("one")
    node.work("two")
    ballast = node.base / "ballast"
    assert ballast.stat().st_blocks * 512 >= 16 << 20
    for size in ("64k", "512"):
        subprocess.run(
            ["dd", "if=/dev/zero", f"of={node.mount}/filler-{size}", f"bs={size}"], capture_output=True, check=False
        )
    ballast.unlink()  # as at its SIGTERM
    sh("sync", "--file-system", str(node.mount))
    node.stop_clean()
    decision = node.prepare()
    assert decision and decision["action"] == "keep" and not ballast.exists()
    (node.state / "new").mkdir()
    (node.state / "new" / "file").write_bytes(os.urandom(1 << 20))
    for path in node.mount.glob("filler*"):
        path.unlink()
    sh("sync", "--file-system", str(node.mount))
    node.prepare()
    assert ballast.exists()


def test_without_snapshots_there_is_a_clear_finding_and_the_engine_starts(bench: Bench) -> None:
    node = Node(bench, "ext4")
    node.begin("one")
    assert node.events() == ["checkpoint_skipped"] and node.checkpoints() == []
    assert "checkpoints: none:" in node.last_message() and "use btrfs" in node.last_message()
    assert content(node.state) == {"one"}


def test_too_many_files_to_clone_are_a_clear_finding(bench: Bench) -> None:
    node = Node(bench, "xfs")
    node.settings["max_files"] = 10
    node.begin("one")
    assert node.events() == ["checkpoint_skipped"] and "dagger_engine_checkpoint_max_files" in node.last_message()


def test_a_snapshot_keeps_owners_links_devices_and_attributes(node: Node) -> None:
    node.prepare()
    node.work("one")
    state = node.state
    os.chown(state / "worker/1", 1000, 1001)
    os.chmod(state / "worker/2", 0o4755)
    os.link(state / "worker/3", state / "hard")
    os.symlink("worker/3", state / "soft")
    os.mknod(state / "whiteout", 0o020000, 0)
    os.setxattr(state / "worker", "trusted.overlay.opaque", b"y")
    node.stop_clean()
    node.prepare()
    copy = node.checkpoints()[-1] / "state"
    assert (os.stat(copy / "worker/1").st_uid, os.stat(copy / "worker/1").st_gid) == (1000, 1001)
    assert os.stat(copy / "worker/2").st_mode & 0o7777 == 0o4755
    assert os.stat(copy / "hard").st_ino == os.stat(copy / "worker/3").st_ino
    assert os.readlink(copy / "soft") == "worker/3" and os.stat(copy / "whiteout").st_rdev == 0
    assert os.getxattr(copy / "worker", "trusted.overlay.opaque") == b"y"


def test_a_new_version_begins_with_a_checkpoint_of_its_schema(node: Node) -> None:
    node.begin("one")
    old = node.checkpoints()[-1]
    node.settings["version"], node.base, node.state = "0.21.9", node.mount / "0.21.9", node.mount / "0.21.9/state"
    decision = node.prepare()
    assert decision and decision["action"] == "restore" and content(node.state) == {"one"} and old.exists()
    node.settings["version"], node.base, node.state = "1.0.0", node.mount / "1.0.0", node.mount / "1.0.0/state"
    decision = node.prepare()
    assert decision and decision["action"] == "fresh"


def test_an_unmounted_drive_stops_the_engine_and_leaves_nothing(bench: Bench) -> None:
    node = Node(bench, "xfs")
    below = node.mount / "below"
    below.mkdir()
    node.settings["cache"] = str(below)
    _out, error = node.start().communicate()
    assert "found nothing mounted at" in error and "role nvme_storage" in error
    assert list(below.iterdir()) == []
    shutil.rmtree(below)
