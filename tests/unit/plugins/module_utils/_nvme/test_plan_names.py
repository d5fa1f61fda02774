"""Which drive a name means: one, now and after the next boot, or it is refused, in the same words for whoever asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme import plan_names as names
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.plan_names import Device
from ansible_collections.runnerfleet.baremetal.plugins.modules import nvme_layout
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.plugins.machines import MIB, Machine, samsung

GIB = 1024 * MIB
VOLUMES = [{"name": "engine"}]
BY_ID, BY_PATH = "/dev/disk/by-id/", "/dev/disk/by-path/"


def two_namespaces(machine: Machine) -> None:
    """One controller, one serial; udev gave the link without a number to whichever came last."""
    for number in (1, 2):
        links = (f"by-id/nvme-SAMSUNG_MZQL2_S1_{number}", *(("by-id/nvme-SAMSUNG_MZQL2_S1",) if number == 2 else ()))
        machine.drive(f"nvme0n{number}", links=links, **samsung(nsid=str(number), wwid=f"eui.{number:016x}"))


def two_clones(machine: Machine) -> None:
    """Two drives with one wwid, and serials of their own."""
    for number in (0, 1):
        machine.drive(f"nvme{number}n1", links=(f"by-id/nvme-SAMSUNG_MZQL2_S{number}",), **samsung(serial=f"S{number}"))
    machine.link("by-id/nvme-eui.0025385800000001", "nvme1n1")


def two_without_a_difference(machine: Machine) -> None:
    """Two drives that say the same in everything, as cheap ones do."""
    for number in (0, 1):
        machine.drive(f"nvme{number}n1", **samsung())
    machine.link("by-id/nvme-eui.0025385800000001", "nvme1n1")
    machine.link("by-id/nvme-SAMSUNG_MZQL2_S1", "nvme0n1")
    machine.link("by-path/pci-0000:01:00.0-nvme-1", "nvme0n1")


def one_on_two_paths(machine: Machine) -> None:
    """nvme_core.multipath=N."""
    for number in (0, 1):
        machine.drive(f"nvme{number}n1", links=(), nqn="nqn.x", **samsung(cntlid=str(number)))
        machine.link(f"by-path/pci-0000:0{number}:00.0-nvme-1", f"nvme{number}n1")
    machine.link("by-id/nvme-SAMSUNG_MZQL2_S1", "nvme1n1")


def claimed_by_two(machine: Machine) -> None:
    """A link of which udev knows two claimants, of whatever rule."""
    for number in (0, 1):
        machine.drive(f"sd{'ab'[number]}", links=(f"by-id/wwn-{number}",), **{"device/wwid": f"naa.{number}"})
    machine.link("by-id/ata-DISK", "sdb")
    for number in (0, 1):
        machine.write(f"run/udev/data/b259:{number}", f"S:disk/by-id/ata-DISK\nS:disk/by-id/wwn-{number}\nE:X=1\n")


def odd_links(machine: Machine) -> None:
    """One drive, and links that follow something else than the drive."""
    machine.drive(
        "nvme0n1", partitions=1, links=("by-id/nvme-SAMSUNG_MZQL2_S1",), **samsung(wwid="eui.0000000000000000")
    )
    for link in (
        "by-id/lvm-pv-uuid-x",
        "by-id/md-uuid-x",
        "by-path/pci-10000:01:00.0-nvme-1",
        "by-uuid/x",
        "by-diskseq/1",
    ):
        (machine.root / "dev/disk" / link).parent.mkdir(exist_ok=True)
        machine.link(link, "nvme0n1")
    machine.link("by-id/nvme-SAMSUNG_MZQL2_S1-part1", "nvme0n1p1")


ONE_NAME: list[tuple[Callable[[Machine], None], str, str]] = [
    (two_namespaces, "eui.0000000000000001", "nvme0n1"),
    (two_namespaces, BY_ID + "nvme-SAMSUNG_MZQL2_S1_2", "nvme0n2"),
    (two_namespaces, "S1", "names 2 drives (nvme0n1, nvme0n2)"),
    (two_namespaces, BY_ID + "nvme-SAMSUNG_MZQL2_S1", "names 2 drives (nvme0n1, nvme0n2)"),
    (two_clones, "S0", "nvme0n1"),
    (two_clones, BY_ID + "nvme-SAMSUNG_MZQL2_S1", "nvme1n1"),
    (
        two_clones,
        "eui.0025385800000001",
        "names 2 drives (nvme0n1, nvme1n1): use a name that one alone has, which is S0 for nvme0n1, S1 for",
    ),
    (two_clones, BY_ID + "nvme-eui.0025385800000001", "names 2 drives"),
    (two_without_a_difference, "S1", "names 2 drives"),
    (two_without_a_difference, BY_ID + "nvme-SAMSUNG_MZQL2_S1", "names 2 drives"),
    (one_on_two_paths, "S1", "nvme0n1"),
    (one_on_two_paths, BY_ID + "nvme-SAMSUNG_MZQL2_S1", "nvme0n1"),
    (one_on_two_paths, BY_PATH + "pci-0000:01:00.0-nvme-1", "nvme0n1"),
    (claimed_by_two, BY_ID + "ata-DISK", "names 2 drives (sda, sdb)"),
    (claimed_by_two, BY_ID + "wwn-1", "sdb"),
    (claimed_by_two, "naa.0", "sda"),
    (odd_links, "S1", "nvme0n1"),
    (odd_links, "eui.0000000000000000", "is not a block device"),
    (
        odd_links,
        "/dev/nvme0n1",
        "may mean another drive after the next boot: use S1, /dev/disk/by-id/nvme-SAMSUNG_MZQL2_S1",
    ),
    (odd_links, BY_ID + "../../nvme0n1", "may mean another drive"),
    (odd_links, BY_ID + "lvm-pv-uuid-x", "names what lies on a drive, and may mean another drive"),
    (odd_links, BY_ID + "md-uuid-x", "names what lies on a drive"),
    (odd_links, BY_PATH + "pci-10000:01:00.0-nvme-1", "numbered anew at each boot"),
    (odd_links, "/dev/disk/by-uuid/x", "may mean another drive"),
    (odd_links, "/dev/disk/by-diskseq/1", "may mean another drive"),
    (odd_links, BY_ID + "nvme-SAMSUNG_MZQL2_S1-part1", "is a partition (nvme0n1p1)"),
    (odd_links, BY_ID + "nvme-absent", "is not a block device"),
    (odd_links, "", "is not a block device"),
    (odd_links, "nvme0n1", "is not a block device"),
]


@pytest.mark.parametrize(
    ("make", "name", "expected"), ONE_NAME, ids=[f"{make.__name__}-{name}" for make, name, _expected in ONE_NAME]
)
def test_a_name_means_one_drive_or_none(
    machine: Machine, make: Callable[[Machine], None], name: str, expected: str
) -> None:
    make(machine)
    if " " not in expected:
        assert machine.drives.resolve(name).name == expected
        return
    with pytest.raises(ValueError, match=" ") as refused:
        machine.drives.resolve(name)
    assert expected in str(refused.value) and str(refused.value).startswith(name)


@pytest.fixture
def plan(
    machine: Machine, run_module: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """nvme_layout in check mode."""
    monkeypatch.setattr(
        AnsibleModule, "run_command", lambda _module, command, **options: machine.run(command, **options)
    )
    monkeypatch.setattr(AnsibleModule, "get_bin_path", lambda _module, tool, *_a, **_k: f"/usr/sbin/{tool}")
    return lambda **options: run_module(nvme_layout.main, {"volumes": VOLUMES, **options}, check=True)


@pytest.mark.parametrize(("make", "name", "expected"), [case for case in ONE_NAME if " " in case[2]])
def test_consent_is_read_as_a_drive_is_named(
    machine: Machine, plan: Callable[..., dict[str, Any]], make: Callable[[Machine], None], name: str, expected: str
) -> None:
    make(machine)
    known = machine.drives.known()
    for drive in known:
        with (machine.root / "dev" / drive.name).open("r+b") as file:
            file.write(b"mine")
    own = [names.own_names(drive, known)[0] for drive in known if names.own_names(drive, known)]
    # Where no drive has a name of its own, none can be named.
    refused = (
        plan(drives=own, wipe=[name], layout="spread", volumes=[{"name": f"v{n}"} for n in range(len(own))])
        if own
        else plan(drives=[name])
    )
    assert refused["failed"] and expected in refused["msg"] and not refused["plan"] and not refused["destructive"]


def test_consent_for_a_drive_that_is_not_meant(machine: Machine, plan: Callable[..., dict[str, Any]]) -> None:
    two_namespaces(machine)
    refused = plan(drives=["eui.0000000000000001"], wipe=["eui.0000000000000002"])
    assert refused["msg"] == "wipe names eui.0000000000000002, which is none of the drives"


def test_consent_by_any_name_that_means_the_drive(machine: Machine, plan: Callable[..., dict[str, Any]]) -> None:
    one_on_two_paths(machine)
    (machine.root / "dev/nvme0n1").write_bytes(b"mine".ljust(400 * MIB, b"\0"))
    for name in ("S1", "eui.0025385800000001", BY_ID + "nvme-SAMSUNG_MZQL2_S1", BY_PATH + "pci-0000:01:00.0-nvme-1"):
        result = plan(drives=["S1"], wipe=[name])
        assert result["destructive"][0]["consented"] and result["plan"][0]["text"].startswith("WIPE"), name


def test_one_drive_by_two_of_its_paths_is_named_twice(machine: Machine, plan: Callable[..., dict[str, Any]]) -> None:
    one_on_two_paths(machine)
    both = [BY_PATH + f"pci-0000:0{n}:00.0-nvme-1" for n in (0, 1)]
    refused = plan(drives=both, volumes=[{"name": "engine"}, {"name": "containers"}])
    assert refused["msg"] == f"{both[1]} is /dev/nvme0n1, which is named twice" and not refused["plan"]


def test_a_rule_counts_drives_not_paths(machine: Machine, plan: Callable[..., dict[str, Any]]) -> None:
    one_on_two_paths(machine)
    two = [{"name": "engine"}, {"name": "containers"}]
    assert "1 of 1 are free" in plan(select={"count": 2}, volumes=two)["msg"]
    assert plan(select={"count": 1})["plan"][0]["target"] == "eui.0025385800000001"


def test_what_uses_one_path_uses_the_drive(machine: Machine, plan: Callable[..., dict[str, Any]]) -> None:
    one_on_two_paths(machine)
    machine.mount("nvme1n1", "/srv")
    assert "cannot be used: mounted: /srv" in plan(drives=["S1"])["msg"]
    assert "mounted: /srv" in plan(select={"count": 1})["msg"]


def test_a_rule_takes_no_drive_that_nothing_names(machine: Machine, plan: Callable[..., dict[str, Any]]) -> None:
    two_without_a_difference(machine)
    for link in (machine.root / "dev/disk/by-id").iterdir():
        link.unlink()
    assert plan(select={"count": 2}, volumes=[{"name": "a"}, {"name": "b"}])["msg"].count("no name of its own") == 2


def test_uuids_of_clones_differ(machine: Machine, plan: Callable[..., dict[str, Any]]) -> None:
    two_clones(machine)
    result = plan(drives=["S0", "S1"], volumes=[{"name": "engine"}, {"name": "containers"}])
    assert len({volume["uuid"] for volume in result["volumes"]}) == 2
    assert len({drive.seed for drive in (machine.drives.read(name) for name in ("S0", "S1"))}) == 2


def test_a_rule_goes_past_a_drive_that_cannot_be_read(machine: Machine, plan: Callable[..., dict[str, Any]]) -> None:
    machine.drive("nvme0n1", size=0, **samsung(serial="S0", wwid="eui.0a"))
    machine.drive("nvme1n1", **samsung(serial="S1", wwid="eui.0b"))
    machine.drive("nvme2n1", **samsung(serial="S2", wwid="eui.0c"))
    (machine.root / "dev/nvme2n1").unlink()
    assert plan(select={"count": 1})["plan"][0]["target"] == "eui.0b"
    assert "(/dev/nvme0n1) cannot be used: no usable size: 0 bytes" in plan(drives=["S0"])["msg"]
    assert "cannot be opened: No such file or directory" in plan(select={"count": 3})["msg"]


NUMBERS = st.sampled_from(["", "a", "b"])
DEVICES = st.lists(
    st.builds(
        lambda wwid, serial, nsid, controller, hidden: Device(
            "", tuple(filter(None, (wwid, serial))), wwid, serial, "M", nsid, "", controller, hidden
        ),
        NUMBERS,
        NUMBERS,
        st.sampled_from(["1", "2"]),
        st.sampled_from(["", "0", "1"]),
        st.booleans(),
    ),
    max_size=5,
).map(
    lambda found: [
        Device(f"nvme{n}n{d.nsid}", *(getattr(d, key) for key in list(d.__dataclass_fields__)[1:]))
        for n, d in enumerate(found)
    ]
)


@given(DEVICES)
def test_a_name_of_its_own_means_that_drive_whatever_the_order(devices: list[Device]) -> None:
    known = names.drives(devices)
    visible = [device for device in devices if not device.hidden]
    assert sorted(d.name for drive in known for d in drive.devices) == sorted(d.name for d in visible)
    assert names.drives(devices[::-1]) == known
    for drive in known:
        own = names.own_names(drive, known)
        assert all(names.meant(name, known) == [drive] for name in own)
        shared = {n for other in known if other != drive for d in other.devices for n in d.numbers}
        assert set(own) == {n for d in drive.devices for n in d.numbers} - shared


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("eui.0000000000000000", True),
        ("eui.ffffffffffffffff", True),
        ("uuid.00000000-0000-0000-0000-000000000000", True),
        ("00000000", True),
        ("eui.0025385800000001", False),
        ("0000", False),
        ("eui.1111111111111111", False),
    ],
)
def test_numbers_that_mean_nothing(number: str, expected: bool) -> None:
    assert names.meaningless(number) == expected
