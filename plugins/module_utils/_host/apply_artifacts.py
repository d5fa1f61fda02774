# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Release files on a host: fetched, checked, put in place and remembered. Private to the collection."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ansible.module_utils.urls import open_url
from ansible_collections.runnerfleet.baremetal.plugins.module_utils import _published_sums
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host.plan_artifacts import (
    Wanted,
    remembered,
    select,
)

PREFIX = ".runnerfleet-"


class ArtifactError(Exception):
    """A release file cannot be installed."""


def file_sha256(path: str) -> str:
    """Sum of a file's content."""
    total = hashlib.sha256()
    with open(path, "rb") as content:
        for block in iter(lambda: content.read(1 << 20), b""):
            total.update(block)
    return total.hexdigest()


def describe(path: str) -> dict[str, Any]:
    """What is remembered of an installed file."""
    found = os.stat(path)
    return {
        "sha256": file_sha256(path),
        "size": found.st_size,
        "mtime_ns": found.st_mtime_ns,
        "mode": found.st_mode & 0o7777,
    }


def installed(path: str, recorded: Mapping[str, Any], verify: bool = False) -> str:
    """What became of an installed file; the content is only read where size or time differ, or where `verify` asks for
    it.
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return "is missing"
    if found.st_mode & 0o7777 != recorded["mode"]:
        return "has another mode"
    read = verify or (found.st_size, found.st_mtime_ns) != (recorded["size"], recorded["mtime_ns"])
    if read and file_sha256(path) != recorded["sha256"]:
        return "has other content"
    return ""


def read_state(path: str) -> dict[str, Any]:
    """What earlier runs installed. An unreadable file means: nothing is known, install again."""
    try:
        with open(path, encoding="utf-8") as text:
            return dict(json.load(text))
    except (FileNotFoundError, ValueError):
        return {}


def write_state(path: str, state: Mapping[str, Any]) -> None:
    """Replace the state file."""
    with tempfile.NamedTemporaryFile(
        "w", dir=os.path.dirname(path), prefix=PREFIX, delete=False, encoding="utf-8"
    ) as text:
        json.dump(state, text, indent=1, sort_keys=True)
    os.rename(text.name, path)


def with_sum(want: Wanted, record: Mapping[str, Any] | None, timeout: int) -> Wanted:
    """The same with its sum, which is asked for where it is only published and this version was not installed by it."""
    if want.sha256:
        return want
    file = want.upstream.rpartition("/")[2]
    return replace(want, sha256=remembered(want, record) or _published_sums.fetch(want.sum_from, file, timeout))


def adopt(want: Wanted) -> dict[str, Any] | None:
    """The record of a file that is in place without a record, as after a lost state file."""
    if want.unpack or not os.path.isfile(want.path) or file_sha256(want.path) != want.sha256:
        return None
    return {**header(want), "files": {want.path: {**describe(want.path), "mode": want.mode}}}


def header(want: Wanted) -> dict[str, Any]:
    """The part of a record that does not depend on the installed files."""
    return {
        "name": want.name,
        "version": want.version,
        "sha256": want.sha256,
        "sum_from": want.sum_from,
        "members": list(want.members),
        "mode": want.mode,
    }


def download(want: Wanted, timeout: int) -> str:
    """Fetch beside the target and check the sum; returns the path of the checked file."""
    total = hashlib.sha256()
    handle, part = tempfile.mkstemp(dir=want.directory, prefix=PREFIX)
    try:
        with (
            os.fdopen(handle, "wb") as target,
            open_url(want.url, timeout=timeout, http_agent="runnerfleet.baremetal") as answer,
        ):
            for block in iter(lambda: answer.read(1 << 20), b""):
                total.update(block)
                target.write(block)
            target.flush()
            os.fsync(target.fileno())
    except Exception as error:
        os.unlink(part)
        raise ArtifactError(
            f"{want.name} {want.version}: cannot download {want.url}: {error}. Check that this host reaches it "
            "(fleet_mirror.url)"
        ) from error
    if total.hexdigest() != want.sha256:
        os.unlink(part)
        raise ArtifactError(
            f"{want.name} {want.version}: {want.url} has the wrong content: expected sha256 {want.sha256} "
            f"({want.sum_from}), found {total.hexdigest()}. Nothing was installed. Repair the file on the mirror, or, "
            f"where the mirror repackages it on purpose, set fleet_mirror.checksums['{want.upstream}']"
        )
    return part


def put_in_place(want: Wanted, part: str) -> dict[str, Any]:
    """Install a checked download; every file appears whole or not at all."""
    placed = [want.path]
    if not want.unpack:
        os.chmod(part, want.mode)
        os.rename(part, want.path)
    else:
        with tarfile.open(part) as archive:
            members = archive.getmembers()
            chosen = select([(member.name, member.isfile() and bool(member.mode & 0o111)) for member in members], want)
            for member, target in chosen.items():
                with tempfile.NamedTemporaryFile(dir=want.path, prefix=PREFIX, delete=False) as file:
                    shutil.copyfileobj(archive.extractfile(member) or io.BytesIO(), file, 1 << 20)
                os.chmod(file.name, want.mode)
                os.rename(file.name, target)
        os.unlink(part)
        placed = list(chosen.values())
    return {**header(want), "files": {path: describe(path) for path in placed}}


def install(pending: list[Wanted], state: dict[str, Any], state_file: str, timeout: int) -> None:
    """Download and check everything first, then put it in place."""
    for directory in {want.directory for want in pending}:
        os.makedirs(directory, exist_ok=True)
        for name in os.listdir(directory):
            if name.startswith(
                PREFIX
            ):  # left behind by a run that was killed; the lock says that no other one is alive
                os.unlink(os.path.join(directory, name))
    parts: dict[str, str] = {}
    try:
        for want in pending:
            parts[want.name] = download(want, timeout)
        for want in pending:
            state[want.name] = put_in_place(want, parts[want.name])
            write_state(state_file, state)
    finally:
        for part in parts.values():
            if os.path.exists(part):
                os.unlink(part)
