# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the roles would refuse on a host, or the kubelet after them: kernel, swap, drives, full disks. Private to the
collection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.layout import OPTIONS, refusals_on
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.model import Drive, Kind, Reason
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.findings import Finding, named
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.hardware import (
    HardwareDrive,
    hardware_from,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._quantity import percentage, show_bytes, to_bytes

# The options of nvme_layout as variables of nvme_storage, whose tasks pass them on.
LAYOUT = {option: f"nvme_storage_{option}" for option in OPTIONS if option != "services"}
# The roles' variables that these rules read.
NAMES = (
    *LAYOUT.values(),
    "fleet_cgroup_driver",
    "kubernetes_host_eviction_hard",
    "kubernetes_host_kubelet_config",
    "kubernetes_host_swap",
    "kubernetes_host_version",
)
# The first minor of Kubernetes whose kubelet does not start on cgroup v1 unless it is told to.
CGROUP_V2_ONLY = (1, 35)
# What the kubelet takes where evictionHard is not set at all.
EVICTION = {
    "nodefs.available": "10%",
    "nodefs.inodesFree": "5%",
    "imagefs.available": "15%",
    "imagefs.inodesFree": "5%",
}
NODEFS, IMAGEFS, PROGRAMS = "/var/lib/kubelet", "/var/lib/containerd", "/usr/local/bin"
PATHS = (NODEFS, IMAGEFS, PROGRAMS)
GIB = 1024**3
# What the roles put on a host, rounded up: containerd, runc, CNI plugins and kubelet; and the images of a node's own
# pods, packed and unpacked. On a runner node these are the engine's and one runner's too.
PROGRAM_BYTES = GIB // 2
IMAGE_BYTES = {"control_plane": 2 * GIB, "support": 1 * GIB, "runner": 5 * GIB}


def cgroup_findings(host: str, survey: Mapping[str, Any], values: Mapping[str, Any]) -> list[Finding]:
    """cgroup v1, which the pinned kubelet may not start on."""
    if survey.get("cgroup_version") != 1:
        return []
    kubelet = values.get("kubernetes_host_kubelet_config") or {}
    version = minor(values.get("kubernetes_host_version"))
    refused = version >= CGROUP_V2_ONLY and kubelet.get("failCgroupV1") is not False
    systemd = str(values.get("fleet_cgroup_driver") or "systemd") == "systemd"
    if not (refused or systemd):
        return []
    boot = "boot the host with systemd.unified_cgroup_hierarchy=1"
    remedies = [
        *(["fleet_cgroup_driver: cgroupfs"] if systemd else []),
        *(["failCgroupV1: false in kubernetes_host_kubelet_config"] if refused else []),
    ]
    expected = (
        f"cgroup v2, which the kubelet of {'.'.join(map(str, version))} asks for"
        if refused
        else "cgroup v2, which kubelet asks for"
    )
    return [Finding("cgroup_v1", host, "cgroup v1", expected, f"{boot}, or set {' and '.join(remedies)}")]


def minor(version: Any) -> tuple[int, int]:
    """Major and minor; of what is no version, the newest that is known: others say that it is none."""
    parts = str(version or "").lstrip("v").split(".")
    return (
        (int(parts[0]), int(parts[1]))
        if len(parts) > 1 and parts[0].isdigit() and parts[1].isdigit()
        else CGROUP_V2_ONLY
    )


def module_findings(host: str, survey: Mapping[str, Any]) -> list[Finding]:
    """Kernel modules that are needed and cannot be had."""
    findings = []
    forbidden = survey.get("kernel_modules_forbidden") or {}
    unknown = [name for name in survey.get("kernel_modules_missing") or () if name not in forbidden]
    expected = "loaded, built in, or known to modprobe and allowed to load"
    if unknown:
        hint = (
            "install the kernel's full module package (such as linux-modules-extra or kernel-modules), or boot "
            "another kernel"
        )
        findings.append(
            Finding(
                "kernel_module_missing", host, f"kernel {survey.get('kernel')} has no {named(unknown)}", expected, hint
            )
        )
    for name, why in forbidden.items():
        hint = (
            "take that out: the fleet needs this module"
            if why.startswith("/")
            else "set it to 0 and reboot: no module can be loaded now"
        )
        findings.append(Finding("kernel_module_missing", host, f"{name} must not be loaded: {why}", expected, hint))
    return findings


def swap_findings(host: str, survey: Mapping[str, Any], values: Mapping[str, Any]) -> list[Finding]:
    """Swap that is on, or will be on after the next boot."""
    if str(values.get("kubernetes_host_swap") or "disable") != "disable":
        return []
    findings, size = [], int(survey.get("swap_bytes") or 0)
    sources = survey.get("swap_sources") or ()
    expected, keep = "no swap on a node", "to keep it, set kubernetes_host_swap: keep"
    ours = [f"{source['name']} {source['why']}" for source in sources if not source["fixed"]]
    fixed = [f"{source['name']} {source['why']}" for source in sources if source["fixed"]]
    if size or ours:
        found = "; ".join([*([f"{size // 2**20} MiB of swap"] if size else []), *ours])
        findings.append(
            Finding("swap_on", host, found, expected, f"nothing: it will be turned off, now and at boot; {keep}")
        )
    if fixed:
        hint = f"take it out of there: nothing else keeps it off after the next boot; {keep}"
        findings.append(Finding("swap_stays", host, "; ".join(fixed), expected, hint))
    return findings


def layout(values: Mapping[str, Any]) -> dict[str, Any]:
    """What nvme_storage calls nvme_layout with; an empty mapping where no drives are named or chosen."""
    given = {option: values.get(name) for option, name in LAYOUT.items()}
    if not given["drives"] and not given["select"]:
        return {}
    unused = "drives" if given["select"] and not given["drives"] else "" if given["select"] else "select"
    return {option: value for option, value in given.items() if option != unused and value is not None}


def storage_findings(host: str, survey: Mapping[str, Any], values: Mapping[str, Any]) -> list[Finding]:
    """What nvme_layout would refuse, in its own words; what another finding says of a named drive is left to it."""
    told = {drive.get("problem") for drive in survey.get("drives") or ()}
    refusals = survey.get("storage")
    if refusals is None and survey.get("hardware"):
        refusals = listed_refusals(survey, layout(values))
    expected = "drives and options of which nvme_storage can make the volumes"
    hint = "do what it says; docs/storage.md lists what is refused and what resolves it"
    return [
        Finding("storage_refused", host, text, expected, hint)
        for text in refusals or ()
        if text not in told and not text.endswith(", which is named twice")
    ]


def listed_refusals(survey: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """The planner's answer for a survey that has only a list of drives. In use is what sizing says of a drive."""
    named_drives = given.get("drives") or ()
    drives = [
        Drive(drive.name, drive.name, drive.size_bytes, seed=drive.name, blocked=blocked(drive), model=drive.model)
        for drive in hardware_from(survey["hardware"]).drives
        if (drive.name in named_drives if named_drives else drive.transport == "nvme")
    ]
    # A named drive that is not in the list is a finding of its own.
    return refusals_on(drives, given) if given and len(drives) >= len(named_drives) else []


def blocked(drive: HardwareDrive) -> tuple[Reason, ...]:
    """What stands against a drive of a list."""
    if drive.in_use:
        return (Reason.of(drive.in_use),)
    return (Reason(Kind.BOOT),) if drive.boot else ()


def disk_findings(
    host: str, kind: str, survey: Mapping[str, Any], values: Mapping[str, Any], on_drives: bool
) -> list[Finding]:
    """Filesystems on which the kubelet would evict pods now, or once programs and images are there. `on_drives`:
    volumes are made.
    """
    filesystems = {entry["path"]: entry for entry in survey.get("filesystems") or ()}
    added: dict[str, int] = {}
    for path, size in () if survey.get("member") else ((PROGRAMS, PROGRAM_BYTES), (IMAGEFS, IMAGE_BYTES[kind])):
        if path in filesystems and not (on_drives and moved(path, values)):
            added[filesystems[path]["device"]] = added.get(filesystems[path]["device"], 0) + size
    findings = []
    for signal, threshold in thresholds(values).items():
        owner, _dot, resource = signal.partition(".")
        path = {"nodefs": NODEFS, "imagefs": IMAGEFS}[owner]
        entry = filesystems.get(path)
        # A volume that is not made yet is empty; whether it is large enough is asked of the planner.
        if not entry or (on_drives and moved(path, values) and not survey.get("member")):
            continue
        findings += full(
            host, signal, threshold, entry, added.get(entry["device"], 0) if resource == "available" else 0
        )
    return findings


def full(host: str, signal: str, threshold: Any, entry: Mapping[str, Any], added: int) -> list[Finding]:
    """One signal of the kubelet against one filesystem."""
    inodes = signal.endswith(".inodesFree")
    size, free = (
        (int(entry["inodes"]), int(entry["inodes_free"])) if inodes else (int(entry["size"]), int(entry["available"]))
    )
    try:
        limit = int(size * percentage(str(threshold))) if "%" in str(threshold) else to_bytes(str(threshold))
    except ValueError:
        return []  # the check of the variable says so
    if not size or free - added >= limit:
        return []
    show = str if inodes else show_bytes
    found = f"{show(free)} of {show(size)} {'inodes ' if inodes else ''}free"
    if added and free >= limit:
        found += f", {show_bytes(max(free - added, 0))} once programs and images ({show_bytes(added)}) are there"
    expected = f"{show(limit)} or more, below which kubelet evicts pods ({signal}: {threshold})"
    hint = "free space there, give it a larger disk, or lower the threshold in kubernetes_host_eviction_hard"
    return [Finding("disk_nearly_full", f"{host} {entry['path']}", found, expected, hint)]


def thresholds(values: Mapping[str, Any]) -> dict[str, Any]:
    """The kubelet's hard eviction thresholds for disks: its defaults go where none is set, or where it is told to merge
    them.
    """
    kubelet = values.get("kubernetes_host_kubelet_config") or {}
    stated = {**(values.get("kubernetes_host_eviction_hard") or {}), **(kubelet.get("evictionHard") or {})}
    merged = {**EVICTION, **stated} if not stated or kubelet.get("mergeDefaultEvictionSettings") is True else stated
    return {signal: value for signal, value in merged.items() if signal in EVICTION}


def moved(path: str, values: Mapping[str, Any]) -> bool:
    """Whether a directory comes to lie on one of the volumes."""
    volumes: Sequence[Mapping[str, Any]] = values.get("nvme_storage_volumes") or ()
    places = [
        str(place)
        for volume in volumes
        for place in [volume.get("mount"), *(b.get("target") for b in volume.get("binds") or ())]
        if place
    ]
    return any(path == place or path.startswith(place.rstrip("/") + "/") for place in places)
