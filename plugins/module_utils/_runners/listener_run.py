# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gives listeners of scale sets the credential that their set has now. Private to the collection."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.client import GONE, NOT_FOUND, SCALE_SETS
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners.api import RunnerCluster
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners.plan_listeners import (
    Listener,
    config_of,
    is_outdated,
    missing,
    pod_of_listener,
    waits_for,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners.status import (
    credential_of,
    listens_for,
    name_of,
)

POLL = 2


class ListenerError(Exception):
    """Which listeners do not listen."""


def renew(cluster: RunnerCluster, timeout: float, done: list[str], dry: bool = False) -> None:
    """Make listeners anew that have another credential, and wait until each listens. No runner is touched: that of a
    set with jobs goes on, and jobs that come meanwhile wait in GitHub's queue. `done` gets the names of the sets.
    """
    begun: set[str] = set()
    deadline = time.monotonic() + timeout
    while True:
        listeners = look(cluster)
        for one in listeners:
            if is_outdated(one) and one.uid not in begun:
                begun.add(one.uid)
                done += [] if one.scale_set in done else [one.scale_set]
                if not dry:
                    _replace(cluster, one)
        if dry or not done:
            return
        now = datetime.now(timezone.utc)
        waited = {one.scale_set: waits_for(one, now) for one in listeners if one.scale_set in done}
        waited.update(dict.fromkeys(missing(done, listeners), "it has no pod"))
        if not any(waited.values()):
            return
        if time.monotonic() >= deadline:
            told = "; ".join(f"{name}: {reason}" for name, reason in waited.items() if reason)
            raise ListenerError(
                f"listeners with their new credential do not listen after {timeout:.0f} seconds: {told}"
            )
        time.sleep(POLL)


def look(cluster: RunnerCluster) -> list[Listener]:
    """The listeners that have a pod."""

    def own(kind: str, namespace: str) -> list[dict[str, Any]]:
        return cluster.items(f"{SCALE_SETS}/namespaces/{namespace}/{kind}", passed=(NOT_FOUND,))

    sets = {name_of(item): item for item in own("autoscalingrunnersets", cluster.namespace)}
    pods = cluster.items(f"/api/v1/namespaces/{cluster.controller_namespace}/pods")
    found = []
    for item in own("autoscalinglisteners", cluster.controller_namespace):
        pod, scale_set = pod_of_listener(item, pods), sets.get(listens_for(item))
        if pod and scale_set:
            secret, config = credential_of(scale_set.get("spec") or {}), config_of(pod)
            written = cluster.secret(cluster.controller_namespace, config) if config else {}
            credential = cluster.secret(cluster.namespace, secret) if secret else {}
            found.append(Listener(name_of(scale_set), pod, config, written, credential))
    return found


def _replace(cluster: RunnerCluster, listener: Listener) -> None:
    """First what the controller wrote, then the pod: it writes the one anew only when it makes the other."""
    api = f"/api/v1/namespaces/{cluster.controller_namespace}"
    if listener.config:
        cluster.delete(f"{api}/secrets/{listener.config}", passed=GONE)
    cluster.delete(f"{api}/pods/{name_of(listener.pod)}", {"preconditions": {"uid": listener.uid}}, passed=GONE)
