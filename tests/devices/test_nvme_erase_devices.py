"""Drives that leave, on loop devices: what is named and out of use is gone to the last byte, and nothing else is
touched.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from .conftest import Bench, Drive, sh


def erase(bench: Bench, drives: list[str], *, check: bool = False, keep: list[str] | None = None) -> dict[str, Any]:
    """Run the module."""
    arguments = {"drives": drives, "keep": keep or [], "_ansible_check_mode": check}
    out, error = bench.process("nvme_erase", arguments).communicate(timeout=120)
    assert out.strip(), error
    return dict(json.loads(out))


def filled(bench: Bench) -> Drive:
    """A drive with secrets at its start, in its middle and at its end."""
    drive = bench.drive("64M")
    with open(drive.node, "r+b") as device:
        for place in (0, 32 << 20, (64 << 20) - 512):
            device.seek(place)
            device.write(b"secret".ljust(512, b"!"))
        device.flush()
        os.fsync(device.fileno())
    return drive


def empty(bench: Bench) -> str:
    return bench.drive("64M").digest()


def test_what_is_named_is_gone_and_its_neighbour_stays(bench: Bench) -> None:
    drive, neighbour = filled(bench), filled(bench)
    before = neighbour.digest()
    foretold = erase(bench, [drive.link], check=True)
    assert foretold["changed"] and drive.digest() == before
    done = erase(bench, [drive.link])
    assert done["changed"] and done["erased"] == foretold["erased"] and drive.link in done["erased"][0]
    assert drive.digest() == empty(bench) and neighbour.digest() == before
    again = erase(bench, [drive.link])
    assert not again["changed"] and again["erased"] == []


def test_a_drive_that_carried_our_volumes_is_erased_once_it_is_out_of_use(bench: Bench) -> None:
    drive = bench.drive()
    assert bench.run([drive])["changed"]
    assert erase(bench, [drive.link])["changed"]
    assert drive.digest() == bench.drive().digest()
    assert not list(bench.facts([drive])[drive.link]["reasons"])


def mounted(bench: Bench, drive: Drive) -> None:
    sh("mkfs.ext4", "-q", drive.node)
    place = bench.folder / "mounted"
    place.mkdir()
    sh("mount", drive.node, str(place))
    bench.cleanups.append(lambda: sh("umount", str(place)))


def opened(bench: Bench, drive: Drive) -> None:
    descriptor = os.open(drive.node, os.O_RDONLY | os.O_EXCL)
    bench.cleanups.append(lambda: os.close(descriptor))


def mounted_part(bench: Bench, drive: Drive) -> None:
    subprocess.run(["sfdisk", "--quiet", drive.node], input="label: gpt\nsize=32M\n", text=True, check=True)
    subprocess.run(["partx", "--update", drive.node], check=False, capture_output=True)
    mounted(bench, Drive(drive.file, f"{drive.node}p1", drive.link))


@pytest.mark.parametrize(
    ("use", "reason"), [(mounted, "mounted"), (opened, "opened exclusively"), (mounted_part, "mounted")]
)
def test_a_drive_in_use_is_refused_and_so_is_the_other(
    bench: Bench, use: Callable[[Bench, Drive], None], reason: str
) -> None:
    used, free = filled(bench), filled(bench)
    use(bench, used)
    before = free.digest()
    refused = erase(bench, [free.link, used.link])
    assert refused["failed"] and not refused.get("changed") and f"is in use: {reason}" in refused["msg"]
    assert "Nothing was erased" in refused["msg"] and free.digest() == before


def test_names_that_mean_no_drive_alone_or_one_that_stays(bench: Bench) -> None:
    drive = filled(bench)
    before = drive.digest()
    for names, keep, reason in (
        ([drive.node], [], "/dev/loop"),
        (["/dev/disk/by-id/none"], [], "none"),
        ([drive.link], [drive.link], "is in nvme_storage_drives"),
        ([drive.link, drive.link], [], "by another name"),
    ):
        refused = erase(bench, names, keep=keep)
        assert refused["failed"] and reason in refused["msg"] and drive.digest() == before
    assert erase(bench, [drive.link], keep=["/dev/disk/by-id/gone"])["changed"]
