# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sha256 that upstream publishes beside a release file, for versions whose sum the collection does not pin. Private
to the collection.

It comes from the same place as the file, so it shows that the file arrived whole, and TLS shows from whom; a pinned sum
shows more: that the file is still the one of the day on which it was pinned.
"""

from __future__ import annotations

import posixpath
import re

from ansible.module_utils.urls import open_url

LARGEST = 1 << 20
_LINE = re.compile(r"(?P<sum>[0-9a-fA-F]{64})(?:\s+\*?(?P<file>\S.*?))?\s*")


class SumError(ValueError):
    """No published sum can be had."""


def find(text: str, file: str) -> str:
    """The sum of a file in what upstream publishes: a bare sum, or the lines that sha256sum writes."""
    found = [match for match in map(_LINE.fullmatch, text.strip().splitlines()) if match]
    named = {match["sum"].lower() for match in found if match["file"] and posixpath.basename(match["file"]) == file}
    bare = {match["sum"].lower() for match in found if not match["file"]}
    sums = named or (bare if len(text.split()) == 1 else set())
    if len(sums) != 1:
        raise SumError(f"it names {'no sum' if not sums else 'several sums'} for {file}")
    return sums.pop()


def fetch(address: str, file: str, timeout: int) -> str:
    """The published sum of a file, only over TLS: who can change a file on its way can change a sum as well."""
    try:
        if not address.startswith("https://"):
            raise SumError("it is not https")
        with open_url(address, timeout=timeout, http_agent="runnerfleet.baremetal") as answer:
            if not answer.geturl().startswith("https://"):
                raise SumError(f"it leads to {answer.geturl()}, which is not https")
            content = answer.read(LARGEST)
        return find(content.decode("utf-8", "replace"), file)
    except Exception as error:
        raise SumError(
            f"the sha256 that is published at {address} cannot be used: {error}. Set the sum of {file} in "
            "fleet_mirror.checksums, ask for a version that is pinned, or let this host reach the address"
        ) from error
