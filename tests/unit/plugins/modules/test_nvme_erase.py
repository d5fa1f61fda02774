"""How an NVMe drive is erased: by what its controller can, and never with its neighbours. The rest is tried on devices
(tests/devices).
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme import apply_erase
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.apply_erase import Eraser, blank
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.model import Drive

from tests.unit.plugins.drives import reason

DRIVE = Drive("nvme-a", "/dev/nvme0n1", 1 << 30, found=(reason("unknown bytes: in the MiB at 0"),), model="M")


class Drives:
    """One drive, and what nvme-cli says of its controller."""

    def __init__(self, fna: int, namespaces: int = 1) -> None:
        self.fna, self.namespaces, self.ran = fna, namespaces, [""]
        self.now = DRIVE

    def read(self, _identity: str, held: int | None = None) -> Drive:
        return self.now

    def resolve(self, identity: str) -> Any:
        raise ValueError(f"{identity} is not there")

    def run(self, command: list[str], **_options: Any) -> tuple[int, str, str]:
        self.ran.append(" ".join(command))
        if command[:2] == ["nvme", "format"]:
            self.now = replace(DRIVE, found=())
        return 0, json.dumps({"fna": self.fna, "nsid_list": [{}] * self.namespaces}), ""

    def call(self, command: list[str], **options: Any) -> str:
        return self.run(command, **options)[1]


@pytest.fixture
def no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply_erase.os, "open", lambda *_arguments: -1)
    monkeypatch.setattr(apply_erase.os, "close", lambda _descriptor: None)


@pytest.mark.usefixtures("no_device")
@pytest.mark.parametrize(
    ("fna", "namespaces", "ses"),
    [
        pytest.param(0, 1, 1, id="no cryptographic erase"),
        pytest.param(4, 1, 2, id="a cryptographic one"),
        pytest.param(6, 1, 2, id="of all namespaces, of which there is one"),
        pytest.param(0, 4, 1, id="a namespace of several, alone"),
    ],
)
def test_by_its_own_erase(fna: int, namespaces: int, ses: int) -> None:
    drives = Drives(fna, namespaces)
    eraser = Eraser(drives)  # type: ignore[arg-type]
    (planned,), refusals = eraser.plan(["nvme-a"], ["gone"])
    assert refusals == [] and planned.ses == ses
    eraser.erase(planned)
    assert f"nvme format /dev/nvme0n1 --ses={ses}" in drives.ran


@pytest.mark.parametrize("fna", [1, 2, 3, 7])
def test_one_that_would_take_its_neighbours_is_refused(fna: int) -> None:
    planned, refusals = Eraser(Drives(fna, 2)).plan(["nvme-a"], [])  # type: ignore[arg-type]
    assert planned == [] and "erases all of its namespaces at once" in refusals[0]


@pytest.mark.usefixtures("no_device")
def test_one_that_changed_or_is_not_empty_after_it_is_told() -> None:
    drives = Drives(0)
    eraser = Eraser(drives)  # type: ignore[arg-type]
    (planned,), _refusals = eraser.plan(["nvme-a"], [])
    drives.now = replace(DRIVE, blocked=(reason("mounted: /srv"),))
    with pytest.raises(ValueError, match=r"has changed since it was read \(mounted: /srv"):
        eraser.erase(planned)
    assert not [line for line in drives.ran if line.startswith("nvme format")]
    drives.now = DRIVE
    drives.run = lambda _command, **_options: (0, "{}", "")  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="Do not let it go"):
        eraser.erase(planned)


def test_what_is_blank() -> None:
    assert blank(replace(DRIVE, found=())) and not blank(DRIVE) and not blank(replace(DRIVE, found=(), member="lvm:x"))
