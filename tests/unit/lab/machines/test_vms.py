"""How virtual machines are started, and what happens to their drives."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.machines import vm_image, vms
from lab.machines.vm_image import Image
from lab.machines.vms import Drive, Vm
from lab.process import LabError


def a_vm(
    directory: Path = Path("/cache/nvme-1"), drives: tuple[Drive, ...] = (Drive("BOOT"), Drive("DATA1"), Drive("DATA2"))
) -> Vm:
    return Vm(directory, Path("/cache/image"), 2048, drives, 2201)


def options(command: list[str], name: str) -> list[str]:
    return [value for option, value in itertools.pairwise(command) if option == name]


def nvme(vm: Vm) -> list[str]:
    return [
        device
        for device in options(vms.qemu_command(vm, Image(vm.image), vms.TCG), "-device")
        if device.startswith("nvme,")
    ]


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A set of machines in a folder of this test."""
    monkeypatch.setenv("LAB_FLEET", "unit")
    monkeypatch.setattr(vms, "VMS", tmp_path)
    monkeypatch.setattr(vm_image, "ensure_host_key", lambda: "ssh-ed25519 AAAA")
    return tmp_path / "unit"


@pytest.fixture
def saved(fleet: Path) -> Vm:
    """A machine on disk that is off."""
    directory = fleet / "nvme-1"
    directory.mkdir(parents=True)
    return vms.save(a_vm(directory))


def test_every_drive_has_a_serial_and_an_address() -> None:
    assert nvme(a_vm()) == [
        "nvme,drive=BOOT,serial=BOOT-nvme-1,addr=0x4",
        "nvme,drive=DATA1,serial=DATA1-nvme-1,addr=0x5",
        "nvme,drive=DATA2,serial=DATA2-nvme-1,addr=0x6",
    ]


def test_a_missing_drive_leaves_its_address_free() -> None:
    vm = vms.with_presence(a_vm(), "DATA1", False)
    assert [device.rpartition("addr=")[2] for device in nvme(vm)] == ["0x4", "0x6"]
    assert vm.data_serials() == ["DATA2-nvme-1"]
    assert vms.with_presence(vm, "DATA1-nvme-1", True) == a_vm()


def test_reordered_drives_all_have_another_address_and_stay_themselves() -> None:
    vm = a_vm(drives=(Drive("BOOT"), Drive("DATA1"), Drive("DATA2"), Drive("DATA3")))
    moved = vms.reordered(vm)
    assert not set(nvme(vm)) & set(nvme(moved))
    assert moved.data_serials() == vm.data_serials()
    assert vms.reordered(moved) == vm


@pytest.mark.parametrize(
    ("drives", "expected"),
    [((), "DATA1"), (("DATA1", "DATA2"), "DATA3"), (("DATA9", "DATA10", "DATA2"), "DATA11")],
    ids=["none", "two", "ten"],
)
def test_a_new_drive_has_a_name_that_none_had(drives: tuple[str, ...], expected: str) -> None:
    vm = vms.with_another_drive(a_vm(drives=(Drive("BOOT"), *map(Drive, drives))))
    assert vm.drives[-1] == Drive(expected)


def test_serials_come_in_the_order_in_which_drives_were_made() -> None:
    vm = a_vm(drives=tuple(map(Drive, ("DATA10", "DATA2", "BOOT", "DATA1"))))
    assert vm.data_serials() == ["DATA1-nvme-1", "DATA2-nvme-1", "DATA10-nvme-1"]


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda vm: vms.with_presence(vm, "DATA7", False), "nvme-1 has no drive 'DATA7'; it has BOOT, DATA1, DATA2"),
        (lambda vm: vms.with_presence(vm, "BOOT", False), "nvme-1 cannot boot without BOOT"),
        (lambda vm: vms.with_another_drive(a_vm(drives=tuple(Drive(f"DATA{n}") for n in range(28)))), "has 28 drives"),
    ],
    ids=["unknown", "boot drive", "full"],
)
def test_what_cannot_be_is_refused(act: object, message: str) -> None:
    with pytest.raises(LabError, match=message):
        act(a_vm())  # type: ignore[operator]


@pytest.mark.parametrize(("accelerator", "host"), [(vms.TCG, False), ("kvm", True)], ids=["tcg", "kvm"])
def test_the_machine_talks_to_loopback_only(accelerator: str, host: bool) -> None:
    command = vms.qemu_command(a_vm(), Image(Path("/cache/image")), accelerator)
    assert options(command, "-netdev") == ["user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:2201-:22"]
    assert options(command, "-accel") == [accelerator]
    assert ("host" in options(command, "-cpu")) is host
    assert f"root=UUID={vm_image.ROOT_UUID}" in options(command, "-append")[0]


def test_ssh_knows_the_host_key_beforehand() -> None:
    command = vms.ssh_command(a_vm(), "true")
    assert "StrictHostKeyChecking=yes" in command
    assert f"HostKeyAlias={vms.HOST_KEY_ALIAS}" in command
    assert command[-2:] == ["root@127.0.0.1", "true"]


def test_a_saved_machine_is_read_back_and_in_the_inventory(fleet: Path, saved: Vm) -> None:
    assert vms.names() == ["nvme-1"]
    assert vms.load("nvme-1") == saved
    vms.unplug(saved, "DATA1")
    facts = json.loads((fleet / "vms.json").read_text())
    assert facts["machines"] == {"nvme-1": {"port": 2201, "drives": ["DATA2-nvme-1"]}}
    assert Path(facts["known_hosts"]).read_text() == "runnerfleet-vm ssh-ed25519 AAAA\n"


def test_a_machine_that_is_not_there_is_named(fleet: Path) -> None:
    with pytest.raises(LabError, match=r"no virtual machine 'nvme-9' .* run `python -m lab.machines.vms up nvme-9`"):
        vms.load("nvme-9")


@pytest.mark.parametrize(
    "name", ["", "Nvme", "1nvme", "a/b", "a" * 13], ids=["empty", "capital", "digit", "path", "long"]
)
def test_a_bad_name_is_refused_before_anything_is_made(fleet: Path, name: str) -> None:
    with pytest.raises(LabError, match="a virtual machine is called by"):
        vms.make(name, 1, 512)
    assert not fleet.exists()


@pytest.fixture
def process(saved: Vm) -> Iterator[subprocess.Popen[bytes]]:
    """A process whose id is in the machine's pid file, but which is not the machine."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    saved.pid_file.write_text(f"{child.pid}\n")
    yield child
    child.kill()
    child.wait()


def test_another_program_with_the_same_id_is_not_killed(saved: Vm, process: subprocess.Popen[bytes]) -> None:
    assert vms.pid(saved) is None
    vms.cut(saved)
    assert process.poll() is None


def test_the_machine_itself_is_killed_and_waited_for(saved: Vm) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", str(saved.pid_file)])
    saved.pid_file.write_text(f"{child.pid}\n")
    deadline = time.monotonic() + 10
    while vms.pid(saved) is None and time.monotonic() < deadline:  # The program's name appears when exec is done.
        time.sleep(0.01)
    assert vms.pid(saved) == child.pid
    vms.cut(saved)
    assert vms.pid(saved) is None
    assert child.wait() == -9


@pytest.mark.parametrize("content", [None, "", "no number"], ids=["no file", "empty", "text"])
def test_a_machine_without_a_process_is_off(saved: Vm, content: str | None) -> None:
    if content is not None:
        saved.pid_file.write_text(content)
    assert vms.pid(saved) is None


def test_down_removes_one_machine_then_all(fleet: Path, saved: Vm) -> None:
    other = fleet / "nvme-2"
    other.mkdir()
    vms.save(a_vm(other))
    vms.down("nvme-1")
    assert vms.names() == ["nvme-2"]
    assert list(json.loads((fleet / "vms.json").read_text())["machines"]) == ["nvme-2"]
    vms.down()
    assert not fleet.exists()


@pytest.mark.parametrize(("answer", "expected"), [(True, "kvm"), (False, vms.TCG)], ids=["boots", "does not boot"])
def test_kvm_is_tried_once(fleet: Path, monkeypatch: pytest.MonkeyPatch, answer: bool, expected: str) -> None:
    asked: list[Image] = []
    monkeypatch.setattr(os, "access", lambda *_: True)
    monkeypatch.setattr(vm_image, "ensure", lambda: Image(Path("/cache/image")))
    monkeypatch.setattr(vms, "_kvm_boots", lambda image: bool(asked.append(image)) or answer)
    assert [vms.accelerator(), vms.accelerator()] == [expected, expected]
    assert len(asked) == 1


def test_without_kvm_nothing_is_tried(fleet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert vms.accelerator() == vms.TCG


def test_an_image_is_named_after_all_that_goes_into_it() -> None:
    keys = {vm_image.image_key("a", 1, "key"), vm_image.image_key("a", 2, "key"), vm_image.image_key("b", 1, "key")}
    assert len(keys) == 3
    assert vm_image.image_key("a", 1, "key") in keys
