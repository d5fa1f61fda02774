# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which nodes' engines answer, and why the others' do not: from API objects to a verdict. Private to the collection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.conditions import (
    is_not_reporting,
    is_ready,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._names import (
    ENGINE_TAINT,
    POOL_LABEL,
    ROLLOUT_ANNOTATION,
)

VERSION_LABEL = "app.kubernetes.io/version"
INSTANCE_LABEL = "app.kubernetes.io/instance"  # the name of its DaemonSet
_GENERATION = "deprecated.daemonset.template.generation"
_GENERATION_LABEL = "pod-template-generation"


@dataclass(frozen=True)
class NodeVerdict:
    """What is known of one engine node."""

    name: str
    not_reporting: bool  # its kubelet stopped reporting: nothing on it can be waited for
    tainted: bool
    waiting: Mapping[str, str] = field(default_factory=dict)  # engine version -> why it does not answer
    pods: Mapping[str, str] = field(default_factory=dict)  # engine version -> pod that does not answer
    outdated: Sequence[str] = ()  # engine versions whose pod runs an older template
    rolling: bool = False  # in the middle of a roll-out, which lets runners in itself

    @property
    def ready(self) -> bool:
        """Every engine of the node answers."""
        return not self.not_reporting and not self.waiting

    @property
    def awaited(self) -> bool:
        """An engine does not answer, and no roll-out or dead kubelet explains it."""
        return bool(self.waiting) and not self.not_reporting and not self.rolling


def engine_verdicts(
    nodes: Iterable[Mapping[str, Any]],
    pods: Iterable[Mapping[str, Any]],
    daemonsets: Iterable[Mapping[str, Any]],
    versions: Mapping[str, Sequence[str]],
) -> list[NodeVerdict]:
    """One verdict a node, sorted by name. Objects are as the API returns them; `versions` are those of each pool."""
    generations = {
        item["metadata"]["name"]: (item["metadata"].get("annotations") or {}).get(_GENERATION, "")
        for item in daemonsets
    }
    by_place: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for pod in pods:
        place = ((pod.get("spec") or {}).get("nodeName") or "", _labels(pod).get(VERSION_LABEL, ""))
        by_place.setdefault(place, []).append(pod)
    verdicts = []
    for node in nodes:
        name = node["metadata"]["name"]
        waiting, stuck, outdated = {}, {}, []
        for version in versions.get(_labels(node).get(POOL_LABEL, ""), ()):
            found = by_place.get((name, version), [])
            reason = _first_reason(found)
            if reason is not None:
                waiting[version] = reason
                stuck[version] = found[0]["metadata"]["name"] if found else ""
            if any(_outdated(pod, generations) for pod in found):
                outdated.append(version)
        tainted = any(taint["key"] == ENGINE_TAINT for taint in _taints(node))
        rolling = ROLLOUT_ANNOTATION in (node["metadata"].get("annotations") or {})
        verdicts.append(NodeVerdict(name, is_not_reporting(node), tainted, waiting, stuck, tuple(outdated), rolling))
    return sorted(verdicts, key=lambda verdict: verdict.name)


def _outdated(pod: Mapping[str, Any], generations: Mapping[str, str]) -> bool:
    """Whether its DaemonSet has another template by now."""
    wanted = generations.get(_labels(pod).get(INSTANCE_LABEL, ""), "")
    return bool(wanted) and _labels(pod).get(_GENERATION_LABEL, wanted) != wanted


def without_taint(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The node's other taints."""
    return [taint for taint in _taints(node) if taint["key"] != ENGINE_TAINT]


def with_taint(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The node's taints, with the one that keeps new runners away."""
    taints = list(_taints(node))
    return (
        taints
        if any(taint["key"] == ENGINE_TAINT for taint in taints)
        else [*taints, {"key": ENGINE_TAINT, "effect": "NoSchedule"}]
    )


def complaint(verdicts: Sequence[NodeVerdict], last_lines: Mapping[str, str], timeout: int) -> str:
    """What to tell the user about the nodes whose engines did not answer in time."""
    lines = []
    for verdict in verdicts:
        for version, reason in verdict.waiting.items():
            pod = verdict.pods.get(version, "")
            said = last_lines.get(pod, "")
            lines.append(f"{verdict.name}: engine {version}: {reason}" + (f"; last log line: {said}" if said else ""))
    return (
        f"{len(verdicts)} engine nodes did not answer within {timeout} seconds. Their taint {ENGINE_TAINT} keeps new "
        "runners away:\n"
        + "\n".join(lines)
        + "\nExpected a Ready engine pod on each. Mend what the lines above name and run again; nothing needs to be "
        "undone."
    )


def stuck_container(pod: Mapping[str, Any]) -> str:
    """The container of a pod whose log says why it does not run."""
    status = pod.get("status") or {}
    for entry in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        terminated = (entry.get("state") or {}).get("terminated") or {}
        if not entry.get("ready") and terminated.get("exitCode") != 0:
            return str(entry["name"])
    return ""


def _first_reason(pods: Sequence[Mapping[str, Any]]) -> str | None:
    """None when a pod answers; otherwise why none does."""
    if not pods:
        return "it has no engine pod; does the node carry its pool label, and does the DaemonSet tolerate its taints?"
    reasons = [_reason(pod) for pod in pods]
    return None if None in reasons else reasons[0]


def _reason(pod: Mapping[str, Any]) -> str | None:
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp"):
        return f"pod {name} is stopping"
    if is_ready(pod):
        return None
    for entry in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        state = entry.get("state") or {}
        for kind in ("waiting", "terminated"):
            detail = state.get(kind)
            if detail and detail.get("reason") not in ("Completed", "PodInitializing"):
                return f"pod {name}: {detail.get('reason') or kind} {detail.get('message') or ''}".rstrip()
    return f"pod {name} is {status.get('phase') or 'Pending'} and does not answer yet"


def _labels(item: Mapping[str, Any]) -> Mapping[str, str]:
    return item["metadata"].get("labels") or {}


def _taints(node: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return (node.get("spec") or {}).get("taints") or []
