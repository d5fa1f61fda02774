"""Names, addresses and paths of the local fleets."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path

from lab.programs import CACHE

DRIVE_SIZE = 8 << 30
DRIVES_PER_RUNNER = 2
BY_ID = Path("/dev/disk/by-id")
LABEL = "runnerfleet.fleet"

_KNOWN_NETWORKS = {"lab": 77, "molecule": 78, "bench": 79}
_GROUP_ADDRESSES = {"cp": 10, "support": 20, "runner": 30}
DEFAULT_NODES = ("cp-1", "support-1", "runner-1", "runner-2")


@dataclass(frozen=True)
class Fleet:
    """One local fleet: a network of its own, and everything named after it."""

    name: str

    @property
    def prefix(self) -> str:
        """The first three numbers of every address of this fleet."""
        return f"10.89.{_KNOWN_NETWORKS.get(self.name, 80 + zlib.crc32(self.name.encode()) % 120)}"

    @property
    def network(self) -> str:
        """The podman network."""
        return f"runnerfleet-{self.name}"

    @property
    def directory(self) -> Path:
        """Where the fleet's files lie."""
        return CACHE / "fleets" / self.name

    @property
    def drives_directory(self) -> Path:
        """Backing files of the drives; a loop device is ours if, and only if, its file lies here."""
        return self.directory / "drives"

    @property
    def mirror_address(self) -> str:
        """Where the artifact mirror listens."""
        return f"{self.prefix}.2"

    @property
    def github_address(self) -> str:
        """Where the GitHub stand-in listens."""
        return f"{self.prefix}.3"

    def container(self, host: str) -> str:
        """Container (and volume) of a host."""
        return f"runnerfleet-{self.name}-{host}"

    def address(self, node: str) -> str:
        """Address of a node: cp-1 is .11, support-1 .21, runner-2 .32."""
        kind, _dash, number = node.rpartition("-")
        if kind not in _GROUP_ADDRESSES or number not in {str(digit) for digit in range(1, 10)}:
            raise ValueError(f"a node is called cp-N, support-N or runner-N with N from 1 to 9, found {node!r}")
        return f"{self.prefix}.{_GROUP_ADDRESSES[kind] + int(number)}"

    def drives(self, node: str) -> list[Path]:
        """The by-id links of a node's drives; only runner nodes have some."""
        if not node.startswith("runner-"):
            return []
        return [BY_ID / f"runnerfleet-{self.name}-{node}-nvme{number}" for number in range(DRIVES_PER_RUNNER)]

    def backing_file(self, drive: Path) -> Path:
        """The sparse file behind a drive."""
        return self.drives_directory / f"{drive.name}.img"


def current_fleet() -> Fleet:
    """The fleet that LAB_FLEET names."""
    name = os.environ.get("LAB_FLEET") or "lab"
    if not name.isalnum() or len(name) > 20:
        raise ValueError(f"LAB_FLEET must be letters and digits, at most 20, found {name!r}")
    return Fleet(name)
