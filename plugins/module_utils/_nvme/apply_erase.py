# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Erases whole drives that leave: the guard and the eraser are one process. Private to the collection."""

from __future__ import annotations

import fcntl
import json
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.apply_drives import Writer
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.model import Drive
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.probe_drives import Drives

BLKZEROOUT = 0x127F
PIECE = 1 << 30
# Of the NVMe base specification: what a secure erase does (SES), and bits of the controller's FNA.
USER_DATA, CRYPTOGRAPHIC = 1, 2
FORMATS_ALL, ERASES_ALL, CAN_CRYPTOGRAPHIC = 1, 2, 4


@dataclass(frozen=True)
class Erasure:
    """A drive and how it is erased: `ses` of NVMe's format command, or 0 for zeros from its first byte to its last."""

    drive: Drive
    ses: int = 0

    @property
    def text(self) -> str:
        """For people."""
        how = {USER_DATA: "its own secure erase", CRYPTOGRAPHIC: "its own cryptographic erase"}.get(
            self.ses, "zeros from end to end"
        )
        return f"{self.drive.identity} ({self.drive.node}, {self.drive.model or 'no model'}): {how}"


class Eraser:
    """The drives of this host that somebody named."""

    def __init__(self, drives: Drives) -> None:
        self.drives = drives
        self.writer = Writer(drives)

    def plan(self, names: Sequence[str], kept: Sequence[str]) -> tuple[list[Erasure], list[str]]:
        """What is to be erased, and why not. `kept`: names of drives that stay in use; one that is not there keeps
        nothing.
        """
        planned: dict[str, Erasure] = {}
        refusals = []
        stay = {node for name in kept if (node := self._node(name))}
        for name in names:
            try:
                drive = self.drives.read(name)
                if drive.node in stay:
                    refusals.append(f"{name} is in nvme_storage_drives: take it out there first")
                elif drive.blocked:
                    refusals.append(f"{name} ({drive.node}) is in use: {'; '.join(map(str, drive.blocked))}")
                elif drive.node in planned:
                    refusals.append(f"{name} is {planned[drive.node].drive.identity} by another name")
                else:
                    planned[drive.node] = Erasure(drive, self._way(drive.node))
            except ValueError as error:
                refusals.append(str(error))
        return [erasure for erasure in planned.values() if not blank(erasure.drive)], refusals

    def _node(self, name: str) -> str:
        try:
            return f"/dev/{self.drives.resolve(name).name}"
        except ValueError:
            return ""

    def _way(self, node: str) -> int:
        """How a drive is erased; ValueError where its own way would take others with it."""
        if not os.path.basename(node).startswith("nvme"):
            return 0
        controller = self._asked("id-ctrl", node)
        if (
            int(controller.get("fna", 0)) & (FORMATS_ALL | ERASES_ALL)
            and len(self._asked("list-ns", node).get("nsid_list", [])) != 1
        ):
            raise ValueError(f"{node}: its controller erases all of its namespaces at once. Erase them by hand")
        return CRYPTOGRAPHIC if int(controller.get("fna", 0)) & CAN_CRYPTOGRAPHIC else USER_DATA

    def _asked(self, command: str, node: str) -> dict[str, Any]:
        return dict(json.loads(self.drives.call(["nvme", command, node, "--output-format=json"])))

    def erase(self, erasure: Erasure) -> None:
        """Erase a drive that is still what the plan saw, while nobody else can open it; and see that nothing of it is
        left.
        """
        planned = erasure.drive
        descriptor = os.open(planned.node, os.O_RDWR | os.O_EXCL)
        try:
            self.writer.prove(planned, descriptor, "it was not erased")
            self.drives.run(["partx", "--delete", planned.node])
            if not erasure.ses:
                for start in range(0, planned.size, PIECE):
                    fcntl.ioctl(descriptor, BLKZEROOUT, struct.pack("QQ", start, min(PIECE, planned.size - start)))
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if erasure.ses:
            # No --force: it opens the drive exclusively by itself, and waits 10 seconds for somebody to change their
            # mind.
            self.writer.call(["nvme", "format", planned.node, f"--ses={erasure.ses}"])
        self.writer.settle()
        left = self.drives.read(planned.identity)
        if not blank(left):
            there = "; ".join(map(str, left.found)) or "something"
            raise ValueError(f"{planned.identity} was erased, and yet there is {there} on it. Do not let it go")


def blank(drive: Drive) -> bool:
    """Whether nothing is found on a drive."""
    return not (drive.found or drive.partitions or drive.member or drive.claimed)
