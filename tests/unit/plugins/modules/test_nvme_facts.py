"""nvme_facts as a task sees it, on drives that are made up; tests/devices and tests/vm run it on real ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.model import Kind
from ansible_collections.runnerfleet.baremetal.plugins.modules import nvme_facts

from tests.unit.plugins.machines import MIB, Machine, samsung

Facts = Callable[..., Any]


@pytest.fixture
def facts(machine: Machine, run_module: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> Facts:
    """What nvme_facts says, by node."""
    monkeypatch.setattr(
        AnsibleModule, "run_command", lambda _module, command, **options: machine.run(command, **options)
    )

    def call(check: bool = False, **options: Any) -> Any:
        result = run_module(nvme_facts.main, options, check=check)
        assert not result["changed"]
        return result if result.get("failed") else {drive["node"]: drive for drive in result["drives"]}

    return call


@pytest.mark.parametrize("check", [True, False])
def test_states(machine: Machine, facts: Facts, check: bool) -> None:
    machine.answers["nvme"] = (1, "", "no such device")
    machine.drive("nvme0n1", links=("by-id/nvme-A",), **samsung(serial="S0", wwid="eui.0a"))
    with machine.drive("nvme1n1", **samsung(serial="S1", wwid="eui.0b")).open("r+b") as file:
        file.seek(MIB // 2)
        file.write(b"x")
    machine.drive("nvme2n1", partitions=2, **samsung(serial="S2", wwid="eui.0c"))
    machine.partition("nvme2n1", "runnerfleet-engine", "runnerfleet-containers.new")
    free, taken, ours = facts(check).values()
    assert (free["state"], free["usable"], free["reasons"], free["links"]) == (
        "free",
        True,
        [],
        ["/dev/disk/by-id/nvme-A"],
    )
    assert (taken["state"], taken["usable"], taken["reasons"]) == ("taken", False, ["unknown bytes: in the MiB at 0"])
    assert (ours["state"], ours["usable"], ours["ours"]) == ("ours", True, ["engine", "containers.new"])
    assert (
        ours["reasons"] == ["partitions: runnerfleet-engine, runnerfleet-containers.new"]
        and "no such device" in free["note"]
    )


def test_one_drive_that_cannot_be_read_is_taken_and_the_others_are_told(machine: Machine, facts: Facts) -> None:
    for number, size in enumerate((0, 400 * MIB, 400 * MIB, 400 * MIB)):
        machine.drive(f"nvme{number}n1", size=size, **samsung(serial=f"S{number}", wwid=f"eui.0{number}"))
    (machine.root / "dev/nvme1n1").unlink()  # no such device
    machine.drive("nvme0c1n1", hidden="1")
    reasons = {node: drive["reasons"] for node, drive in facts().items()}
    assert reasons["/dev/nvme0n1"] == ["no usable size: 0 bytes"] and reasons["/dev/nvme0c1n1"] == ["multipath path"]
    assert reasons["/dev/nvme1n1"][0] == "cannot be opened: No such file or directory"
    assert reasons["/dev/nvme2n1"] == reasons["/dev/nvme3n1"] == []
    assert all(Kind(reason.partition(":")[0]) for drive in reasons.values() for reason in drive)


@pytest.mark.parametrize(
    "answer", [(5, "", "Input/output error"), (0, "no json", ""), (0, "{}", ""), (0, '{"partitiontable": 1}', "")]
)
@pytest.mark.parametrize("tool", ["blkid", "wipefs", "sfdisk", "pvs", "nvme"])
def test_whatever_a_tool_answers_ends_nothing(
    machine: Machine, facts: Facts, tool: str, answer: tuple[int, str, str]
) -> None:
    machine.drive("nvme0n1", **samsung())
    machine.partition("nvme0n1", "home")
    machine.answers[tool] = answer
    told = facts()["/dev/nvme0n1"]
    assert told["state"] == "taken" and told["reasons"]
    assert all(Kind(reason.partition(":")[0]) for reason in told["reasons"])


def test_names_that_mean_one_drive(machine: Machine, facts: Facts) -> None:
    machine.drive("nvme0n1", links=("by-id/nvme-A",), **samsung(cntlid="0"))
    machine.drive("nvme1n1", links=("by-id/nvme-B",), **samsung(cntlid="1"))
    told = facts(drives=["/dev/disk/by-id/nvme-B", "S1"], consent=["eui.0025385800000001"])
    assert told["/dev/nvme0n1"]["asked_as"] == ["/dev/disk/by-id/nvme-B", "S1"] and told["/dev/nvme0n1"]["consented"]
    assert told["/dev/nvme1n1"]["reasons"] == ["multipath path"] and not told["/dev/nvme1n1"]["consented"]


def test_every_name_that_means_none_is_told(machine: Machine, facts: Facts) -> None:
    machine.drive("nvme0n1", **samsung(nsid="1"))
    machine.drive("nvme0n2", **samsung(nsid="2", wwid="eui.02"))
    result = facts(drives=["eui.absent", "/dev/nvme0n1"], consent=["S1"])
    first, second, third = result["msg"].splitlines()
    assert "eui.absent is not a block device" in first and "use eui.0025385800000001" in second
    assert third.startswith("consent: S1 names 2 drives (nvme0n1, nvme0n2)")


def test_a_stripe_that_cannot_be_read_is_a_reason(machine: Machine, facts: Facts) -> None:
    machine.drive("nvme0n1", **samsung())
    machine.answers["blkid"] = (0, "TYPE=LVM2_member\nUUID=1\n", "")
    machine.answers["wipefs"] = (0, json.dumps({"signatures": [{"type": "LVM2_member"}]}), "")
    row = {"pv_uuid": "1", "vg_name": "runnerfleet", "vg_uuid": "2", "vg_tags": "runnerfleet"}
    machine.answers["pvs"] = (0, json.dumps({"report": [{"pv": [row]}]}), "")
    assert facts()["/dev/nvme0n1"]["reasons"][0].startswith("cannot be read: ")
