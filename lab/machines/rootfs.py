"""Debian root file systems: the node image and the small bases of the lab's containers. Each is built once and kept in
the cache.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from lab.process import alone, run
from lab.programs import CACHE

ROOTFS_DIRECTORY = CACHE / "rootfs"
SUITE = "bookworm"  # systemd 252 boots under cgroup v1 and v2; later ones refuse v1.

_LAB_NODE_UNIT = """\
[Unit]
Description=What a machine's firmware and installer would have done
DefaultDependencies=no
Before=sysinit.target ssh.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/mount --make-rshared /
ExecStart=/usr/bin/ssh-keygen -A
# A machine's restart takes these along, a container's does not.
ExecStart=-/bin/sh -c 'for link in cni0 flannel.1; do ip link delete $$link; done 2>/dev/null'

[Install]
WantedBy=sysinit.target
"""

# A node shares the machine's /dev: nothing in it may take a terminal, answer a power key or drain the kernel's log.
_MASKED = (
    "getty.target",
    "console-getty.service",
    "getty@.service",
    "serial-getty@.service",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "e2scrub_all.timer",
    "systemd-udevd.service",
    "systemd-udev-trigger.service",
)


@dataclass(frozen=True)
class Rootfs:
    """A root file system: Debian packages, files of ours, and a few commands run inside."""

    name: str
    packages: tuple[str, ...]
    files: dict[str, str] = field(default_factory=dict)
    commands: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Changes with the content."""
        content = json.dumps([SUITE, self.name, self.packages, self.files, self.commands], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:12]

    @property
    def tarball(self) -> Path:
        """Where the built tarball lies."""
        return ROOTFS_DIRECTORY / f"{self.name}-{self.key}.tar"

    @property
    def image(self) -> str:
        """Name of the podman image imported from it."""
        return f"localhost/runnerfleet-{self.name}:{self.key}"


NODE = Rootfs(
    "node",
    (
        *(
            "systemd",
            "systemd-sysv",
            "dbus",
            "openssh-server",
            "sudo",
            "python3",
            "python3-apt",
            "ca-certificates",
            "curl",
        ),
        *("iproute2", "iputils-ping", "ethtool", "nftables", "iptables", "ipset", "conntrack", "socat"),
        *("kmod", "procps", "util-linux", "mount", "fdisk", "gdisk", "parted", "e2fsprogs", "xfsprogs", "btrfs-progs"),
    ),
    files={
        "/etc/systemd/system/lab-node.service": _LAB_NODE_UNIT,
        "/etc/systemd/logind.conf.d/lab.conf": "[Login]\nNAutoVTs=0\nReserveVT=0\n"
        "HandlePowerKey=ignore\nHandleSuspendKey=ignore\n",
        "/etc/systemd/journald.conf.d/lab.conf": "[Journal]\nReadKMsg=no\nRuntimeMaxUse=64M\n",
        "/etc/ssh/sshd_config.d/lab.conf": "PasswordAuthentication no\nUseDNS no\nMaxStartups 100\n",
    },
    commands=(
        "systemctl mask " + " ".join(_MASKED),
        "systemctl enable lab-node.service ssh.service",
        "install -d -m 0700 /root/.ssh",
        "rm -f /etc/ssh/ssh_host_*",
        "truncate -s 0 /etc/machine-id && rm -f /var/lib/dbus/machine-id",
    ),
)

# Under the images of programs that call nft, iptables or a shell.
TOOLS = Rootfs(
    "tools",
    ("bash", "ca-certificates", "conntrack", "iproute2", "iptables", "ipset", "kmod", "nftables", "busybox-static"),
    commands=("update-alternatives --set iptables /usr/sbin/iptables-nft",),
)

# The mirror runs in this one.
SERVICES = Rootfs(
    "services", ("docker-registry", "python3-minimal", "libpython3-stdlib", "ca-certificates", "iproute2")
)


def build(rootfs: Rootfs) -> Path:
    """The tarball of a root file system, built unless it is cached."""
    with alone(rootfs.tarball):
        if not rootfs.tarball.exists():
            _make(rootfs)
    return rootfs.tarball


def _make(rootfs: Rootfs) -> None:
    print(f"building the {rootfs.name} root file system (Debian {SUITE}, {len(rootfs.packages)} packages)", flush=True)
    with tempfile.TemporaryDirectory(dir=ROOTFS_DIRECTORY, prefix=f".{rootfs.name}-") as scratch:
        overlay = Path(scratch, "overlay")
        for name, content in rootfs.files.items():
            target = overlay / name.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
        hooks = [f"--customize-hook=sync-in {overlay} /"] if rootfs.files else []
        hooks += [f'--customize-hook=chroot "$1" sh -c "{command}"' for command in rootfs.commands]
        tarball = Path(scratch, "rootfs.tar")
        # Documentation and translations are what makes a minimal Debian large.
        slim = [f"--dpkgopt=path-exclude=/usr/share/{kind}/*" for kind in ("doc", "man", "locale", "info")]
        environment = dict(os.environ, TMPDIR=scratch)
        run(
            "mmdebstrap",
            "--variant=minbase",
            f"--include={','.join(rootfs.packages)}",
            *slim,
            *hooks,
            SUITE,
            str(tarball),
            env=environment,
        )
        tarball.rename(rootfs.tarball)


def podman_image(rootfs: Rootfs) -> str:
    """The podman image of a root file system, imported unless podman has it."""
    with alone(rootfs.tarball.with_suffix(".podman")):
        if run("podman", "image", "exists", rootfs.image, check=False).returncode:
            run("podman", "import", "--quiet", str(build(rootfs)), rootfs.image)
    return rootfs.image
