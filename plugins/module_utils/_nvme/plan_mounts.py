# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mount units for planned volumes, and what is missing on the host for them. No I/O. Private to the collection."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.model import Mount, Placed, Step, System
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.steps import (
    BindDirectory,
    EnableUnits,
    MountVolume,
    MoveData,
    Remount,
    SetOwner,
    WriteFile,
)

DIRECTORY = "/etc/systemd/system"
WANTS = f"{DIRECTORY}/local-fs.target.wants"
ASIDE = ".before-nvme"

# Why not What=/dev/disk/by-uuid/... alone: systemd then waits for a device unit, which only udev brings up, and where a
# host has no udev (a container that boots systemd) the mount would wait for ever. This service asks libblkid instead,
# on metal and in a container alike; it also waits for a drive that shows up late. A path outside /dev carries no device
# dependency in any version of systemd.
DRIVE_UNIT = """\
[Unit]
Description=Drive that carries filesystem %i
DefaultDependencies=no
Conflicts=shutdown.target
Before=shutdown.target

[Service]
Type=oneshot
ExecStart=/bin/sh -c 'until node=$$(blkid -c /dev/null -U %i); do sleep 1; done; mkdir -p /run/runnerfleet/drives && ln -sfn "$$node" /run/runnerfleet/drives/%i'
TimeoutStartSec=90
"""  # noqa: E501


def desired_mounts(placed: Sequence[Placed]) -> list[Mount]:
    """All mounts in the order in which they are made."""
    mounts = []
    for place in placed:
        volume, node, device = place.volume, place.partition.node, place.partition.device
        if volume.mount:
            mounts.append(Mount(volume.mount, node, device, "/", volume))
            mounts += [Mount(bind.target, node, device, f"/{bind.source}", volume, bind) for bind in volume.binds]
    return mounts


def unit_files(placed: Sequence[Placed], services: Sequence[str]) -> dict[str, str]:
    """Path and content of every unit and drop-in."""
    mounts = desired_mounts(placed)
    if not mounts:
        return {}
    files = {f"{DIRECTORY}/runnerfleet-drive@.service": DRIVE_UNIT}
    uuids = {place.volume.name: place.partition.uuid for place in placed}
    for mount in mounts:
        identifier = uuids[mount.volume.name]
        if mount.bind:
            # rshared: what kubelet mounts below its directory must reach containers, and theirs must reach kubelet.
            body = f"What={mount.source}\nWhere={mount.target}\nType=none\nOptions=bind,rshared,nofail\n"
            # Without the assertion systemd would make the directory itself, and hide data whose move was interrupted.
            unit = f"Description=Volume {mount.volume.name} at {mount.target}\nAssertPathIsDirectory={mount.source}\n"
            unit += f"RequiresMountsFor={mount.volume.mount}\n"
        else:
            # nofail: a dead drive must not stop the boot before ssh; containerd and kubelet are held back by their
            # drop-ins.
            options = ",".join([*filter(None, [mount.volume.options]), "nofail"])
            device = f"/run/runnerfleet/drives/{identifier}"
            body = f"What={device}\nWhere={mount.target}\nType={mount.volume.filesystem}\nOptions={options}\n"
            drive = f"runnerfleet-drive@{identifier}.service"
            unit = f"Description=Volume {mount.volume.name}, filesystem {identifier}\nRequires={drive}\nAfter={drive}\n"
        files[f"{DIRECTORY}/{mount.unit}"] = f"[Unit]\n{unit}\n[Mount]\n{body}\n[Install]\nWantedBy=local-fs.target\n"
    binds = " ".join(m.target for m in mounts if m.bind)
    plain = " ".join(m.unit for m in mounts if not m.bind)
    # A node whose cache is lost still runs and can be drained; one without its containers volume must not fill the root
    # disk.
    need = f"RequiresMountsFor={binds}\n" if binds else ""
    for service in services:
        files[f"{DIRECTORY}/{service}.d/10-runnerfleet-volumes.conf"] = f"[Unit]\n{need}Wants={plain}\nAfter={plain}\n"
    return files


def plan_mounts(placed: Sequence[Placed], services: Sequence[str], system: System) -> tuple[list[Step], list[str]]:
    """Steps that are missing until every mount is there and comes back after a reboot, and what forbids them."""
    mounts = desired_mounts(placed)
    steps: list[Step] = [
        WriteFile(path, "write unit", system.files.get(path, ""), content)
        for path, content in unit_files(placed, services).items()
        if system.files.get(path, "") != content
    ]
    rewritten = {step.target for step in steps}
    refusals = [problem for mount in mounts if (problem := mount_problem(mount, system))]
    for mount in mounts:
        steps += mount_steps(mount, system, f"{DIRECTORY}/{mount.unit}" in rewritten)
    missing = [m.unit for m in mounts if f"{WANTS}/{m.unit}" not in system.links]
    if missing:
        steps.append(EnableUnits("local-fs.target", f"enable {' '.join(missing)}", tuple(missing)))
    if system.fstrim and mounts:
        steps.append(EnableUnits("timers.target", "enable fstrim.timer", ("--now", "fstrim.timer")))
    return steps, refusals


def mounted(mount: Mount, system: System) -> bool:
    """Whether the mount is there as it should be."""
    return bool(mount.device) and system.mounts.get(mount.target) == (mount.device, mount.root)


def mount_problem(mount: Mount, system: System) -> str:
    """Why a mount cannot be made; empty where it can, or is there."""
    have, hidden = system.mounts.get(mount.target), mount.target in system.non_empty
    if mounted(mount, system):
        return ""
    if have:
        where = f"device {have[0]}, {have[1]}"
        return f"{mount.target} is a mount point already ({where}): unmount it, or choose another place"
    if hidden and not mount.bind:
        volume = mount.volume.name
        return f"{mount.target} holds files on the root disk, which volume {volume} would hide: move them away first"
    if hidden and system.running:
        running = ", ".join(sorted(system.running))
        return f"{mount.target} holds data and {running} runs: drain the node and stop {running}, then run this again"
    return ""


def mount_steps(mount: Mount, system: System, rewritten: bool) -> list[Step]:
    """What a mount needs. `rewritten`: its unit is another one than before."""
    steps: list[Step] = []
    volume = mount.volume
    if mounted(mount, system):
        if rewritten and not mount.bind:
            steps.append(Remount(mount.target, f"remount volume {volume.name} with its new options", mount))
    elif mount_problem(mount, system):
        pass
    elif mount.bind:
        if mount.target in system.non_empty:
            kept = f"the old copy stays as {mount.target}{ASIDE}"
            text = f"move what {mount.target} holds to volume {volume.name} ({kept})"
            steps.append(MoveData(mount.target, text, mount))
        steps.append(BindDirectory(mount.target, f"bind {mount.source} to it", mount))
    else:
        steps.append(MountVolume(mount.target, f"mount volume {volume.name}", mount))
    if mount.target in system.wrong_owner and not mount.bind:
        desired = " ".join(filter(None, (volume.owner, volume.group, volume.mode)))
        steps.append(SetOwner(mount.target, f"set owner, group and mode of volume {volume.name}: {desired}", mount))
    return steps
