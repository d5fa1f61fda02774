#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_artifacts
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: Install pinned release files on a host
description:
  - Downloads release files, checks the sha256 of all of them, and only then puts them in place, each by one rename.
  - Remembers what it installed in O(state_file). A later run downloads nothing as long as the files are still the ones that were installed.
extends_documentation_fragment:
  - runnerfleet.baremetal.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  artifacts:
    description: What to install, as the P(runnerfleet.baremetal.artifacts#filter) filter returns it.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the artifact.
        type: str
        required: true
      version:
        description: Its version.
        type: str
        required: true
      sources:
        description: By architecture (V(amd64), V(arm64)), a dictionary with C(url), C(upstream) and C(sha256).
        type: dict
        required: true
  destinations:
    description:
      - Where each artifact goes, by its name.
      - Each is a dictionary with C(path) (a file, or a directory when C(unpack) is true), C(mode) (default V(0755)),
        C(unpack) (default V(false)) and C(members) (patterns of archive members; by default every program in the archive).
        Members are installed under their base names.
    type: dict
    required: true
  state_file:
    description: Where to remember what is installed.
    type: path
    default: /var/lib/runnerfleet/artifacts.json
  timeout:
    description: Seconds to wait for the server to answer or to go on sending.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Install kubelet
  runnerfleet.baremetal.host_artifacts:
    artifacts: "{{ ['kubelet'] | runnerfleet.baremetal.artifacts(fleet_mirror | default({})) }}"
    destinations:
      kubelet: {path: /usr/local/bin/kubelet}

- name: Install the CNI plugins
  runnerfleet.baremetal.host_artifacts:
    artifacts: "{{ ['cni_plugins'] | runnerfleet.baremetal.artifacts({}) }}"
    destinations:
      cni_plugins: {path: /opt/cni/bin, unpack: true, members: [bridge, loopback, host-local]}
"""

RETURN = r"""
installed:
  description: What was, or in check mode would be, installed, with the reason.
  returned: always
  type: list
  elements: dict
  sample: [{name: kubelet, version: 1.36.3, path: /usr/local/bin/kubelet, reason: not installed}]
"""

import fcntl
import hashlib
import io
import json
import os
import platform
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._artifacts import Wanted, difference, select, wanted

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
    return {"sha256": file_sha256(path), "size": found.st_size, "mtime_ns": found.st_mtime_ns, "mode": found.st_mode & 0o7777}


def look(path: str, recorded: Mapping[str, Any]) -> str:
    """What became of an installed file; the content is only read where size or time differ."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return "is missing"
    if found.st_mode & 0o7777 != recorded["mode"]:
        return "has another mode"
    if (found.st_size, found.st_mtime_ns) != (recorded["size"], recorded["mtime_ns"]) and file_sha256(path) != recorded["sha256"]:
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
    with tempfile.NamedTemporaryFile("w", dir=os.path.dirname(path), prefix=PREFIX, delete=False, encoding="utf-8") as text:
        json.dump(state, text, indent=1, sort_keys=True)
    os.rename(text.name, path)


def adopt(want: Wanted) -> dict[str, Any] | None:
    """The record of a file that is in place without a record, as after a lost state file."""
    if want.unpack or not os.path.isfile(want.path) or file_sha256(want.path) != want.sha256:
        return None
    return {**header(want), "files": {want.path: {**describe(want.path), "mode": want.mode}}}


def header(want: Wanted) -> dict[str, Any]:
    """The part of a record that does not depend on the installed files."""
    return {"name": want.name, "version": want.version, "sha256": want.sha256, "members": list(want.members), "mode": want.mode}


def download(want: Wanted, timeout: int) -> str:
    """Fetch beside the target and check the sum; returns the path of the checked file."""
    total = hashlib.sha256()
    handle, part = tempfile.mkstemp(dir=want.directory, prefix=PREFIX)
    try:
        with os.fdopen(handle, "wb") as target, open_url(want.url, timeout=timeout, http_agent="runnerfleet.baremetal") as answer:
            for block in iter(lambda: answer.read(1 << 20), b""):
                total.update(block)
                target.write(block)
            target.flush()
            os.fsync(target.fileno())
    except Exception as error:
        os.unlink(part)
        raise ArtifactError(
            f"{want.name} {want.version}: cannot download {want.url}: {error}. Check that this host reaches it (fleet_mirror.url)"
        ) from error
    if total.hexdigest() != want.sha256:
        os.unlink(part)
        raise ArtifactError(
            f"{want.name} {want.version}: {want.url} has the wrong content: expected sha256 {want.sha256}, found {total.hexdigest()}. "
            f"Nothing was installed. Repair the file on the mirror, or, where the mirror repackages it on purpose, "
            f"set fleet_mirror.checksums['{want.upstream}']"
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
            if name.startswith(PREFIX):  # left behind by a run that was killed; the lock says that no other one is alive
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


def run(module: AnsibleModule) -> dict[str, Any]:
    """Compare, and install what differs."""
    wants = wanted(module.params["artifacts"], module.params["destinations"], platform.machine())
    state_file = module.params["state_file"]
    with ExitStack() as locked:
        if not module.check_mode:
            os.makedirs(os.path.dirname(state_file), exist_ok=True)
            fcntl.flock(locked.enter_context(open(f"{state_file}.lock", "w", encoding="utf-8")), fcntl.LOCK_EX)
        state = read_state(state_file)
        reasons = {}
        for want in wants:
            reasons[want.name] = difference(want, state.get(want.name), look)
            found = adopt(want) if reasons[want.name] else None
            if found:
                state[want.name], reasons[want.name] = found, difference(want, found, look)
        pending = [want for want in wants if reasons[want.name]]
        if not module.check_mode:
            install(pending, state, state_file, module.params["timeout"])
            write_state(state_file, state)
    return {
        "changed": bool(pending),
        "installed": [{"name": want.name, "version": want.version, "path": want.path, "reason": reasons[want.name]} for want in pending],
        "diff": {
            "before": "".join(f"{want.path}: {want.name} {reasons[want.name] or want.version}\n" for want in wants),
            "after": "".join(f"{want.path}: {want.name} {want.version}\n" for want in wants),
        },
    }


def main() -> None:
    """Entry point."""
    artifact = {
        "name": {"type": "str", "required": True},
        "version": {"type": "str", "required": True},
        "sources": {"type": "dict", "required": True},
    }
    module = AnsibleModule(
        argument_spec={
            "artifacts": {"type": "list", "elements": "dict", "required": True, "options": artifact},
            "destinations": {"type": "dict", "required": True},
            "state_file": {"type": "path", "default": "/var/lib/runnerfleet/artifacts.json"},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module))
    except (ArtifactError, ValueError, OSError, tarfile.TarError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
