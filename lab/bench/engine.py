"""What the engine's checkpoints cost by filesystem and number of files. A part of `make bench`.

On loop devices of this machine, at its own speed, and on a virtual machine, where there is LVM too.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lab.machines import vms
from lab.process import run

SCRIPT = Path(__file__).with_name("files.py")
ON_LOOPS, ON_VM = (20_000, 200_000), (20_000,)
ROUNDS = 5  # One says little, most of all on an emulated machine.
KINDS = {"xfs": "xfs, files cloned", "btrfs": "btrfs, subvolume"}
MOUNT = "/mnt/bench"
BLANK = "umount -q {mount}; wipefs -qa {drive}; mkdir -p {mount}"
MAKE = {
    "xfs": "mkfs.xfs -q -f -K {drive} && mount -o noatime {drive} {mount}",
    "btrfs": "mkfs.btrfs -q -f -K {drive} && mount -o noatime {drive} {mount}",
}
Rounds = Sequence[Mapping[str, float]]


def in_rounds(
    kinds: Sequence[str], counts: Sequence[int], once: Callable[[str, int], Mapping[str, float]]
) -> Mapping[tuple[str, int], Rounds]:
    """Seconds of each step, round by round, by filesystem and number of files; the order turns around with each
    round.
    """
    found: dict[tuple[str, int], list[Mapping[str, float]]] = {(kind, files): [] for files in counts for kind in kinds}
    for files in counts:
        for number in range(ROUNDS):
            for kind in kinds if number % 2 else kinds[::-1]:
                found[kind, files].append(once(kind, files))
    return found


def on_loops(folder: Path) -> Mapping[tuple[str, int], Rounds]:
    """On this machine; the folder holds one sparse file at a time."""
    image, mount = folder / "cache.img", folder / "cache"
    mount.mkdir()

    def once(kind: str, files: int) -> Mapping[str, float]:
        run("truncate", "--size=20G", str(image))
        loop = run("losetup", "--find", "--show", str(image)).stdout.strip()
        try:
            run(f"mkfs.{kind}", "-q", "-f", "-K", loop)
            run("mount", "-o", "noatime", loop, str(mount))
            return _seconds(sys.executable, str(SCRIPT), kind, str(mount), str(files))
        finally:
            run("umount", "--quiet", str(mount), check=False)
            run("losetup", "--detach", loop)
            image.unlink()

    return in_rounds(["xfs", "btrfs"], ON_LOOPS, once)


def on_vm() -> Mapping[tuple[str, int], Rounds]:
    """On a virtual machine with a drive for each filesystem. LAB_FLEET names the machine's set."""
    vms.down()
    vm = vms.up()
    serials = dict(zip(KINDS, vm.data_serials(), strict=False))

    def once(kind: str, files: int) -> Mapping[str, float]:
        place = {"mount": MOUNT, "drive": f"/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_{serials[kind]}"}
        vms.ssh(vm, f"({BLANK.format(**place)}) >/dev/null 2>&1; {MAKE[kind].format(**place)}")
        return _seconds(*vms.ssh_command(vm, f"python3 - {kind} {MOUNT} {files}"), text=SCRIPT.read_text())

    try:
        return in_rounds(list(KINDS), ON_VM, once)
    finally:
        vms.down()


def _seconds(*command: str, text: str | None = None) -> Mapping[str, float]:
    seconds: Mapping[str, float] = json.loads(run(*command, text=text).stdout.splitlines()[-1])
    return seconds


def table(found: Mapping[tuple[str, int], Rounds]) -> str:
    """The part of docs/benchmarks.md: medians, and builds as ratios within a round."""
    lines = [
        "| the engine's cache on | files | build with many small files | against xfs in the same round | checkpoint | "
        "restore | the dirty state deleted |",
        "|---|---|---|---|---|---|---|",
    ]
    for (kind, files), rounds in found.items():
        seconds = {step: statistics.median(one[step] for one in rounds) for step in rounds[0]}
        ratios = [one["build"] / other["build"] for one, other in zip(rounds, found["xfs", files], strict=True)]
        against = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        steps = " | ".join(f"{seconds[step]:.3g} s" for step in ("take", "restore", "delete"))
        lines.append(f"| {KINDS[kind]} | {files:,} | {seconds['build']:.1f} s | {against} | {steps} |")
    return "\n".join(lines)
