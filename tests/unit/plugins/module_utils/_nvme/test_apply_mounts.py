"""Data that is moved to a volume; the rest of the host is in tests/devices and the scenarios."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme import apply_mounts
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.apply_drives import Writer
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.apply_mounts import MOVING, bind_directory
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.model import Mount, Volume
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.plan_mounts import ASIDE
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.probe_drives import Drives
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.steps import BindDirectory


@pytest.mark.parametrize("flushed", [True, False])
def test_data_is_on_the_drive_before_it_counts_as_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flushed: bool
) -> None:
    volume, target = tmp_path / "volume", tmp_path / "target"
    moving = Path(str(target) + MOVING)
    for directory in (volume, target, moving):
        directory.mkdir()
    (moving / "file").write_text("data")
    asked: list[str] = []

    def run(command: list[str], **_options: Any) -> tuple[int, str, str]:
        asked.append(command[0])
        if command[0] == "sync":
            return (0, "", "") if flushed else (1, "", "Input/output error")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    mount = Mount(str(target), "/dev/nvme0n1p1", "UUID=1", "/data", Volume("a", mount=str(volume)))
    monkeypatch.setattr(apply_mounts, "mount_table", lambda: {str(volume): ("259:1", "/")})
    monkeypatch.setattr(apply_mounts, "device_of", lambda _node: "259:1")
    monkeypatch.setattr(apply_mounts, "start", lambda *_arguments: None)
    writer, step = Writer(Drives(run)), BindDirectory(str(target), "", mount)
    if flushed:
        bind_directory(writer, step)
        assert (volume / "data/file").read_text() == "data" and Path(str(target) + ASIDE).is_dir()
    else:
        with pytest.raises(ValueError, match=r"sync --file-system .* failed \(1\): Input/output error"):
            bind_directory(writer, step)
        assert not (volume / "data").exists() and (moving / "file").exists()
    assert asked == ["cp", "sync"]


@pytest.mark.parametrize(
    ("target", "mode"), [("/var/lib/kubelet", 0o700), ("/var/lib/containerd", 0o700), ("/var/log/pods", 0o755)]
)
def test_a_new_directory_is_as_closed_as_its_program_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, mode: int
) -> None:
    """Whatever this process masks. Nothing lies at the targets: they are only names here."""
    monkeypatch.setattr(apply_mounts, "mount_table", lambda: {str(tmp_path): ("259:1", "/")})
    monkeypatch.setattr(apply_mounts, "device_of", lambda _node: "259:1")
    monkeypatch.setattr(apply_mounts, "MOVING", f"-{tmp_path.name}-nothing")
    monkeypatch.setattr(apply_mounts, "start", lambda *_arguments: None)
    before = os.umask(0o077)
    try:
        mount = Mount(target, "/dev/nvme0n1p1", "UUID=1", "/data", Volume("a", mount=str(tmp_path)))
        writer = Writer(Drives(lambda *_arguments, **_options: (0, "", "")))
        bind_directory(writer, BindDirectory(target, "", mount))
    finally:
        os.umask(before)
    assert (tmp_path / "data").stat().st_mode & 0o7777 == mode
