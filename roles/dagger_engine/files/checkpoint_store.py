# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An engine's state and its checkpoints on the cache filesystem of a node.

Every step can be cut by a kill or a power loss: what is unfinished has a name of its own, what is finished is renamed
last.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import shutil
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import engine_database
import engine_policy
from engine_policy import Checkpoint, Decision, Marker, Persisted, Requests, Settings

_libc = ctypes.CDLL(None, use_errno=True)
# linux/btrfs.h: both argument structures are 4096 bytes long.
_SUBVOL_CREATE, _SNAP_DESTROY, _SNAP_CREATE_V2 = 0x5000940E, 0x5000940F, 0x50009417
_READ_ONLY = 1 << 1
_SUBVOLUME_INODE = 256
_FICLONE = 0x40049409
_PR_SET_PDEATHSIG = 1
BALLAST = 16 << 20  # bytes


class StateError(Exception):
    """What keeps the engine from starting, in words for its operator."""


class NoSnapshot(Exception):
    """Why no checkpoint can be taken."""


def die_with_parent() -> None:
    """For a child: nothing goes on writing after its parent was killed."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _sync(path: Path, whole: bool = False) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if not whole:
            os.fsync(descriptor)
        elif _libc.syncfs(descriptor):
            raise OSError(ctypes.get_errno(), f"syncfs {path}")
    finally:
        os.close(descriptor)


def _write(path: Path, content: Any) -> None:
    new = path.with_name(f".{path.name}.new")
    with open(new, "w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
    _sync(path.parent)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _children(path: Path) -> list[Path]:
    return sorted(path.iterdir()) if path.is_dir() else []


class Store:
    """All that lies under <cache>/<version>: state, markers, checkpoints and events."""

    def __init__(self, settings: Settings, node: str, now: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self.node = node
        self.now = now
        self.base = Path(settings.base)
        self.state = self.base / "state"
        self.checkpoints = self.base / "checkpoints"
        self.listeners: list[Callable[[str, str], None]] = []
        self._btrfs = False
        self._way_made = False
        self._running = threading.Lock()  # who changes running.json
        self._telling = threading.Lock()

    # What is there

    def prove(self) -> None:
        """Refuse unless the cache directory is a mount of its own, and make the engine's directory there."""
        cache = self.settings.cache
        kind = engine_policy.mount_at(Path("/proc/self/mountinfo").read_text(encoding="utf-8"), os.path.realpath(cache))
        if kind is None:
            raise StateError(
                f"{self.node}: found nothing mounted at {cache}, expected the cache filesystem: its drive is missing "
                "or not mounted. Mount it (role nvme_storage); the engine starts by itself then"
            )
        self._btrfs = kind == "btrfs"
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        self.drop_ballast()
        self.take_ballast()

    @contextmanager
    def locked(self, patience: float = 600) -> Iterator[None]:
        """Hold the state for one engine; an earlier one that still runs, as after a forced delete of its pod, is waited
        for.
        """
        with open(self.base / "lock", "w", encoding="utf-8") as ours:
            for file in (ours, self._lock_of_engine()):
                end = time.monotonic() + patience
                while file is not None:
                    try:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        break
                    except BlockingIOError:
                        if time.monotonic() > end:
                            raise StateError(
                                f"{self.node}: another engine still uses {self.state}: end it first"
                            ) from None
                        time.sleep(0.5)
                if file is not None and file is not ours:
                    file.close()  # The engine takes its own lock.
            yield

    def _lock_of_engine(self) -> Any:
        try:
            return open(self.state / "dagger-engine.lock", encoding="utf-8")
        except FileNotFoundError:
            return None

    def marker(self, name: str) -> Marker | None:
        """clean or running."""
        return engine_policy.parse(Marker, _read(self.base / f"{name}.json"))

    def has_state(self) -> bool:
        """Whether the state directory is non-empty."""
        return bool(_children(self.state))

    def list_checkpoints(self, base: Path | None = None) -> list[Checkpoint]:
        """The finished checkpoints, newest first."""
        folder = (base or self.base) / "checkpoints"
        read = [
            (path, engine_policy.parse(Checkpoint, _read(path / "checkpoint.json")))
            for path in _children(folder)
            if path.suffix != ".partial" and (path / "state").is_dir()
        ]
        known = [replace(item, bad=(path / "bad").exists()) for path, item in read if item and item.name == path.name]
        return sorted(known, key=lambda item: item.time, reverse=True)

    def _others(self) -> list[Checkpoint]:
        """Usable checkpoints of other versions' engines, to begin with where this version has nothing."""
        bases = [path for path in _children(Path(self.settings.cache)) if path.name != self.settings.version]
        items = [
            item
            for base in bases
            for item in self.list_checkpoints(base)
            if engine_policy.is_usable(item, self.settings)
        ]
        return sorted(items, key=lambda item: item.time, reverse=True)

    def _place(self, checkpoint: Checkpoint) -> Path:
        base = Path(replace(self.settings, version=checkpoint.version).base)
        return base / "checkpoints" / checkpoint.name

    def usage(self) -> tuple[int, int]:
        """Size of the cache filesystem and what is free of it."""
        stat = os.statvfs(self.settings.cache)
        return stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize

    # A full disk

    def take_ballast(self) -> None:
        """Where there is room, some that is given up when the disk is full, so that an engine can still stop clean, and
        start again.
        """
        ballast = self.base / "ballast"
        taken = ballast.stat().st_blocks * 512 if ballast.exists() else 0
        if taken >= BALLAST or self.usage()[1] < 4 * BALLAST:
            return
        try:
            with open(ballast, "wb") as file:
                os.posix_fallocate(file.fileno(), 0, BALLAST)
        except OSError:
            ballast.unlink(missing_ok=True)

    def drop_ballast(self) -> None:
        """Where the disk is full."""
        if self.usage()[1] < BALLAST:
            (self.base / "ballast").unlink(missing_ok=True)
            _sync(self.base, whole=True)

    def _put(self, name: str, content: Any) -> None:
        """Write a marker, whatever it takes."""
        try:
            _write(self.base / name, content)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            self.drop_ballast()
            _write(self.base / name, content)

    def _make_way(self) -> None:
        """Delete all that nothing will use again, a state that was not stopped clean among it."""
        self._way_made = True
        self.drop_ballast()
        self.record_event(
            "disk_full", f"{self.node}: {self.settings.cache} is full: what nothing uses is deleted first"
        )
        if self.marker("running") and not self.marker("clean"):
            self._set_aside()
        for path in self.leftovers():
            self.remove(path)
        _sync(self.base, whole=True)

    # What happens

    def events(self) -> list[Mapping[str, Any]]:
        """What happened here, oldest first. A line that was cut short is left out."""
        lines = []
        for text in _read(self.base / "events.jsonl").splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                continue
        return [line for line in lines if isinstance(line, dict)]

    def record_event(self, kind: str, message: str, **more: Any) -> None:
        """Keep an event and pass it on. A full disk must not keep the engine from starting."""
        with self._telling:
            known = self.events()
            event = {
                "time": self.now(),
                "kind": kind,
                "number": engine_policy.numbered(known, kind) + 1,
                "message": message,
                **more,
            }
            path = self.base / "events.jsonl"
            try:
                if len(known) > engine_policy.EVENTS_KEPT * 5 // 4:
                    new = path.with_name(".events.new")
                    new.write_text(
                        "".join(json.dumps(item) + "\n" for item in engine_policy.trimmed(known)), encoding="utf-8"
                    )
                    new.rename(path)
                with open(path, "ab+") as file:
                    file.seek(max(file.seek(0, os.SEEK_END) - 1, 0))
                    ended = file.read(1) in (b"", b"\n")  # not so after a power cut
                    file.write((b"" if ended else b"\n") + json.dumps(event).encode() + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                message += f" (not kept in {path}: {error})"
        for listener in self.listeners:
            listener(kind, message)

    # Before the engine starts

    def prepare(self, requests: Requests = Requests()) -> Decision:  # noqa: B008 (it is frozen)
        """Make the state one that the engine keeps, or at least one that it need not delete."""
        try:
            return self._prepare(requests)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            self._make_way()
            return self._prepare(replace(requests, checkpoint=None))

    def _prepare(self, requests: Requests) -> Decision:
        wish, obeyed = self.base / "restore-requested", self.base / "restore-obeyed"
        wanted = _read(wish).strip() if wish.exists() else None
        if requests.restore and _read(obeyed).strip() != requests.restore:
            wanted = requests.name
        clean = self.marker("clean")
        own = [item for item in self.list_checkpoints() if item.bad or engine_policy.is_usable(item, self.settings)]
        decision = engine_policy.choose_start(
            clean, self.marker("running"), self.has_state(), own, self._others(), wanted, self.persisted()
        )
        names = [item.name for item in own]
        if wanted and wanted not in names:
            self.record_event(
                "restore_refused", f"{self.node}: found no checkpoint {wanted}, there are: {', '.join(names)}"
            )
        self._judge_checkpoints(decision, names)
        self._carry_out(decision, clean, requests)
        wish.unlink(missing_ok=True)
        if requests.restore:
            obeyed.write_text(requests.restore, encoding="utf-8")
        return decision

    def _judge_checkpoints(self, decision: Decision, own: list[str]) -> None:
        """Write down which checkpoints are bad, and which are not any more."""
        if decision.missed:
            self.record_event("clean_stop_missed", f"{self.node}: {decision.reason}")
        for name in decision.bad:
            (self.checkpoints / name / "bad").touch()
            tries = f"{engine_policy.TRIES} times"
            self.record_event(
                "checkpoint_bad",
                f"{self.node}: the engine did not start on checkpoint {name} {tries}; it is not used again",
            )
        for name in own if decision.forgive else []:
            (self.checkpoints / name / "bad").unlink(missing_ok=True)

    def _carry_out(self, decision: Decision, clean: Marker | None, requests: Requests) -> None:
        """Bring the state where the decision wants it."""
        if decision.action == "restore" and decision.checkpoint:
            self._restore(decision, decision.checkpoint)
        elif decision.action == "cold":
            self._set_aside()
            self._empty()
            self.record_event("wiped", f"{self.node}: {decision.reason}: the engine starts on an empty cache")
            self._mark_clean(Marker(self.settings.version, self.now(), 0, "cold"))
        elif decision.action == "keep" and clean:
            self._empty()
            self._checkpoint_if_due(clean, requests.checkpoint)
        else:
            self._empty()
            self._mark_clean(Marker(self.settings.version, self.now(), origin=decision.action))

    def _mark_clean(self, marker: Marker) -> None:
        self._put("clean.json", asdict(marker))

    def _empty(self) -> None:
        """The state directory, where there is none yet: a subvolume where the filesystem has such."""
        if self.has_state() or self._is_subvolume(self.state):
            return
        if self.state.exists() and self._btrfs:
            self.state.rmdir()
        if self._btrfs:
            self._btrfs_call(_SUBVOL_CREATE, self.base, struct.pack("=q4088s", 0, b"state"))
        else:
            self.state.mkdir(mode=0o755, exist_ok=True)
        _sync(self.base)

    def _set_aside(self) -> None:
        for path in (self.base / "restoring", self.state):
            if path.exists():
                name = f"dirty-{engine_policy.stamp(self.now())}"
                number = sum(other.name.startswith(name) for other in _children(self.base))
                path.rename(self.base / f"{name}-{number}")

    def _restore(self, decision: Decision, checkpoint: Checkpoint) -> None:
        restoring = self.base / "restoring"
        if restoring.exists():
            restoring.rename(self.base / f"dirty-restoring-{engine_policy.stamp(self.now())}-{os.getpid()}")
        try:
            self.snapshot(self._place(checkpoint) / "state", restoring)
        except (NoSnapshot, OSError) as error:
            if getattr(error, "errno", 0) == errno.ENOSPC and not self._way_made:
                raise
            self._set_aside()
            self._empty()
            self.record_event(
                "wiped", f"{self.node}: {decision.reason}; checkpoint {checkpoint.name} could not be restored: {error}"
            )
            self._mark_clean(Marker(self.settings.version, self.now(), 0, "cold"))
            return
        if self.state.exists():
            self.state.rename(self.base / f"dirty-{engine_policy.stamp(self.now())}-{os.getpid()}")
        restoring.rename(self.state)
        _sync(self.base, whole=True)
        self.record_event(
            "restored", f"{self.node}: {decision.reason}", checkpoint=checkpoint.name, version=checkpoint.version
        )
        marker = Marker(
            self.settings.version,
            self.now(),
            checkpoint.bytes,
            "restored",
            checkpoint.name,
            decision.tries,
            results=checkpoint.results,
            persisted=checkpoint.persisted,
            # To another version's engine the same step may be another one.
            canary=checkpoint.canary if checkpoint.version == self.settings.version else "",
        )
        self._mark_clean(marker)

    # Checkpoints

    def _checkpoint_if_due(self, clean: Marker, asked: float | None) -> None:
        request = self.base / "checkpoint-requested"
        if request.exists():
            asked = max(asked or 0, request.stat().st_mtime)
        if self.settings.keep and engine_policy.checkpoint_due(
            clean, self.newest(), self.now(), self.settings.interval, asked
        ):
            try:
                taken = self.take(clean)
                size = f"{taken.results} results, {taken.bytes} bytes, by {taken.method}"
                self.record_event(
                    "checkpoint",
                    f"{self.node}: took checkpoint {taken.name} of engine {taken.version} ({size})",
                    checkpoint=taken.name,
                )
            except (NoSnapshot, OSError) as error:
                self.record_event("checkpoint_skipped", f"{self.node}: checkpoints: none: {error}")
        request.unlink(missing_ok=True)

    def can_take(self) -> bool:
        """Whether a checkpoint could be taken if the engine stopped now."""
        try:
            self._prove_room()
            if not self._is_subvolume(self.state):
                self._count(self.state)
                self._prove_reflinks()
        except (NoSnapshot, OSError):
            return False
        return True

    def _prove_room(self) -> None:
        size, free = self.usage()
        if free * 100 < size * self.settings.min_free:
            raise NoSnapshot(
                f"found {free} of {size} bytes free on {self.settings.cache}, expected at least "
                f"{self.settings.min_free}%"
            )

    def newest(self) -> Checkpoint | None:
        """The newest good checkpoint."""
        return next((item for item in self.list_checkpoints() if not item.bad), None)

    def take(self, clean: Marker) -> Checkpoint:
        """A checkpoint of a state that was stopped clean."""
        self._prove_room()
        persisted = self.persisted()
        if persisted and not persisted.clean:
            raise NoSnapshot(f"{self.state / engine_database.NAME} has no mark of a clean stop")
        now = self.now()
        name = engine_policy.stamp(now)
        partial = self.checkpoints / f"{name}.partial"
        if partial.exists() or (self.checkpoints / name).exists():
            raise NoSnapshot(f"there is a checkpoint {name} already")
        partial.mkdir()
        try:
            method, files = self.snapshot(self.state, partial / "state", read_only=True)
            checkpoint = Checkpoint(
                name,
                clean.version,
                engine_policy.schema_of(clean.version),
                self.node,
                now,
                method,
                files,
                clean.bytes,
                stopped=clean.time,
                clean=True,
                results=clean.results,
                persisted=clean.persisted,
                canary=clean.canary,
            )
            _write(partial / "checkpoint.json", asdict(checkpoint))
            _sync(partial, whole=True)
        except BaseException:
            self.remove(partial)
            raise
        partial.rename(self.checkpoints / name)
        _sync(self.checkpoints)
        return checkpoint

    def snapshot(self, source: Path, target: Path, read_only: bool = False) -> tuple[str, int]:
        """The same tree at another place, sharing its blocks; says how, and how many files were walked."""
        if self._is_subvolume(source):
            descriptor = os.open(source, os.O_RDONLY)
            try:
                name = os.fsencode(target.name)
                argument = struct.pack("=qQQ32x4040s", descriptor, 0, _READ_ONLY if read_only else 0, name)
                self._btrfs_call(_SNAP_CREATE_V2, target.parent, argument)
            finally:
                os.close(descriptor)
            return "btrfs", 0
        files = self._count(source)
        self._prove_reflinks()
        command = ["cp", "--archive", "--reflink=always", str(source), str(target)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=die_with_parent)
        if done.returncode and self.usage()[1] < BALLAST:
            raise OSError(errno.ENOSPC, f"cp --reflink ended with {done.returncode}", str(target))
        if done.returncode:
            raise NoSnapshot(f"cp --reflink ended with {done.returncode}: {done.stderr.strip()[-300:]}")
        return "reflink", files

    def _count(self, source: Path) -> int:
        limit, files = self.settings.max_files, 0
        for _folder, folders, names in os.walk(source):
            files += len(folders) + len(names)
            if files > limit:
                raise NoSnapshot(
                    f"the state has more than {limit} files, and here each has to be cloned by itself: use btrfs for "
                    "the cache filesystem, or raise dagger_engine_checkpoint_max_files"
                )
        return files

    def _prove_reflinks(self) -> None:
        one, two = self.base / ".reflink-1", self.base / ".reflink-2"
        try:
            one.write_bytes(b"x" * 4096)
            with open(one, "rb") as source, open(two, "wb") as target:
                fcntl.ioctl(target, _FICLONE, source.fileno())
        except OSError as error:
            if error.errno in (95, 25, 22, 18):  # not supported, in one of the ways in which filesystems say so
                raise NoSnapshot(
                    f"the filesystem at {self.settings.cache} cannot share blocks between files: use btrfs, or xfs "
                    "with reflink=1"
                ) from None
            raise
        finally:
            one.unlink(missing_ok=True)
            two.unlink(missing_ok=True)

    def _is_subvolume(self, path: Path) -> bool:
        return self._btrfs and path.is_dir() and path.stat().st_ino == _SUBVOLUME_INODE

    def _btrfs_call(self, request: int, folder: Path, argument: bytes) -> None:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, request, bytearray(argument))
        finally:
            os.close(descriptor)

    # The engine's run

    def starting(self) -> None:
        """The state is the engine's from here on."""
        (self.base / "clean.json").rename(self.base / "running.json")
        _sync(self.base)

    def persisted(self) -> Persisted | None:
        """What the engine wrote down when it stopped last; only while none runs."""
        return engine_database.read(self.state)

    def note(self, **changes: Any) -> None:
        """Change what is known of the engine that runs."""
        with self._running:
            running = self.marker("running")
            if running:
                self._put("running.json", asdict(replace(running, **changes)))

    def alive(self) -> None:
        """The engine answers now: the time of running.json says until when it did."""
        with self._running, suppress(FileNotFoundError):  # it has just stopped
            os.utime(self.base / "running.json")

    def last_alive(self) -> float | None:
        """Until when an engine is known to have answered that left no mark of a clean stop."""
        try:
            return (self.base / "running.json").stat().st_mtime
        except FileNotFoundError:
            return None

    def stopped(self, size: int, persisted: Persisted | None, canary: str) -> None:
        """The engine stopped clean."""
        running, clean = self.base / "running.json", self.base / "clean.json"
        figures = persisted or Persisted(clean=True)
        marker = Marker(
            self.settings.version, self.now(), size, results=figures.results, persisted=figures.bytes, canary=canary
        )
        with self._running:
            try:
                self._mark_clean(marker)
                running.unlink(missing_ok=True)
            except OSError:  # A full disk still lets a file be renamed.
                running.rename(clean)
        _sync(self.base)

    def mark_unwritten(self) -> None:
        """The engine ended before it wrote to its state, which is as good as it was."""
        (self.base / "running.json").rename(self.base / "clean.json")
        _sync(self.base)

    def fingerprint(self) -> object:
        """Changes when the engine writes to its state; None where that would take long to see. Its lock says
        nothing.
        """
        seen: list[tuple[str, int, int]] = []
        for folder, folders, names in os.walk(self.state):
            if folder.count(os.sep) - str(self.state).count(os.sep) >= 3:
                folders.clear()
            for name in [*folders, *names]:
                stat = os.lstat(os.path.join(folder, name))
                if name != "dagger-engine.lock":
                    seen.append((os.path.join(folder, name), stat.st_mtime_ns, stat.st_size))
            if len(seen) > 20000:
                return object()
        return sorted(seen)

    # Beside the engine

    def leftovers(self) -> list[Path]:
        """What nothing will use again."""
        old = (
            [
                self.checkpoints / item.name
                for item in engine_policy.surplus(self.list_checkpoints(), self.settings.keep)
            ]
            if self.settings.keep
            else []
        )
        unfinished = [path for path in _children(self.checkpoints) if path.suffix == ".partial"]
        return [*old, *unfinished, *(path for path in _children(self.base) if path.name.startswith("dirty-"))]

    def make_room(self) -> bool:
        """Give the oldest checkpoint up where the disk is nearly full: the engine's collector of garbage cannot free
        what it holds.
        """
        size, free = self.usage()
        found = self.list_checkpoints()
        if free * 100 >= size * self.settings.min_free or not found:
            return False
        self.record_event(
            "checkpoint_dropped", f"{self.node}: found {free} of {size} bytes free, gave checkpoint {found[-1].name} up"
        )
        self.remove(self.checkpoints / found[-1].name)
        return True

    def remove(self, path: Path) -> None:
        """Delete a tree at the lowest priority."""
        if path.parent == self.checkpoints and path.suffix != ".partial" and path.exists():
            unfinished = path.with_name(f"{path.name}.partial")
            path.rename(unfinished)  # Half a checkpoint must not look like one.
            path = unfinished
        for subvolume in (path / "state", path):
            if self._is_subvolume(subvolume):
                try:
                    name = os.fsencode(subvolume.name)
                    self._btrfs_call(_SNAP_DESTROY, subvolume.parent, struct.pack("=q4088s", 0, name))
                except OSError:
                    pass  # It holds another subvolume: file by file, then.
        idle = ["ionice", "-c", "3"] if shutil.which("ionice") else []
        subprocess.run(
            [*idle, "nice", "-n", "19", "rm", "-rf", "--", str(path)], check=False, preexec_fn=die_with_parent
        )
