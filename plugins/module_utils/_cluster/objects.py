# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One look at the objects that say why a cluster is not ready. Reads only; private to the collection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.client import (
    NOT_FOUND,
    Cluster,
    reason,
    status,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.problems import Objects, problems
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._text import clean

# What is read of each namespace: part of Objects, path below the API, kind.
_KINDS = (
    ("pods", "/api/v1", "pods", "Pod"),
    ("events", "/api/v1", "events", "Event"),
    ("claims", "/api/v1", "persistentvolumeclaims", "PersistentVolumeClaim"),
    ("workloads", "/apis/apps/v1", "replicasets", "ReplicaSet"),
    ("workloads", "/apis/apps/v1", "statefulsets", "StatefulSet"),
    ("workloads", "/apis/apps/v1", "daemonsets", "DaemonSet"),
    ("workloads", "/apis/batch/v1", "jobs", "Job"),
)
_WEBHOOKS = "/apis/admissionregistration.k8s.io/v1"


class ClusterReader:
    """Reads lists of a cluster. `api` is the client library's ApiClient. What cannot be read is remembered and does not
    end the look.
    """

    def __init__(self, api: Any) -> None:
        self.cluster = Cluster(api)
        self.unread: list[str] = []

    def objects(self, namespaces: Sequence[str]) -> Objects:
        """All that `problems` judges, of these namespaces, and the nodes with their events."""
        found: dict[str, list[dict[str, Any]]] = {"pods": [], "events": [], "claims": [], "workloads": []}
        for namespace in dict.fromkeys(namespaces):
            for part, group, name, kind in _KINDS:
                query = {"fieldSelector": "type!=Normal"} if part == "events" else {}
                found[part] += self.items(f"{group}/namespaces/{namespace}/{name}", kind, **query)
        if "default" not in namespaces:
            found["events"] += self.items(
                "/api/v1/namespaces/default/events", "Event", fieldSelector="type!=Normal,involvedObject.kind=Node"
            )
        webhooks = [
            item
            for name, kind in (
                ("validatingwebhookconfigurations", "ValidatingWebhookConfiguration"),
                ("mutatingwebhookconfigurations", "MutatingWebhookConfiguration"),
            )
            for item in self.items(f"{_WEBHOOKS}/{name}", kind)
        ]
        before = len(self.unread)
        slices = self.items("/apis/discovery.k8s.io/v1/endpointslices", "EndpointSlice") if webhooks else []
        return Objects(
            nodes=self.nodes(),
            webhooks=webhooks,
            endpoint_slices=slices if len(self.unread) == before else None,
            unread=tuple(self.unread),
            **found,
        )

    def nodes(self, selector: str = "") -> list[dict[str, Any]]:
        """The nodes with these labels."""
        return self.items("/api/v1/nodes", "Node", **({"labelSelector": selector} if selector else {}))

    def items(self, path: str, kind: str, **query: str) -> list[dict[str, Any]]:
        """A list, with the kind that the API leaves out of its items; empty where it cannot be read."""
        try:
            listed = self.cluster.items(path, query)
        except Exception as error:  # whatever its transport throws: the rest of the look is worth having
            if status(error) != NOT_FOUND:
                self.unread.append(f"could not read {path}: {clean(reason(error), 200)}")
            return []
        return [{**item, "kind": kind} for item in listed]


def explain(api: Any, namespaces: Sequence[str]) -> str:
    """What keeps these namespaces from being ready, as the end of an error's text. Never raises."""
    lines = problems(ClusterReader(api).objects(namespaces))
    return (
        "\n".join(["What the cluster says:", *lines])
        if lines
        else "The cluster shows no pod that is not ready and no warning."
    )
