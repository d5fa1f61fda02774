# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What keeps a cluster from being ready, a line each: from API objects to sentences. Pure; private to the
collection.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._text import clean

MAX_LINES = 25
MAX_EVENTS = 5
MAX_NAMES = 3
PRESSURES = ("DiskPressure", "MemoryPressure", "PIDPressure")
_STARTING = ("ContainerCreating", "PodInitializing")

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Objects:
    """What was read of a cluster. `unread` says, a line each, what could not be."""

    nodes: Sequence[Object] = ()
    pods: Sequence[Object] = ()
    events: Sequence[Object] = ()
    workloads: Sequence[Object] = ()  # Deployments, ReplicaSets, StatefulSets, DaemonSets and Jobs
    claims: Sequence[Object] = ()
    webhooks: Sequence[Object] = ()  # admission webhook configurations
    endpoint_slices: Sequence[Object] | None = None  # None: not read, so that nothing is said about them
    unread: Sequence[str] = ()


@dataclass
class Groups:
    """Sentences that are the same for many objects become one line that names a few of them."""

    lines: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def add(self, kind: str, name: str, text: str) -> None:
        """One object that this is said of."""
        names = self.lines.setdefault((kind, clean(text)), [])
        if clean(name) not in names:
            names.append(clean(name))

    def told(self) -> list[str]:
        """The lines, in the order in which they were first said."""
        return [f"{kind} {_names(names)}: {text}" for (kind, text), names in self.lines.items()]


def problems(objects: Objects, limit: int = MAX_LINES) -> list[str]:
    """Nodes first, since they explain pods; then what could not be made, claims, pods, webhooks, and the last warnings
    that are left.
    """
    groups = Groups()
    for node in _sorted(objects.nodes):
        for text in node_problems(node):
            groups.add("node", node["metadata"]["name"], text)
    for workload in _sorted(objects.workloads):
        for text in _workload_problems(workload, objects):
            groups.add(workload.get("kind") or "workload", _full_name(workload), text)
    for claim in _sorted(objects.claims):
        if (claim.get("status") or {}).get("phase") == "Pending":
            why = _last_event(objects.events, claim) or "no event says why"
            groups.add("PersistentVolumeClaim", _full_name(claim), f"Pending: {why}")
    for pod in _sorted(objects.pods):
        text = pod_problem(pod, objects.events)
        if text:
            groups.add("pod", _full_name(pod), text)
    for name, text in _webhook_problems(objects):
        groups.add("webhook", name, text)
    told = groups.told()
    lines = [*map(clean, objects.unread), *told]
    cut = lines[:limit] + ([f"and {len(lines) - limit} more lines"] if len(lines) > limit else [])
    return cut + _other_events(objects.events, told, {_full_name(pod) for pod in objects.pods})


def node_problems(node: Object) -> list[str]:
    """Why a node takes no pods, or will not for long."""
    found = []
    for condition in _conditions(node):
        kind, status = condition.get("type"), condition.get("status")
        said = condition.get("message") or condition.get("reason") or "no reason given"
        if kind == "Ready" and status == "Unknown":
            found.append(f"its kubelet stopped reporting ({said})")
        elif kind == "Ready" and status != "True":
            found.append(f"NotReady ({said})")
        elif kind in (*PRESSURES, "NetworkUnavailable") and status == "True":
            found.append(f"{kind} ({said})")
    if (node.get("spec") or {}).get("unschedulable"):
        found.append("cordoned (unschedulable)")
    return found


def pressed(nodes: Iterable[Object]) -> bool:
    """Whether every one of these nodes is short of disk, memory or processes: nothing that is deployed now would
    start.
    """
    listed = list(nodes)
    return bool(listed) and all(
        any(condition.get("type") in PRESSURES and condition.get("status") == "True" for condition in _conditions(node))
        for node in listed
    )


def pod_problem(pod: Object, events: Sequence[Object] = ()) -> str:
    """Why a pod is not ready; empty where it is, or has ended well."""
    status, phase = pod.get("status") or {}, (pod.get("status") or {}).get("phase")
    conditions = {condition.get("type"): condition for condition in _conditions(pod)}
    if pod["metadata"].get("deletionTimestamp"):
        return f"stopping since {pod['metadata']['deletionTimestamp']}{_finalizers(pod)}"
    if phase == "Succeeded" or (conditions.get("Ready") or {}).get("status") == "True":
        return ""
    if phase == "Failed":
        return f"{status.get('reason') or 'Failed'}: {status.get('message') or _ended(status) or 'no message'}"
    scheduled = conditions.get("PodScheduled") or {}
    if scheduled.get("status") == "False":
        return f"{scheduled.get('reason') or 'Unschedulable'}: {scheduled.get('message') or 'no message'}"
    stuck = next((text for text in map(_container_problem, _containers(pod)) if text), "")
    if stuck:
        probe = _last_event([event for event in events if event.get("reason") == "Unhealthy"], pod)
        return f"{stuck}; {probe}" if probe else stuck
    event = _last_event(events, pod)
    if event:
        return f"{phase or 'Pending'}, not ready: {event}"
    unready = conditions.get("Ready") or conditions.get("ContainersReady") or {}
    return f"{phase or 'Pending'}, not ready: {unready.get('message') or unready.get('reason') or 'no event says why'}"


def _container_problem(container: Object) -> str:
    state, name, image = container.get("state") or {}, container.get("name"), container.get("image") or "?"
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
    reason = waiting.get("reason") or ""
    if reason and reason not in _STARTING:
        before = (container.get("lastState") or {}).get("terminated") or {}
        last = f"; it ended with {_exit(before)}" if before else ""
        return f"container {name}: {reason}, image {image}: {waiting.get('message') or 'no message'}{last}"
    if ended and ended.get("exitCode") != 0:
        return f"container {name}: ended with {_exit(ended)}, image {image}"
    return ""


def _exit(ended: Object) -> str:
    said = f": {ended['message']}" if ended.get("message") else ""
    return f"exit code {ended.get('exitCode')} ({ended.get('reason') or 'no reason'}){said}"


def _ended(status: Object) -> str:
    return next((text for text in map(_container_problem, status.get("containerStatuses") or []) if text), "")


def _containers(pod: Object) -> list[Object]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def _finalizers(pod: Object) -> str:
    held = pod["metadata"].get("finalizers") or []
    return f", held by {', '.join(held)}" if held else ""


def _workload_problems(workload: Object, objects: Objects) -> Iterator[str]:
    """What no pod can tell, since there is none: quotas, admission, security, and DaemonSets that no node takes."""
    for condition in _conditions(workload):
        if condition.get("type") in ("ReplicaFailure", "Failed") and condition.get("status") == "True":
            yield f"{condition.get('reason') or condition['type']}: {condition.get('message') or 'no message'}"
            return
    status = workload.get("status") or {}
    if workload.get("kind") == "DaemonSet":
        if status.get("desiredNumberScheduled") == 0:
            yield "no node takes its pods: none has the labels and lacks the taints that it asks for"
        elif (status.get("currentNumberScheduled") or 0) < (status.get("desiredNumberScheduled") or 0):
            yield _last_event(objects.events, workload) or "not all of its pods were made, and no event says why"
    elif workload.get("kind") == "StatefulSet" and (status.get("replicas") or 0) < (
        (workload.get("spec") or {}).get("replicas") or 0
    ):
        yield _last_event(objects.events, workload) or "not all of its pods were made, and no event says why"


def _webhook_problems(objects: Objects) -> Iterator[tuple[str, str]]:
    """A webhook that fails closed and has no ready pod behind its Service refuses what it should judge."""
    if objects.endpoint_slices is None:
        return
    ready = {
        (piece["metadata"].get("namespace"), (piece["metadata"].get("labels") or {}).get("kubernetes.io/service-name"))
        for piece in objects.endpoint_slices
        if any(
            (endpoint.get("conditions") or {}).get("ready") is not False for endpoint in piece.get("endpoints") or []
        )
    }
    for configuration in _sorted(objects.webhooks):
        services = {}
        for webhook in configuration.get("webhooks") or []:
            service = (webhook.get("clientConfig") or {}).get("service") or {}
            if service and webhook.get("failurePolicy", "Fail") == "Fail":
                services[(service.get("namespace"), service.get("name"))] = True
        for place in services:
            if place not in ready:
                yield (
                    configuration["metadata"]["name"],
                    f"its Service {place[0]}/{place[1]} has no ready endpoint, so the API refuses its objects",
                )


def _other_events(events: Sequence[Object], told: Sequence[str], pods: Collection[str]) -> list[str]:
    """The newest warnings that no line repeats. What was said of a pod that is there is in its line, or is over."""
    text = "\n".join(told)
    groups = Groups()
    for event in sorted(events, key=_when, reverse=True):
        about = event.get("involvedObject") or event.get("regarding") or {}
        said = clean(event.get("message") or event.get("note") or "")
        place = "/".join(str(part) for part in (about.get("namespace"), about.get("name")) if part)
        if event.get("type") == "Normal" or not said or said[:150] in text or place in pods:
            continue
        groups.add("event", f"{about.get('kind', '')} {place}", f"{event.get('reason')}: {said}")
        if len(groups.lines) == MAX_EVENTS:
            break
    return groups.told()


def _last_event(events: Sequence[Object], about: Object) -> str:
    meta = about["metadata"]
    its = [event for event in events if event.get("type") != "Normal" and _is_about(event, meta)]
    last = max(its, key=_when, default=None)
    return f"{last.get('reason')}: {last.get('message') or last.get('note') or ''}" if last else ""


def _is_about(event: Object, meta: Object) -> bool:
    about = event.get("involvedObject") or event.get("regarding") or {}
    if about.get("uid") and meta.get("uid"):
        return bool(about["uid"] == meta["uid"])
    return (about.get("name"), about.get("namespace")) == (meta.get("name"), meta.get("namespace"))


def _when(event: Object) -> str:
    series = event.get("series") or {}
    return str(
        series.get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or event.get("firstTimestamp")
        or ""
    )


def _names(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


def _conditions(item: Object) -> Sequence[Object]:
    return (item.get("status") or {}).get("conditions") or []


def _full_name(item: Object) -> str:
    meta = item["metadata"]
    return f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else str(meta["name"])


def _sorted(items: Iterable[Object]) -> list[Object]:
    return sorted(items, key=_full_name)
