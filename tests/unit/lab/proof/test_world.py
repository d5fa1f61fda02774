"""How nodes, drives and mounts are read."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lab.proof import world as proof_world
from lab.proof.model import Node

DRIVES = ["/dev/disk/by-id/x-nvme0", "/dev/disk/by-id/x-nvme1"]


def world(answers: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> proof_world.LiveWorld:
    """A world whose ssh gives the answer that belongs to the first word of a command."""

    def run(*command: str) -> Any:
        assert command[0] == "ssh" and command[-2] == "root@10.0.0.31"
        return SimpleNamespace(stdout=answers[command[-1].split()[0]])

    monkeypatch.setattr(proof_world, "run", run)
    made = proof_world.LiveWorld.__new__(proof_world.LiveWorld)
    made._facts = {"ssh_key": "/key", "known_hosts": "/known"}
    return made


def node(engine: str) -> Node:
    """A runner node."""
    return Node("runner-1", "10.0.0.31", True, False, "runner", [], engine, True)


@pytest.mark.parametrize("engine", ["engine:v0.21.8", "engine:v0.21.8@sha256:1234"])
def test_disk(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mount = (
        '{"filesystems": [{"target": "/var/lib/runnerfleet/engine", "source": "/dev/loop3p2[/engine]", "fstype": '
        '"btrfs"}]}\n'
    )
    answers = {
        "findmnt": mount,
        "lsblk": "/dev/loop3p2\n/dev/loop3\n/dev/loop3p2\n",
        "for": "/dev/loop3\n\n",
        "sync": "4096\t/x\n",
    }
    disk = world(answers, monkeypatch).disk(node(engine), DRIVES)
    assert (disk.target, disk.source, disk.filesystem, disk.used) == (
        "/var/lib/runnerfleet/engine",
        "/dev/loop3p2",
        "btrfs",
        4096,
    )
    assert disk.devices == ["/dev/loop3p2", "/dev/loop3"]
    assert disk.drives == {DRIVES[0]: "/dev/loop3", DRIVES[1]: ""}
    assert disk.state == "/var/lib/runnerfleet/engine/0.21.8/state"


def test_disk_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = world({"findmnt": "{}\n", "for": "\n\n", "sync": ""}, monkeypatch).disk(node(""), DRIVES)
    assert (disk.target, disk.used, disk.devices) == ("", 0, [])
    assert disk.drives == dict.fromkeys(DRIVES, "")


def test_node() -> None:
    item = SimpleNamespace(
        metadata=SimpleNamespace(name="runner-1", labels={"node-restriction.kubernetes.io/runnerfleet-pool": "runner"}),
        spec=SimpleNamespace(taints=[SimpleNamespace(key="runnerfleet.dev/pool", value="runner", effect="NoSchedule")]),
        status=SimpleNamespace(
            addresses=[SimpleNamespace(type="InternalIP", address="10.0.0.31")],
            conditions=[SimpleNamespace(type="Ready", status="True")],
        ),
    )
    found = proof_world._node(item)
    assert found == Node("runner-1", "10.0.0.31", True, False, "runner", ["runnerfleet.dev/pool=runner:NoSchedule"])
