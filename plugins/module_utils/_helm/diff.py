# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a release would change, as text: objects before and after, without secrets. Pure; private to the collection."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

try:
    import yaml
except ImportError:  # the module says so
    yaml = None  # type: ignore[assignment]

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._addresses import hidden
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._secret_names import is_secret_name

MAX_CHARS = 60000
BEFORE, AFTER = "*** (before)", "*** (after)"


def manifest_diff(before: str, after: str) -> dict[str, str]:
    """The objects that differ, on both sides; two empty texts where none does."""
    old, new = _objects(before), _objects(after)
    sides: dict[str, list[str]] = {"before": [], "after": []}
    for name in sorted({*old, *new}):
        if old.get(name) == new.get(name):
            continue
        shown = _masked(old.get(name), new.get(name))
        for side, item in zip(("before", "after"), shown):
            if item is not None:
                sides[side].append(f"# {name}\n{yaml.safe_dump(item, sort_keys=True, default_flow_style=False)}")
    return {side: _bounded(hidden("\n".join(texts))) for side, texts in sides.items()}


def _objects(manifest: str) -> dict[str, Any]:
    """The objects of a manifest by what they are called. Definitions of kinds are shortened: they are thousands of
    lines.
    """
    found = {}
    for item in yaml.safe_load_all(manifest):
        if not isinstance(item, Mapping) or not item.get("kind"):
            continue
        meta = item.get("metadata") or {}
        name = f"{item['kind']} {meta['namespace'] + '/' if meta.get('namespace') else ''}{meta.get('name', '?')}"
        found[name] = _short(item) if item["kind"] == "CustomResourceDefinition" else item
    return found


def _short(item: Mapping[str, Any]) -> dict[str, Any]:
    digest = hashlib.sha256(json.dumps(item.get("spec"), sort_keys=True, default=str).encode()).hexdigest()
    return {**item, "spec": f"sha256:{digest}"}


def _masked(old: Any, new: Any) -> tuple[Any, Any]:
    """Both sides without what a Secret holds and what names of environment variables call a secret; whether it differs
    stays visible.
    """
    kinds = {item.get("kind") for item in (old, new) if item}
    if kinds == {"Secret"}:
        return _mask_data(old, new, BEFORE), _mask_data(new, old, AFTER)
    return _mask_env(old, BEFORE), _mask_env(new, AFTER)


def _mask_data(item: Any, other: Any, mark: str) -> Any:
    if item is None:
        return None
    masked = dict(item)
    for part in ("data", "stringData"):
        if isinstance(item.get(part), Mapping):
            others = (other or {}).get(part) or {}
            masked[part] = {key: "***" if others.get(key) == value else mark for key, value in item[part].items()}
    return masked


def _mask_env(item: Any, mark: str) -> Any:
    if isinstance(item, Mapping):
        if isinstance(item.get("value"), str) and item["value"] and is_secret_name(str(item.get("name") or "")):
            return {**item, "value": mark}
        return {key: _mask_env(value, mark) for key, value in item.items()}
    return [_mask_env(value, mark) for value in item] if isinstance(item, list) else item


def _bounded(text: str) -> str:
    if len(text) <= MAX_CHARS:
        return text
    kept = text[:MAX_CHARS].rpartition("\n")[0]
    return f"{kept}\n# and {len(text.splitlines()) - len(kept.splitlines())} more lines\n"
