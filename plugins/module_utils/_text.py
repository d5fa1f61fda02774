# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Text that came from elsewhere, before a person reads it: nothing in it may steer a terminal. No I/O. Private to the
collection.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._addresses import hidden

MAX_LINE = 400


def printable(text: str) -> str:
    """The text without control characters; those that part words become blanks, and a line's end stays one."""
    return "".join(
        char if char.isprintable() or char == "\n" else " " if char.isspace() or char < " " else "" for char in text
    )


def clean(text: Any, limit: int = MAX_LINE) -> str:
    """One plain line of at most so many characters, without a password in an address."""
    plain = hidden(" ".join(printable(str(text)[: 10 * limit]).split()))
    return plain if len(plain) <= limit else plain[: limit - 3].rstrip() + "..."
