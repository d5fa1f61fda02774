# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fetches the archive of a chart, from upstream or from a mirror. Private to the collection."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.urls import open_url
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._helm import charts
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._mirror import is_plain, mirrored

TIMEOUT = 60


@dataclass(frozen=True)
class Helm:
    """The helm program, which speaks to registries, and how to run a command: its exit code, what it printed, and its
    errors.
    """

    program: str
    run: Callable[[list[str]], tuple[int, str, str]]


def fetch(
    chart: str, version: str, mirror: Mapping[str, Any], directory: str, helm: Helm, timeout: int = TIMEOUT
) -> tuple[bytes, str]:
    """The archive, and where it was. `directory`: where helm may write meanwhile. OSError or ValueError say why there
    is none.
    """
    if "://" not in chart:
        return Path(chart).read_bytes(), chart
    source = mirrored(chart, mirror)
    if not source.startswith("oci://"):
        with open_url(source, timeout=timeout, http_agent="runnerfleet.baremetal") as answer:
            if source.startswith("https://") and not answer.geturl().startswith("https://"):
                raise ValueError(f"{source} leads to {answer.geturl()}, which is not https")
            content: bytes = answer.read(charts.LARGEST + 1)
        if len(content) > charts.LARGEST:
            raise ValueError(f"it is larger than {charts.LARGEST} bytes")
        return content, source
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        tagged = charts.tag(source, version)
        command = [helm.program, "pull", source, "--version", tagged, "--destination", scratch]
        code, _out, err = helm.run(command + (["--plain-http"] if is_plain(chart, mirror) else []))
        found = sorted(Path(scratch).glob("*.tgz"))
        if code or len(found) != 1:
            raise ValueError(f"helm pull ended with {code}: {err.strip()[-1500:]}")
        return found[0].read_bytes(), f"{source} {tagged}"
