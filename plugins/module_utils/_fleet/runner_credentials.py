# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which Secret each scale set proves itself to GitHub with, and what is in those that are ours. No I/O. Private to the
collection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

COMMON = "runners-github"  # the Secret of entries without a credential of their own
# The ways to prove oneself, by the keys that they take.
FORMS = (("secret",), ("token",), ("app_id", "installation_id", "private_key"))
FORMS_TOLD = "one of " + ", ".join("{" + ", ".join(form) + "}" for form in FORMS)
KEYS = {
    "token": "github_token",
    "app_id": "github_app_id",
    "installation_id": "github_app_installation_id",
    "private_key": "github_app_private_key",
}


@dataclass(frozen=True)
class Secrets:
    """`names`: the Secret of each entry. `data`: what is in each of those that are made, as text."""

    names: Mapping[str, str]
    data: Mapping[str, Mapping[str, str]] = field(repr=False)


def secrets(entries: Sequence[Mapping[str, Any]], common: Mapping[str, Any]) -> Secrets:
    """The Secrets of these entries of runner_pools_pools. `common`: the credential of entries that state none, in the
    forms of runner_controller_github_auth. One that names a Secret is that Secret, which somebody else keeps.
    """
    names: dict[str, str] = {}
    data: dict[str, dict[str, str]] = {}
    for entry in entries:
        name, own = str(entry["name"]), stated(entry.get("credential"))
        auth = own or stated(common)
        names[name] = str(auth.get("secret") or (f"{name}-github" if own else COMMON))
        if "secret" not in auth:
            data[names[name]] = {KEYS[key]: text(key, value) for key, value in auth.items() if key in KEYS}
    return Secrets(names, data)


def stated(auth: Any) -> dict[str, Any]:
    """What a credential states, without what is empty."""
    given = auth.items() if isinstance(auth, Mapping) else ()
    return {key: value for key, value in given if value not in (None, "")}


def text(key: str, value: Any) -> str:
    """A value as the controller reads it: a key's lines end as PEM's do, wherever the key was copied."""
    lines = str(value).strip().splitlines() if key == "private_key" else [str(value).strip()]
    return "\n".join(line.rstrip() for line in lines) + ("\n" if key == "private_key" else "")
