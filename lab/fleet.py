"""Bring a fleet up, take it down, and say what it is."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab import github, machine
from lab.machines import containers, drives, rootfs
from lab.mirror import artifacts as mirror_artifacts
from lab.mirror import charts as mirror_charts
from lab.mirror import serve as mirror_serve
from lab.mirror import source as mirror_source
from lab.process import LabError, alone, output
from lab.programs import CACHE
from lab.settings import DEFAULT_NODES, Fleet


def up(fleet: Fleet, nodes: Sequence[str] = DEFAULT_NODES, fresh_drives: bool = False) -> bool:
    """Boot the named nodes and what they need; returns whether something changed. Safe to run again."""
    started = time.monotonic()
    here = machine.inspect()
    addresses = {node: fleet.address(node) for node in nodes}  # Refuses a bad name before anything is made.
    print(f"fleet {fleet.name}: {here.describe()}", flush=True)
    if not containers.listed("container", fleet):
        lacks = machine.look_for_room([CACHE, Path("/var/lib/containers")])
        if lacks:
            raise LabError("this machine has no room for a fleet:\n" + "\n".join(lacks))
    where = mirror_source.choose()
    where.announce()
    fleet.directory.mkdir(parents=True, exist_ok=True)
    containers.ensure_ssh_key()
    tree = _artifacts(where)
    image = rootfs.podman_image(rootfs.NODE)
    changed = containers.ensure_network(fleet)
    changed |= mirror_serve.start(fleet, tree)
    changed |= github.start(fleet)
    running = set(containers.listed("container", fleet))
    for node in addresses:
        changed |= drives.attach(fleet, node, fresh_drives and fleet.container(node) not in running)
    with ThreadPoolExecutor(4) as pool:
        booted = list(pool.map(lambda node: containers.boot(fleet, node, image, here), addresses))
        lines = list(pool.map(lambda node: containers.wait_for_ssh(fleet, node), addresses))
    changed |= any(booted)
    _remember_hosts(fleet, lines)
    _write_facts(fleet, here, where, tree)
    print(
        f"fleet {fleet.name}: {', '.join(addresses)} up ({time.monotonic() - started:.1f} s, "
        f"{'changed' if changed else 'nothing to do'})"
    )
    return changed


def _artifacts(where: mirror_source.Source) -> mirror_artifacts.Tree | None:
    """Build and keep what the fleet fetches; with upstream within reach that is little. Helm is for the controller."""
    helm = CACHE / "bin" / "helm"
    with alone(helm):
        if not helm.exists() or helm.resolve() != mirror_charts.helm():
            helm.unlink(missing_ok=True)
            helm.symlink_to(mirror_charts.helm())
    tree = None if where.upstream else mirror_artifacts.tree()
    mirror_serve.fill(mirror_serve.wanted(where.engine_image, where.upstream, tree.charts if tree else {}))
    return tree


def _remember_hosts(fleet: Fleet, lines: Sequence[str]) -> None:
    path = fleet.directory / "known_hosts"
    kept = path.read_text().splitlines() if path.exists() else []
    known = {address: key for address, _space, key in (line.partition(" ") for line in [*kept, *lines])}
    path.write_text("".join(f"{address} {key}\n" for address, key in sorted(known.items())))


def _write_facts(
    fleet: Fleet, here: machine.Machine, where: mirror_source.Source, tree: mirror_artifacts.Tree | None
) -> None:
    """What the lab's inventory reads: everything that this machine decides."""
    hosts = [name.removeprefix(fleet.container("")) for name in containers.listed("container", fleet)]
    nodes = [host for host in hosts if "-" in host]
    images_from = mirror_serve.describe(fleet, tree)
    facts = {
        "prefix": fleet.prefix,
        "addresses": {node: fleet.address(node) for node in nodes},
        "ssh_key": str(containers.SSH_KEY),
        "known_hosts": str(fleet.directory / "known_hosts"),
        "kubeconfig": str(fleet.directory / "kubeconfig"),
        "helm": str(CACHE / "bin" / "helm"),
        "drives": {node: [str(path) for path in fleet.drives(node)] for node in nodes if fleet.drives(node)},
        "cgroup": here.cgroup,
        "cgroup_driver": here.cgroup_driver,
        "restrict_oom_score_adj": not here.can_raise_limits,
        "source": where.name,
        "stand_ins": where.stand_ins,
        "engine_image": where.engine,
        "mirror": {} if where.upstream else images_from,
        "image_mirror": images_from,
        "mirrored_registries": where.mirrored_registries,
        "pins": where.pins,
        "github_url": f"http://{fleet.github_address}",
        "github_token": github.TOKEN,
    }
    unfinished = fleet.directory / "lab.json.new"
    unfinished.write_text(json.dumps(facts, indent=2) + "\n")
    unfinished.rename(fleet.directory / "lab.json")


def down(fleet: Fleet, keep_drives: bool = False) -> None:
    """Remove what `up` made, and nothing else. Safe to run again."""
    removed = containers.remove(fleet) + drives.remove(fleet, keep_drives)
    if not keep_drives:
        shutil.rmtree(fleet.directory, ignore_errors=True)
    print(f"fleet {fleet.name}: " + (f"removed {', '.join(removed)}" if removed else "nothing to remove"))


def status(fleet: Fleet) -> None:
    """Print a table of the fleet's containers and drives."""
    rows = [("host", "state", "address", "drives")]
    for name in containers.listed("container", fleet):
        host = name.removeprefix(fleet.container(""))
        template = "{{.State.Status}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        state, _space, address = output("podman", "container", "inspect", "--format", template, name).partition(" ")
        links = [
            f"{link.name.rpartition('-')[2]}={link.resolve().name}" for link in fleet.drives(host) if link.is_symlink()
        ]
        rows.append((host, state, address, " ".join(links)))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]).rstrip())
    if len(rows) == 1:
        print(f"fleet {fleet.name} is not up")
