# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes our volume group and our md array. Every step can be interrupted and repeated. Private to the collection."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.apply_drives import Writer
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.model import CHUNK, GROUP, NEW, OFFSET
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.probe_stripe import GROWING
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.steps import (
    ActivateVolumes,
    AssembleArray,
    CreateArray,
    CreateVolumeGroup,
    ExtendVolumeGroup,
    GrowVolume,
    MakeVolume,
    RebuildArray,
    TakeDrives,
)


def take(writer: Writer, step: TakeDrives) -> list[str]:
    """Claim drives for a tool that has to open them itself: they are let go right before it runs. Returns their
    nodes.
    """
    held = []
    try:
        for drive in step.drives:
            held.append(writer.claim(drive, drive.identity in step.wipe))
    finally:
        for descriptor in held:
            os.close(descriptor)
    writer.settle()
    return [drive.node for drive in step.drives]


def let_go(writer: Writer, nodes: Iterable[str]) -> None:
    """The claims have done their work."""
    for node in nodes:
        writer.unclaim(node)


def tagged(tags: Sequence[str]) -> list[str]:
    """Tags as arguments of LVM."""
    return [argument for tag in tags for argument in ("--addtag", tag)]


def create_volume_group(writer: Writer, step: CreateVolumeGroup) -> None:
    """No --yes: LVM itself declines a drive on which it sees anything."""
    nodes = take(writer, step)
    writer.call(["vgcreate", *tagged(step.tags), GROUP, *nodes], data="n")
    let_go(writer, nodes)


def extend_volume_group(writer: Writer, step: ExtendVolumeGroup) -> None:
    """No --yes here either."""
    nodes = take(writer, step)
    writer.call(["vgchange", *tagged(step.tags), GROUP])
    writer.call(["vgextend", GROUP, *nodes], data="n")
    let_go(writer, nodes)


def activate_volumes(writer: Writer, _step: ActivateVolumes) -> None:
    """The volumes of our group start."""
    writer.call(["vgchange", "--activate", "y", GROUP])
    writer.settle()


def extend(writer: Writer, name: str, pieces: Sequence[tuple[int, Sequence[str]]]) -> None:
    """A piece is as many extents on each of some drives."""
    for size, nodes in pieces:
        wide = ["--stripes", str(len(nodes)), *(["--stripesize", "256k"] if len(nodes) > 1 else [])]
        writer.call(["lvextend", *wide, "--extents", f"+{size}", f"{GROUP}/{name}", *nodes])


def make_volume(writer: Writer, step: MakeVolume) -> None:
    """A volume that carries nothing yet."""
    name, pieces = step.name + NEW, list(step.pieces)
    if not step.exists:
        size, nodes = pieces.pop(0)
        kind = ["striped", "--stripes", str(len(nodes)), "--stripesize", "256k"] if len(nodes) > 1 else ["linear"]
        signatures = ["--wipesignatures", "n"]
        writer.call(["lvcreate", "--type", *kind, *signatures, "--extents", str(size), "--name", name, GROUP, *nodes])
    extend(writer, name, pieces)
    writer.settle()


def grow_volume(writer: Writer, step: GrowVolume) -> None:
    """The volume, then its filesystem; the tag stays between the two."""
    writer.proven_mounted(step.placed)
    if step.pieces:
        writer.call(["lvchange", "--addtag", GROWING, f"{GROUP}/{step.name}"])
        extend(writer, step.name, step.pieces)
    writer.grow_filesystem(step.placed)
    writer.call(["lvchange", "--deltag", GROWING, f"{GROUP}/{step.name}"])


def create_array(writer: Writer, step: CreateArray) -> None:
    """No --run and no --force: mdadm itself declines a drive on which it sees anything."""
    stop(writer, step.stop)
    nodes = take(writer, step)
    # A name without a host in it: the array is at home wherever its drives are.
    name = [
        "--metadata=1.2",
        "--homehost=any",
        f"--name={GROUP}",
        f"--data-offset={OFFSET // 1024}K",
        f"--chunk={CHUNK // 1024}K",
    ]
    bitmap = ["--bitmap=internal"] if step.level == "raid10" else []
    level = [f"--level={step.level}", f"--raid-devices={len(nodes)}", *bitmap]
    writer.call(["mdadm", "--create", f"/dev/md/{GROUP}", *name, *level, *nodes], data="n")
    writer.settle()
    let_go(writer, nodes)


def rebuild_array(writer: Writer, step: RebuildArray) -> None:
    """New drives take the place of lost ones."""
    nodes = take(writer, step)
    writer.drives.run(["mdadm", "--manage", step.node, "--remove", "failed", "--remove", "detached"])
    writer.call(["mdadm", "--manage", step.node, "--add", *nodes])
    let_go(writer, nodes)


def assemble_array(writer: Writer, step: AssembleArray) -> None:
    """The array starts, where it must without some of its drives."""
    stop(writer, step.stop)
    run = ["--run"] if step.degraded else []
    uuid = f"--uuid={step.uuid.partition(':')[2]}"
    writer.call(["mdadm", "--assemble", *run, f"/dev/md/{GROUP}", uuid, *(drive.node for drive in step.drives)])
    writer.settle()


def stop(writer: Writer, holder: str) -> None:
    """Stop an array that was half made, by its kernel name."""
    if holder:
        writer.call(["mdadm", "--stop", f"/dev/{holder}"])
