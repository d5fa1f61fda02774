"""What the engine's checkpoints cost by filesystem and number of files, on a virtual machine. A part of `make bench`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from lab import vms
from lab.process import run

SCRIPT = Path(__file__).with_name("bench_files.py")
FILES = (1_000, 20_000)
KINDS = {"xfs": "xfs, files cloned", "thin": "xfs on an LVM thin volume", "btrfs": "btrfs, subvolume"}
MOUNT = "/mnt/bench"
BLANK = "umount -q {mount}; vgremove -qfy bench; wipefs -qa {drive}; mkdir -p {mount}"
MAKE = {
    "xfs": "mkfs.xfs -q -f -K {drive} && mount -o noatime {drive} {mount}",
    "thin": "vgcreate -qy bench {drive} && lvcreate -q --type thin-pool -l 90%FREE --chunksize 256k --zero n -n pool bench"
    " && lvcreate -q --type thin --thinpool pool -V 3g -n cache bench && mkfs.xfs -q -f -K /dev/bench/cache"
    " && mount -o noatime /dev/bench/cache {mount}",
    "btrfs": "mkfs.btrfs -q -f -K {drive} && mount -o noatime {drive} {mount}",
}
Seconds = Mapping[str, float]


def measure() -> dict[tuple[str, int], Seconds]:
    """Seconds of each step, by filesystem and number of files. LAB_FLEET names the machine's set."""
    vms.down()
    vm = vms.up()
    found: dict[tuple[str, int], Seconds] = {}
    try:
        for files in FILES:
            for kind, serial in zip(KINDS, vm.data_serials(), strict=False):
                place = {"mount": MOUNT, "drive": f"/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_{serial}"}
                vms.ssh(vm, f"({BLANK.format(**place)}) >/dev/null 2>&1; {MAKE[kind].format(**place)}")
                command = vms.ssh_command(vm, f"python3 - {kind} {MOUNT} {files}")
                found[kind, files] = json.loads(run(*command, text=SCRIPT.read_text()).stdout.splitlines()[-1])
    finally:
        vms.down()
    return found


def table(found: Mapping[tuple[str, int], Seconds]) -> str:
    """The part of docs/benchmarks.md."""
    lines = [
        "| the engine's cache on | files | build with many small files | checkpoint | restore | the dirty state deleted |",
        "|---|---|---|---|---|---|",
    ]
    for (kind, files), seconds in found.items():
        build = f"{seconds['build'] / found['xfs', files]['build']:.2f} of xfs"
        steps = " | ".join(f"{seconds[step]:.2f} s" for step in ("take", "restore", "delete"))
        lines.append(f"| {KINDS[kind]} | {files} | {seconds['build']:.1f} s, {build} | {steps} |")
    return "\n".join(lines)
