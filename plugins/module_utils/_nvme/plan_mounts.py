# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mount units for planned volumes, and what is missing on the host for them. No I/O. Private to the collection."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.model import Bind, Placed, Step, Volume

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


@dataclass(frozen=True)
class Mount:
    """A mount that is wished: what lies at `target` has this device and this root inside of it."""

    target: str
    node: str
    device: str
    root: str
    volume: Volume
    bind: Bind | None = None

    @property
    def unit(self) -> str:
        return unit_name(self.target)

    @property
    def source(self) -> str:
        """The directory of a bind on its volume."""
        return f"{self.volume.mount}{self.root}"


@dataclass(frozen=True)
class System:
    """What of the host matters for mounts."""

    files: Mapping[str, str] = field(default_factory=dict)
    mounts: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # target: (device, root) of the topmost mount
    links: frozenset[str] = frozenset()  # which of the wished links exist
    filled: frozenset[str] = frozenset()  # wished targets that are not mounted and hold something
    running: frozenset[str] = frozenset()  # which of the services run
    fstrim: bool = False  # fstrim.timer exists and is not enabled
    strange: frozenset[str] = frozenset()  # mounts whose root has not the wished owner, group or mode, or will not have


def unit_name(path: str) -> str:
    """What `systemd-escape --path --suffix=mount` says."""
    text = path.strip("/")
    kept = re.compile(rb"[A-Za-z0-9:_.]")
    plain = [
        "-" if b == b"/" else b.decode() if kept.match(b) else f"\\x{b[0]:02x}"
        for b in (bytes([c]) for c in text.encode())
    ]
    if text.startswith("."):
        plain[0] = "\\x2e"
    return "".join(plain) + ".mount"


def wished_mounts(placed: Sequence[Placed]) -> list[Mount]:
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
    mounts = wished_mounts(placed)
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
    steps, refusals = [], []
    for path, content in unit_files(placed, services).items():
        before = system.files.get(path, "")
        if before != content:
            steps.append(Step("write", path, "write unit", {"before": before, "content": content}))
    for mount in wished_mounts(placed):
        have, name = system.mounts.get(mount.target), mount.volume.name
        if have and mount.device and have == (mount.device, mount.root):
            changed = any(s.target == f"{DIRECTORY}/{mount.unit}" for s in steps)
            if changed and not mount.bind:
                steps.append(
                    Step("remount", mount.target, f"remount volume {name} with its new options", {"mount": mount})
                )
        elif have:
            refusals.append(
                f"{mount.target} is a mount point already (device {have[0]}, {have[1]}): unmount it, or choose another "
                "place"
            )
        elif mount.target in system.filled and not mount.bind:
            refusals.append(
                f"{mount.target} holds files on the root disk, which volume {name} would hide: move them away first"
            )
        elif mount.target in system.filled and system.running:
            running = ", ".join(sorted(system.running))
            refusals.append(
                f"{mount.target} holds data and {running} runs: drain the node and stop {running}, then run this again"
            )
        elif mount.bind:
            if mount.target in system.filled:
                text = f"move what {mount.target} holds to volume {name} (the old copy stays as {mount.target}{ASIDE})"
                steps.append(Step("move", mount.target, text, {"mount": mount}))
            steps.append(Step("bind", mount.target, f"bind {mount.source} to it", {"mount": mount}))
        else:
            steps.append(Step("mount", mount.target, f"mount volume {name}", {"mount": mount}))
        if mount.target in system.strange and not mount.bind:
            wished = " ".join(filter(None, (mount.volume.owner, mount.volume.group, mount.volume.mode)))
            steps.append(
                Step("own", mount.target, f"set owner, group and mode of volume {name}: {wished}", {"mount": mount})
            )
    missing = [m.unit for m in wished_mounts(placed) if f"{WANTS}/{m.unit}" not in system.links]
    if missing:
        steps.append(Step("enable", "local-fs.target", f"enable {' '.join(missing)}", {"units": missing}))
    if system.fstrim and wished_mounts(placed):
        steps.append(Step("enable", "timers.target", "enable fstrim.timer", {"units": ["--now", "fstrim.timer"]}))
    return steps, refusals
