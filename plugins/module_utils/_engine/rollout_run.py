# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One node's roll: keep runners away, wait for theirs to end, stop its engines, see them answer, compare their caches.
Private.

Every step is written down on the node before it is taken, and asks the cluster how things are: a run that was killed
goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.client import reason
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.conditions import TIME, is_serving, owner
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.drain_plan import DrainError
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.drain_run import Drain, Patience
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.rollout_plan import (
    COMPARED,
    CacheVerdict,
    Progress,
    RolloutError,
    RolloutPlan,
    Stale,
    judge_cache,
    judge_restore,
    plan,
    wanted_revisions,
    with_intended,
)

CONTAINER = "engine"
ADVICE = (
    "These nodes keep new runners away. See the engine's log there; to go on with a cold cache, name the nodes "
    "in accept_cache_loss."
)
OBSERVE_TIMEOUT = 30  # seconds that the cluster gets to look at a DaemonSet that was changed


@dataclass(frozen=True)
class Limits:
    """How patient a roll is, in seconds, and what it may do when its patience ends."""

    drain: int
    start: int
    end_jobs: bool
    min_kept_percent: int
    request: str  # what the engines are to do when they start again: checkpoint, restore or none
    checkpoint: str  # the one to restore
    # until what an engine says of its cache after a start counts: it renews its figures every minute, and runs its
    # canary
    proof: int
    interval: float = 2

    def __post_init__(self) -> None:
        if not 0 <= self.min_kept_percent <= 100:
            raise ValueError(f"min_kept_percent: found {self.min_kept_percent}, expected 0 to 100")


@dataclass
class Outcome:
    """What became of a node."""

    node: str
    problem: str = ""
    lost: bool = False
    seconds: float = 0
    engines: list[dict[str, Any]] = field(
        default_factory=list
    )  # per engine: daemonset, exit code, cache, reason, before, after


class NodeRoll:
    """The roll of one node."""

    def __init__(self, cluster: Any, plan: RolloutPlan, limits: Limits) -> None:
        self.cluster = cluster
        self.plan = plan
        self.limits = limits
        self.node = plan.node
        self.outcome = Outcome(plan.node)
        self.codes: dict[str, int | None] = {}
        self.progress: Progress | None = plan.progress

    def run(self) -> Outcome:
        """Finish what an earlier run began, then roll what is stale."""
        began = time.monotonic()
        try:
            if self.plan.progress:
                self._go_on(self.plan.progress)
            stale = self._stale_now()
            if stale:
                self._roll(stale)
        except (RolloutError, DrainError) as error:
            self.outcome.problem = str(error)
            self._withdraw()
        except Exception as error:
            # The client raises whatever its transport does. What is written down on the node lets the next run go on.
            self.outcome.problem = f"the cluster's API did not answer as expected, run again: {reason(error)}"
            with suppress(Exception):
                self._withdraw()
        self.outcome.seconds = round(time.monotonic() - began, 1)
        return self.outcome

    def _mark(self, progress: Progress | None) -> None:
        """Write down how far the roll is, before that is done."""
        self.progress = progress
        self.cluster.mark(self.node, progress)

    def _withdraw(self) -> None:
        """What the engines were asked to do at their next start does not outlive a roll that stopped."""
        if self.progress and self.progress.asking:
            self._mark(self.progress.at(self.progress.step, asking=False))

    def _go_on(self, progress: Progress) -> None:
        """Engines that were still to be stopped are rolled anew, the others are waited for."""
        here = {pod["metadata"]["uid"]: pod for pod in self.cluster.engine_pods(self.node)}
        untouched = [
            uid for uid in _uids(progress) if uid in here and not here[uid]["metadata"].get("deletionTimestamp")
        ]
        if untouched:
            targets = [
                Stale(name, entry["pod"], entry["uid"], ())
                for name, entry in progress.engines.items()
                if entry["uid"] in untouched
            ]
            rest = {name: entry for name, entry in progress.engines.items() if entry["uid"] not in untouched}
            self._roll(targets, rest)
        elif progress.engines:
            self._finish(progress)
        elif not self.plan.stale:
            self._mark(None)  # it had only begun to wait, and there is no reason left

    def _stale_now(self) -> list[Stale]:
        here = {pod["metadata"]["uid"] for pod in self.cluster.engine_pods(self.node)}
        return [item for item in self.plan.stale if item.uid in here]

    def _roll(self, stale: Sequence[Stale], rest: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        progress = Progress(
            since=_now(), request=self.limits.request.replace("none", ""), checkpoint=self.limits.checkpoint
        )
        self._mark(progress.at("drain", engines=rest or {}))
        try:
            before = self._drain()
        except DrainError:
            if not rest:
                self._mark(None)  # nothing was stopped
            raise
        engines = {
            item.daemonset: {
                "uid": item.uid,
                "pod": item.pod,
                "grace": item.grace,
                **_compared(before.get(item.uid, {})),
            }
            for item in stale
        }
        progress = progress.at("stop", engines={**(rest or {}), **engines}, asking=bool(progress.request))
        self._mark(progress)
        for pod in self.cluster.engine_pods(self.node):
            if pod["metadata"]["uid"] in _uids(progress):
                self.cluster.remove(pod)
        self._finish(progress)

    def _drain(self) -> dict[str, dict[str, float]]:
        """Wait until no runner is left on the node and no client at its engines; returns the engines' gauges by the uid
        of their pod.
        """
        limits = self.limits
        drain = Drain(self.cluster, [self.node], Patience(limits.drain, limits.end_jobs, limits.interval))
        drain.wait()
        return drain.gauges

    def _finish(self, progress: Progress) -> None:
        """See the engines stop, others answer in their place, and their caches still there; then let runners in."""
        for name, entry in progress.engines.items():
            grace = entry["grace"] + 60
            gone, code = self.cluster.stopped(entry["pod"], entry["uid"], CONTAINER, grace)
            if not gone:
                raise RolloutError(
                    f"engine pod {entry['pod']} is still stopping after {grace} seconds, expected it to end. See its "
                    "log"
                )
            self.codes[name] = code
        self._mark(progress.at("start"))
        problems = []
        for name, entry in progress.engines.items():
            before = _compared(entry)
            after, verdict = self._compare(name, before, progress.request == "restore")
            code = self.codes[name]
            if verdict.cache != "lost" and code and before:
                verdict = CacheVerdict("lost", f"it ended with exit code {code} when it was stopped, expected 0")
            figures = {"before": before, "after": _compared(after)}
            self.outcome.engines.append(
                {"daemonset": name, "exit_code": code, "cache": verdict.cache, "reason": verdict.reason, **figures}
            )
            if verdict.cache == "lost":
                problems.append(f"{name}: {verdict.reason}")
        if problems:
            self.outcome.lost = True
            self._mark(progress.at("lost", problem="; ".join(problems), asking=False))
            raise RolloutError(f"its cache was lost: {'; '.join(problems)}")
        self._mark(None)

    def _compare(
        self, daemonset: str, before: Mapping[str, float], restoring: bool
    ) -> tuple[dict[str, float], CacheVerdict]:
        """The figures of the engine that was started, and what they say of its cache. They may lag behind."""
        deadline = time.monotonic() + self.limits.proof
        while True:
            after = self._answer(daemonset)
            verdict = (
                judge_restore(before, after) if restoring else judge_cache(before, after, self.limits.min_kept_percent)
            )
            if verdict.cache == "kept" or time.monotonic() >= deadline:
                return after, verdict
            time.sleep(self.limits.interval)

    def _answer(self, daemonset: str) -> dict[str, float]:
        """Wait until the node's engine of that DaemonSet answers and has figures."""
        deadline = time.monotonic() + self.limits.start
        while True:
            found = [pod for pod in self.cluster.engine_pods(self.node) if owner(pod, "DaemonSet") == daemonset]
            for pod in found:
                if is_serving(pod):
                    gauges = self.cluster.gauges(pod["metadata"]["name"])
                    if "clients" in gauges:
                        return dict(gauges)
            if time.monotonic() >= deadline:
                names = ", ".join(pod["metadata"]["name"] for pod in found) or "none"
                raise RolloutError(
                    f"the engine of {daemonset} does not answer {self.limits.start} seconds after it was started anew "
                    f"(pods: {names}). Its node keeps runners away. See the pod's events and log, mend what they name, "
                    "and run again"
                )
            time.sleep(self.limits.interval)


def rollout_plans(cluster: Any, params: dict[str, Any], intended: list[dict[str, Any]]) -> list[RolloutPlan]:
    """Plan for the nodes; a DaemonSet that was changed a moment ago has no new template yet."""
    deadline = time.monotonic() + OBSERVE_TIMEOUT
    while True:
        try:
            templates = wanted_revisions(cluster.daemonsets(), cluster.revisions())
            break
        except RolloutError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(1)
    nodes = [node for node in cluster.nodes() if not params["nodes"] or node["metadata"]["name"] in params["nodes"]]
    unknown = sorted({*params["nodes"], *params["accept_cache_loss"]} - {node["metadata"]["name"] for node in nodes})
    if unknown:
        raise ValueError(
            f"found no engine node {', '.join(unknown)} in the pools {', '.join(params['pools'])}. Correct the names"
        )
    templates = with_intended(templates, intended)
    plans = plan(nodes, cluster.engine_pods(), templates, params["restart_older_than"])
    return plans


def roll(cluster: Any, batches: Sequence[Sequence[RolloutPlan]], limits: Limits) -> list[Outcome]:
    """Roll batch after batch; nothing new begins once a node had a problem."""
    outcomes: list[Outcome] = []
    for batch in batches:
        with ThreadPoolExecutor(len(batch)) as pool:
            outcomes += pool.map(lambda plan: NodeRoll(cluster, plan, limits).run(), batch)
        if any(outcome.problem for outcome in outcomes):
            break
    return outcomes


def report(todo: Sequence[RolloutPlan], outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """What the module returns of a roll; a `msg` says that it stopped."""
    problems = [outcome for outcome in outcomes if outcome.problem]
    result: dict[str, Any] = {"rolled": [asdict(outcome) for outcome in outcomes if not outcome.problem]}
    if problems:
        result["lost"] = [outcome.node for outcome in problems if outcome.lost]
        left = [item.node for item in todo if item.node not in {outcome.node for outcome in outcomes}]
        result["msg"] = "The roll-out stopped: " + "; ".join(
            f"{outcome.node}: {outcome.problem}" for outcome in problems
        )
        result["msg"] += f". Not begun: {', '.join(left) or 'none'}." + (f" {ADVICE}" if result["lost"] else "")
    return result


def without_checkpoint(cluster: Any, plans: Sequence[RolloutPlan], wanted: str) -> list[str]:
    """The engines that say which checkpoints they have, and have not the one that they are to go back to."""
    lines = []
    for item in (entry for node in plans for entry in node.stale):
        known = cluster.state(item.pod).get("checkpoints")
        good = [str(entry["name"]) for entry in known or [] if wanted or not entry.get("bad")]
        if known is not None and not (wanted in good or (good and not wanted)):
            lines.append(f"{item.pod} has {', '.join(good) or 'none'}")
    return lines


def _now() -> str:
    return time.strftime(TIME, time.gmtime())


def _uids(progress: Progress) -> list[str]:
    return [str(entry["uid"]) for entry in progress.engines.values()]


def _compared(figures: Mapping[str, Any]) -> dict[str, float]:
    return {key: figures[key] for key in COMPARED if key in figures}
