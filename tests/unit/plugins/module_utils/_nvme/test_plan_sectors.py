"""Another sector size: only for blank drives, only where the controller offers it, and first of all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme import probe_controller
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.model import Drive, Volume
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.plan_partitions import plan_layout
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.plan_sectors import (
    Offer,
    other_sectors,
    plan_sectors,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.plan_stripe import Group, plan_stripe

SMALL = {"lbaf": 0, "data_bytes": 512, "metadata_bytes": 0, "performance": 2, "in_use": True}
LARGE = {"lbaf": 1, "data_bytes": 4096, "metadata_bytes": 0, "performance": 1, "in_use": False}
BEST = {**LARGE, "lbaf": 3, "performance": 0}
PROTECTED = {**LARGE, "lbaf": 2, "metadata_bytes": 8, "performance": 0}
VOLUMES = [Volume("engine", "60%", mount="/e"), Volume("containers", mount="/c")]


def drive(name: str, **options: Any) -> Drive:
    """A drive of 10 GiB with sectors of 512 bytes."""
    return Drive(name, f"/dev/{name}", 10 << 30, seed=name, **options)


def test_the_fastest_format_without_metadata_comes_first() -> None:
    layout = plan_layout([drive("a"), drive("b", sector=4096)], VOLUMES, "spread", [])
    plan_sectors(layout, 4096, {"a": Offer([SMALL, LARGE, PROTECTED, BEST])})
    assert [s.action for s in layout.steps] == [
        "sectors",
        "partition",
        "partition",
        "format",
        "format",
    ] and not layout.refusals
    assert [(d.identity, lbaf) for d, lbaf in layout.steps[0].data["formats"]] == [("a", 3)]
    assert "sectors of 4096 bytes" in layout.steps[0].text


@pytest.mark.parametrize("level", ["lvm", "raid0"])
def test_all_drives_of_a_stripe(level: str) -> None:
    drives = [drive("a"), drive("b")]
    layout = plan_stripe(drives, Group("lvm" if level == "lvm" else "md"), VOLUMES, level, [])
    plan_sectors(layout, 4096, {d.identity: Offer([SMALL, LARGE]) for d in drives})
    assert [(d.identity, lbaf) for d, lbaf in layout.steps[0].data["formats"]] == [("a", 1), ("b", 1)]


@pytest.mark.parametrize(
    ("options", "offer", "said"),
    [
        pytest.param(
            {"found": ("signature: xfs",)},
            Offer([SMALL, LARGE]),
            "it is not empty (signature: xfs), and wipe does not",
            id="data",
        ),
        pytest.param({}, Offer([SMALL, PROTECTED]), "it offers 512 without metadata", id="not offered"),
        pytest.param({}, Offer([SMALL, LARGE], 2, True), "formats all of its 2 namespaces at once", id="neighbours"),
        pytest.param({}, Offer(problem="nvme is not installed"), "not known (nvme is not installed)", id="no answer"),
    ],
)
def test_refusals_leave_the_plan_without_a_format(options: dict[str, Any], offer: Offer, said: str) -> None:
    layout = plan_layout([drive("a", **options)], VOLUMES, "single", ["a"] if options else [])
    plan_sectors(layout, 4096, {"a": offer})
    assert len(layout.refusals) == 1 and said in layout.refusals[0] and "sector_size: 0" in layout.refusals[0]
    assert "sectors" not in [s.action for s in layout.steps]


@pytest.mark.parametrize("wished", [0, 512])
def test_nothing_to_do(wished: int) -> None:
    layout = plan_layout([drive("a")], VOLUMES, "single", [])
    assert other_sectors(layout.steps, wished) == []


def test_one_namespace_may_be_formatted_together_with_itself() -> None:
    layout = plan_layout([drive("a")], VOLUMES, "single", [])
    plan_sectors(layout, 4096, {"a": Offer([SMALL, LARGE], 1, True)})
    assert layout.steps[0].action == "sectors"


class Nvme:
    """nvme-cli that knows some of its commands."""

    def __init__(self, fna: int, **answers: Any) -> None:
        namespace = {"flbas": 0, "lbafs": [{"ms": 0, "ds": 9, "rp": 0}, {"ms": 0, "ds": 12, "rp": 0}]}
        self.answers = {"smart-log": {}, "id-ns": namespace, "id-ctrl": {"fna": fna}, **answers}

    def __call__(self, command: list[str]) -> tuple[int, str, str]:
        key = "list-all" if "--all" in command else command[1]
        return (0, json.dumps(self.answers[key]), "") if key in self.answers else (1, "", "Invalid Command Opcode")


TWO = {"nsid_list": [{"nsid": 1}, {"nsid": 2}]}


@pytest.mark.parametrize(
    ("nvme", "namespaces", "together", "problem"),
    [
        pytest.param(Nvme(0), 1, False, "", id="each for itself"),
        pytest.param(Nvme(1, **{"list-all": TWO}), 2, True, "", id="all that are allocated"),
        pytest.param(Nvme(5, **{"list-ns": TWO}), 2, True, "", id="namespaces are not managed"),
        pytest.param(Nvme(1), 1, False, "nvme list-ns failed (1): Invalid Command Opcode", id="how many is not known"),
    ],
)
def test_what_the_controller_says(
    monkeypatch: pytest.MonkeyPatch, nvme: Nvme, namespaces: int, together: bool, problem: str
) -> None:
    monkeypatch.setattr(probe_controller.shutil, "which", lambda *_a, **_k: "/usr/sbin/nvme")
    offer = probe_controller.offer(nvme, "/dev/nvme9n1")
    assert (offer.namespaces, offer.together, offer.problem) == (namespaces, together, problem)


def test_what_is_no_namespace_has_no_formats() -> None:
    assert "not an NVMe namespace" in probe_controller.offer(Nvme(0), "/dev/loop0").problem
