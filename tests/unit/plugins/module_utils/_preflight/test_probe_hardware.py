"""Gathering, on a made-up /proc and /sys."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme import probe_drives
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.model import ours
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight import probe_hardware
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.hardware import Hardware

from tests.unit.plugins.machines import Machine, samsung

MEMINFO = (
    "MemTotal:        7759462 kB\nHugePages_Total:       4\nHugepagesize:       2048 kB\nHugetlb:            8192 kB\n"
)


def never(*_arguments: Any, **_options: Any) -> Any:
    raise AssertionError("a command ran")


def write(root: Path, **files: str) -> None:
    for path, content in files.items():
        target = root / path.replace("__", "/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of four CPUs and no drive."""
    write(
        tmp_path,
        proc__meminfo=MEMINFO,
        sys__devices__system__cpu__online="0-3\n",
        sys__devices__system__cpu__present="0-5\n",
    )
    monkeypatch.setattr(probe_hardware, "ROOT", tmp_path)
    monkeypatch.setattr(probe_drives, "ROOT", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0, 1, 2, 7})
    return tmp_path


def test_cpus_and_memory(root: Path) -> None:
    assert probe_hardware.gather(never, []) == Hardware(3, 7759462 * 1024, vcpus_offline=2, hugepages_bytes=8 * 2**20)


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
        (
            {
                "cgroup.controllers": "cpu",
                "user.slice/memory.max": "2147483648\n",
                "user.slice/cpu.max": "100000 100000\n",
            },
            0,
            0,
        ),
        ({}, 0, 0),
    ],
    ids=["a real machine", "no limits", "a container", "v1", "a container on v1", "a session's slice", "no cgroups"],
)
def test_cgroup_limits(root: Path, files: dict[str, str], millis: int, memory: int) -> None:
    write(root / "sys/fs/cgroup", **files)
    machine = probe_hardware.gather(never, [])
    assert (machine.cpu_limit_millis, machine.memory_limit_bytes) == (millis, memory)


def test_every_nvme_drive_counts_and_nothing_else(machine: Machine) -> None:
    machine.drive("nvme0n1", partitions=1, **samsung(serial="S0", wwid="eui.0"))
    machine.drive("nvme1n1", links=("by-id/nvme-A",), **samsung())
    machine.drive("nvme1c1n1", hidden="1")
    machine.drive("sda")
    machine.mount("nvme0n1p1", "/")
    machine.mount("nvme0n1p1", "/boot/efi")
    first, second = probe_hardware.gather(machine.run, []).drives
    assert (first.name, first.in_use, first.boot) == ("/dev/nvme0n1", "boot: /; boot: /boot/efi", True)
    assert (second.name, second.in_use, second.boot) == ("/dev/disk/by-id/nvme-A", "", False)
    assert (second.size_bytes, second.model, second.transport) == (400 * 2**20, "SAMSUNG MZQL2", "nvme")


def test_named_drives_are_looked_at_once_and_whatever_they_are(machine: Machine) -> None:
    machine.drive("nvme0n1", links=("by-id/nvme-A", "by-id/nvme-B"), **samsung())
    machine.drive("sda", links=("by-id/ata-A",))
    names = ["/dev/disk/by-id/nvme-A", "/dev/disk/by-id/ata-A", "/dev/disk/by-id/nvme-B", "eui.gone"]
    drives = probe_hardware.gather(machine.run, names).drives
    assert [(found.name, found.transport, found.in_use) for found in drives] == [
        (names[0], "nvme", ""),
        (names[1], "", ""),
    ]
    assert probe_hardware.gather(machine.run, ["eui.gone"]).drives == ()


def test_one_namespace_on_two_paths_counts_once(machine: Machine) -> None:
    machine.drive("nvme0n1", **samsung(cntlid="0"))
    machine.drive("nvme1n1", links=("by-id/nvme-A",), **samsung(cntlid="1"))
    (found,) = probe_hardware.gather(machine.run, []).drives
    assert found.name == "/dev/disk/by-id/nvme-A"
    assert len(probe_hardware.gather(machine.run, ["/dev/disk/by-id/nvme-A", "S1"]).drives) == 1


PV = {
    "pv_uuid": "abcdef-abcd-abcd-abcd-abcd-abcd-abcdef",
    "vg_name": "runnerfleet",
    "vg_uuid": "vg",
    "vg_tags": "runnerfleet",
}
LVM = {"dm/uuid": f"LVM-{'0123456789abcdef' * 4}", "dm/name": "runnerfleet-engine"}


@pytest.mark.parametrize(
    ("partitions", "holder", "attributes", "in_use"),
    [
        pytest.param(("runnerfleet-engine", "runnerfleet-containers.new"), "", {}, "", id="partitions of ours"),
        pytest.param(("home",), "", {}, "mounted: /srv", id="a stranger's partition"),
        pytest.param((), "dm-0", LVM, "", id="a volume of our group"),
        pytest.param((), "dm-0", {**LVM, "dm/name": "data-engine"}, "holder: dm-0", id="a volume of another group"),
        pytest.param(
            (),
            "dm-0",
            {**LVM, "dm/name": "runnerfleet--old-engine"},
            "holder: dm-0",
            id="a group with a name like ours",
        ),
        pytest.param(
            (),
            "dm-0",
            {"dm/uuid": "CRYPT-1", "dm/name": "runnerfleet-x"},
            "holder: dm-0",
            id="something else called so",
        ),
        pytest.param((), "md127", {"md/level": "raid0"}, "holder: md127", id="a stranger's array"),
        pytest.param((), "bcache0", {}, "holder: bcache0", id="a cache"),
    ],
)
def test_what_is_ours_is_free_and_what_is_not_is_in_use(
    machine: Machine, partitions: tuple[str, ...], holder: str, attributes: dict[str, str], in_use: str
) -> None:
    machine.drive("nvme0n1", partitions=len(partitions), **samsung())
    if partitions:
        machine.partition("nvme0n1", *partitions)
        machine.mount("nvme0n1p1", "/srv")
    if holder:
        machine.holder(holder, "nvme0n1", **attributes)
    for names in ([], ["S1"]):
        (found,) = probe_hardware.gather(machine.run, names).drives
        assert found.in_use == in_use
    # The one who lays out drives says the same.
    assert ours(machine.drives.inspect(machine.drives.resolve("S1"))) == (not in_use)


@pytest.mark.parametrize(
    ("probed", "row", "in_use"),
    [
        ("TYPE=LVM2_member\nUUID={pv_uuid}\n", {}, ""),
        ("TYPE=LVM2_member\nUUID={pv_uuid}\n", {"vg_tags": ""}, "holder: dm-0"),
        ("TYPE=LVM2_member\nUUID={pv_uuid}\n", {"vg_name": "data", "vg_tags": "other"}, "holder: dm-0"),
        ("TYPE=LVM2_member\nUUID=unknown\n", {}, ""),
        ("TYPE=linux_raid_member\nLABEL=any:runnerfleet\nUUID=1\n", {}, ""),
        ("TYPE=linux_raid_member\nLABEL=host:data\nUUID=1\n", {}, "holder: dm-0"),
        ("TYPE=btrfs\nLABEL=runnerfleet\nUUID=1\n", {}, "holder: dm-0"),
    ],
    ids=[
        "tagged",
        "without the tag",
        "another group",
        "not listed by LVM",
        "our array",
        "another array",
        "btrfs of our name",
    ],
)
def test_members_of_stripes(machine: Machine, probed: str, row: dict[str, str], in_use: str) -> None:
    machine.drive("nvme0n1", **samsung())
    machine.holder("dm-0", "nvme0n1", **LVM)
    kind = probed.partition("\n")[0].partition("=")[2]
    machine.answers["blkid"] = (0, probed.format(**PV), "")
    machine.answers["wipefs"] = (0, json.dumps({"signatures": [{"type": kind}]}), "")
    machine.answers["pvs"] = (0, json.dumps({"report": [{"pv": [{**PV, **row}]}]}), "")
    assert probe_hardware.gather(machine.run, []).drives[0].in_use == in_use


@pytest.mark.parametrize("holder", ["md0", "md127", "md_runnerfleet", "md_d0"])
@pytest.mark.parametrize(
    ("label", "mine"),
    [
        ("runnerfleet", True),
        ("any:runnerfleet", True),
        ("other-host:runnerfleet", True),
        ("runnerfleet:data", False),
        ("any:runnerfleet-old", False),
        ("any:old-runnerfleet", False),
        ("", False),
    ],
)
def test_an_array_is_ours_by_its_superblock_whatever_the_kernel_calls_it(
    machine: Machine, holder: str, label: str, mine: bool
) -> None:
    machine.drive("nvme0n1", links=("by-id/nvme-A",), **samsung())
    machine.holder(holder, "nvme0n1", **{"md/level": "raid0"})
    machine.answers["blkid"] = (0, f"TYPE=linux_raid_member\nLABEL={label}\nUUID=1\n", "")
    machine.answers["wipefs"] = (0, json.dumps({"signatures": [{"type": "linux_raid_member"}]}), "")
    for names in ([], ["S1"], ["/dev/disk/by-id/nvme-A"]):
        (found,) = probe_hardware.gather(machine.run, names).drives
        assert found.in_use == ("" if mine else f"holder: {holder}")


@pytest.mark.parametrize("what", ["read-only", "boot", "swap"])
def test_what_is_no_use_of_ours_stays(machine: Machine, what: str) -> None:
    machine.drive("nvme0n1", partitions=1, ro="1" if what == "read-only" else "0", **samsung())
    machine.partition("nvme0n1", "runnerfleet-engine")
    if what == "boot":
        machine.mount("nvme0n1p1", "/")
    if what == "swap":
        machine.write("proc/swaps", "Filename\n/dev/nvme0n1p1 partition 1 0 -2\n")
    (found,) = probe_hardware.gather(machine.run, []).drives
    assert found.in_use.startswith(what) and found.boot == (what == "boot")


def test_a_drive_that_cannot_be_read_does_not_end_the_look(machine: Machine) -> None:
    machine.drive("nvme0n1", size=0, **samsung(wwid="eui.a0", serial="A"))
    (machine.drive("nvme1n1", **samsung(wwid="eui.b0", serial="B"))).unlink()
    machine.drive("nvme2n1", **samsung(wwid="eui.c0", serial="C"))
    reasons = [drive.in_use for drive in probe_hardware.gather(machine.run, []).drives]
    assert reasons[0] == "no usable size: 0 bytes" and "cannot be read: " in reasons[1] and reasons[2] == ""


def test_a_missing_tool_is_a_reason(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.drive("nvme0n1", **samsung())

    def missing(command: list[str], **_options: Any) -> Any:
        raise FileNotFoundError(command[0])

    assert "blkid is not installed: install package util-linux" in probe_hardware.gather(missing, []).drives[0].in_use


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
    assert probe_hardware.transport(link) == expected


def test_this_machine() -> None:
    here = probe_hardware.gather(lambda *_arguments, **_options: (1, "", "not here"), [])
    assert here.vcpus >= 1 and here.memory_bytes > 10**8 and here.hugepages_bytes < here.memory_bytes
