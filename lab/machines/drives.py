"""Loop devices that stand in for NVMe drives. Only devices whose backing file lies in the fleet's own directory are
ever touched.
"""

from __future__ import annotations

from pathlib import Path

from lab.machine import loop_devices
from lab.process import LabError, output, run
from lab.settings import BY_ID, DRIVE_SIZE, Fleet


def ours(devices: dict[str, str], directory: Path) -> dict[str, Path]:
    """The loop devices whose backing file lies in a directory, by device."""
    return {
        device: Path(backing) for device, backing in devices.items() if backing and Path(backing).parent == directory
    }


def attach(fleet: Fleet, node: str, fresh: bool = False) -> bool:
    """Give a node its drives; returns whether something was made. With fresh, what was on them is gone."""
    changed = False
    for drive in fleet.drives(node):
        backing = fleet.backing_file(drive)
        if fresh and backing.exists():
            _detach(fleet, {backing})
            backing.unlink()
        changed |= _attach(fleet, drive)
    return changed


def _attach(fleet: Fleet, drive: Path) -> bool:
    backing, changed = fleet.backing_file(drive), False
    if not backing.exists():
        backing.parent.mkdir(parents=True, exist_ok=True)
        with open(backing, "wb") as file:
            file.truncate(DRIVE_SIZE)
        changed = True
    attached = {path: device for device, path in ours(loop_devices(), fleet.drives_directory).items()}
    device = attached.get(backing)
    if device is None:
        device = output("losetup", "--find", "--show", str(backing))
        # What a loop device carried before it was let go of while in use.
        run("partx", "--delete", device, check=False)
        changed = True
    return _link(drive, Path(device)) or changed


def swap(fleet: Fleet, node: str, slot: int) -> Path:
    """Take a node's drive out of a slot and put a blank one in, under another name; returns its by-id link. A device
    that is in use goes once nothing uses it any more, at the latest when the node restarts.
    """
    links = {
        int(link.name.rpartition("nvme")[2]): link for link in BY_ID.glob(f"runnerfleet-{fleet.name}-{node}-nvme*")
    }
    old = links.get(slot)
    if old is None:
        raise LabError(
            f"{node} of fleet {fleet.name} has no drive {slot}; it has {', '.join(map(str, sorted(links))) or 'none'}"
        )
    new = old.with_name(f"runnerfleet-{fleet.name}-{node}-nvme{max(links) + 1}")
    _attach(fleet, new)
    for device, backing in ours(loop_devices(), fleet.drives_directory).items():
        if backing == fleet.backing_file(old):
            run("losetup", "--detach", device)
    old.unlink()
    return new


def _link(link: Path, device: Path) -> bool:
    if link.is_symlink() and link.resolve() == device:
        return False
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(f"../../{device.name}")
    return True


def _detach(fleet: Fleet, backing_files: set[Path]) -> None:
    for device, backing in ours(loop_devices(), fleet.drives_directory).items():
        if backing in backing_files:
            # The kernel keeps the partitions of a detached loop device otherwise.
            run("partx", "--delete", device, check=False)
            run("losetup", "--detach", device)


def remove(fleet: Fleet, keep: bool = False) -> list[str]:
    """Detach the fleet's drives and delete links and, unless they are kept, files; returns what was removed."""
    removed = []
    attached = ours(loop_devices(), fleet.drives_directory)
    _detach(fleet, set(attached.values()))
    removed += sorted(attached)
    for link in sorted(BY_ID.glob(f"runnerfleet-{fleet.name}-*-nvme*")) if BY_ID.is_dir() else []:
        if link.is_symlink():
            link.unlink()
            removed.append(str(link))
    if not keep:
        for backing in sorted(fleet.drives_directory.glob("*.img")):
            backing.unlink()
            removed.append(str(backing))
    return removed
