# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Credentials inside addresses (http://user:password@host): found, and never shown. No I/O. Private to the
collection.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

MASK = "***"
_HOST = r"(?=[\w\[.-])"
_CREDENTIAL = (
    # As RFC 3986 reads it: up to the last @ before the path.
    re.compile(rf"(?P<before>\b[a-z][a-z0-9+.-]*://)[^\s/?#\"'<>]*@{_HOST}", re.IGNORECASE),
    # A password with a slash that nobody encoded; what is behind the colon of a host is a port.
    re.compile(
        rf"(?P<before>\b[a-z][a-z0-9+.-]*://)[^\s/?#@:\"'<>]*:(?!\d{{1,5}}(?:[/?#]|$))[^\s@\"'<>]*@{_HOST}",
        re.IGNORECASE,
    ),
    # A registry or a proxy without a scheme. What stands before the digest of an image is its tag.
    re.compile(
        rf"(?P<before>^|[\s\"'=(\[,])[^\s/?#@:\"'<>=(\[,]+:(?!//)[^\s/@\"'<>]+@(?!sha\d+:){_HOST}", re.IGNORECASE
    ),
)


def hidden(text: str) -> str:
    """The text with `***` in the place of every user name and password inside an address."""
    if "@" not in text:
        return text
    for credential in _CREDENTIAL:
        text = credential.sub(rf"\g<before>{MASK}@", text)
    return text


def masked(value: Any) -> Any:
    """The same value with every address in it as `hidden` shows it. A module gives its arguments back, and callbacks
    keep them.
    """
    if isinstance(value, Mapping):
        return {hidden(key) if isinstance(key, str) else key: masked(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked(item) for item in value]
    return hidden(value) if isinstance(value, str) else value


def has_credential(text: str) -> bool:
    """Whether an address in it carries a user name or a password."""
    return "@" in text and any(
        match.group() != f"{match['before']}{MASK}@"
        for credential in _CREDENTIAL
        for match in credential.finditer(text)
    )


def credentials_in(path: str, value: Any) -> Iterator[str]:
    """Where in a value an address carries a credential."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from credentials_in(f"{path}.{hidden(str(key))}", item)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from credentials_in(f"{path}[{index}]", item)
    elif isinstance(value, str) and has_credential(value):
        yield path
