"""The canary step's program and how it is run; the database that an engine leaves."""

from __future__ import annotations

import importlib
import platform
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def load(repository: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """Imports a file of the pod's, where they lie side by side."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(repository / "roles/dagger_engine/files"))
    return importlib.import_module


@pytest.fixture
def canary(load: object) -> ModuleType:
    return load("engine_canary")  # type: ignore[operator,no-any-return]


@pytest.fixture
def database(load: object) -> ModuleType:
    return load("engine_database")  # type: ignore[operator,no-any-return]


def written(canary: ModuleType, folder: Path, machine: str) -> Path:
    path = folder / "canary"
    path.write_bytes(canary.program(machine))
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_program_is_small_and_the_same_each_time(canary: ModuleType, machine: str) -> None:
    assert canary.program(machine) == canary.program(machine) and 200 < len(canary.program(machine)) < 300
    assert canary.program(machine).endswith(canary.SOURCE)


def test_a_machine_without_a_program_has_no_canary(canary: ModuleType) -> None:
    assert canary.program("riscv64") == b"" and canary.Canary(3, "riscv64").answer("n", 1) == ""


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_program_prints_another_number_each_time(canary: ModuleType, tmp_path: Path, machine: str) -> None:
    """On this machine's processor, or in an emulator where there is one."""
    emulator = [] if machine == platform.machine() else [shutil.which(f"qemu-{machine}-static") or ""]
    if emulator == [""]:
        pytest.skip(f"no emulator of {machine} here")
    argv = [*emulator, str(written(canary, tmp_path, machine)), "nonce"]
    printed = {subprocess.run(argv, capture_output=True, text=True, check=True).stdout for _time in range(3)}
    assert len(printed) == 3 and all(re.fullmatch(r"[0-9a-f-]{36}\n", text) for text in printed)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="made for another processor")
def test_without_its_source_the_program_fails_and_prints_nothing(canary: ModuleType, tmp_path: Path) -> None:
    program = written(canary, tmp_path, "x86_64")
    program.write_bytes(program.read_bytes().replace(b"/uuid\0", b"/none\0"))
    done = subprocess.run([str(program)], capture_output=True, check=False)
    assert done.returncode != 0 and done.stdout == b""


def test_a_nonce_is_kept_while_the_program_is_the_same(canary: ModuleType) -> None:
    step = canary.Canary(3, "x86_64")
    nonce = step.nonce()
    assert step.nonce(f"{nonce} answer") == nonce != step.nonce()
    assert not step.nonce("00000000-1234 answer").startswith("00000000")


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        ("6fb06e81-d305-467c-9a13-1ad9c4ac87e9\n", "6fb06e81-d305-467c-9a13-1ad9c4ac87e9"),
        (
            "\x1b[2m|\x1b[0m \x1b[1m6fb06e81-d305-467c-9a13-1ad9c4ac87e9\x1b[0m\r\n",
            "6fb06e81-d305-467c-9a13-1ad9c4ac87e9",
        ),
        ("Error: no engine\n", ""),
        ("", ""),
    ],
)
def test_an_answer_is_found_whatever_is_around_it(canary: ModuleType, output: str, answer: str) -> None:
    assert canary._last(output) == answer


def engine_database(state: Path, mark: str | None, results: int) -> Path:
    """As an engine leaves it, in the form in which it writes."""
    path = state / "dagql-cache.db"
    with sqlite3.connect(path) as made:
        made.execute("PRAGMA journal_mode=WAL")
        made.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        made.execute("CREATE TABLE results (id INTEGER PRIMARY KEY, self_payload BLOB NOT NULL)")
        if mark is not None:
            made.execute("INSERT INTO meta VALUES ('clean_shutdown', ?)", (mark,))
        made.executemany("INSERT INTO results VALUES (?, randomblob(512))", ((number,) for number in range(results)))
    made.close()
    return path


@pytest.mark.parametrize(("mark", "clean"), [("1", True), ("0", False), (None, False)])
def test_the_mark_of_a_clean_stop(database: ModuleType, tmp_path: Path, mark: str | None, clean: bool) -> None:
    engine_database(tmp_path, mark, 100)
    found = database.read(tmp_path)
    assert (found.clean, found.results) == (clean, 100) and 50_000 < found.bytes < 200_000
    assert [path.name for path in tmp_path.iterdir()] == ["dagql-cache.db"]  # reading left nothing beside it


def test_what_lies_in_the_journal_of_a_killed_engine_is_read(database: ModuleType, tmp_path: Path) -> None:
    path = engine_database(tmp_path, "1", 1)
    killed = (
        "import os, sqlite3, sys; d = sqlite3.connect(sys.argv[1]); d.execute(\"UPDATE meta SET value = '0'\"); "
        "d.commit(); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", killed, str(path)], check=False)
    assert (tmp_path / "dagql-cache.db-wal").stat().st_size
    assert database.read(tmp_path).clean is False


def test_a_database_that_is_not_there_says_nothing_and_a_damaged_one_has_no_mark(
    database: ModuleType, tmp_path: Path
) -> None:
    assert database.read(tmp_path) is None
    (tmp_path / "dagql-cache.db").write_bytes(b"no database" * 1000)
    assert database.read(tmp_path).clean is False
    (tmp_path / "dagql-cache.db").write_bytes(b"")
    assert database.read(tmp_path).clean is False
