"""What the engine's checkpoints cost by filesystem and number of files. A part of `make bench`.

On loop devices of this machine, at its own speed, and on a virtual machine, where there is LVM too.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab import vms
from lab.process import run

SCRIPT = Path(__file__).with_name("bench_files.py")
ON_LOOPS, ON_VM = (20_000, 200_000), (20_000,)
ROUNDS = 5  # One says little, most of all on an emulated machine.
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


def on_loops(folder: Path) -> Mapping[tuple[str, int], Rounds]:
    """Seconds of each step, round by round, by filesystem and number of files; the folder holds one sparse file at a time."""
    found: dict[tuple[str, int], list[Mapping[str, float]]] = {(kind, files): [] for files in ON_LOOPS for kind in ("xfs", "btrfs")}
    image, mount = folder / "cache.img", folder / "cache"
    mount.mkdir()
    for files in ON_LOOPS:
        for number in range(ROUNDS):
            for kind in ("xfs", "btrfs") if number % 2 else ("btrfs", "xfs"):
                run("truncate", "--size=20G", str(image))
                loop = run("losetup", "--find", "--show", str(image)).stdout.strip()
                try:
                    run(f"mkfs.{kind}", "-q", "-f", "-K", loop)
                    run("mount", "-o", "noatime", loop, str(mount))
                    found[kind, files].append(json.loads(run(sys.executable, str(SCRIPT), kind, str(mount), str(files)).stdout))
                finally:
                    run("umount", "--quiet", str(mount), check=False)
                    run("losetup", "--detach", loop)
                    image.unlink()
    return found


def on_vm() -> Mapping[tuple[str, int], Rounds]:
    """The same on a virtual machine with a drive for each filesystem. LAB_FLEET names the machine's set."""
    vms.down()
    vm = vms.up()
    found: dict[tuple[str, int], list[Mapping[str, float]]] = {(kind, files): [] for files in ON_VM for kind in KINDS}
    try:
        drives = list(zip(KINDS, vm.data_serials(), strict=False))
        for files in ON_VM:
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
        steps = " | ".join(f"{seconds[step]:.3g} s" for step in ("take", "restore", "delete"))
        lines.append(f"| {KINDS[kind]} | {files:,} | {seconds['build']:.1f} s | {against} | {steps} |")
    return "\n".join(lines)
