"""What this machine is, and the packages it needs. Decisions are pure functions of what was found."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import resource
import shutil
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import golang
from lab.process import LabError, run

CAP_SYS_RESOURCE = 24
GIB = 1024**3
EVICTION_PERCENT = 10  # as role kubernetes_host sets the kubelet's thresholds
ROOM = 3 * GIB  # that a fleet of four nodes writes
MEMORY = 6 * GIB  # that it takes
MOST = 1 << 20  # A node's limit of open files and of processes.
MOST_WITHOUT_CAPABILITY = 20_000  # What is passed down to it may be lowered, but not raised again.
UPSTREAM = ("dl.k8s.io", "registry.k8s.io")

# A command, and the Debian package that has it.
COMMANDS = {
    "podman": "podman",
    "runc": "runc",
    "skopeo": "skopeo",
    "mmdebstrap": "mmdebstrap",
    "docker-registry": "docker-registry",
    "losetup": "util-linux",
    "partx": "util-linux",
    "sfdisk": "fdisk",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "mkfs.btrfs": "btrfs-progs",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "gcc": "gcc",
    "go": "golang-go",
    "git": "git",
    "make": "make",
    "modprobe": "kmod",
    "curl": "curl",
    "shellcheck": "shellcheck",
    "kubectl": "kubernetes-client",  # For people and for the bench's floor; the collection does not use it.
    "nft": "nftables",
    "iptables": "iptables",
}
FILES = {
    "/usr/include/seccomp.h": "libseccomp-dev",
    "/usr/include/stdio.h": "libc6-dev",
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
    "/usr/lib/podman/aardvark-dns": "aardvark-dns",
    "/usr/lib/podman/netavark": "netavark",
}
MODULES = {"ensurepip": "python3-venv"}


@dataclass(frozen=True)
class Machine:
    """What the lab adapts itself to."""

    cgroup: str  # v1 or v2
    can_raise_limits: bool
    open_files: int
    processes: int

    @property
    def cgroup_driver(self) -> str:
        """The driver that kubelet and containerd must use here."""
        return "systemd" if self.cgroup == "v2" else "cgroupfs"

    def describe(self) -> str:
        """One line for people."""
        lacks = "" if self.can_raise_limits else ", without CAP_SYS_RESOURCE (containers keep their OOM score)"
        return f"cgroup {self.cgroup}, cgroup driver {self.cgroup_driver}{lacks}"


def cgroup_version(mounts: str) -> str:
    """v2 where the unified hierarchy alone is mounted on /sys/fs/cgroup; hybrid counts as v1, as it does for
    kubelet.
    """
    unified = any(fields[1:3] == ["/sys/fs/cgroup", "cgroup2"] for fields in map(str.split, mounts.splitlines()))
    return "v2" if unified else "v1"


def has_capability(status: str, number: int) -> bool:
    """Whether the bounding set in a /proc/<pid>/status has a capability."""
    found = re.search(r"^CapBnd:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return bool(found and int(found.group(1), 16) >> number & 1)


def inspect() -> Machine:
    """Look at this machine."""

    can_raise_limits = has_capability(Path("/proc/self/status").read_text(), CAP_SYS_RESOURCE)
    most = MOST if can_raise_limits else MOST_WITHOUT_CAPABILITY

    def limit(which: int) -> int:
        hard = resource.getrlimit(which)[1]
        return most if hard == resource.RLIM_INFINITY or can_raise_limits else min(hard, most)

    return Machine(
        cgroup=cgroup_version(Path("/proc/self/mounts").read_text()),
        can_raise_limits=can_raise_limits,
        open_files=limit(resource.RLIMIT_NOFILE),
        processes=limit(resource.RLIMIT_NPROC),
    )


def shortages(disks: Mapping[str, tuple[int, int]], memory: int) -> list[str]:
    """Why a fleet would not come up here. `disks`: size and free bytes by place; `memory`: available bytes.

    The kubelets of all nodes see this machine's disk, and evict every pod below their thresholds: then nothing is ever
    ready.
    """
    found = []
    for place, (size, free) in disks.items():
        least = size * EVICTION_PERCENT // 100 + ROOM
        if free < least:
            found.append(
                f"{place}: found {free / GIB:.1f} of {size / GIB:.1f} GiB free, expected {least / GIB:.1f}: below "
                f"{EVICTION_PERCENT} % the kubelets of the nodes evict every pod, and a fleet writes about "
                f"{ROOM / GIB:.0f} GiB. Free some of it"
            )
    if memory < MEMORY:
        found.append(
            f"memory: found {memory / GIB:.1f} GiB available, expected {MEMORY / GIB:.0f} for four nodes. End something"
        )
    return found


def look_for_room(places: Sequence[Path]) -> list[str]:
    """The same, of this machine."""
    disks = {}
    for place in places:
        there = next(path for path in (place, *place.parents) if path.exists())
        stat = os.statvfs(there)
        disks[str(place)] = (stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize)
    available = re.search(r"^MemAvailable:\s+(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return shortages(disks, int(available.group(1)) * 1024 if available else 0)


def missing_packages(
    has_command: Callable[[str], bool], has_file: Callable[[str], bool], has_module: Callable[[str], bool]
) -> list[str]:
    """Debian packages of the commands, files and modules of Python that are not there."""
    names = {package for command, package in COMMANDS.items() if not has_command(command)}
    names |= {package for name, package in FILES.items() if not has_file(name)}
    names |= {package for module, package in MODULES.items() if not has_module(module)}
    return sorted(names)


def install(packages: Sequence[str]) -> None:
    """Install Debian packages."""
    print(f"installing {', '.join(packages)}", flush=True)
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    run("apt-get", "update", "--quiet", env=environment)
    run("apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *packages, env=environment)


def setup() -> bool:
    """Install what is missing; returns whether something was."""
    if os.geteuid():
        raise LabError("the lab makes containers, loop devices and a network: run it as root")
    missing = missing_packages(
        lambda command: shutil.which(command) is not None,
        lambda name: Path(name).exists(),
        lambda module: importlib.util.find_spec(module) is not None,
    )
    if missing:
        install(missing)
        # The lab starts a registry of its own when it needs one; the package's service would only take a port.
        if "docker-registry" in missing and Path("/run/systemd/system").is_dir():
            run("systemctl", "disable", "--now", "docker-registry.service", check=False)
    golang.ensure()
    # A node cannot load what is a module of this machine's kernel; where it is built in there is nothing to load.
    for module in ("overlay", "br_netfilter", "nf_tables", "vxlan", "loop"):
        run("modprobe", "--quiet", module, check=False)
    return bool(missing)


def probe_upstream(seconds: float = 3.0) -> bool:
    """Whether the sites that serve Kubernetes answer."""
    return all(_answers(host, seconds) for host in UPSTREAM)


def _answers(host: str, seconds: float) -> bool:
    done = run(
        "curl",
        "--silent",
        "--head",
        "--output",
        "/dev/null",
        "--max-time",
        str(seconds),
        f"https://{host}/",
        check=False,
    )
    return done.returncode == 0


def is_reachable(address: str, port: int, seconds: float = 1.0) -> bool:
    """Whether something listens."""
    try:
        with socket.create_connection((address, port), timeout=seconds):
            return True
    except OSError:
        return False


def loop_devices() -> dict[str, str]:
    """Backing file of every loop device in use, by device."""
    listed = run("losetup", "--list", "--json", "--output", "NAME,BACK-FILE").stdout
    devices = json.loads(listed)["loopdevices"] if listed.strip() else []
    return {device["name"]: (device["back-file"] or "").removesuffix(" (deleted)") for device in devices}
