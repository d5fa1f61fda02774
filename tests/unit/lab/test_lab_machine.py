"""What the lab decides from what it finds on a machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import golang, machine
from lab.machines import drives
from lab.machines.containers import node_command
from lab.mirror.source import choose
from lab.settings import Fleet, current_fleet

HYBRID = (
    "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup2 /sys/fs/cgroup/unified "
    "cgroup2 rw 0 0\n"
)
UNIFIED = "sysfs /sys sysfs rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n"


def a_machine(cgroup: str = "v2") -> machine.Machine:
    return machine.Machine(cgroup, can_raise_limits=True, open_files=1000, processes=2000)


@pytest.mark.parametrize(
    ("mounts", "expected"), [(HYBRID, "v1"), (UNIFIED, "v2"), ("", "v1")], ids=["hybrid", "unified", "nothing"]
)
def test_cgroup_version(mounts: str, expected: str) -> None:
    assert machine.cgroup_version(mounts) == expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("CapBnd:\t000001ffffffffff\n", True),
        ("CapBnd:\t000001fffeffffff\n", False),
        ("CapEff:\t000001ffffffffff\n", False),
    ],
    ids=["all", "without", "no bounding set"],
)
def test_has_capability(status: str, expected: bool) -> None:
    assert machine.has_capability(status, machine.CAP_SYS_RESOURCE) is expected


def test_missing_packages_are_named_once_and_sorted() -> None:
    found = machine.missing_packages(
        lambda command: command not in ("partx", "losetup", "skopeo"), lambda name: False, lambda module: False
    )
    assert found == sorted({"util-linux", "skopeo", "python3-venv", *machine.FILES.values()})
    assert machine.missing_packages(lambda _: True, lambda _: True, lambda _: True) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [("go version go1.26.8 linux/amd64", (1, 26)), ("go version go1.19.8 linux/amd64", (1, 19)), ("", (0, 0))],
    ids=["new", "debian", "none"],
)
def test_go_version(text: str, expected: tuple[int, int]) -> None:
    assert golang.version(text) == expected


@pytest.mark.parametrize(
    ("node", "last"), [("cp-1", 11), ("support-1", 21), ("runner-1", 31), ("runner-3", 33), ("runner-9", 39)], ids=str
)
def test_address(node: str, last: int) -> None:
    assert Fleet("lab").address(node) == f"10.89.77.{last}"


@pytest.mark.parametrize(
    "node", ["mirror", "runner-0", "runner-10", "runner-x", "cp", ""], ids=lambda value: value or "empty"
)
def test_address_refuses_other_names(node: str) -> None:
    with pytest.raises(ValueError, match="a node is called"):
        Fleet("lab").address(node)


def test_fleets_do_not_share_a_network() -> None:
    prefixes = {Fleet(name).prefix for name in ("lab", "molecule", "bench", "mine")}
    assert len(prefixes) == 4


@pytest.mark.parametrize("name", ["a b", "x/y", "a-b", "a" * 21], ids=["space", "slash", "dash", "long"])
def test_fleet_name_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("LAB_FLEET", name)
    with pytest.raises(ValueError, match="LAB_FLEET"):
        current_fleet()


def test_only_runner_nodes_have_drives() -> None:
    fleet = Fleet("lab")
    assert fleet.drives("cp-1") == []
    assert [path.name for path in fleet.drives("runner-2")] == [
        "runnerfleet-lab-runner-2-nvme0",
        "runnerfleet-lab-runner-2-nvme1",
    ]


def test_a_loop_device_is_ours_only_by_its_backing_file() -> None:
    fleet = Fleet("lab")
    backing = fleet.backing_file(fleet.drives("runner-1")[0])
    devices = {
        "/dev/loop0": str(backing),
        "/dev/loop1": "/var/lib/other.img",
        "/dev/loop2": "",
        "/dev/loop3": str(Fleet("lab2").backing_file(backing)),
        "/dev/loop4": str(fleet.drives_directory / "deeper" / "x.img"),
    }
    assert drives.ours(devices, fleet.drives_directory) == {"/dev/loop0": backing}


@pytest.mark.parametrize(
    ("cgroup", "present", "absent"),
    [("v2", "--systemd=always", "--tmpfs"), ("v1", "--systemd=false", "--systemd=always")],
    ids=["v2", "v1"],
)
def test_node_command(cgroup: str, present: str, absent: str) -> None:
    command = node_command(Fleet("lab"), "cp-1", "image", a_machine(cgroup))
    text = " ".join(command)
    assert present in text
    assert absent not in text
    assert "--ulimit nofile=1000:1000" in text
    assert "--volume runnerfleet-lab-cp-1:/var" in text
    assert command[-2:] == ["image", "/sbin/init"]


@pytest.mark.parametrize(("cgroup", "driver"), [("v1", "cgroupfs"), ("v2", "systemd")], ids=["v1", "v2"])
def test_cgroup_driver(cgroup: str, driver: str) -> None:
    assert a_machine(cgroup).cgroup_driver == driver


@pytest.mark.parametrize(
    ("environment", "answers", "name", "stand_ins", "registries"),
    [
        ({}, False, "mirror", ["github", "runner", "engine"], 5),
        ({}, True, "upstream", ["github", "runner"], 1),
        ({"LAB_SOURCE": "auto"}, True, "upstream", ["github", "runner"], 1),
        ({"LAB_SOURCE": "mirror"}, True, "mirror", ["github", "runner", "engine"], 5),
        ({"LAB_SOURCE": "upstream"}, False, "upstream", ["github", "runner"], 1),
        ({"LAB_ENGINE_IMAGE": "x.tar"}, False, "mirror", ["github", "runner"], 5),
        ({"LAB_ENGINE_IMAGE": "x.tar"}, True, "upstream", ["github", "runner"], 2),
    ],
    ids=["offline", "online", "auto", "told mirror", "told upstream", "given engine", "given engine online"],
)
def test_source(environment: dict[str, str], answers: bool, name: str, stand_ins: list[str], registries: int) -> None:
    source = choose(environment, lambda: answers)
    assert (source.name, source.stand_ins, len(source.mirrored_registries)) == (name, stand_ins, registries)


def test_source_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="LAB_SOURCE must be mirror, upstream or auto, found 'internet'"):
        choose({"LAB_SOURCE": "internet"}, lambda: True)


def test_nothing_is_stated_twice(repository: Path) -> None:
    """The inventory takes what the machine decides from lab.json, so no address of a fleet is in it."""
    for path in (repository / "inventories/lab").rglob("*.yml"):
        assert "10.89." not in path.read_text(encoding="utf-8"), path


@pytest.mark.parametrize(
    ("free", "memory", "lacks"),
    [
        pytest.param(80, 16, [], id="enough"),
        pytest.param(13, 16, [], id="just enough"),
        pytest.param(12, 16, ["/cache: found 12.0 of 100.0 GiB free, expected 13.0"], id="a disk that is nearly full"),
        pytest.param(80, 5, ["memory: found 5.0 GiB available, expected 6"], id="little memory"),
        pytest.param(0, 0, ["/cache: found 0.0", "memory: found 0.0"], id="nothing"),
    ],
)
def test_a_machine_without_room_is_refused_first(free: int, memory: int, lacks: list[str]) -> None:
    gib = machine.GIB
    found = machine.shortages({"/cache": (100 * gib, free * gib)}, memory * gib)
    assert len(found) == len(lacks) and all(line.startswith(start) for line, start in zip(found, lacks, strict=True))


def test_this_machine_is_looked_at(tmp_path: Path) -> None:
    assert isinstance(machine.look_for_room([tmp_path / "not/made/yet"]), list)
