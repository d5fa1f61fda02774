"""A made-up machine below a folder: drives as sparse files, sysfs, udev's links. The tools that look at drives are the
real ones.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme import probe_drives
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.probe_drives import Drives

MIB = 1024**2


class Machine:
    """Drives of a machine, and what LVM would tell."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.answers: dict[str, tuple[int, str, str]] = {"pvs": (0, '{"report": [{"pv": []}]}', "")}
        self.numbers: dict[str, str] = {}
        for folder in (
            "sys/block",
            "sys/class/block",
            "dev/disk/by-id",
            "dev/disk/by-path",
            "proc/self",
            "run/udev/data",
        ):
            (root / folder).mkdir(parents=True)
        self.write("proc/self/mountinfo", "")
        self.write("proc/swaps", "Filename Type Size Used Priority\n")

    def write(self, path: str, text: str) -> None:
        """A file of the machine."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def drive(
        self, name: str, size: int = 400 * MIB, links: tuple[str, ...] = (), partitions: int = 0, **attributes: str
    ) -> Path:
        """A drive; `wwid`, `serial`, `model`, `nsid`, `cntlid`, `nqn` and `hidden` are as sysfs has them. Returns its
        content.
        """
        places = {
            "serial": "device/serial",
            "model": "device/model",
            "cntlid": "device/cntlid",
            "nqn": "device/subsysnqn",
        }
        self.numbers[name] = f"259:{len(self.numbers)}"
        files = {"size": str(size // 512), "dev": self.numbers[name], "queue/logical_block_size": "512", "ro": "0"}
        for path, text in {**files, **{places.get(key, key): value for key, value in attributes.items()}}.items():
            self.write(f"sys/class/block/{name}/{path}", f"{text}\n")
        (self.root / "sys/block" / name).symlink_to(self.root / "sys/class/block" / name)
        for number in range(1, partitions + 1):
            self.numbers[f"{name}p{number}"] = f"259:{len(self.numbers)}"
            self.write(f"sys/class/block/{name}/{name}p{number}/partition", str(number))
            self.write(f"sys/class/block/{name}/{name}p{number}/dev", self.numbers[f"{name}p{number}"])
            (self.root / "sys/class/block" / f"{name}p{number}").symlink_to(
                self.root / f"sys/class/block/{name}/{name}p{number}"
            )
            (self.root / "dev" / f"{name}p{number}").touch()
        node = self.root / "dev" / name
        with node.open("wb") as file:
            file.truncate(size)
        for link in links:
            self.link(link, name)
        return node

    def link(self, link: str, name: str) -> None:
        """A link below /dev/disk."""
        (self.root / "dev/disk" / link).symlink_to(f"../../{name}")

    def holder(self, name: str, drive: str, **attributes: str) -> None:
        """A device that is stacked on a drive."""
        for path, text in {"dev": f"252:{len(self.numbers)}", **attributes}.items():
            self.write(f"sys/class/block/{name}/{path}", f"{text}\n")
        folder = self.root / "sys/class/block" / drive / "holders"
        folder.mkdir(exist_ok=True)
        (folder / name).symlink_to(self.root / "sys/class/block" / name)

    def mount(self, name: str, target: str) -> None:
        """Something of a drive that is mounted."""
        with (self.root / "proc/self/mountinfo").open("a") as file:
            file.write(f"30 1 {self.numbers[name]} / {target} rw - xfs /dev/{name} rw\n")

    def run(self, command: list[str], data: str | None = None, **_options: Any) -> tuple[int, str, str]:
        """The real tool on the made-up drive; LVM and nvme-cli as told."""
        if command[0] in self.answers:
            return self.answers[command[0]]
        if command[0] not in ("blkid", "wipefs", "sfdisk"):
            raise FileNotFoundError(command[0])
        prefix = str(self.root)
        made = [prefix + part if part.startswith("/dev/") else part for part in command]
        path = f"/usr/sbin:/sbin:{os.environ['PATH']}"
        done = subprocess.run(
            made, input=data, capture_output=True, text=True, env={"PATH": path, "LC_ALL": "C"}, check=False
        )
        return done.returncode, done.stdout.replace(prefix, ""), done.stderr.replace(prefix, "")

    @property
    def drives(self) -> Drives:
        """The reader, on this machine."""
        return Drives(self.run)

    def partition(self, name: str, *names: str) -> None:
        """A GPT with partitions of 64 MiB by these names."""
        lines = ["label: gpt", *(f'size=131072, name="{one}"' for one in names)]
        script = "\n".join(lines)
        subprocess.run(
            ["/usr/sbin/sfdisk", "-q", str(self.root / "dev" / name)],
            input=script,
            text=True,
            check=True,
            capture_output=True,
        )


def machine(root: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine without drives, which the reader takes for the real one."""
    made = Machine(root)
    monkeypatch.setattr(probe_drives, "ROOT", root)
    monkeypatch.setattr(
        probe_drives, "device_of", lambda path: made.numbers.get(Path(os.path.realpath(str(root) + path)).name, "")
    )
    monkeypatch.setattr(probe_drives.shutil, "which", lambda *_a, **_k: "/usr/sbin/lvm")
    return made


def samsung(**changed: str) -> Mapping[str, str]:
    """The attributes of one drive."""
    return {
        "wwid": "eui.0025385800000001",
        "nsid": "1",
        "serial": "S1",
        "model": "SAMSUNG MZQL2",
        "cntlid": "4",
        **changed,
    }
