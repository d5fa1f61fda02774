"""The disk that virtual machines boot from, with its kernel: Debian, made once and kept in the cache."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lab.machines import containers, rootfs
from lab.process import alone, run
from lab.programs import CACHE

IMAGES = CACHE / "vm-images"
HOST_KEY = containers.SSH_DIRECTORY / "vm_host_ed25519"
ROOT_SIZE = 4 << 30
ROOT_OFFSET = 1 << 20  # Where the partition begins: the disk has a partition table, as a real one has.
ROOT_UUID = "5f3a6f5e-7c1e-4d0b-9a53-2f1f6f1f0b01"
NETWORK_NAME = "eth0"

# The address that QEMU's user-mode network gives to the first guest, set by hand: much quicker than a daemon that asks
# for it.
_NETWORK_UNIT = f"""\
[Unit]
Description=The network to the machine that this one runs on
Wants=network.target sys-subsystem-net-devices-{NETWORK_NAME}.device
After=sys-subsystem-net-devices-{NETWORK_NAME}.device
Before=network.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/ip address replace 10.0.2.15/24 dev {NETWORK_NAME}
ExecStart=/bin/ip link set {NETWORK_NAME} up

[Install]
WantedBy=multi-user.target
"""

# What costs time at boot and does nothing for a machine that is reached by ssh only.
_MASKED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "getty.target",
    "nvmf-autoconnect.service",
    "systemd-update-utmp.service",
)

VM = rootfs.Rootfs(
    "vm",
    (
        *(
            "linux-image-cloud-amd64",
            "initramfs-tools",
            "zstd",
            "systemd",
            "systemd-sysv",
            "udev",
            "dbus",
            "openssh-server",
            "sudo",
        ),
        *(
            "python3",
            "python3-apt",
            "ca-certificates",
            "iproute2",
            "kmod",
            "procps",
            "util-linux",
            "mount",
            "fdisk",
            "gdisk",
            "parted",
        ),
        *("nvme-cli", "lvm2", "mdadm", "cryptsetup-bin", "xfsprogs", "btrfs-progs", "e2fsprogs"),
    ),
    files={
        "/etc/initramfs-tools/conf.d/lab.conf": "MODULES=list\nCOMPRESS=zstd\n",
        "/etc/initramfs-tools/modules": "nvme\next4\n",
        "/etc/systemd/system/lab-network.service": _NETWORK_UNIT,
        "/etc/systemd/journald.conf.d/lab.conf": "[Journal]\nStorage=persistent\nSystemMaxUse=64M\n",
        "/etc/systemd/system.conf.d/lab.conf": "[Manager]\nDefaultTimeoutStopSec=20s\n",
        "/etc/ssh/sshd_config.d/lab.conf": "PasswordAuthentication no\nUseDNS no\n",
        "/etc/hosts": "127.0.0.1 localhost\n",
    },
    commands=(
        "systemctl mask " + " ".join(_MASKED),
        "systemctl enable ssh.service lab-network.service",
        "update-initramfs -u",
        "install -d -m 0700 /root/.ssh",
        "rm -f /etc/ssh/ssh_host_*",
        "truncate -s 0 /etc/machine-id && rm -f /var/lib/dbus/machine-id",
    ),
)


@dataclass(frozen=True)
class Image:
    """What a virtual machine is started from."""

    directory: Path

    @property
    def disk(self) -> Path:
        """The boot drive's content; machines write to overlays of it."""
        return self.directory / "root.img"

    @property
    def kernel(self) -> Path:
        """The kernel, which QEMU loads by itself."""
        return self.directory / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """Its first root file system."""
        return self.directory / "initrd.img"


def ensure_host_key() -> str:
    """The public host key of every virtual machine here. It is made before them, so that it is known before the first
    connection.
    """
    containers.ensure_key(HOST_KEY, "runnerfleet lab vm")
    return " ".join(Path(f"{HOST_KEY}.pub").read_text().split()[:2])


def image_key(rootfs_key: str, *parts: str | int) -> str:
    """Names an image after what goes into it."""
    return hashlib.sha256(json.dumps([rootfs_key, *parts]).encode()).hexdigest()[:12]


def ensure() -> Image:
    """The image, built unless it is cached."""
    containers.ensure_ssh_key()
    host_key = ensure_host_key()
    authorized = Path(f"{containers.SSH_KEY}.pub").read_text()
    image = Image(IMAGES / image_key(VM.key, ROOT_SIZE, ROOT_OFFSET, ROOT_UUID, host_key, authorized))
    with alone(image.directory):
        if not image.directory.exists():
            with tempfile.TemporaryDirectory(dir=IMAGES, prefix=".building-") as scratch:
                made = Path(scratch, "image")
                made.mkdir()
                _make(Image(made), Path(scratch, "root"), authorized)
                made.rename(image.directory)
            VM.tarball.unlink(missing_ok=True)  # All of it is in the image now.
    return image


def _make(image: Image, root: Path, authorized: str) -> None:
    """Unpack the root file system, give it its keys, and write it to a disk with one partition."""
    root.mkdir()
    run(
        "tar",
        "--extract",
        "--numeric-owner",
        "--xattrs",
        "--file",
        str(rootfs.build(VM)),
        "--directory",
        str(root),
        "--exclude=./dev/*",
    )
    keys = root / "root/.ssh/authorized_keys"
    keys.write_text(authorized)
    keys.chmod(0o600)
    for name in (HOST_KEY, Path(f"{HOST_KEY}.pub")):
        shutil.copy(name, root / "etc/ssh" / name.name.replace(HOST_KEY.name, "ssh_host_ed25519_key"))
    kernels = sorted((root / "boot").glob("vmlinuz-*"))
    shutil.copy(kernels[-1], image.kernel)
    shutil.copy(root / "boot" / kernels[-1].name.replace("vmlinuz", "initrd.img"), image.initrd)
    with open(image.disk, "wb") as disk:
        disk.truncate(ROOT_SIZE)
    run("sfdisk", "--quiet", str(image.disk), text=f"label: gpt\nstart={ROOT_OFFSET // 512}, type=linux, name=root\n")
    blocks = (ROOT_SIZE - 2 * ROOT_OFFSET) // 4096
    options = (
        "-q",
        "-t",
        "ext4",
        "-U",
        ROOT_UUID,
        "-L",
        "root",
        "-E",
        f"offset={ROOT_OFFSET},lazy_itable_init=0",
        "-b",
        "4096",
    )
    run("mke2fs", *options, "-d", str(root), str(image.disk), str(blocks))
