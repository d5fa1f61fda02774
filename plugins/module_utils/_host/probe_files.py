# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads files of a host. Never writes. Private to the collection."""

from __future__ import annotations


def read(path: str) -> str | None:
    """Content of a text file, None when there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as text:
            return text.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
