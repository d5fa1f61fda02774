# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waits until no runner is left on some nodes and no client at their engines: the one drain of the roll-out and of
runner_drain. Who keeps new runners away from the nodes is not decided here. Private to the collection.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.conditions import is_serving, owner
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.drain_plan import (
    DrainError,
    EngineUse,
    RunnerUse,
    Use,
    runner_use,
    still_in_use,
    waited_for,
)

THREADS = 10
ENDING = 120  # seconds that pods get to end where their jobs are ended
QUIET = 2  # looks: a pod that was on its way to a node when that was closed shows up on the second one
Found = TypeVar("Found")


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds, and what may be done when that is over."""

    timeout: float
    end_jobs: bool
    interval: float = 2


class Drain:
    """One wait for some nodes. `waited`: seconds that an earlier part of it has waited.

    `directory`: only for the runners that mount it, and not for the engines' clients.
    """

    def __init__(
        self, cluster: Any, nodes: Iterable[str], patience: Patience, waited: float = 0, directory: str = ""
    ) -> None:
        self.cluster, self.patience, self.directory = cluster, patience, directory
        self.quiet = dict.fromkeys(nodes, 0)
        self.deadline = time.monotonic() + patience.timeout - waited
        self.uses: list[Use] = []  # what the last look found
        self.asked: list[str] = []  # runners whose controller was asked to let them go
        self.ended: list[str] = []  # pods that were ended under their jobs
        self.gauges: dict[str, dict[str, float]] = {}  # of the engines, by the uid of their pod
        self._pods: dict[str, Any] = {}  # by name
        self._busy: dict[str, Any] = {}  # what the controller knows of runners with a job, by the uid of their pod

    @property
    def waiting(self) -> list[str]:
        """The nodes that are still in use, as far as is known."""
        return [node for node, looks in self.quiet.items() if looks < QUIET]

    def look(self) -> list[Use]:
        """Who uses the nodes that are waited for; nobody is asked for anything."""
        nodes = self.waiting
        alone = nodes[0] if len(nodes) == 1 else ""
        pods = waited_for(self.cluster.runner_pods(alone), nodes, self.directory)
        self._pods = {pod["metadata"]["name"]: pod for pod in pods}
        runners: list[Use] = [runner_use(pod, found) for pod, found in zip(pods, _at_once(self._runner, pods))]
        taken = {use.node for use in runners}
        engines: list[Use] = [] if self.directory else self._clients(alone, [n for n in nodes if n not in taken])
        self.uses = sorted([*runners, *engines], key=lambda use: (use.node, use.pod))
        taken |= {use.node for use in engines}
        for node in nodes:
            self.quiet[node] = 0 if node in taken else self.quiet[node] + 1
        return self.uses

    def wait(self, seconds: float | None = None, seen: Sequence[str] | None = None, least: float = 0) -> bool:
        """Ask, wait and look until nothing uses the nodes: True. False once `seconds` are over, or, after the `least`
        of them, when something else is waited for than `seen`. Raises DrainError at the deadline.
        """
        began, ending = time.monotonic(), False
        while True:
            uses = self.look()
            if not self.waiting:
                return True
            now = time.monotonic()
            if now >= self.deadline:
                if ending or not self.patience.end_jobs:
                    raise DrainError(still_in_use(uses, time.time(), self.patience.timeout, self.ended))
                ending, self.deadline = True, now + max(ENDING, self.patience.interval)
                self._end(uses)
            elif not ending:
                self._ask(uses)
                if seconds is not None and now - began >= seconds:
                    return False
                if seen is not None and uses and now - began >= least and {use.key for use in uses} != set(seen):
                    return False
            time.sleep(self.patience.interval)

    def _runner(self, pod: dict[str, Any]) -> dict[str, Any]:
        """The controller's object of a pod. A runner has one job in its life, so what is known of one stays."""
        uid = pod["metadata"].get("uid", "")
        if uid not in self._busy:
            found = self.cluster.runner(pod)
            if runner_use(pod, found).state != "busy":
                return dict(found)
            self._busy[uid] = found
        return dict(self._busy[uid])

    def _clients(self, alone: str, nodes: list[str]) -> list[Use]:
        """The engines of nodes without runners that have clients, or do not say."""
        pods = [pod for pod in self.cluster.engine_pods(alone) if pod["spec"].get("nodeName") in nodes] if nodes else []
        found: list[Use] = []
        for pod, gauges in zip(pods, _at_once(lambda pod: self.cluster.gauges(pod["metadata"]["name"]), pods)):
            self.gauges[pod["metadata"]["uid"]] = gauges
            clients = gauges.get("clients")
            if clients or (clients is None and is_serving(pod)):
                name = pod["metadata"]["name"]
                found.append(EngineUse(pod["spec"]["nodeName"], name, None if clients is None else int(clients)))
        return found

    def _ask(self, uses: Iterable[Use]) -> None:
        """Ask for what makes each runner leave without harm to a job."""
        steps = {
            "unregister": self.cluster.unregister,
            "release": self.cluster.release,
            "remove": self.cluster.remove,
        }
        todo = [use for use in uses if isinstance(use, RunnerUse) and use.step]
        _at_once(lambda use: steps[use.step](self._pods[use.pod]), todo)
        self.asked += [use.pod for use in todo if use.pod not in self.asked]

    def _end(self, uses: Iterable[Use]) -> None:
        """End the pods of runners under their jobs, and have no other pod take up what is left of a runner."""
        for use in uses:
            if isinstance(use, RunnerUse):
                pod = self._pods[use.pod]
                if owner(pod, "EphemeralRunner"):
                    self.cluster.release(pod)
                self.cluster.remove(pod)
                self.ended.append(use.pod)


def _at_once(do: Callable[[Any], Found], items: Sequence[Any]) -> list[Found]:
    """Several requests at a time: a pool of nodes has hundreds of runners."""
    with ThreadPoolExecutor(max(1, min(THREADS, len(items)))) as pool:
        return list(pool.map(do, items))
