# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who uses a node that is to be empty: each runner with its job, as far as the cluster knows it, and what it is asked
for next. No I/O. Private to the collection.

Objects are as the API returns them, of both controllers: an EphemeralRunner of a scale set, or a legacy Runner. What
the cluster knows of a job may lag behind the service, so nobody is ended on its word: the controller is asked, and asks
the service.
"""

from __future__ import annotations

import re
import time
from calendar import timegm
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Union

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.conditions import TIME, ended, owner
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._names import ENGINE_TAINT, POOL_LABEL
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._text import clean

UNREGISTER = "actions-runner/unregistration-request-timestamp"
UNREGISTERED = "actions-runner/unregistration-complete-timestamp"
# The legacy controller's note that the service has refused: the runner has a job.
REFUSED = "actions-runner/runner-completion-wait-start-timestamp"
JOB_FIELDS = ("jobId", "jobRequestId", "workflowRunId")  # of an EphemeralRunner; which of them depends on the release
MAX_WORD = 120
MAX_LINES = 50
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


class DrainError(Exception):
    """Why a node could not be emptied."""


@dataclass(frozen=True)
class Job:
    """What a runner works on; a word is empty where the cluster does not know it."""

    repository: str = ""
    run: str = ""
    name: str = ""
    since: str = ""


@dataclass(frozen=True)
class RunnerUse:
    """A pod in the runners' namespace that is on a node."""

    node: str
    pod: str
    # busy: it has a job. idle: it has none that the cluster knows of. unknown: a legacy one, of which the cluster knows
    # nothing until it is asked to leave. leaving: it was asked, and is still there. other: no runner.
    state: str
    job: Job = field(default_factory=Job)
    registered_for: str = ""  # a legacy runner's repository, organization or enterprise
    started: str = ""  # of its pod
    step: str = ""

    @property
    def key(self) -> str:
        """Another one where something happened, whatever the clock says."""
        return "/".join((self.node, self.pod, self.state, self.job.run, self.job.name))

    def text(self, now: float) -> str:
        """What it does, for a person."""
        place = f"registered for {self.registered_for}" if self.registered_for else ""
        if self.state == "other":
            parts = ["a pod that is no runner", _since("it runs", self.started, now)]
        elif self.state in ("idle", "unknown"):
            words = {"idle": "idle", "unknown": "whether it has a job is not known until its controller asks"}
            parts = [words[self.state], place, _since("its pod runs", self.started, now)]
        elif self.state == "leaving":
            parts = [
                "asked to leave, and the service has not let it go yet",
                place,
                _since("its pod runs", self.started, now),
            ]
        elif self.job == Job():
            parts = ["the service says that it has a job", place, "run and job are not known to the cluster"]
            parts.append(_since("its pod runs", self.started, now))
        else:
            job = self.job
            parts = [job.repository or "repository not known", f"run {job.run or 'not known'}"]
            parts += [f"job {job.name or 'not known'}", _since("", job.since, now) or "since when is not known"]
        return f"{self.pod}: {', '.join(part for part in parts if part)}"

    def as_dict(self) -> dict[str, str]:
        """For a module's result."""
        job = {name: text for name, text in asdict(self.job).items() if name != "name"}
        return {"node": self.node, "runner": self.pod, "state": self.state, **job, "job": self.job.name}


@dataclass(frozen=True)
class EngineUse:
    """An engine with clients on a node without runners, or one that does not say whether it has any."""

    node: str
    pod: str
    clients: int | None

    @property
    def key(self) -> str:
        """See RunnerUse."""
        return f"{self.node}/{self.pod}/{self.clients}"

    def text(self, _now: float) -> str:
        """See RunnerUse."""
        return f"{self.pod} {'does not say how many' if self.clients is None else f'has {self.clients}'} clients"


Use = Union[RunnerUse, EngineUse]  # evaluated on old Pythons too


@dataclass(frozen=True)
class NodeChange:
    """What is written to a node. `taint`: it gets the one of engines that do not answer yet."""

    node: str
    closed: bool
    cordon: bool  # whether it is cordoned or uncordoned, beside the taint
    taint: bool

    @property
    def before(self) -> str:
        """For a diff."""
        return ("uncordoned" if self.closed else "cordoned") if self.cordon else "cordoned"

    @property
    def after(self) -> str:
        """See before."""
        return ("cordoned" if self.closed else "uncordoned") + (f", {ENGINE_TAINT}" if self.taint else "")

    def lines(self) -> list[str]:
        """For a person."""
        found = [f"{self.node}: {'cordon' if self.closed else 'uncordon'}"] if self.cordon else []
        return found + ([f"{self.node}: taint {ENGINE_TAINT}"] if self.taint else [])


def choose_nodes(
    nodes: Iterable[Mapping[str, Any]], names: Sequence[str], pools: Sequence[str]
) -> list[Mapping[str, Any]]:
    """The nodes of those names and those pools. Raises ValueError for what the cluster does not have: the rest is not
    drained either.
    """
    if not names and not pools:
        raise ValueError("nodes, pools: found neither, expected names of the nodes to drain, or of their pools")
    present = {node["metadata"]["name"]: node for node in nodes}
    by_pool = {name: (node["metadata"].get("labels") or {}).get(POOL_LABEL, "") for name, node in present.items()}
    unknown = {"nodes": set(names) - set(present), "pools": set(pools) - set(by_pool.values())}
    problems = [
        f"{option}: the cluster has no {', '.join(sorted(found))}" for option, found in unknown.items() if found
    ]
    if problems:
        raise ValueError(
            f"{'; '.join(problems)}. Expected names of nodes of the cluster and of pools with nodes. Nothing was done"
        )
    return [present[name] for name in sorted(present) if name in names or by_pool[name] in pools]


def node_changes(
    nodes: Iterable[Mapping[str, Any]], engines: Iterable[Mapping[str, Any]], closing: bool
) -> list[NodeChange]:
    """What is written to cordon the nodes, or to uncordon them; nothing for those that are so. Engines make the taint
    go when they answer, so nodes without engines do not get it.
    """
    with_engine = {(pod.get("spec") or {}).get("nodeName") for pod in engines}
    found = []
    for node in nodes:
        name, spec = node["metadata"]["name"], node.get("spec") or {}
        tainted = any(taint["key"] == ENGINE_TAINT for taint in spec.get("taints") or [])
        cordon = bool(spec.get("unschedulable")) != closing
        taint = closing and name in with_engine and not tainted
        if cordon or taint:
            found.append(NodeChange(name, closing, cordon, taint))
    return found


def runner_use(pod: Mapping[str, Any], runner: Mapping[str, Any]) -> RunnerUse:
    """What is known of one pod. `runner`: the object of the controller whose pod it is, empty where there is none."""
    meta, state = pod["metadata"], "other"
    job: Job | None = None
    if owner(pod, "EphemeralRunner"):
        job = _job_of_scale_set(runner)
        leaving = bool((runner.get("metadata") or {}).get("deletionTimestamp"))
        state = "busy" if job else "leaving" if leaving else "idle"
    elif owner(pod, "Runner"):
        notes = meta.get("annotations") or {}
        job = _job_of_workflow(runner)
        state = "busy" if job or REFUSED in notes else "leaving" if UNREGISTER in notes else "unknown"
    if meta.get("deletionTimestamp") and state in ("idle", "unknown"):
        state = "leaving"
    return RunnerUse(
        node=(pod.get("spec") or {}).get("nodeName") or "",
        pod=meta["name"],
        state=state,
        job=job or Job(),
        registered_for=_registered_for(runner),
        started=_moment((pod.get("status") or {}).get("startTime")),
        step=deregistration_step(pod, runner),
    )


def deregistration_step(pod: Mapping[str, Any], runner: Mapping[str, Any]) -> str:
    """How a runner pod is made to leave without harm to a job: only the service knows whether it has one, so the
    controller has to ask it.

    `unregister`: the legacy controller takes the runner off the service's list, or lets it finish its job. `remove`: it
    is off the list. `release`: the scale-set controller does the same when its EphemeralRunner is deleted. Empty: there
    is nothing to ask for (any more), as with a scale set's runner that is known to have a job: it leaves with that.
    """
    meta = pod["metadata"]
    notes = meta.get("annotations") or {}
    if meta.get("deletionTimestamp"):
        return ""
    if owner(pod, "EphemeralRunner"):
        asked = (runner.get("metadata") or {}).get("deletionTimestamp")
        return "" if asked or _job_of_scale_set(runner) else "release"
    if owner(pod, "Runner"):
        return "remove" if UNREGISTERED in notes else "" if UNREGISTER in notes else "unregister"
    return ""


def waited_for(pods: Iterable[Mapping[str, Any]], nodes: Iterable[str], directory: str = "") -> list[Mapping[str, Any]]:
    """The pods of those nodes that have not ended; with `directory` only those that mount it, or what lies in it."""
    wanted = set(nodes)
    return [
        pod
        for pod in pods
        if not ended(pod)
        and (pod.get("spec") or {}).get("nodeName") in wanted
        and (not directory or any(_lies_in(path, directory) for path in _host_paths(pod)))
    ]


def lines(uses: Sequence[Use], now: float) -> list[str]:
    """What is waited for, a line each."""
    return [f"{use.node}: waits for {use.text(now)}" for use in uses]


def foretell(uses: Sequence[Use], now: float) -> list[str]:
    """What a drain would do about each, for a dry run."""
    does = {"release": "ask whether it may go", "unregister": "ask whether it may go", "remove": "delete its pod"}
    return [
        f"{use.node}: {use.text(now)}: {does.get(use.step if isinstance(use, RunnerUse) else '', 'wait')}"
        for use in uses
    ]


def still_in_use(uses: Sequence[Use], now: float, seconds: float, ended_pods: Sequence[str]) -> str:
    """What to tell at the deadline. `ended_pods`: those that were deleted under their jobs."""
    shown = [f"{use.node}: {use.text(now)}" for use in uses[:MAX_LINES]]
    more = f"; and {len(uses) - MAX_LINES} more" if len(uses) > MAX_LINES else ""
    found = f"still in use after {seconds:.0f} seconds, its engines run on: {'; '.join(shown)}{more}. "
    if ended_pods:
        return found + f"Expected the deleted runner pods to end: {', '.join(ended_pods)}. See their events"
    return found + (
        "Expected its jobs to end. Run again later, wait longer (drain_timeout), or have the jobs ended (end_jobs)"
    )


def _job_of_scale_set(runner: Mapping[str, Any]) -> Job | None:
    """A started runner without a job is Pending or Running, depending on the release; its job is what counts."""
    status = runner.get("status") or {}
    if not any(status.get(name) for name in JOB_FIELDS):
        return None
    return Job(
        clean(status.get("jobRepositoryName") or "", MAX_WORD),
        clean(status.get("workflowRunId") or "", MAX_WORD),
        clean(status.get("jobDisplayName") or "", MAX_WORD),
        _written(runner, JOB_FIELDS),
    )


def _job_of_workflow(runner: Mapping[str, Any]) -> Job | None:
    """A legacy runner's image may write this, where its account lets it; ours has none."""
    found = (runner.get("status") or {}).get("workflow") or {}
    if not found.get("runID") and not found.get("repository"):
        return None
    repository, run, name = (clean(found.get(key) or "", MAX_WORD) for key in ("repository", "runID", "job"))
    return Job(repository, run, name, _written(runner, ("workflow",)))


def _written(item: Mapping[str, Any], names: Iterable[str]) -> str:
    """When one of these fields of the status was written first, as the API remembers it: there is no field for it."""
    times = [
        _moment(entry.get("time"))
        for entry in item["metadata"].get("managedFields") or []
        if any(f"f:{name}" in ((entry.get("fieldsV1") or {}).get("f:status") or {}) for name in names)
    ]
    return min(filter(None, times), default="")


def _registered_for(runner: Mapping[str, Any]) -> str:
    spec = runner.get("spec") or {}
    found = next((str(spec[name]) for name in ("repository", "organization", "enterprise") if spec.get(name)), "")
    return clean(found, MAX_WORD)


def _moment(text: Any) -> str:
    return text if isinstance(text, str) and _TIME.fullmatch(text) else ""


def _since(what: str, moment: str, now: float) -> str:
    if not moment:
        return ""
    minutes = max(0, int(now - timegm(time.strptime(moment, TIME)))) // 60
    return f"{what} since {moment} ({minutes} min)".strip()


def _host_paths(pod: Mapping[str, Any]) -> list[str]:
    volumes = (pod.get("spec") or {}).get("volumes") or []
    return [str(volume["hostPath"]["path"]) for volume in volumes if volume.get("hostPath")]


def _lies_in(path: str, directory: str) -> bool:
    return f"{path.rstrip('/')}/".startswith(f"{directory.rstrip('/')}/")
