"""Reading volume groups and arrays, with recorded answers of LVM; tests/vm has the real ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme import probe_drives as reader
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme import probe_stripe as groups
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.model import Drive
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.probe_drives import Drives
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.probe_stripe import Stripes

DRIVES = [Drive(f"eui.{n}", f"/dev/nvme{n}n1", 4 << 30, seed=f"eui.{n}") for n in (1, 2)]
TAGS = "runnerfleet,runnerfleet.drive=eui.1,runnerfleet.drive=eui.2"


def pv(number: int, **options: str) -> dict[str, str]:
    """A row of pvs."""
    row = {
        "pv_name": f"/dev/nvme{number}n1",
        "pv_missing": "",
        "pv_pe_count": "1023",
        "pv_pe_alloc_count": "1000",
        "vg_name": "runnerfleet",
    }
    return {
        **row,
        "pv_uuid": f"pv-{number}",
        "vg_uuid": "vg-1",
        "vg_tags": TAGS,
        "vg_extent_size": "4194304",
        **options,
    }


def lv(name: str, layout: str, **options: str) -> dict[str, str]:
    """A row of lvs."""
    row = {"lv_name": name, "vg_name": "runnerfleet", "lv_size": str(400 << 20), "lv_layout": layout, "lv_tags": ""}
    return {**row, "lv_kernel_major": "254", "lv_kernel_minor": "4", **options}


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A host whose LVM tells what it is given."""
    monkeypatch.setattr(reader.shutil, "which", lambda *_a, **_k: "/usr/sbin/lvm")
    monkeypatch.setattr(groups, "device_of", lambda path: path)

    def make(pvs: list[Mapping[str, str]], lvs: list[Mapping[str, str]]) -> Stripes:
        def run(command: list[str], **_options: Any) -> tuple[int, str, str]:
            if command[0] == "blkid":
                return 0, "TYPE=xfs\nUUID=u\n", ""
            kind, rows = ("pv", pvs) if command[0] == "pvs" else ("lv", lvs)
            return 0, json.dumps({"report": [{kind: rows}]}), ""

        return Stripes(Drives(run))

    return make


def test_our_volume_group(host: Any) -> None:
    lvs = [
        lv("engine", "thin,sparse"),
        lv("logs.new", "striped"),
        lv("containers", "striped", lv_tags="runnerfleet.growing"),
        lv("asleep", "linear", lv_kernel_major="-1", lv_kernel_minor="-1"),
        lv("before", "thin,pool"),
        lv("home", "linear", vg_name="data"),
    ]
    group = host([pv(1), pv(2), pv(3, vg_name="data", vg_uuid="vg-2", vg_tags="")], lvs).group(DRIVES, "lvm")
    assert (group.uuid, group.drives, group.missing, group.refusal) == ("lvm:vg-1", ("eui.1", "eui.2"), (), "")
    assert group.free == {"eui.1": 23, "eui.2": 23}
    seen = {p.name: (p.filesystem, p.device) for p in group.volumes}
    assert seen == {
        "runnerfleet-engine": ("xfs", "254:4"),
        "runnerfleet-logs.new": ("", "254:4"),
        "runnerfleet-containers": ("xfs", "254:4"),
        "runnerfleet-asleep": ("", ""),
        "runnerfleet-before": ("xfs", "254:4"),
    }
    assert group.foreign == {"engine", "before"} and group.growing == {"containers"}


def test_a_missing_drive_is_named(host: Any) -> None:
    group = host([pv(1), pv(2, pv_name="[unknown]", pv_missing="missing")], []).group(DRIVES[:1], "lvm")
    assert group.missing == ("eui.2",) and group.drives == ("eui.1",)


@pytest.mark.parametrize(
    ("pvs", "refusal"),
    [
        pytest.param(
            [pv(1, vg_tags="")], "was not made by this role: vgrename runnerfleet <another name>", id="no-tag"
        ),
        pytest.param([pv(1), pv(2, vg_uuid="vg-2")], "2 volume groups carry the tag runnerfleet", id="two"),
        pytest.param(
            [pv(1, vg_name="other")], "our volume group has the name other: vgrename other runnerfleet", id="renamed"
        ),
    ],
)
def test_groups_that_are_refused(host: Any, pvs: list[dict[str, str]], refusal: str) -> None:
    assert refusal in host(pvs, []).group(DRIVES, "lvm").refusal


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        pytest.param(pv(1), ("lvm:vg-1", False, ["LVM2_member of volume group runnerfleet"]), id="ours"),
        pytest.param(
            pv(1, vg_name="data", vg_tags="x"), ("", False, ["LVM2_member of volume group data"]), id="foreign"
        ),
        pytest.param(pv(1, vg_name="", vg_uuid=""), ("", True, ["LVM2_member"]), id="in-no-group"),
        pytest.param(pv(2), ("", False, ["LVM2_member"]), id="not-known-to-lvm"),
    ],
)
def test_the_group_of_a_drive(host: Any, row: dict[str, str], expected: Any) -> None:
    assert (
        host([row], []).drives.volume_group({"TYPE": "LVM2_member", "UUID": "pv-1"}, ["LVM2_member"], Path("/nowhere"))
        == expected
    )


@pytest.mark.parametrize(
    ("seen", "array"),
    [
        ({"TYPE": "linux_raid_member", "LABEL": "any:runnerfleet", "UUID": "u"}, "md:u"),
        ({"TYPE": "linux_raid_member", "LABEL": "runnerfleet", "UUID": "u"}, "md:u"),
        ({"TYPE": "linux_raid_member", "LABEL": "host:data", "UUID": "u"}, ""),
        ({"TYPE": "xfs", "LABEL": "runnerfleet", "UUID": "u"}, ""),
    ],
)
def test_the_array_of_a_drive(seen: dict[str, str], array: str) -> None:
    assert Drives.array_of(seen) == array


def test_two_arrays_of_our_name_are_refused(host: Any) -> None:
    drives = [Drive("a", "/dev/a", 1, member="md:1"), Drive("b", "/dev/b", 1, member="md:2")]
    assert "belong to 2 arrays named runnerfleet" in host([], []).group(drives, "raid0").refusal
