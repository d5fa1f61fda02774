"""Partitions on real NVMe controllers, through reboots, power cuts and other names for the same drives."""

from __future__ import annotations

import json
from typing import Any

from tests.vm.conftest import Machine

LAYOUT = "runnerfleet.baremetal.nvme_layout"
MOUNTS = ("/srv/engine", "/srv/containers")


def _mounted(vm: Machine) -> dict[str, str]:
    """The UUID of the filesystem at each mount point."""
    found = json.loads(vm.sh("findmnt --json --list --output TARGET,UUID,SOURCE"))["filesystems"]
    return {mount["target"]: mount["uuid"] for mount in found if mount["target"] in MOUNTS}


def _nodes(vm: Machine) -> dict[str, str]:
    """The kernel's name of each drive, by serial number."""
    found = json.loads(vm.sh("lsblk --nodeps --json --output NAME,SERIAL"))["blockdevices"]
    return {drive["serial"]: drive["name"] for drive in found}


def test_partitions_survive_reboot_renumbering_and_a_power_cut(vm: Machine) -> None:
    volumes = [{"name": "engine", "mount": MOUNTS[0]}, {"name": "containers", "filesystem": "ext4", "mount": MOUNTS[1]}]
    wish: dict[str, Any] = {"drives": vm.serials[:2], "layout": "spread", "volumes": volumes}

    plan = vm.module(LAYOUT, check=True, **wish)
    assert plan["changed"] and not plan["failed"], plan
    assert not _mounted(vm)

    made = vm.module(LAYOUT, **wish)
    assert made["changed"] and not made["failed"], made
    before, names = _mounted(vm), _nodes(vm)
    assert set(before) == set(MOUNTS)
    sums = vm.sh(
        "for m in /srv/engine /srv/containers; do head -c 8M /dev/urandom > $m/data; done; sync; sha256sum /srv/*/data"
    )

    vm.reorder()
    vm.reboot()
    assert _nodes(vm) != names, "the drives were to get other names"
    assert _mounted(vm) == before
    assert vm.sh("sha256sum /srv/*/data") == sums
    again = vm.module(LAYOUT, **wish)
    assert not again["failed"] and not again["changed"], again

    vm.reorder()
    vm.power_cut()
    assert _mounted(vm) == before
    assert vm.sh("sha256sum /srv/*/data") == sums
    again = vm.module(LAYOUT, **wish)
    assert not again["failed"] and not again["changed"], again


def test_the_boot_drive_is_refused(vm: Machine) -> None:
    serial = next(serial for serial in _nodes(vm) if serial.startswith("BOOT"))
    volumes = [{"name": "engine", "mount": "/srv/other"}]
    refused = vm.module(LAYOUT, drives=[serial], volumes=volumes, wipe=[serial])
    assert refused["failed"] and not refused["changed"]
    assert serial in refused["msg"] and "boot" in refused["msg"], refused["msg"]


def test_a_reinstalled_host_adopts_its_drives(vm: Machine) -> None:
    """What a run left on the system drive is gone; what lies on the others is as it was."""
    vm.fresh()
    volumes = [{"name": "engine", "size": "60%", "mount": MOUNTS[0]}, {"name": "containers", "mount": MOUNTS[1]}]
    wish: dict[str, Any] = {"drives": vm.serials[:1], "volumes": volumes}
    assert vm.module(LAYOUT, **wish)["changed"]
    before = _mounted(vm)
    sums = vm.sh(
        "for m in /srv/engine /srv/containers; do head -c 8M /dev/urandom > $m/data; done; sync; sha256sum /srv/*/data"
    )
    vm.reinstall()
    assert not _mounted(vm) and vm.sh("ls /srv") == ""
    adopted = vm.module(LAYOUT, **wish)
    assert not adopted["failed"] and "format" not in {step["action"] for step in adopted["plan"]}, adopted
    assert _mounted(vm) == before and vm.sh("sha256sum /srv/*/data") == sums
