"""nvme_facts as a task sees it; tests/devices and tests/vm run it on real drives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme import Drive, Partition
from ansible_collections.runnerfleet.baremetal.plugins.modules import nvme_facts

Run = Callable[..., dict[str, Any]]
OURS = (Partition(1, "runnerfleet-engine", 1, 2), Partition(2, "runnerfleet-containers.new", 3, 4))


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> dict[str, Drive | ValueError]:
    """Drives by their kernel name; health is not asked for."""
    known: dict[str, Drive | ValueError] = {}

    def inspect(_self: Any, sysfs: Path, _name: str = "") -> Drive:
        drive = known[sysfs.name]
        if isinstance(drive, ValueError):
            raise drive
        return drive

    monkeypatch.setattr(nvme_facts.Drives, "inspect", inspect)
    monkeypatch.setattr(nvme_facts.Drives, "namespaces", lambda _self: ([Path("/sys/class/block", n) for n in known], ["nvme0c1n1"]))
    monkeypatch.setattr(nvme_facts._nvme_health, "ask", lambda _run, _node: {"health": None, "formats": None, "note": "no nvme-cli"})
    return known


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(
    ("drive", "state", "reasons", "ours"),
    [
        pytest.param(Drive("eui.1", "/dev/nvme9n1", 1 << 40), "free", [], [], id="free"),
        pytest.param(
            Drive("eui.1", "/dev/nvme9n1", 1 << 40, found=("signature: xfs",), blocked=("mounted: /data",)),
            "taken",
            ["mounted: /data", "signature: xfs"],
            [],
            id="taken",
        ),
        pytest.param(
            Drive("eui.1", "/dev/nvme9n1", 1 << 40, partitions=OURS),
            "ours",
            ["partitions: runnerfleet-engine, runnerfleet-containers.new"],
            ["engine", "containers.new"],
            id="ours",
        ),
    ],
)
def test_states(host: dict[str, Any], run_module: Run, drive: Drive, state: str, reasons: list[str], ours: list[str], check: bool) -> None:
    host["nvme9n1"] = drive
    result = run_module(nvme_facts.main, {}, check=check)
    told = result["drives"][0]
    assert (told["state"], told["reasons"], told["ours"]) == (state, reasons, ours)
    assert told["usable"] == (state != "taken") and told["note"] == "no nvme-cli" and not result["changed"]


def test_hidden_path_and_unreadable_drive_are_listed_as_taken(host: dict[str, Any], run_module: Run) -> None:
    host["nvme9n1"] = ValueError("cannot read /dev/nvme9n1: I/O error")
    result = run_module(nvme_facts.main, {})
    reasons = {d["node"]: d["reasons"] for d in result["drives"]}
    assert reasons == {
        "/dev/nvme0c1n1": ["multipath path"],
        "/dev/nvme9n1": ["cannot be opened: cannot read /dev/nvme9n1: I/O error"],
    }
    assert not any(d["usable"] for d in result["drives"])


def test_a_drive_that_does_not_exist_fails(host: dict[str, Any], run_module: Run) -> None:
    assert "eui.absent is not a block device" in run_module(nvme_facts.main, {"drives": ["eui.absent"]})["msg"]
