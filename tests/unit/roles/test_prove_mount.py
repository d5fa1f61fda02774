"""The script that keeps an engine off an unmounted drive."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A node's directories, and a `stat` that says on which device each of them is."""
    (tmp_path / "parent/engine").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    stat = tmp_path / "bin/stat"
    stat.write_text('#!/bin/sh\ncat "$3/.device" 2>/dev/null || echo 1\n', encoding="utf-8")
    stat.chmod(0o755)
    return tmp_path


def prove(repository: Path, node: Path) -> subprocess.CompletedProcess[str]:
    script = repository / "roles/dagger_engine/files/prove-mount.sh"
    argv = ["sh", str(script), str(node / "parent"), str(node / "parent/engine"), "0.21.8"]
    return subprocess.run(argv, env={"PATH": f"{node}/bin:/usr/bin:/bin"}, capture_output=True, text=True, check=False)


def test_an_unmounted_drive_stops_the_engine_and_leaves_nothing(repository: Path, node: Path) -> None:
    result = prove(repository, node)
    assert result.returncode == 1
    assert "is not a mount of its own" in result.stderr
    assert list((node / "parent/engine").iterdir()) == []


def test_a_mounted_drive_gets_its_state_directory_twice(repository: Path, node: Path) -> None:
    (node / "parent/engine/.device").write_text("2\n", encoding="utf-8")
    for _attempt in range(2):
        result = prove(repository, node)
        assert (result.returncode, result.stderr) == (0, "")
    assert (node / "parent/engine/0.21.8/state").is_dir()


def test_a_missing_directory_is_an_error(repository: Path, node: Path) -> None:
    (node / "bin/stat").unlink()
    (node / "parent/engine").rmdir()
    result = prove(repository, node)
    assert result.returncode != 0
    assert not (node / "parent/engine").exists()
