"""nvme_layout on real block devices: nothing foreign is written, a kill at any time is made good, a second run changes
nothing.
"""

from __future__ import annotations

import json
import os
import random
import signal
import struct
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .conftest import Bench, Drive, sh

MIB = 1024**2


def put(content: bytes, offset: int) -> Callable[[Bench, Drive], None]:
    """Bytes at an offset; a negative one counts from the end."""

    def write(_bench: Bench, drive: Drive) -> None:
        with open(drive.node, "r+b") as device:
            device.seek(offset, os.SEEK_END if offset < 0 else os.SEEK_SET)
            device.write(content)

    return write


def tool(*command: str) -> Callable[[Bench, Drive], None]:
    """A command that gets the device as its last argument."""
    return lambda _bench, drive: void(sh(*command, drive.node))


def void(_value: Any) -> None:
    """A lambda that returns nothing."""


def table(script: str) -> Callable[[Bench, Drive], None]:
    """A partition table."""
    return lambda _bench, drive: void(
        subprocess.run(
            ["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", drive.node], input=script, text=True, check=True
        )
    )


def mounted(bench: Bench, drive: Drive) -> None:
    """A filesystem that is in use."""
    sh("mkfs.ext4", "-q", drive.node)
    place = bench.folder / "mounted"
    place.mkdir()
    # Read-only: a mounted ext4 would write to itself while the device is hashed.
    sh("mount", "-o", "ro,noload", drive.node, str(place))
    bench.cleanups.append(lambda: sh("umount", str(place)))


def held(bench: Bench, drive: Drive) -> None:
    """A blank drive that another program has open."""
    descriptor = os.open(drive.node, os.O_RDWR | os.O_EXCL)
    bench.cleanups.append(lambda: os.close(descriptor))


def swap(bench: Bench, drive: Drive) -> None:
    """Swap that is in use."""
    sh("mkswap", "-q", drive.node)
    sh("swapon", drive.node)
    bench.cleanups.append(lambda: sh("swapoff", drive.node))


def partition_mounted(bench: Bench, drive: Drive) -> None:
    """A partition in use, on a drive whose table has gone: only the kernel still knows."""
    table("label: gpt\n,,\n")(bench, drive)
    sh("partx", "--update", drive.node)
    sh("mkfs.ext4", "-q", f"{drive.node}p1")
    place = bench.folder / "partition"
    place.mkdir()
    sh("mount", "-o", "ro,noload", f"{drive.node}p1", str(place))
    bench.cleanups.append(lambda: sh("umount", str(place)))
    sh("wipefs", "--all", "--force", "--quiet", drive.node)


LUKS = b"LUKS\xba\xbe\x00\x01" + b"aes".ljust(32, b"\0") + b"xts-plain64".ljust(32, b"\0") + b"sha256".ljust(32, b"\0")


def lvm_label() -> bytes:
    """The label of a physical volume; blkid verifies its checksum, which begins with a number of LVM's own."""
    covered = (struct.pack("<I8s32s", 32, b"LVM2 001", b"0123456789abcdefghijklmnopqrstuv") + bytes(8)).ljust(
        512 - 20, b"\0"
    )
    checksum = zlib.crc32(covered, 0xF597A6CF ^ 0xFFFFFFFF) ^ 0xFFFFFFFF
    return struct.pack("<8sQI", b"LABELONE", 1, checksum) + covered


def md_superblock() -> bytes:
    """A member of an md array, metadata 1.2; blkid verifies where it lies and its sum."""
    block = bytearray(256)
    struct.pack_into("<II8x16s32s", block, 0, 0xA92B4EFC, 1, bytes(range(16)), b"host:data")
    struct.pack_into("<Q", block, 144, 8)
    total = sum(struct.unpack("<64I", block))
    struct.pack_into("<I", block, 216, (total & 0xFFFFFFFF) + (total >> 32))
    return bytes(block)


def zfs_labels(_bench: Bench, drive: Drive) -> None:
    """Uberblocks, of which blkid wants to see four."""
    for offset in range(128 * 1024, 136 * 1024, 1024):
        put((0x00BAB10C).to_bytes(8, "little") + (5000).to_bytes(8, "little"), offset)(_bench, drive)


# What lies on the drive, and what the refusal must say of it.
FOREIGN: dict[str, tuple[Callable[[Bench, Drive], None], str]] = {
    "ext4": (tool("mkfs.ext4", "-q"), "signature: ext4"),
    "xfs": (tool("mkfs.xfs", "-q", "-f"), "signature: xfs"),
    "btrfs": (tool("mkfs.btrfs", "-q", "-f"), "signature: btrfs"),
    "lvm": (put(lvm_label(), 512), "signature: LVM2_member"),
    "md": (put(md_superblock(), 4096), "signature: linux_raid_member"),
    "luks": (put(LUKS, 0), "signature: crypto_LUKS"),
    "zfs": (zfs_labels, "signature: zfs_member"),
    "swap-unused": (tool("mkswap", "-q"), "signature: swap"),
    "gpt-empty": (table("label: gpt\n"), "signature: gpt"),
    "gpt-foreign": (table("label: gpt\nsize=64MiB, name=home\n"), "partitions: home"),
    "mbr": (table("label: dos\n,,\n"), "signature: dos"),
    "first-bytes": (put(b"x", 300_000), "unknown bytes: in the MiB at 0"),
    "middle-bytes": (put(b"x", 512 * MIB + 4711), f"unknown bytes: in the MiB at {512 * MIB}"),
    "last-bytes": (put(b"x", -1), f"unknown bytes: in the MiB at {1023 * MIB}"),
    "mounted": (mounted, "mounted: "),
    "partition-mounted": (partition_mounted, "mounted: "),
    "swap": (swap, "swap: "),
    "held": (held, "opened exclusively: by another program"),
}


@dataclass
class Refusal:
    """One run against all foreign drives at once."""

    drives: dict[str, Drive]
    before: dict[str, str]
    results: dict[bool, dict[str, Any]]
    facts: dict[str, Any]


@pytest.fixture(scope="module")
def refusal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Refusal]:
    """All foreign contents, offered together with a blank drive, in check mode and for real."""
    bench = Bench(tmp_path_factory.mktemp("foreign"))
    try:
        drives = {"blank": bench.drive()}
        for name, (make, _finding) in FOREIGN.items():
            drives[name] = bench.drive()
            make(bench, drives[name])
        before = {name: drive.digest() for name, drive in drives.items()}
        volumes = [{"name": f"v{i}"} for i in range(len(drives))]
        # Consent does not cover what is in use.
        wipe = [drives[n].link for n in ("mounted", "partition-mounted", "swap", "held")]
        runs = {
            check: bench.run(list(drives.values()), check=check, volumes=volumes, wipe=wipe) for check in (True, False)
        }
        yield Refusal(drives, before, runs, bench.facts(list(drives.values())))
    finally:
        bench.close()


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_drive_is_refused_and_untouched(refusal: Refusal, name: str) -> None:
    drive = refusal.drives[name]
    for result in refusal.results.values():
        assert result.get("failed") and not result.get("changed")
        lines = [line for line in result["msg"].splitlines() if line.startswith(f"{drive.link} ")]
        assert lines and any(FOREIGN[name][1] in line for line in lines), result["msg"]
        if name in ("mounted", "partition-mounted", "swap", "held"):
            assert "`wipe` does not cover this" in lines[-1]
        else:
            assert lines[0].endswith(f'wipe: ["{drive.link}"]')
    if name != "swap":  # the kernel may write to it by itself
        assert drive.digest() == refusal.before[name]
    else:
        assert sh("blkid", "-p", "-s", "TYPE", "-o", "value", drive.node) == "swap"


@pytest.mark.parametrize("name", FOREIGN)
def test_facts_say_the_same(refusal: Refusal, name: str) -> None:
    told = refusal.facts[refusal.drives[name].link]
    assert told["state"] == "taken" and not told["usable"] and told["ours"] == []
    assert any(reason.startswith(FOREIGN[name][1]) for reason in told["reasons"]), told["reasons"]


def test_facts_know_free_drives_and_ours(bench: Bench, refusal: Refusal) -> None:
    assert (
        refusal.facts[refusal.drives["blank"].link]["state"] == "free"
        and refusal.facts[refusal.drives["blank"].link]["reasons"] == []
    )
    drive = bench.drive("2G")
    bench.run([drive])
    told = bench.facts([drive])[drive.link]
    assert (told["state"], told["usable"], told["ours"]) == ("ours", True, ["engine", "containers"])


def test_a_refused_drive_keeps_the_blank_one_untouched(refusal: Refusal) -> None:
    assert refusal.drives["blank"].link not in refusal.results[False]["msg"]
    assert refusal.drives["blank"].digest() == refusal.before["blank"]


def test_boot_drive_is_refused(bench: Bench) -> None:
    source = sh("findmnt", "--noheadings", "--output", "MAJ:MIN", "--target", str(Path(__file__)))
    node = Path(f"/sys/dev/block/{source.strip()}").resolve()
    disk = node.parent if (node / "partition").exists() else node
    link = Path(f"/dev/disk/by-id/runnerfleet-test-boot-{os.getpid()}")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(f"/dev/{disk.name}")
    bench.cleanups.append(link.unlink)
    # In check mode only: what this test guards against would destroy the machine that runs it.
    result = bench.run([Drive(Path("/nonexistent"), f"/dev/{disk.name}", str(link))], check=True, wipe=[str(link)])
    assert result["failed"] and ("boot: " in result["msg"] or "mounted: " in result["msg"])


def test_kernel_name_and_partition_are_refused(bench: Bench) -> None:
    drive = bench.drive()
    named = bench.run([Drive(drive.file, drive.node, drive.node)])
    assert named["failed"] and f"use {drive.link}" in named["msg"]
    absent = bench.run([Drive(drive.file, drive.node, "eui.0000000000000000")])
    assert absent["failed"] and "not a block device of this host" in absent["msg"]


@pytest.mark.parametrize("count", [1, 2], ids=["single", "spread"])
def test_check_apply_again(bench: Bench, count: int) -> None:
    drives = [bench.drive("2G") for _drive in range(count)]
    before = [d.digest() for d in drives]
    check = bench.run(drives, check=True)
    assert check["changed"] and check["destructive"] == [] and [d.digest() for d in drives] == before
    applied = bench.run(drives)
    assert applied["changed"] and applied["plan"] == check["plan"] and applied["diff"] == check["diff"]
    assert {v["name"]: v["uuid"] for v in applied["volumes"]} == {v["name"]: v["uuid"] for v in check["volumes"]}
    for volume in applied["volumes"]:
        assert sh("blkid", "-p", "-s", "UUID", "-o", "value", volume["node"]) == volume["uuid"]
        assert sh("blkid", "-p", "-s", "TYPE", "-o", "value", volume["node"]) == volume["filesystem"]
    after = [d.digest() for d in drives]
    # In another order, and with consent that is no longer needed.
    again = bench.run(list(reversed(drives)), wipe=[d.link for d in drives])
    assert not again["changed"] and again["plan"] == [] and [d.digest() for d in drives] == after


def test_consent_covers_the_named_drive_only(bench: Bench) -> None:
    drives = [bench.drive(), bench.drive()]
    for drive in drives:
        sh("mkfs.ext4", "-q", drive.node)
    before = drives[1].digest()
    refused = bench.run(drives, wipe=[drives[0].link])
    assert refused["failed"] and [d["consented"] for d in refused["destructive"]] == [True, False]
    assert drives[1].link in refused["msg"] and f"{drives[0].link} (" not in refused["msg"]
    sh("blkid", "-p", drives[0].node)
    assert drives[1].digest() == before
    assert bench.run(drives, wipe=[d.link for d in drives])["changed"]
    assert not bench.run(drives)["changed"]


def test_drive_of_another_layout_is_refused(bench: Bench) -> None:
    drive = bench.drive("2G")
    bench.run([drive])
    before = drive.digest()
    other = bench.run([drive], volumes=[{"name": "engine", "size": "40%"}, {"name": "scratch"}])
    assert (
        other["failed"]
        and "carries runnerfleet-containers, runnerfleet-engine, but not runnerfleet-scratch" in other["msg"]
    )
    assert drive.digest() == before


def test_drive_under_another_name_is_adopted(bench: Bench) -> None:
    """As after a reboot that numbers the drives in another order, on a kernel that has not seen the partitions."""
    drives = [bench.drive(), bench.drive()]
    first = bench.run(drives)
    for drive in drives:
        sh("partx", "--delete", drive.node)
        sh("losetup", "--detach", drive.node)
        Path(drive.link).unlink()
    for drive in reversed(drives):
        drive.node = sh("losetup", "--find", "--show", str(drive.file))
        Path(drive.link).symlink_to(drive.node)
    second = bench.run(drives)
    assert not second.get("failed"), second
    assert {s["action"] for s in second["plan"]} == {"announce"}
    assert [v["uuid"] for v in second["volumes"]] == [v["uuid"] for v in first["volumes"]]
    assert not bench.run(drives)["changed"]


def finished(drive: Drive) -> list[str]:
    """Volumes of a drive whose filesystem is kept from now on."""
    told = subprocess.run(["sfdisk", "--json", drive.node], capture_output=True, text=True, check=False).stdout
    parts = json.loads(told or "{}").get("partitiontable", {}).get("partitions", [])
    return [p["node"] for p in parts if p.get("name", "").startswith("runnerfleet-") and not p["name"].endswith(".new")]


def with_files(bench: Bench, drives: list[Drive], use: Callable[[Path], None]) -> int:
    """Mount each finished volume and use it; returns how many there are."""
    place = bench.folder / "place"
    place.mkdir(exist_ok=True)
    nodes = [node for drive in drives for node in finished(drive)]
    for drive in drives:
        subprocess.run(["partx", "--update", drive.node], capture_output=True, check=False)
    for node in nodes:
        sh("mount", node, str(place))
        try:
            use(place / "kept")
        finally:
            sh("umount", str(place))
    return len(nodes)


def converged(bench: Bench, drives: list[Drive], **options: Any) -> None:
    """After an interruption: finished volumes get a file, the next run makes the rest, another one nothing, and the
    files are there.
    """
    kept = with_files(bench, drives, lambda path: void(path.write_text("precious")))
    result = bench.run(drives, **options)
    assert not result.get("failed"), result
    seen: list[str] = []
    assert with_files(bench, drives, lambda path: seen.extend([path.read_text()] if path.exists() else [])) == 2
    assert seen == ["precious"] * kept
    after = [d.digest() for d in drives]
    again = bench.run(drives, **options)
    assert not again["changed"] and [d.digest() for d in drives] == after
    assert [v["name"] for v in again["volumes"]] == ["engine", "containers"]


COMMANDS = ("blkid", "wipefs", "sfdisk", "partx", "mkfs.xfs", "mkfs.ext4", "mkfs.btrfs")
WRAPPER = """#!/bin/sh
echo "$0 $*" >> {log}
[ "$(wc -l < {log})" = {at} ] && [ {when} = before ] && kill -9 $PPID && exit 9
PATH={path}
"$(basename "$0")" "$@"; code=$?
[ "$(wc -l < {log})" = {at} ] && [ {when} = after ] && kill -9 $PPID
exit $code
"""


def traced(bench: Bench, at: int, when: str) -> tuple[str, Path]:
    """A PATH whose commands note that they were called, and one of which kills the module before or after it does its
    work.
    """
    folder = bench.folder / f"path-{at}-{when}"
    folder.mkdir()
    log, path = folder / "log", f"/usr/sbin:/sbin:{os.environ['PATH']}"
    log.touch()
    for command in COMMANDS:
        wrapper = folder / command
        wrapper.write_text(WRAPPER.format(log=log, at=at, when=when, path=path))
        wrapper.chmod(0o755)
    return f"{folder}:{path}", log


LAYOUTS = [pytest.param(1, "btrfs", id="single"), pytest.param(2, "ext4", id="spread")]


@pytest.mark.parametrize(("count", "filesystem"), LAYOUTS)
def test_kill_at_every_command_converges(bench: Bench, count: int, filesystem: str) -> None:
    """Before each command of the module that writes, and after the last one."""
    options = {"volumes": [{"name": "engine", "size": "50%"}, {"name": "containers", "filesystem": filesystem}]}
    path, log = traced(bench, 0, "never")
    assert bench.run([bench.drive() for _drive in range(count)], path=path, **options)["changed"]
    calls = [line.split() for line in log.read_text().splitlines()]
    writes = {n for n, call in enumerate(calls, 1) if not {"-p", "--no-act", "--json"} & set(call)}
    assert len(writes) >= 4 * count
    # What a command that reads leaves is what the one before it left, and after one that writes is before the next,
    # claims apart.
    points = [(n, "before") for n in sorted(writes)] + [(max(writes), "after")]
    for at, when in points:
        drives = [bench.drive() for _drive in range(count)]
        path, log = traced(bench, at, when)
        process = bench.start(drives, path=path, **options)
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL, f"{when} {calls[at - 1]}"
        converged(bench, drives, **options)
        bench.release(drives)


@pytest.mark.parametrize("seed", range(5))
def test_sigkill_at_random_times_converges(bench: Bench, seed: int) -> None:
    """Ten kills of each of five kinds of chance: it still ends at the same layout, and what is finished is never made
    again.
    """
    chance, kills = random.Random(seed), 0
    drives = [bench.drive() for _drive in range(1 + seed % 2)]
    begin = time.monotonic()
    bench.run(drives)
    length = time.monotonic() - begin
    while kills < 10:
        bench.release(drives)
        drives = [bench.drive() for _drive in range(1 + seed % 2)]
        for _attempt in range(4):
            begin = time.monotonic()
            process = bench.start(drives)
            try:
                process.communicate(timeout=chance.uniform(0.2, length))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                kills += 1
            else:
                length = min(
                    length, time.monotonic() - begin
                )  # so that most are killed, however busy this machine was at first
                break
        converged(bench, drives)
