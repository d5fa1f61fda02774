# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keys by which an API server encrypts Secrets at rest: its EncryptionConfiguration, as dicts. Private to the
collection.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

Key = Mapping[str, str]
RESOURCES = ["secrets"]


def new_key(now: datetime) -> dict[str, str]:
    """A key of 32 bytes, named by its time."""
    return {"name": now.strftime("%Y%m%dT%H%M%SZ"), "secret": base64.b64encode(secrets.token_bytes(32)).decode()}


def document(keys: Sequence[Key]) -> dict[str, Any]:
    """The first key encrypts; with the others is read what they have encrypted, and what nobody has encrypted yet is
    read as it is.
    """
    providers: list[dict[str, Any]] = [{"secretbox": {"keys": [dict(key) for key in keys]}}, {"identity": {}}]
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{"resources": RESOURCES, "providers": providers}],
    }


def keys_of(text: str) -> list[dict[str, str]]:
    """The keys of a file of ours; empty where there is none. ValueError, which never quotes it, where it is none of
    ours.
    """
    if not text.strip():
        return []
    try:
        (entry,) = json.loads(text)["resources"]
        keys = [
            {"name": str(key["name"]), "secret": str(key["secret"])}
            for key in entry["providers"][0]["secretbox"]["keys"]
        ]
        good = keys and all(len(base64.b64decode(key["secret"], validate=True)) == 32 for key in keys)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        good = False
    if not good:
        raise ValueError("found no EncryptionConfiguration of ours with keys of 32 bytes")
    return keys
