# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which nodes a self-test runs on, its pods, and what became of each. No I/O. Private to the collection."""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.conditions import (
    condition,
    ended,
    is_ready,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._names import (
    ENGINE_TAINT,
    POOL_LABEL,
    ROLLOUT_ANNOTATION,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._text import clean

SELF_TEST_LABEL = "app.kubernetes.io/name"
SELF_TEST = "self-test"
WORD = "RUN"  # in a pod's command: what is another one in every run
# What a person does about a step that did not go well.
_HINTS = {
    "node": "Mend the node, or cordon it while it is not to have jobs",
    "schedule": "Make room on the node, or see which taint keeps runners away",
    "start": "See what the cluster says below of the pod, its image and its volumes",
    "engine": "See the log of the engine's pod on this node, and playbooks/engine_status.yml",
    "client": "See the log of the container dagger-cli: it copies the client out of the engine's image",
    "pipeline": "See the log of the engine's pod on this node",
    "cache": "See the engine's cache on this node (playbooks/engine_status.yml): it keeps nothing from run to run",
    "disk": "See where the kubelet's directory lies on this node (findmnt -T /var/lib/kubelet)",
    "end": "Run it again. Where nobody else removes pods of this namespace, see the events of the node",
}


@dataclass(frozen=True)
class Trial:
    """One pod to run: on this node, beside its engine of this version."""

    node: str
    pool: str
    version: str

    def pod_name(self, word: str) -> str:
        """Of the run with this word: a run that goes on though nobody waits for it removes its own pods only."""
        return f"{SELF_TEST}-{hashlib.sha256(f'{self.node} {self.version} {word}'.encode()).hexdigest()[:16]}"


@dataclass(frozen=True)
class Outcome:
    """What became of a trial. `step` and `problem` are empty where all of it went well."""

    trial: Trial
    step: str = ""
    problem: str = ""
    first_seconds: float | None = None
    second_seconds: float | None = None
    cached: bool | None = None  # the second run; None where it was not reached
    device: str = ""  # that the work directory lies on: numbers, filesystem, source
    drives: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """As the module returns it."""
        return {
            "node": self.trial.node,
            "pool": self.trial.pool,
            "version": self.trial.version,
            "step": self.step,
            "problem": self.problem,
            "first_seconds": self.first_seconds,
            "second_seconds": self.second_seconds,
            "cached": self.cached,
            "device": self.device,
            "drives": list(self.drives),
        }

    @property
    def line(self) -> str:
        """The same for a person. What was measured is told, and not judged."""
        where = f"{self.trial.node}: engine {self.trial.version}: "
        if self.step:
            return f"{where}failed at step {self.step}: {self.problem}. {_HINTS[self.step]}."
        return (
            f"{where}pipeline {self.first_seconds:.1f} s, again and cached {self.second_seconds:.1f} s; "
            f"work directory on {', '.join(self.drives) or 'no drive that the kernel names'} ({self.device})"
        )


def select(
    nodes: Sequence[Mapping[str, Any]], versions: Mapping[str, Sequence[str]], only: Sequence[str]
) -> tuple[list[Trial], list[Outcome], dict[str, str]]:
    """Trials, nodes that have already failed, and nodes that are left out, with the reason. `versions`: of each pool's
    engines; `only`: names of nodes, all where it is empty.

    A node that a person or a roll-out keeps jobs from is left out. One that ought to take jobs and cannot has failed.
    """
    trials, failed, left_out = [], [], {}
    for node in sorted(nodes, key=lambda item: str(item["metadata"]["name"])):
        name, spec = str(node["metadata"]["name"]), node.get("spec") or {}
        pool = (node["metadata"].get("labels") or {}).get(POOL_LABEL, "")
        if pool not in versions or (only and name not in only):
            continue
        own = [Trial(name, pool, version) for version in versions[pool]]
        if spec.get("unschedulable"):
            left_out[name] = "is cordoned"
        elif ROLLOUT_ANNOTATION in (node["metadata"].get("annotations") or {}):
            left_out[name] = "is in the middle of a roll-out"
        elif not is_ready(node):
            found = f"a node that is not Ready (its condition is {condition(node, 'Ready') or 'not known'})"
            failed += [Outcome(trial, "node", found) for trial in own]
        elif any(taint.get("key") == ENGINE_TAINT for taint in spec.get("taints") or []):
            failed += [Outcome(trial, "node", f"its taint {ENGINE_TAINT}, which keeps runners away") for trial in own]
        else:
            trials += own
    return trials, failed, left_out


def manifest(trial: Trial, spec: Mapping[str, Any], word: str) -> dict[str, Any]:
    """A pod for one trial, of the spec of its pool and version. The scheduler places it, on that node or nowhere."""
    own = copy.deepcopy(dict(spec))
    for container in own["containers"]:
        container["command"] = [word if part == WORD else part for part in container["command"]]
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [trial.node]}]}
    own["affinity"] = {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    }
    labels = {SELF_TEST_LABEL: SELF_TEST, "app.kubernetes.io/managed-by": "runnerfleet"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": trial.pod_name(word), "labels": labels},
        "spec": own,
    }


def outcome(trial: Trial, pod: Mapping[str, Any] | None, drives: str, timeout: int) -> Outcome:
    """What became of a trial whose pod has ended, or whose time is over. `pod`: None where it is gone. `drives`: a
    regular expression that the names of the work directory's drives match; empty where any will do.
    """
    if pod is None:
        return Outcome(trial, "end", "its pod was removed before it ended, perhaps by another self-test")
    status = pod.get("status") or {}
    for entry in status.get("initContainerStatuses") or []:
        final = (entry.get("state") or {}).get("terminated") or {}
        if final.get("exitCode"):
            step = "engine" if entry.get("name") == "engine-answers" else "client"
            said = clean(
                final.get("message") or f"the container {entry.get('name')} ended with {final['exitCode']}", 700
            )
            return Outcome(trial, step, said)
    if not ended(pod):
        return _late(trial, status, timeout)
    for entry in status.get("containerStatuses") or []:
        final = (entry.get("state") or {}).get("terminated") or {}
        told = _told(final.get("message") or "")
        if "step" in told or (status.get("phase") == "Succeeded" and final):
            return _judged(trial, told, drives)
    found = clean(f"{status.get('reason') or 'Failed'} {status.get('message') or ''}", 400)
    return Outcome(trial, "end", f"its pod ended without an answer: {found}")


def _late(trial: Trial, status: Mapping[str, Any], timeout: int) -> Outcome:
    """A trial whose time is over while its pod has not ended: the step that it is at."""
    for entry in status.get("conditions") or []:
        if entry.get("type") == "PodScheduled" and entry.get("status") == "False":
            return Outcome(
                trial, "schedule", clean(f"no place for it in {timeout} seconds: {entry.get('message')}", 400)
            )
    states = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    for entry in states:
        waiting = (entry.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in (None, "PodInitializing"):
            found = f"{waiting['reason']} {waiting.get('message') or ''}".strip()
            return Outcome(trial, "start", clean(f"its container {entry.get('name')} did not start: {found}", 400))
    running = [str(entry.get("name")) for entry in states if "running" in (entry.get("state") or {})]
    step = {"engine-answers": "engine", "dagger-cli": "client"}.get(running[0], "pipeline") if running else "start"
    return Outcome(trial, step, f"it had not ended after {timeout} seconds")


def _told(message: str) -> dict[str, str]:
    """What self_test.sh told, by its keys."""
    return {key: value for key, found, value in (line.partition("=") for line in message.splitlines()) if found}


def _judged(trial: Trial, told: Mapping[str, str], pattern: str) -> Outcome:
    """The answer of a pod that came to its own end."""
    numbers = [told.get(name, "") for name in ("first", "second")]
    cached = numbers[0] == numbers[1] if all(numbers) else None
    drives = tuple(clean(told.get("drives", ""), 400).split())
    step = told["step"] if told.get("step") in _HINTS else "end"
    problem = ""
    if "step" in told:
        problem = clean(told.get("problem") or "no reason", 700)
    elif cached is None or _seconds(told.get("second_seconds", "")) is None:
        problem = "an answer without the numbers of both runs, expected them from self_test.sh"
    elif not cached:
        step, problem = "cache", "the second run was not cached: it printed another number than the first"
    elif pattern and not (drives and all(re.fullmatch(pattern, name) for name in drives)):
        found = f"drives {', '.join(drives)}" if drives else "no drive that the kernel names"
        step = "disk"
        problem = (
            f"the work directory lies on {clean(told.get('mount', ''), 200)}: found {found}, expected names that match "
            f"{pattern} (runner_pools_self_test_drives)"
        )
    return Outcome(
        trial,
        step if problem else "",
        problem,
        _seconds(told.get("first_seconds", "")),
        _seconds(told.get("second_seconds", "")),
        cached,
        clean(told.get("mount", ""), 200),
        drives,
    )


def _seconds(text: str) -> float | None:
    """Between two times of /proc/uptime."""
    try:
        began, over = (float(part) for part in text.split())
    except ValueError:
        return None
    return round(over - began, 2)
