"""Loop devices that stand in for drives, and the module run in a process of its own, as on a host."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Like the wrapper that Ansible sends: arguments in, one line of JSON out.
RUNNER = """
import importlib, json, sys
from ansible.module_utils.testing import patch_module_args
module = importlib.import_module("ansible_collections.runnerfleet.baremetal.plugins.modules." + sys.argv[1])
with patch_module_args(json.loads(sys.argv[2])):
    module.main()
"""


def sh(*command: str) -> str:
    """Run a command that must succeed."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@dataclass
class Drive:
    """A sparse file behind a loop device, with a by-id link as udev would make it."""

    file: Path
    node: str
    link: str

    def digest(self) -> str:
        """A hash of the whole device; holes of the file are read as what they are."""
        sha = hashlib.sha256()
        descriptor = os.open(self.file, os.O_RDONLY)
        os.fsync(descriptor)
        end, place = os.fstat(descriptor).st_size, 0
        while place < end:
            try:
                place = os.lseek(descriptor, place, os.SEEK_DATA)
            except OSError:
                break
            block = os.pread(descriptor, 1024**2 - place % 1024**2, place)
            if block.strip(b"\0"):
                sha.update(f"{place}:".encode() + block)
            place += len(block)
        os.close(descriptor)
        return sha.hexdigest()


@dataclass
class Bench:
    """Makes drives, runs the module, clears up."""

    folder: Path
    drives: list[Drive] = field(default_factory=list)
    cleanups: list[Callable[[], Any]] = field(default_factory=list)

    def drive(self, size: str = "1G") -> Drive:
        file = self.folder / f"drive-{uuid.uuid4().hex[:8]}"
        sh("truncate", "-s", size, str(file))
        node = sh("losetup", "--find", "--show", str(file))
        link = Path(f"/dev/disk/by-id/runnerfleet-test-{uuid.uuid4().hex[:12]}")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(node)
        self.drives.append(Drive(file, node, str(link)))
        return self.drives[-1]

    def arguments(self, drives: list[Drive], **options: Any) -> dict[str, Any]:
        volumes = [{"name": "engine", "size": "50%"}, {"name": "containers", "filesystem": "ext4"}]
        return {"drives": [d.link for d in drives], "volumes": volumes, **options}

    def start(
        self, drives: list[Drive], *, check: bool = False, path: str = "", **options: Any
    ) -> subprocess.Popen[str]:
        arguments = {**self.arguments(drives, **options), "_ansible_check_mode": check, "_ansible_diff": True}
        return self.process("nvme_layout", arguments, path)

    def facts(self, drives: list[Drive]) -> dict[str, Any]:
        """What nvme_facts tells of drives, by name."""
        out, error = self.process("nvme_facts", {"drives": [d.link for d in drives]}).communicate(timeout=120)
        assert out.strip(), error
        return {drive["identity"]: drive for drive in json.loads(out)["drives"]}

    def process(self, module: str, arguments: dict[str, Any], path: str = "") -> subprocess.Popen[str]:
        """A module as Ansible would run it."""
        modules = os.pathsep.join([str(ROOT / ".ansible/collections"), *sys.path])
        return subprocess.Popen(
            [sys.executable, "-c", RUNNER, module, json.dumps(arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": modules, "PATH": path or f"/usr/sbin:/sbin:{os.environ['PATH']}"},
            start_new_session=True,
        )

    def run(self, drives: list[Drive], **options: Any) -> dict[str, Any]:
        process = self.start(drives, **options)
        out, error = process.communicate(timeout=120)
        assert out.strip(), error
        result: dict[str, Any] = json.loads(out)
        return result

    def release(self, drives: list[Drive]) -> None:
        """Take drives away."""
        self.drives = [drive for drive in self.drives if drive not in drives]
        for drive in drives:
            Path(drive.link).unlink(missing_ok=True)
            subprocess.run(["partx", "--delete", drive.node], capture_output=True, check=False)
            subprocess.run(["losetup", "--detach", drive.node], capture_output=True, check=False)
            drive.file.unlink()

    def close(self) -> None:
        for cleanup in reversed(self.cleanups):
            cleanup()
        self.release(list(self.drives))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A bench with drives; without root or loop devices these tests fail, they are never skipped."""
    assert os.geteuid() == 0, "the device tests write to loop devices: run them as root"
    assert Path("/dev/loop-control").exists(), "the device tests need loop devices (modprobe loop)"
    made = Bench(tmp_path)
    try:
        yield made
    finally:
        made.close()
