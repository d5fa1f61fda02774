# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Applies a plan for drives, step by step: which function does which kind of step. Private to the collection."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Callable

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme import (
    apply_drives,
    apply_mounts,
    apply_stripe,
    steps,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.apply_drives import Writer
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.model import Step
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.probe_drives import Drives

WRITERS: Mapping[type[Step], Callable[[Writer, Any], None]] = {
    steps.ClearClaim: apply_drives.clear_claim,
    steps.PartitionDrive: apply_drives.partition_drive,
    steps.MakeFilesystem: apply_drives.make_filesystem,
    steps.AnnouncePartition: apply_drives.announce_partition,
    steps.GrowPartition: apply_drives.grow_partition,
    steps.CreateVolumeGroup: apply_stripe.create_volume_group,
    steps.ExtendVolumeGroup: apply_stripe.extend_volume_group,
    steps.ActivateVolumes: apply_stripe.activate_volumes,
    steps.MakeVolume: apply_stripe.make_volume,
    steps.GrowVolume: apply_stripe.grow_volume,
    steps.CreateArray: apply_stripe.create_array,
    steps.RebuildArray: apply_stripe.rebuild_array,
    steps.AssembleArray: apply_stripe.assemble_array,
    steps.WriteFile: apply_mounts.write_file,
    steps.MountVolume: apply_mounts.mount_volume,
    steps.BindDirectory: apply_mounts.bind_directory,
    steps.MoveData: apply_mounts.move_data,
    steps.Remount: apply_mounts.remount,
    steps.SetOwner: apply_mounts.set_owner,
    steps.EnableUnits: apply_mounts.enable_units,
}


def apply(drives: Drives, plan: Sequence[Step], consented: Collection[str]) -> bool:
    """The steps in their order, up to one after which the plan is made anew; returns whether that was all.

    `consented`: identities of the drives whose content may go. A plan asks for that before; here it is asked again.
    """
    lost = sorted({identity for step in plan for identity in step.wiped} - set(consented))
    if lost:
        raise ValueError(f"the plan wipes {', '.join(lost)}, which wipe does not name: nothing was written")
    writer, loaded = Writer(drives), False
    for step in plan:
        if step.needs_units and not loaded:
            starting = [item for item in plan if isinstance(item, (steps.MountVolume, steps.BindDirectory))]
            apply_mounts.load_units(writer, [item.mount for item in starting])
            loaded = True
        WRITERS[type(step)](writer, step)
        if step.replan:
            return False
    return True
