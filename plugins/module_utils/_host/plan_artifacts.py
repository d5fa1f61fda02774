# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host needs of the release files that it was told to install. Pure; private to the collection."""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable

MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True)
class Wanted:
    """One release file and where it goes: a file, or the programs of an archive into a directory."""

    name: str
    version: str
    url: str
    upstream: str
    sha256: str  # empty until the published one was asked for
    sum_from: str  # who says so: pinned, fleet_mirror.checksums, or the address where it is published
    path: str
    mode: int
    unpack: bool
    members: tuple[str, ...]

    @property
    def directory(self) -> str:
        """The directory that the files end in."""
        return self.path if self.unpack else posixpath.dirname(self.path)


def wanted(
    artifacts: Sequence[Mapping[str, Any]], destinations: Mapping[str, Mapping[str, Any]], machine: str
) -> list[Wanted]:
    """Join what the artifacts filter says with where each one goes, for the architecture of this host."""
    arch = MACHINES.get(machine)
    if arch is None:
        raise ValueError(
            f"this host is a {machine} machine; release files are known for {', '.join(sorted(set(MACHINES.values())))}"
        )
    names = [artifact["name"] for artifact in artifacts]
    if sorted(names) != sorted(destinations):
        raise ValueError(
            f"artifacts and destinations must name the same things; found {sorted(names)} and {sorted(destinations)}"
        )
    return [_wanted(artifact, destinations[artifact["name"]], arch) for artifact in artifacts]


def _wanted(artifact: Mapping[str, Any], destination: Mapping[str, Any], arch: str) -> Wanted:
    name, version = artifact["name"], artifact["version"]
    source = artifact["sources"].get(arch)
    if source is None:
        raise ValueError(
            f"{name} {version}: there is no release file for {arch}, only for {', '.join(artifact['sources'])}"
        )
    path = destination["path"]
    if not path.startswith("/"):
        raise ValueError(f"destinations.{name}.path must be absolute, found {path!r}")
    return Wanted(
        name=name,
        version=version,
        url=source["url"],
        upstream=source["upstream"],
        sha256=source.get("sha256", ""),
        sum_from=source.get("sum_from") or source.get("sums", ""),
        path=posixpath.normpath(path),
        mode=int(str(destination.get("mode") or "0755"), 8),
        unpack=bool(destination.get("unpack")),
        members=tuple(destination.get("members") or ("*",)),
    )


def remembered(want: Wanted, record: Mapping[str, Any] | None) -> str:
    """The published sum that a file of this version was checked against when it was installed, so that it need not be
    asked for again.
    """
    same = record and (record.get("version"), record.get("sum_from")) == (want.version, want.sum_from)
    return str(record["sha256"]) if record and same else ""


def difference(want: Wanted, record: Mapping[str, Any] | None, look: Callable[[str, Mapping[str, Any]], str]) -> str:
    """Why a release file must be installed, or the empty string.

    look(path, recorded) says what became of an installed file: "" when it is as recorded.
    """
    if record is None:
        return "not installed"
    if record.get("sha256") != want.sha256:
        return f"version {record.get('version')} is installed"
    if record.get("members") != list(want.members) or record.get("mode") != want.mode:
        return "other files or modes are wanted"
    for path, recorded in sorted(record.get("files", {}).items()):
        reason = look(path, recorded)
        if reason:
            return f"{path} {reason}"
    return ""


def select(members: Sequence[tuple[str, bool]], want: Wanted) -> dict[str, str]:
    """Which members of an archive to install, and as which file: its programs, by base name.

    members: name in the archive and whether it is an executable regular file.
    """
    chosen: dict[str, str] = {}
    for member, program in members:
        if program and any(fnmatch.fnmatchcase(posixpath.normpath(member), pattern) for pattern in want.members):
            chosen[member] = posixpath.join(want.path, posixpath.basename(member))
    unmatched = [
        pattern
        for pattern in want.members
        if not any(fnmatch.fnmatchcase(posixpath.normpath(member), pattern) for member in chosen)
    ]
    if unmatched:
        raise ValueError(f"{want.url} holds no program that matches {', '.join(unmatched)}")
    return chosen
