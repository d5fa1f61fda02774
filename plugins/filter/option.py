# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import yaml
from ansible.errors import AnsibleFilterError
from ansible.module_utils.parsing.convert_bool import BOOLEANS_FALSE, BOOLEANS_TRUE

EXPECTED = {bool: "true or false", int: "a whole number", list: "a list", dict: "a mapping", str: "a text"}


def option(value: Any, name: str, default: Any, choices: Sequence[Any] = ()) -> Any:
    """An option of a playbook by the type of its default, however it arrived: surveys and `-e name=value` know texts
    only.

    Nothing and an empty text mean the default. Lists and mappings may come as a YAML or JSON text, a list as lines as
    well.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return default
    kind = next(kind for kind in CONVERSIONS if isinstance(default, kind))
    try:
        found = CONVERSIONS[kind](value)
    except (ValueError, TypeError, yaml.YAMLError):
        found = None
    if not isinstance(found, kind) or (choices and found not in choices):
        expected = f"one of {', '.join(map(str, choices))}" if choices else EXPECTED[kind]
        raise AnsibleFilterError(
            f"{name}: found {str(value)[:100]!r}, expected {expected}. Leave it out for {default!r}"
        )
    return found


def _boolean(value: Any) -> bool:
    word = value.strip().lower() if isinstance(value, str) else value
    if word not in BOOLEANS_TRUE | BOOLEANS_FALSE:
        raise ValueError
    return word in BOOLEANS_TRUE


def _whole(value: Any) -> int:
    if isinstance(value, bool):
        raise ValueError
    return int(str(value).strip())


def _list(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    found = yaml.safe_load(value)
    return found if isinstance(found, list) else [line.strip() for line in value.splitlines() if line.strip()]


def _mapping(value: Any) -> Any:
    return yaml.safe_load(value) if isinstance(value, str) else value


CONVERSIONS: dict[type, Callable[[Any], Any]] = {bool: _boolean, int: _whole, list: _list, dict: _mapping, str: str}


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"option": option}
