"""What the engine's checkpoints cost by filesystem and number of files, on a virtual machine. A part of `make bench`."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab import vms
from lab.process import run

SCRIPT = Path(__file__).with_name("bench_files.py")
FILES = (1_000, 20_000)
ROUNDS = 5  # An emulated machine is uneven: one round says little.
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
Rounds = Sequence[Mapping[str, float]]


def measure() -> Mapping[tuple[str, int], Rounds]:
    """Seconds of each step, round by round, by filesystem and number of files. LAB_FLEET names the machine's set."""
    vms.down()
    vm = vms.up()
    found: dict[tuple[str, int], list[Mapping[str, float]]] = {(kind, files): [] for files in FILES for kind in KINDS}
    try:
        drives = list(zip(KINDS, vm.data_serials(), strict=False))
        for files in FILES:
            for number in range(ROUNDS):
                for kind, serial in drives if number % 2 else drives[::-1]:
                    place = {"mount": MOUNT, "drive": f"/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_{serial}"}
                    vms.ssh(vm, f"({BLANK.format(**place)}) >/dev/null 2>&1; {MAKE[kind].format(**place)}")
                    command = vms.ssh_command(vm, f"python3 - {kind} {MOUNT} {files}")
                    found[kind, files].append(json.loads(run(*command, text=SCRIPT.read_text()).stdout.splitlines()[-1]))
    finally:
        vms.down()
    return found


def table(found: Mapping[tuple[str, int], Rounds]) -> str:
    """The part of docs/benchmarks.md: medians, and builds as ratios within a round."""
    lines = [
        "| the engine's cache on | files | build with many small files | against xfs in the same round | checkpoint | restore |"
        " the dirty state deleted |",
        "|---|---|---|---|---|---|---|",
    ]
    for (kind, files), rounds in found.items():
        seconds = {step: statistics.median(one[step] for one in rounds) for step in rounds[0]}
        ratios = [one["build"] / other["build"] for one, other in zip(rounds, found["xfs", files], strict=True)]
        against = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        steps = " | ".join(f"{seconds[step]:.2f} s" for step in ("take", "restore", "delete"))
        lines.append(f"| {KINDS[kind]} | {files} | {seconds['build']:.1f} s | {against} | {steps} |")
    return "\n".join(lines)
