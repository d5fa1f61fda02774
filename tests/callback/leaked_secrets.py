# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Searches what callbacks get, AWX's among them, for secrets. It is part of the tests and not of the collection."""

from __future__ import annotations

DOCUMENTATION = r"""
name: leaked_secrets
type: aggregate
short_description: Searches every result, item, diff, error and argument of a run for secrets
description:
  - A secret is known by its shape, since most of them come to be during the run. What a scenario plants is
    C(leak-canary-) and its name.
  - At the end of a playbook one line of JSON is appended to a file, with the playbook's name, how many events were
    searched, and what was found where. A secret is told by what it is, never by its value.
options:
  path:
    description: The file to append to. Without it nothing is searched.
    type: path
    env:
      - name: LEAKED_SECRETS_FILE
requirements:
  - enable in configuration
author:
  - runnerfleet contributors (@runnerfleet)
"""

import base64
import binascii
import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

_START, _END = r"(?<![A-Za-z0-9_.-])", r"(?![A-Za-z0-9_.-])"
SHAPES = {
    "token of GitHub": re.compile(r"(?<![A-Za-z0-9])(?:gh[oprsu]_[A-Za-z0-9]{36}|github_pat_\w{22,})"),
    # As GitHub hands them out, and as the lab's stand-in does.
    "registration token": re.compile(rf"{_START}A(?:[0-9a-f]{{36}}|[A-Z0-9]{{28}}){_END}"),
    # Sixteen letters without a digit are a word, and the key of a label may be one.
    "bootstrap token": re.compile(rf"{_START}[a-z0-9]{{6}}\.(?=[a-z]*[0-9])(?=[0-9]*[a-z])[a-z0-9]{{16}}{_END}"),
    "private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "token of a service account": re.compile(r"eyJ[A-Za-z0-9_-]{16,}\.eyJ[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"),
    "password in an address": re.compile(r"[a-z][a-z0-9+.-]*://[^\s/?#@:\"'<>*]+:[^\s/?#@\"'<>*]+@[\w\[.-]"),
}
_CANARY = re.compile(r"leak-canary-([a-z]+(?:-[a-z]+)*)")
_BASE64 = re.compile(r"[A-Za-z0-9+/]{20,}={0,2}")
# A file that was read from a host is base64, a kubeconfig in it holds a key in base64, and what helm keeps is that of
# gzip in base64.
_DEPTH = 4


def secrets_in(text: str, depth: int = _DEPTH) -> set[str]:
    """What secrets a text has, as it is or in base64."""
    found = {name for name, shape in SHAPES.items() if shape.search(text)}
    found |= {f"canary {name}" for name in _CANARY.findall(text)}
    for encoded in _BASE64.findall(text) if depth else ():
        found |= secrets_in(_decoded(encoded), depth - 1)
    return found


def _decoded(encoded: str) -> str:
    """The text behind base64, with or without gzip; empty where it is none, such as a checksum."""
    bare = encoded.rstrip("=")
    try:
        # What is cut off at its end is as readable as the rest.
        data = base64.b64decode(bare[: len(bare) // 4 * 4] if len(bare) % 4 == 1 else bare + "=" * (-len(bare) % 4))
        return (gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data).decode("ascii")
    except (binascii.Error, UnicodeDecodeError, zlib.error, OSError, EOFError):
        return ""


def texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a value, keys too, and where it is. A key is told of by the mapping that has it."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield path, str(key)
            yield from texts(item, path if secrets_in(str(key)) else f"{path}.{key}")
    elif isinstance(value, (list, tuple, set)):
        for index, item in enumerate(value):
            yield from texts(item, f"{path}[{index}]")
    elif isinstance(value, bytes):
        yield path, value.decode(errors="replace")
    elif value is not None:
        yield path, str(value)


class CallbackModule(CallbackBase):
    """Searches; nothing is printed."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "leaked_secrets"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        """Nothing was searched yet."""
        super().__init__()
        self._playbook = ""
        self._searched = 0
        self._leaks: dict[str, dict[str, str]] = {}

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Remember the name."""
        self._playbook = Path(playbook._file_name).name

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """AWX keeps a task's name and arguments, unless it is said to log nothing."""
        self._search("", task.get_name(), "name", task.get_name())
        if not task.no_log:
            self._search("", task.get_name(), "arguments", task.args)

    v2_playbook_on_handler_task_start = v2_playbook_on_cleanup_task_start = v2_playbook_on_task_start

    def v2_runner_on_ok(self, result: Any, *_more: Any, **_named: Any) -> None:
        """A result as every callback gets it: without what the task or an argument says not to log."""
        self._search(result.host.get_name(), result.task.get_name(), "result", result.result)

    v2_runner_on_failed = v2_runner_on_skipped = v2_runner_on_unreachable = v2_runner_retry = v2_runner_on_ok
    v2_runner_item_on_ok = v2_runner_item_on_failed = v2_runner_item_on_skipped = v2_runner_on_ok
    v2_runner_on_async_ok = v2_runner_on_async_failed = v2_runner_on_async_poll = v2_on_file_diff = v2_runner_on_ok

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Write the line."""
        self._search("", "set_stats", "stats", getattr(stats, "custom", {}))
        path = self.get_option("path")
        if path:
            line = {"playbook": self._playbook, "searched": self._searched, "leaks": list(self._leaks.values())}
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def _search(self, host: str, task: str, start: str, value: Any) -> None:
        if not self.get_option("path"):
            return
        self._searched += 1
        for where, text in texts(value, start):
            for secret in sorted(secrets_in(text)):
                leak = {
                    "playbook": self._playbook,
                    "task": _shown(task),
                    "host": host,
                    "secret": secret,
                    "where": where,
                }
                self._leaks.setdefault(f"{host} {task} {secret}", leak)


def _shown(name: str) -> str:
    return "(its name has it)" if secrets_in(name) else name
