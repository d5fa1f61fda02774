"""Gathering, on a made-up /proc and /sys."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils import _hardware_host
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._hardware import Hardware
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme_drives import Drives

MEMINFO = "MemTotal:        7759462 kB\nHugePages_Total:       4\nHugepagesize:       2048 kB\nHugetlb:            8192 kB\n"
FREE: tuple[str, ...] = ()
BOOT = ("boot drive (/)", "boot drive (/boot/efi)")
MOUNTED = ("mounted at /var/lib/runnerfleet/engine",)


def never(*_arguments: Any, **_options: Any) -> Any:
    raise AssertionError("a command ran")


def table(*names: str) -> Any:
    """sfdisk's answer."""
    entries = [{"node": "/dev/x", "start": 1, "size": 1, **({"name": name} if name else {})} for name in names]
    return lambda command, **_: (0, json.dumps({"partitiontable": {"label": "gpt", "partitions": entries}}), "")


def write(root: Path, **files: str) -> None:
    for path, content in files.items():
        target = root / path.replace("__", "/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of four CPUs and no drive."""
    write(tmp_path, proc__meminfo=MEMINFO, sys__devices__system__cpu__online="0-3\n", sys__devices__system__cpu__present="0-5\n")
    monkeypatch.setattr(_hardware_host, "ROOT", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0, 1, 2, 7})
    monkeypatch.setattr(Drives, "links", staticmethod(lambda _name: []))
    return tmp_path


def drive(root: Path, name: str, partitions: int = 0, **files: str) -> Path:
    """A drive of 1 GiB in /sys/block."""
    folder = root / "sys/block" / name
    write(folder, size=str(2**21), device__model="MODEL  1 \n", **files)
    for number in range(1, partitions + 1):
        write(folder / f"{name}p{number}", partition=str(number))
    return folder


def blocked(monkeypatch: pytest.MonkeyPatch, **reasons: tuple[str, ...]) -> None:
    monkeypatch.setattr(Drives, "blocked", lambda _self, _node, sysfs, _held: reasons.get(sysfs.name, FREE))


def test_cpus_and_memory(root: Path) -> None:
    assert _hardware_host.gather(never, []) == Hardware(3, 7759462 * 1024, vcpus_offline=2, hugepages_bytes=8 * 2**20)


@pytest.mark.parametrize(
    ("files", "millis", "memory"),
    [
        ({"cgroup.controllers": "cpu memory"}, 0, 0),
        ({"cgroup.controllers": "cpu memory", "cpu.max": "max 100000\n", "memory.max": "max\n"}, 0, 0),
        ({"cgroup.controllers": "cpu memory", "cpu.max": "150000 100000\n", "memory.max": "2147483648\n"}, 1500, 2**31),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, 0, 0),
        (
            {
                "memory/memory.limit_in_bytes": "2147483648\n",
                "cpu/cpu.cfs_quota_us": "200000\n",
                "cpu/cpu.cfs_period_us": "100000\n",
            },
            2000,
            2**31,
        ),
        ({"cgroup.controllers": "cpu", "user.slice/memory.max": "2147483648\n", "user.slice/cpu.max": "100000 100000\n"}, 0, 0),
        ({}, 0, 0),
    ],
    ids=["a real machine", "no limits", "a container", "v1", "a container on v1", "a session's slice", "no cgroups"],
)
def test_cgroup_limits(root: Path, files: dict[str, str], millis: int, memory: int) -> None:
    write(root / "sys/fs/cgroup", **files)
    machine = _hardware_host.gather(never, [])
    assert (machine.cpu_limit_millis, machine.memory_limit_bytes) == (millis, memory)


def test_every_nvme_drive_counts_and_nothing_else(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nvme0n1", "nvme1n1", "sda", "loop0"):
        drive(root, name)
    drive(root, "nvme1c1n1", hidden="1\n")
    blocked(monkeypatch, nvme0n1=BOOT)
    monkeypatch.setattr(Drives, "links", staticmethod(lambda name: [f"/dev/disk/by-id/{name}-A"] if name == "nvme1n1" else []))
    first, second = _hardware_host.gather(never, []).drives
    assert (first.name, first.in_use, first.boot) == ("/dev/nvme0n1", "boot drive (/); boot drive (/boot/efi)", True)
    assert (second.name, second.in_use, second.boot) == ("/dev/disk/by-id/nvme1n1-A", "", False)
    assert (second.size_bytes, second.model, second.transport) == (2**30, "MODEL 1", "nvme")


def test_named_drives_are_looked_at_once_and_whatever_they_are(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = {"a": drive(root, "nvme0n1"), "b": drive(root, "sda"), "same as a": drive(root, "nvme0n1")}

    def resolve(_self: Drives, name: str) -> Path:
        if name not in places:
            raise ValueError("no such drive")
        return places[name]

    monkeypatch.setattr(Drives, "resolve", resolve)
    blocked(monkeypatch)
    drives = _hardware_host.gather(never, ["a", "b", "same as a", "gone"]).drives
    assert [(found.name, found.transport) for found in drives] == [("a", "nvme"), ("b", "")]
    assert _hardware_host.gather(never, ["gone"]).drives == ()


@pytest.mark.parametrize(
    ("reasons", "names", "in_use"),
    [
        (MOUNTED, ("runnerfleet-engine", "runnerfleet-containers.new"), ""),
        (MOUNTED, ("runnerfleet-engine", "home"), MOUNTED[0]),
        (MOUNTED, ("runnerfleet-engine", ""), MOUNTED[0]),
        (MOUNTED, (), MOUNTED[0]),
        (("read-only",), ("runnerfleet-engine",), "read-only"),
        (BOOT, ("runnerfleet-engine",), "; ".join(BOOT)),
    ],
    ids=["ours", "half ours", "one without a name", "no table", "read-only", "boot"],
)
def test_a_drive_that_is_set_up_by_us_is_free(
    root: Path, monkeypatch: pytest.MonkeyPatch, reasons: tuple[str, ...], names: tuple[str, ...], in_use: str
) -> None:
    drive(root, "nvme0n1", partitions=2)
    blocked(monkeypatch, nvme0n1=reasons)
    (found,) = _hardware_host.gather(table(*names), []).drives
    assert found.in_use == in_use


def test_a_drive_that_sfdisk_cannot_tell_about_is_in_use(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drive(root, "nvme0n1", partitions=1)
    blocked(monkeypatch, nvme0n1=MOUNTED)

    def missing(*_arguments: Any, **_options: Any) -> Any:
        raise FileNotFoundError("sfdisk")

    for run in (missing, lambda *_a, **_o: (1, "", "no table")):
        (found,) = _hardware_host.gather(run, []).drives
        assert found.in_use == MOUNTED[0]


def test_a_mounted_drive_without_partitions_asks_no_tool(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drive(root, "nvme0n1")
    blocked(monkeypatch, nvme0n1=MOUNTED)
    assert _hardware_host.gather(never, []).drives[0].in_use == MOUNTED[0]


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("devices/pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0/block/sda", "sata"),
        ("devices/pci0000:00/0000:00:14.0/usb1/1-1/1-1:1.0/host1/target/block/sdb", "usb"),
        ("devices/pci0000:00/0000:00:05.0/virtio2/block/vda", "virtio"),
        ("devices/virtual/block/loop0", "virtual"),
        ("devices/pci0000:00/0000:00:1d.0/0000:03:00.0/nvme/nvme0/nvme0n1", "nvme"),
        ("devices/pci0000:00/0000:01:00.0/host0/target0:2:0/0:2:0:0/block/sdc", ""),
    ],
)
def test_what_a_drive_hangs_on(tmp_path: Path, place: str, expected: str) -> None:
    link = tmp_path / "block" / Path(place).name
    (tmp_path / place).mkdir(parents=True)
    link.parent.mkdir()
    link.symlink_to(tmp_path / place)
    assert _hardware_host.transport(link) == expected


def test_this_machine() -> None:
    machine = _hardware_host.gather(lambda *_arguments, **_options: (1, "", "not here"), [])
    assert machine.vcpus >= 1 and machine.memory_bytes > 10**8 and machine.hugepages_bytes < machine.memory_bytes
