"""Owner, group and mode of a volume's root, and data that is moved to it; the rest of the host is in tests/devices and
the scenarios.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme import apply_mounts
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.apply_mounts import (
    MOVING,
    Host,
    owned,
    owner_of,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.model import Volume
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.plan_mounts import ASIDE, Mount
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.probe_drives import Drives


@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        (Volume("a"), (-1, -1, -1)),
        (Volume("a", owner="root", group="0", mode="0750"), (0, 0, 0o750)),
        (Volume("a", owner="1234"), (1234, -1, -1)),
    ],
    ids=["nothing", "names", "number"],
)
def test_owner_of(volume: Volume, expected: tuple[int, int, int]) -> None:
    assert owner_of(volume) == expected


@pytest.mark.parametrize("key", ["owner", "group"])
def test_a_name_that_the_host_does_not_know(key: str) -> None:
    with pytest.raises(ValueError, match=r"volume a: .*no-such-name.* on this host: make it first, or give its number"):
        owner_of(Volume("a", **{key: "no-such-name"}))


def test_owned(tmp_path: Path) -> None:
    tmp_path.chmod(0o711)
    mount = str(tmp_path)
    assert owned(Volume("a", mount=mount), True) and owned(
        Volume("a", mount=mount, mode="711", owner=str(os.getuid())), True
    )
    assert not owned(Volume("a", mount=mount, mode="0700"), True)
    assert owned(Volume("a", mount=mount), False) and not owned(Volume("a", mount=mount, mode="711"), False)


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
    monkeypatch.setattr(Host, "do_mount", lambda *_arguments: None)
    host = Host(Drives(run))
    if flushed:
        host.do_bind(str(target), {"mount": mount})
        assert (volume / "data/file").read_text() == "data" and Path(str(target) + ASIDE).is_dir()
    else:
        with pytest.raises(ValueError, match=r"sync --file-system .* failed \(1\): Input/output error"):
            host.do_bind(str(target), {"mount": mount})
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
    monkeypatch.setattr(Host, "do_mount", lambda *_arguments: None)
    before = os.umask(0o077)
    try:
        Host(Drives(lambda *_arguments, **_options: (0, "", ""))).do_bind(
            target, {"mount": Mount(target, "/dev/nvme0n1p1", "UUID=1", "/data", Volume("a", mount=str(tmp_path)))}
        )
    finally:
        os.umask(before)
    assert (tmp_path / "data").stat().st_mode & 0o7777 == mode
