"""The containers of a fleet: nodes that boot systemd, the mirror and the GitHub stand-in."""

from __future__ import annotations

import json
import time
from pathlib import Path

from lab.machine import Machine, inspect, is_reachable
from lab.process import LabError, alone, output, run
from lab.programs import CACHE
from lab.settings import LABEL, Fleet

# crun refuses the hybrid cgroup hierarchy, runc takes all of them.
PODMAN = ("podman", "--runtime", "runc")
SSH_DIRECTORY = CACHE / "ssh"
SSH_KEY = SSH_DIRECTORY / "id_ed25519"


def ensure_key(path: Path, comment: str) -> Path:
    """A key of this machine's fleets, made unless it is there; its public half lies beside it."""
    SSH_DIRECTORY.mkdir(parents=True, exist_ok=True, mode=0o700)
    with alone(path):
        if not path.exists():
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path))
    return path


def ensure_ssh_key() -> Path:
    """The key that reaches every node of every fleet here."""
    return ensure_key(SSH_KEY, "runnerfleet lab")


def ensure_network(fleet: Fleet) -> bool:
    """The fleet's own network."""
    if not run("podman", "network", "exists", fleet.network, check=False).returncode:
        return False
    subnet, label = f"{fleet.prefix}.0/24", f"{LABEL}={fleet.name}"
    run(
        "podman",
        "network",
        "create",
        "--subnet",
        subnet,
        "--gateway",
        f"{fleet.prefix}.1",
        "--label",
        label,
        fleet.network,
    )
    return True


def _limits(machine: Machine) -> list[str]:
    files, processes = machine.open_files, machine.processes
    return ["--ulimit", f"nofile={files}:{files}", "--ulimit", f"nproc={processes}:{processes}"]


def node_command(fleet: Fleet, node: str, image: str, machine: Machine) -> list[str]:
    """The podman command that boots a node."""
    name, label = fleet.container(node), f"{LABEL}={fleet.name}"
    command = [*PODMAN, "run", "--detach", "--name", name, "--hostname", node, "--label", label]
    command += ["--network", fleet.network, "--ip", fleet.address(node), "--network-alias", node]
    # A private cgroup namespace: nested containers cannot mount cgroup v1 without it.
    command += ["--privileged", "--cgroupns=private", "--restart=always", *_systemd(machine)]
    command += _limits(machine)
    command += ["--volume", "/dev:/dev", "--volume", f"{name}:/var"]
    command += ["--volume", f"{SSH_KEY}.pub:/root/.ssh/authorized_keys:ro"]
    if Path("/lib/modules").is_dir():
        command += ["--volume", "/lib/modules:/lib/modules:ro"]
    return [*command, image, "/sbin/init"]


def _systemd(machine: Machine) -> list[str]:
    """How the node's init finds itself. On cgroup v1 podman's own way shows every node the machine's name=systemd
    hierarchy, where the kubelets of all nodes then meet in one kubepods and tidy away each other's pods: there the node
    gets the same things without it.
    """
    if machine.cgroup == "v2":
        return ["--systemd=always"]
    volatile = ("/run:rw,mode=755", "/run/lock:rw", "/tmp:rw,exec,mode=1777")
    return [
        "--systemd=false",
        "--env=container=podman",
        "--stop-signal=SIGRTMIN+3",
        *(f"--tmpfs={mount}" for mount in volatile),
    ]


def boot(fleet: Fleet, node: str, image: str, machine: Machine) -> bool:
    """Boot a node unless it runs; returns whether it was booted."""
    name = fleet.container(node)
    if start_existing(name):
        return False
    if run("podman", "volume", "exists", name, check=False).returncode:
        run("podman", "volume", "create", "--label", f"{LABEL}={fleet.name}", name)
    try:
        run(*node_command(fleet, node, image, machine))
    except LabError:
        run("podman", "rm", "--force", "--time", "0", name, check=False)
        raise
    return True


def start_existing(name: str) -> bool:
    """Whether the container was there; it runs afterwards."""
    state = run("podman", "container", "inspect", "--format", "{{.State.Running}}", name, check=False)
    if state.returncode:
        return False
    if state.stdout.strip() != "true":
        run(*PODMAN, "start", name)
    return True


def power_off(fleet: Fleet, node: str) -> None:
    """The power of a node goes: nothing on it is told. It stays off until it is started."""
    run("podman", "stop", "--time", "0", fleet.container(node))


def power_cut(fleet: Fleet, node: str) -> None:
    """The power of a node goes, and comes back: nothing on it is told."""
    name = fleet.container(node)
    run("podman", "kill", "--signal", "KILL", name)
    run("podman", "wait", "--condition", "exited", name, check=False)
    start_existing(name)


def service(fleet: Fleet, host: str, address: str, image: str, arguments: list[str], *command: str) -> bool:
    """Run a service container; one that was made differently is replaced. Returns whether it was made."""
    name = fleet.container(host)
    made_of = json.dumps([image, arguments, command])
    template = '{{.State.Running}} {{index .Config.Labels "runnerfleet.made-of"}}'
    if (
        run("podman", "container", "inspect", "--format", template, name, check=False).stdout.strip()
        == f"true {made_of}"
    ):
        return False
    run("podman", "rm", "--force", "--time", "0", name, check=False)
    options = [
        "--name",
        name,
        "--hostname",
        host,
        "--label",
        f"{LABEL}={fleet.name}",
        "--label",
        f"runnerfleet.made-of={made_of}",
    ]
    options += ["--network", fleet.network, "--ip", address, "--network-alias", host, *_limits(inspect())]
    run(*PODMAN, "run", "--detach", *options, *arguments, image, *command)
    return True


def wait_for_ssh(fleet: Fleet, node: str, seconds: float = 60) -> str:
    """Wait until a node takes ssh; returns its line for known_hosts, read inside and not over the network."""
    deadline = time.monotonic() + seconds
    while not is_reachable(fleet.address(node), 22):
        if time.monotonic() > deadline:
            raise LabError(
                f"{node} did not take ssh on {fleet.address(node)} within {seconds:.0f} s: see `podman logs "
                f"{fleet.container(node)}`"
            )
        time.sleep(0.2)
    key = output("podman", "exec", fleet.container(node), "cat", "/etc/ssh/ssh_host_ed25519_key.pub").split()
    return f"{fleet.address(node)} {key[0]} {key[1]}"


def listed(kind: str, fleet: Fleet) -> list[str]:
    """Names of the fleet's containers, volumes or networks, known by their label."""
    arguments = {
        "container": ("ps", "--all", "--format", "{{.Names}}"),
        "volume": ("volume", "ls", "--format", "{{.Name}}"),
        "network": ("network", "ls", "--format", "{{.Name}}"),
    }[kind]
    return sorted(output("podman", *arguments, "--filter", f"label={LABEL}={fleet.name}").split())


def remove(fleet: Fleet) -> list[str]:
    """Remove the fleet's containers, volumes and network, and nothing else; returns what was removed."""
    removed = []
    containers = listed("container", fleet)
    if containers:
        run("podman", "rm", "--force", "--time", "0", "--volumes", *containers)
        removed += containers
    for kind in ("volume", "network"):
        for name in listed(kind, fleet):
            if kind == "volume":
                _make_removable(name)
            run("podman", kind, "rm", name)
            removed.append(f"{kind} {name}")
    return removed


def _make_removable(volume: str) -> None:
    """Take the immutable attribute off: mount points carry it while nothing is mounted there."""
    content = output("podman", "volume", "inspect", "--format", "{{.Mountpoint}}", volume)
    # Sockets, links and the like have no such attribute, which chattr calls a failure.
    run("chattr", "-R", "-f", "-i", content, check=False)
