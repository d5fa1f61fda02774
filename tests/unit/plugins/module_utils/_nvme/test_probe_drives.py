"""Reading drives, with recorded answers of the tools; tests/devices has the real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme import probe_drives as nvme


def answers(**programs: tuple[int, str, str]) -> Any:
    """A run_command that answers by program."""
    return lambda command, **_: programs[command[0]]


@pytest.mark.parametrize(
    ("text", "path"), [("/mnt/a", "/mnt/a"), ("/mnt/a\\040b", "/mnt/a b"), ("/mnt/\\134", "/mnt/\\")]
)
def test_mountinfo_is_unescaped(text: str, path: str) -> None:
    assert nvme.unescaped(text) == path


@pytest.mark.parametrize(
    ("blkid", "wipefs", "expected"),
    [
        pytest.param((2, "", ""), (0, "", ""), ("", []), id="nothing"),
        pytest.param(
            (0, "DEVNAME=/dev/x\nUUID=1\nTYPE=xfs\n", ""),
            (0, json.dumps({"signatures": [{"type": "xfs"}]}), ""),
            ("", ["xfs"]),
            id="xfs",
        ),
        pytest.param(
            (0, "PTTYPE=gpt\n", ""),
            (0, json.dumps({"signatures": [{"type": "gpt"}, {"type": "PMBR"}]}), ""),
            ("gpt", ["gpt", "PMBR"]),
            id="gpt",
        ),
        pytest.param((8, "", ""), (0, "", ""), ("", ["more than one"]), id="ambivalent"),
        pytest.param(
            (2, "", ""),
            (0, json.dumps({"signatures": [{"type": "zfs_member"}]}), ""),
            ("", ["zfs_member"]),
            id="only-wipefs-sees-it",
        ),
    ],
)
def test_signatures(blkid: Any, wipefs: Any, expected: Any) -> None:
    seen, found = nvme.Drives(answers(blkid=blkid, wipefs=wipefs)).signatures("/dev/x")
    assert (seen.get("PTTYPE", ""), found) == expected


@pytest.mark.parametrize("tool", ["blkid", "wipefs"])
def test_a_drive_that_cannot_be_read_is_not_empty(tool: str) -> None:
    good = {"blkid": (2, "", ""), "wipefs": (0, "", "")}
    with pytest.raises(ValueError, match="cannot read /dev/x: I/O error"):
        nvme.Drives(answers(**{**good, tool: (1, "", "I/O error\n")})).signatures("/dev/x")


def test_table_reads_any_sector_size_and_the_filesystem_of_ours_only() -> None:
    entries = [
        {"node": "/dev/nvme9n1p1", "start": 256, "size": 1024, "name": "runnerfleet-engine"},
        {"node": "/dev/nvme9n1p2", "start": 2048, "size": 1024, "name": "home"},
        {"node": "/dev/nvme9n1p3", "start": 4096, "size": 1024},
    ]
    out = json.dumps({"partitiontable": {"label": "gpt", "sectorsize": 4096, "partitions": entries}})
    drives = nvme.Drives(answers(sfdisk=(0, out, ""), blkid=(0, "TYPE=xfs\nUUID=u\n", "")))
    first, second, third = drives.partition_table("/dev/nvme9n1", Path("/nonexistent"))
    assert (first.number, first.start, first.size, first.filesystem, first.uuid, first.device) == (
        1,
        1 << 20,
        4 << 20,
        "xfs",
        "u",
        "",
    )
    assert (second.name, second.filesystem, third.name) == ("home", "", "")


def test_claim_lies_between_the_table_and_the_first_partition() -> None:
    assert nvme.CLAIM_AT >= 24 * 1024 and nvme.CLAIM_AT + len(nvme.CLAIM) == 1 << 20 and nvme.CLAIM_AT % 4096 == 0


@pytest.mark.parametrize("name", ["/dev/nvme0n1", "/dev/disk/by-uuid/x", "/dev/disk/by-label/x"])
def test_names_that_do_not_name_a_drive(name: str) -> None:
    with pytest.raises(ValueError, match="may mean another drive after the next boot"):
        nvme.Drives(answers()).resolve(name)
