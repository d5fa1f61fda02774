# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes files of a host, and keeps account of what a run changes. Private to the collection."""

from __future__ import annotations

import glob
import os
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host.plan_settings import HEADER
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host.probe_files import read


class HostError(Exception):
    """The host cannot be brought into the wanted state."""


class HostFiles:
    """Files of the host, and what this run changes on it."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.real = not module.check_mode
        self.changes: list[str] = []
        self.diffs: list[dict[str, str]] = []
        self.touched: set[str] = set()

    def note(self, what: str, before: str, after: str) -> None:
        """Report one change."""
        self.changes.append(what)
        self.diffs.append({"before_header": what, "after_header": what, "before": before, "after": after})

    def command(self, *argv: str) -> str:
        """Run a command that must succeed."""
        code, out, err = self.module.run_command(list(argv))
        if code:
            raise HostError(f"{' '.join(argv)} failed with {code}: {(err or out).strip()}")
        return out

    def mode(self, path: str, mode: str) -> None:
        """Set the mode of what exists."""
        if os.path.exists(path):
            found, wanted = os.stat(path).st_mode & 0o7777, int(mode, 8)
            if found != wanted:
                self.note(f"mode of {path}", f"{found:04o}\n", f"{wanted:04o}\n")
                if self.real:
                    os.chmod(path, wanted)

    def directory(self, path: str, mode: str) -> None:
        """A directory that must exist."""
        if os.path.isdir(path):
            self.mode(path, mode)
            return
        self.note(path, "absent\n", "directory\n")
        if self.real:
            os.makedirs(path)
            os.chmod(path, int(mode, 8))

    def file(self, path: str, content: str, mode: str = "0644", secret: bool = False) -> None:
        """A file with its whole content, replaced by one rename."""
        found = read(path)
        if found == content:
            self.mode(path, mode)
            return
        self.note(path, "(hidden)\n" if secret and found else found or "", "(hidden, changed)\n" if secret else content)
        self.touched.add(path)
        if self.real:
            directory = os.path.dirname(path)
            os.makedirs(directory, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                "w", dir=directory, prefix=".runnerfleet-", delete=False, encoding="utf-8"
            ) as text:
                text.write(content)
                os.fchmod(text.fileno(), int(mode, 8))
                text.flush()
                os.fsync(text.fileno())
            os.rename(text.name, path)

    def prune(self, patterns: list[str], kept: set[str]) -> None:
        """Remove what an earlier run wrote and this one no longer wants."""
        for path in sorted({path for pattern in patterns for path in glob.glob(pattern)} - kept):
            found = read(path) or ""
            if found.startswith(HEADER):
                self.note(path, found, "")
                self.touched.add(path)
                if self.real:
                    os.unlink(path)
