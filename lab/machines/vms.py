"""Virtual machines with emulated NVMe drives, for what only controllers, reboots and power cuts can show.

Run as `python -m lab.machines.vms COMMAND`. A machine is a directory: its drives, its console, its settings. A drive
that is added, taken out, put back or moved is so at the next boot. LAB_FLEET names a set of machines of its own, as
it names a fleet of containers.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import machine
from lab.machines import vm_image
from lab.machines.containers import SSH_KEY
from lab.machines.vm_image import Image
from lab.process import LabError, run
from lab.programs import CACHE
from lab.settings import current_fleet

VMS = CACHE / "vms"
DEFAULT_NAME = "nvme-1"
DEFAULT_DRIVES = 4
DEFAULT_MEMORY = 2048
DRIVE_SIZE = 4 << 30
BOOT = "BOOT"
FIRST_SLOT, LAST_SLOT = (
    4,
    31,
)  # PCI slots of the drives; the bridge, the random numbers and the network card come before.
TCG = "tcg,thread=multi"
# All machines share one host key, and the port of each may change: ssh knows them by this name.
HOST_KEY_ALIAS = "runnerfleet-vm"
PATIENCE = 600.0  # Seconds to boot or to shut down: far more than either takes, for machines that are very busy.

# A command, and the Debian package that has it. `make lab` needs none of the first two.
COMMANDS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mmdebstrap": "mmdebstrap",
    "sfdisk": "fdisk",
    "mke2fs": "e2fsprogs",
    "tar": "tar",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}
FILES = {"/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring"}


@dataclass(frozen=True)
class Drive:
    """One NVMe drive. The boot drive is one too."""

    name: str
    present: bool = True


@dataclass(frozen=True)
class Vm:
    """One virtual machine; drives are in the order of their PCI addresses."""

    directory: Path
    image: Path
    memory: int
    drives: tuple[Drive, ...]
    port: int = 0

    @property
    def name(self) -> str:
        """Its host name."""
        return self.directory.name

    @property
    def pid_file(self) -> Path:
        """Where QEMU writes its process id. The path in its command line also proves that a process is this machine."""
        return self.directory / "qemu.pid"

    @property
    def console(self) -> Path:
        """What the machine printed since it was last switched on."""
        return self.directory / "console.log"

    def serial(self, drive: Drive) -> str:
        """The serial number in the drive's controller."""
        return f"{drive.name}-{self.name}"

    def disk(self, drive: Drive) -> Path:
        """The drive's content."""
        return self.directory / (f"{drive.name}.qcow2" if drive.name == BOOT else f"{drive.name}.img")

    def find(self, name: str) -> Drive:
        """A drive by its name or its serial number."""
        for drive in self.drives:
            if name in (drive.name, self.serial(drive)):
                return drive
        raise LabError(f"{self.name} has no drive {name!r}; it has {', '.join(drive.name for drive in self.drives)}")

    def data_serials(self) -> list[str]:
        """Serial numbers of the data drives that are in the machine, in the order in which they were made."""
        drives = [drive for drive in self.drives if drive.present and drive.name != BOOT]
        return [self.serial(drive) for drive in sorted(drives, key=lambda drive: (len(drive.name), drive.name))]


def with_presence(vm: Vm, name: str, present: bool) -> Vm:
    """A drive taken out, or put back."""
    chosen = vm.find(name)
    if chosen.name == BOOT:
        raise LabError(f"{vm.name} cannot boot without {BOOT}: name a data drive")
    drives = tuple(dataclasses.replace(drive, present=present) if drive == chosen else drive for drive in vm.drives)
    return dataclasses.replace(vm, drives=drives)


def reordered(vm: Vm) -> Vm:
    """Every drive at another PCI address, the boot drive as well, so that the kernel finds and names them in another
    order.
    """
    return dataclasses.replace(vm, drives=tuple(reversed(vm.drives)))


def with_another_drive(vm: Vm) -> Vm:
    """One more data drive, with a serial number that no earlier one had."""
    number = max((int(drive.name.removeprefix("DATA")) for drive in vm.drives if drive.name != BOOT), default=0) + 1
    if len(vm.drives) > LAST_SLOT - FIRST_SLOT:
        raise LabError(f"{vm.name} has {len(vm.drives)} drives, which is all that its PCI bus holds")
    return dataclasses.replace(vm, drives=(*vm.drives, Drive(f"DATA{number}")))


def qemu_command(vm: Vm, image: Image, accelerator: str) -> list[str]:
    """How the machine is switched on."""
    command = [
        "qemu-system-x86_64",
        "-name",
        vm.name,
        "-machine",
        "pc",
        "-accel",
        accelerator,
        "-smp",
        "2",
        "-m",
        str(vm.memory),
    ]
    if accelerator == "kvm":
        command += ["-cpu", "host"]
    command += ["-nodefaults", "-no-user-config", "-display", "none", "-daemonize", "-pidfile", str(vm.pid_file)]
    command += ["-kernel", str(image.kernel), "-initrd", str(image.initrd), "-append", kernel_arguments(vm.name)]
    command += ["-serial", f"file:{vm.console}", "-device", "virtio-rng-pci,addr=2"]
    # The guest reaches nothing; from here, ssh alone reaches the guest.
    command += [
        "-netdev",
        f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{vm.port}-:22",
        "-device",
        "virtio-net-pci,netdev=net,addr=3",
    ]
    for slot, drive in enumerate(vm.drives, FIRST_SLOT):
        if drive.present:
            kind = "qcow2" if drive.name == BOOT else "raw"
            # Unsafe only if this machine crashes: what QEMU has written, the host keeps when QEMU is killed.
            backend = f"if=none,id={drive.name},file={vm.disk(drive)},format={kind},cache=unsafe,discard=unmap"
            command += [
                "-drive",
                backend,
                "-device",
                f"nvme,drive={drive.name},serial={vm.serial(drive)},addr={slot:#x}",
            ]
    return command


def kernel_arguments(name: str) -> str:
    """The root by its UUID, so that the boot drive may move, and no timer check, which an emulated clock can fail."""
    return f"root=UUID={vm_image.ROOT_UUID} rw console=ttyS0 quiet net.ifnames=0 no_timer_check systemd.hostname={name}"


def accelerator() -> str:
    """KVM where it boots our kernel, else emulation. The answer is remembered until this machine is restarted."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return TCG
    boot, remembered = Path("/proc/sys/kernel/random/boot_id").read_text().strip(), VMS / "kvm.json"
    answers = json.loads(remembered.read_text()) if remembered.exists() else {}
    if boot not in answers:
        print("trying whether KVM boots a kernel here (20 s at most)", flush=True)
        answers = {boot: _kvm_boots(vm_image.ensure())}
        VMS.mkdir(parents=True, exist_ok=True)
        remembered.write_text(json.dumps(answers) + "\n")
    return "kvm" if answers[boot] else TCG


def _kvm_boots(image: Image, seconds: float = 20) -> bool:
    with tempfile.TemporaryDirectory() as scratch:
        console = Path(scratch, "console.log")
        command = [
            "qemu-system-x86_64",
            "-machine",
            "pc",
            "-accel",
            "kvm",
            "-cpu",
            "host",
            "-m",
            "512",
            "-nodefaults",
            "-display",
            "none",
        ]
        command += ["-kernel", str(image.kernel), "-initrd", str(image.initrd), "-append", "console=ttyS0"]
        command += ["-serial", f"file:{console}", "-no-reboot"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline, booted = time.monotonic() + seconds, False
        while not booted and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
            booted = console.exists() and b"Run /init as init process" in console.read_bytes()
        process.kill()
        process.wait()
        return booted


def fleet_directory() -> Path:
    """Where the machines of the fleet that LAB_FLEET names lie."""
    return VMS / current_fleet().name


def load(name: str) -> Vm:
    """A machine that `up` has made."""
    directory = fleet_directory() / name
    try:
        settings = json.loads((directory / "vm.json").read_text())
    except FileNotFoundError:
        raise LabError(
            f"there is no virtual machine {name!r} in {fleet_directory()}: run `python -m lab.machines.vms up {name}`"
        ) from None
    drives = tuple(Drive(**drive) for drive in settings["drives"])
    return Vm(directory, Path(settings["image"]), settings["memory"], drives, settings["port"])


def save(vm: Vm) -> Vm:
    """Keep a machine's settings, and write what the inventory reads."""
    settings = {
        "image": str(vm.image),
        "memory": vm.memory,
        "drives": [dataclasses.asdict(drive) for drive in vm.drives],
        "port": vm.port,
    }
    _write(vm.directory / "vm.json", json.dumps(settings, indent=2) + "\n")
    write_inventory()
    return vm


def names() -> list[str]:
    """The machines of this fleet."""
    return sorted(path.parent.name for path in fleet_directory().glob("*/vm.json"))


def write_inventory() -> None:
    """Everything that this machine decides, for inventories/lab-nvme."""
    directory = fleet_directory()
    known_hosts = directory / "known_hosts"
    _write(known_hosts, f"{HOST_KEY_ALIAS} {vm_image.ensure_host_key()}\n")
    machines = {vm.name: {"port": vm.port, "drives": vm.data_serials()} for vm in map(load, names())}
    facts = {
        "ssh_key": str(SSH_KEY),
        "known_hosts": str(known_hosts),
        "host_key_alias": HOST_KEY_ALIAS,
        "machines": machines,
    }
    _write(directory / "vms.json", json.dumps(facts, indent=2) + "\n")


def _write(path: Path, content: str) -> None:
    unfinished = path.with_name(path.name + ".new")
    unfinished.write_text(content)
    unfinished.rename(path)


def pid(vm: Vm) -> int | None:
    """The machine's own QEMU process, if it runs: a number alone may be another program's by now."""
    try:
        number = int(vm.pid_file.read_text())
        arguments = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return None
    return number if str(vm.pid_file).encode() in arguments else None


def _ended(number: int) -> bool:
    """Whether a process has let go of its files. A zombie without other threads has, and may stay for long where nobody
    waits for it.
    """
    try:
        dead = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
        return dead and len(os.listdir(f"/proc/{number}/task")) <= 1
    except (FileNotFoundError, ProcessLookupError):
        return True


def make(name: str, drives: int, memory: int) -> Vm:
    """A machine that was never switched on."""
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,11}", name):
        raise LabError(
            f"a virtual machine is called by at most 12 of a-z, 0-9 and -, beginning with a letter; found {name!r}"
        )
    image = vm_image.ensure()
    vm = Vm(fleet_directory() / name, image.directory, memory, (Drive(BOOT),))
    vm.directory.mkdir(parents=True, exist_ok=True)
    for _number in range(drives):
        vm = with_another_drive(vm)
    _install(vm, image)
    for drive in vm.drives[1:]:
        _make_disk(vm, drive)
    return save(vm)


def _install(vm: Vm, image: Image) -> None:
    """A boot drive as the image has it; what was there is gone."""
    overlay = ("-f", "qcow2", "-b", str(image.disk), "-F", "raw", str(vm.disk(Drive(BOOT))))
    run("qemu-img", "create", "-q", *overlay)


def _make_disk(vm: Vm, drive: Drive) -> None:
    with open(vm.disk(drive), "wb") as disk:
        disk.truncate(DRIVE_SIZE)


def start(vm: Vm) -> Vm:
    """Switch a machine on and wait until it takes ssh."""
    how, started = accelerator(), time.monotonic()
    vm = save(dataclasses.replace(vm, port=_usable_port(vm.port)))
    run(*qemu_command(vm, Image(vm.image), how))
    while not _greets(vm.port):
        if pid(vm) is None or time.monotonic() - started > PATIENCE:
            state = "runs, but takes no ssh" if pid(vm) else "stopped"
            end = "\n".join(vm.console.read_text(errors="replace").splitlines()[-15:]) if vm.console.exists() else ""
            raise LabError(
                f"{vm.name} {state} after {time.monotonic() - started:.0f} s; the end of {vm.console}:\n{end}"
            )
        time.sleep(0.3)
    print(f"{vm.name}: ssh after {time.monotonic() - started:.1f} s ({how.split(',')[0].upper()})", flush=True)
    return vm


def _usable_port(wish: int) -> int:
    """The desired port of loopback unless something has it; else one that is free."""
    for port in (wish, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise LabError("no free port on 127.0.0.1")


def _greets(port: int) -> bool:
    """Whether sshd answers. QEMU takes the connection long before the guest does, so that alone says nothing."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def ssh_command(vm: Vm, *command: str) -> list[str]:
    """How to run a command on a machine."""
    options = [
        "-i",
        str(SSH_KEY),
        "-p",
        str(vm.port),
        "-o",
        f"UserKnownHostsFile={vm.directory.parent / 'known_hosts'}",
    ]
    options += ["-o", f"HostKeyAlias={HOST_KEY_ALIAS}", "-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes"]
    options += ["-o", "ConnectTimeout=30", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"]
    return ["ssh", *options, "root@127.0.0.1", *command]


def ssh(vm: Vm, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command on a machine; one string is a shell's line."""
    return run(*ssh_command(vm, *(command if len(command) == 1 else (shlex.join(command),))), check=check)


def shut_down(vm: Vm) -> None:
    """Let a machine end what it runs, and switch it off."""
    number, deadline = pid(vm), time.monotonic() + PATIENCE
    ssh(vm, "systemctl poweroff", check=False)  # The connection may be cut before the answer.
    while number is not None and not _ended(number):
        if time.monotonic() > deadline:
            raise LabError(
                f"{vm.name} did not shut down within {PATIENCE:.0f} s: see {vm.console}, or run `python -m "
                f"lab.machines.vms power-cut {vm.name}`"
            )
        time.sleep(0.2)


def cut(vm: Vm) -> None:
    """Take the power away: what the guest had not written is lost."""
    number = pid(vm)
    if number is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
        while not _ended(number):
            time.sleep(0.05)


def reboot(vm: Vm) -> Vm:
    """A clean shutdown, and on again."""
    if pid(vm) is not None:
        shut_down(vm)
    return start(vm)


def power_cut(vm: Vm) -> Vm:
    """The power goes, and comes back."""
    cut(vm)
    return start(vm)


def reinstall(vm: Vm) -> Vm:
    """Switched off, given a blank system, and switched on; the data drives stay as they are."""
    cut(vm)
    _install(vm, Image(vm.image))
    return start(vm)


def unplug(vm: Vm, drive: str) -> Vm:
    """From the next boot on, a drive is missing."""
    return save(with_presence(vm, drive, False))


def plug(vm: Vm, drive: str) -> Vm:
    """From the next boot on, a drive is back, with what was on it."""
    return save(with_presence(vm, drive, True))


def reorder(vm: Vm) -> Vm:
    """From the next boot on, drives are found in another order."""
    return save(reordered(vm))


def add_drive(vm: Vm) -> Vm:
    """From the next boot on, there is one more drive, and it is empty."""
    vm = with_another_drive(vm)
    _make_disk(vm, vm.drives[-1])
    return save(vm)


def up(name: str = DEFAULT_NAME, drives: int = DEFAULT_DRIVES, memory: int = DEFAULT_MEMORY) -> Vm:
    """A machine that runs; number of drives and memory count when it is made. Safe to run again."""
    vm = load(name) if name in names() else make(name, drives, memory)
    if pid(vm) is None:
        return start(vm)
    print(f"{vm.name}: nothing to do", flush=True)
    return vm


def down(name: str | None = None) -> None:
    """Remove one or all of this fleet's machines with their drives, and nothing else. Safe to run again."""
    removed = [found for found in names() if name in (None, found)]
    for vm in map(load, removed):
        cut(vm)
        shutil.rmtree(vm.directory)
    if names():
        write_inventory()
    else:
        shutil.rmtree(fleet_directory(), ignore_errors=True)
    print(f"removed {', '.join(removed)}" if removed else "nothing to remove", flush=True)


def status() -> None:
    """Print a table of this fleet's machines."""
    for vm in map(load, names()):
        number = pid(vm)
        drives = " ".join(
            f"{slot:#x}={drive.name}{'' if drive.present else '(out)'}"
            for slot, drive in enumerate(vm.drives, FIRST_SLOT)
        )
        print(
            f"{vm.name}  {f'runs as {number}, ssh on 127.0.0.1:{vm.port}' if number else 'is off'}  {vm.memory} MiB  "
            f"{drives}"
        )
    if not names():
        print(f"no virtual machines in {fleet_directory()}")


def setup() -> None:
    """Install the packages that only virtual machines need."""
    missing = {
        package
        for command, package in COMMANDS.items()
        if shutil.which(command, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None
    }
    missing |= {package for name, package in FILES.items() if not Path(name).exists()}
    if missing:
        if os.geteuid():
            raise LabError(f"{', '.join(sorted(missing))} must be installed: run this as root")
        machine.install(sorted(missing))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lab.machines.vms",
        description="Virtual machines with NVMe drives. LAB_FLEET names a set of them (default: lab).",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("setup", help="install the packages that they need")
    made = commands.add_parser("up", help="switch a machine on; run again, it changes nothing")
    made.add_argument("name", nargs="?", default=DEFAULT_NAME, help="its host name (default: %(default)s)")
    made.add_argument(
        "--drives", type=int, default=DEFAULT_DRIVES, help="data drives of a new machine (default: %(default)s)"
    )
    made.add_argument("--memory", type=int, default=DEFAULT_MEMORY, help="MiB of a new machine (default: %(default)s)")
    gone = commands.add_parser("down", help="remove machines with their drives")
    gone.add_argument("name", nargs="?", help="one machine (default: all of them)")
    commands.add_parser("status", help="print what is there")
    for command, text in (
        ("reboot", "shut a machine down and switch it on"),
        ("power-cut", "kill a machine and switch it on"),
        ("reorder", "from the next boot on, drives are found in another order"),
        ("add-drive", "from the next boot on, there is one more drive"),
        ("unplug", "from the next boot on, a drive is missing"),
        ("plug", "from the next boot on, a drive is back"),
        ("ssh", "run a command"),
    ):
        one = commands.add_parser(command, help=text)
        one.add_argument("name", help="the machine")
        if command in ("unplug", "plug"):
            one.add_argument("drive", help="name or serial number, such as DATA1")
        elif command == "ssh":
            one.add_argument("words", nargs=argparse.REMAINDER, metavar="command", help="what to run there")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Run one command; the exit code says whether it worked."""
    chosen = _parser().parse_args(arguments)
    try:
        if chosen.command in ("setup", "status"):
            {"setup": setup, "status": status}[chosen.command]()
        elif chosen.command == "down":
            down(chosen.name)
        elif chosen.command == "up":
            up(chosen.name, chosen.drives, chosen.memory)
        elif chosen.command in ("unplug", "plug"):
            {"unplug": unplug, "plug": plug}[chosen.command](load(chosen.name), chosen.drive)
        elif chosen.command == "ssh":
            vm = load(chosen.name)
            os.execvp("ssh", ssh_command(vm, *chosen.words))
        else:
            {"reboot": reboot, "power-cut": power_cut, "reorder": reorder, "add-drive": add_drive}[chosen.command](
                load(chosen.name)
            )
    except (LabError, ValueError) as error:
        print(f"lab.machines.vms: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
