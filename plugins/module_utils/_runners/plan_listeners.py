# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which listeners of scale sets work with another credential than their set has now. Pure; private to the
collection.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.runner_credentials import KEYS
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._github.requests import moment
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners.status import Object, name_of, status_of

STEADY = 10  # seconds that a listener has run: one that GitHub refuses ends at once


@dataclass(frozen=True)
class Listener:
    """A listener's pod, the Secret that the controller wrote for it, and what is in that and in the set's own."""

    scale_set: str
    pod: Object
    config: str
    written: Mapping[str, str] = field(repr=False)
    credential: Mapping[str, str] = field(repr=False)

    @property
    def uid(self) -> str:
        """Of the pod."""
        return str(self.pod["metadata"].get("uid", ""))


def config_of(pod: Object) -> str:
    """The Secret that a listener's pod mounts; empty where it has none."""
    volumes = (pod.get("spec") or {}).get("volumes") or []
    return next((str(one["secret"]["secretName"]) for one in volumes if one.get("secret")), "")


def is_outdated(listener: Listener) -> bool:
    """Whether the listener was made with another credential. Its Secret is written once, and never again: releases of
    the controller name its keys differently, so that values are compared.
    """
    if not listener.credential:
        return False
    known = {text.strip() for document in listener.written.values() for text in _texts(document)}
    return any(listener.credential[key].strip() not in known for key in KEYS.values() if listener.credential.get(key))


def waits_for(listener: Listener, now: datetime) -> str:
    """Why a listener is not yet one that listens; empty where it is."""
    if is_outdated(listener):
        return "it has the credential of before"
    states = [one.get("state") or {} for one in status_of(listener.pod).get("containerStatuses") or []]
    running = [state["running"].get("startedAt") for state in states if state.get("running")]
    if listener.pod["metadata"].get("deletionTimestamp") or not running or len(running) < len(states):
        reasons = [str(part.get("reason", "")) for state in states for part in state.values() if isinstance(part, dict)]
        return f"its pod is not running{': ' * any(reasons)}{', '.join(filter(None, reasons))}"
    if any((now - moment(start)).total_seconds() < STEADY for start in running):
        return f"its pod has not run for {STEADY} seconds"
    return ""


def missing(names: Iterable[str], listeners: Sequence[Listener]) -> list[str]:
    """Sets that have no listener's pod."""
    return sorted(set(names) - {one.scale_set for one in listeners})


def pod_of_listener(listener: Object, pods: Sequence[Object]) -> Object | None:
    """A listener's pod has its name."""
    return next((pod for pod in pods if name_of(pod) == name_of(listener)), None)


def _texts(document: str) -> Iterator[str]:
    try:
        content: Any = json.loads(document)
    except ValueError:
        content = document
    yield from map(str, content.values() if isinstance(content, dict) else [content])
