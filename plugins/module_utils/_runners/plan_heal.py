# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is done about each problem of a runner pool, or what a person does. Pure; private to the collection.

No action stops a runner that may have a job. A runner's object is deleted and its pod never is: the controller asks
the service first, and waits while that says that a job runs. A finalizer is taken away only where nobody is left who
would, where what it protects is gone, and where the service, if it can be asked, knows no such runner.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners.status import (
    VERSION_LABEL,
    Answers,
    Kind,
    Object,
    Observed,
    Problem,
    Ref,
    controller,
    credential_of,
    gone_owners,
    listener_of,
    name_of,
    owned,
    pod_of,
    ref,
    status_of,
)

REREGISTERS = (0, 15)  # from this release on the controller registers a set anew by itself


class Verb(str, Enum):
    """What is done with an object."""

    DELETE = "delete"
    SCALE_TO_ZERO = "scale to zero"
    FORGET_ID = "forget the id of"
    REMOVE_FINALIZERS = "remove the finalizers of"


@dataclass(frozen=True)
class Action:
    """One change of one object."""

    verb: Verb
    about: Ref

    def __str__(self) -> str:
        return f"{self.verb.value} {self.about}"


@dataclass(frozen=True)
class Remedy:
    """What is done about a problem, in this order. Without actions it may end by itself (`waits`), or `advice` says
    what a person does.
    """

    actions: tuple[Action, ...] = ()
    advice: str = ""
    waits: bool = False


def remedy(problem: Problem, observed: Observed) -> Remedy:
    """What is done about a problem."""
    runs = controller("scale_set", observed)
    if problem.kind in _BY_CONTROLLER and problem.about.kind != "Runner" and not _ready(runs):
        return Remedy(advice="the runner controller does it, and is not running: bring it back first, with site.yml")
    return _REMEDIES[problem.kind](problem, observed)


def plan(problems: Sequence[Problem], observed: Observed) -> tuple[list[tuple[Problem, Action]], list[str]]:
    """The actions with the problem that each is for, an object's only once; and what is left to a person, a line
    each.
    """
    actions: dict[Action, Problem] = {}
    left = []
    for problem in problems:
        found = remedy(problem, observed)
        for action in found.actions:
            actions.setdefault(action, problem)
        if not found.actions and not found.waits:
            left.append(f"{told(problem)}. {found.advice}")
    return [(problem, action) for action, problem in actions.items()], left


def ends(problem: Problem, observed: Observed) -> bool:
    """Whether a problem is one that goes away by an action or by itself, so that it is waited for."""
    found = remedy(problem, observed)
    return bool(found.actions) or found.waits


def told(problem: Problem) -> str:
    """A problem in one line."""
    return f"{problem.pool or 'fleet'}: {problem.about}: {problem.reason}"


def _advice(text: str) -> Callable[[Problem, Observed], Remedy]:
    return lambda _problem, _observed: Remedy(advice=text)


def _waits(_problem: Problem, _observed: Observed) -> Remedy:
    return Remedy(waits=True)


def _delete(problem: Problem, _observed: Observed) -> Remedy:
    if problem.about.kind == "Runner":
        return Remedy(advice="the legacy controller makes another once GitHub gave it up: kubectl delete runner")
    return Remedy((Action(Verb.DELETE, problem.about),))


def _outdated(problem: Problem, observed: Observed) -> Remedy:
    newer = "name an image with a newer runner (runner_pools_image, or image of its entry) and run site.yml"
    if _release(_of(observed.sets, problem.about)) < REREGISTERS:
        return Remedy(advice=f"{newer}; this release may not come back by itself: uninstall its Helm release first")
    return Remedy(advice=newer)


def _set_missing(problem: Problem, observed: Observed) -> Remedy:
    """Register it anew. The runner set and the listener carry the old number, and are made again with the new one; the
    controller takes runners away only where the service says that they have no job.
    """
    item = _of(observed.sets, problem.about)
    if not item or _release(item) >= REREGISTERS:
        return Remedy(waits=True)
    listener = listener_of(name_of(item), observed)
    actions = [Action(Verb.FORGET_ID, problem.about)]
    actions += [Action(Verb.DELETE, ref(one, "EphemeralRunnerSet")) for one in owned(item, observed.runner_sets)]
    actions += [Action(Verb.DELETE, ref(listener, "AutoscalingListener"))] if listener else []
    return Remedy(tuple(actions))


def _listener_missing(problem: Problem, observed: Observed) -> Remedy:
    """The controller makes one as soon as the set has no runners, which those that are idle never let happen: with none
    wanted it takes these away, and lets those with a job end.
    """
    item = _of(observed.sets, problem.about)
    current = owned(item, observed.runner_sets) if item else []
    wanted = [one for one in current if (one.get("spec") or {}).get("replicas")]
    actions = tuple(Action(Verb.SCALE_TO_ZERO, ref(one, "EphemeralRunnerSet")) for one in wanted)
    return Remedy(actions, waits=True)


def _finalizer(problem: Problem, observed: Observed) -> Remedy:
    items = {
        "EphemeralRunner": observed.runners,
        "EphemeralRunnerSet": observed.runner_sets,
        "AutoscalingListener": observed.listeners,
        "AutoscalingRunnerSet": observed.sets,
    }
    item = _of(items.get(problem.about.kind, observed.protected), problem.about)
    if not item:
        return Remedy(advice="see what holds it, with kubectl describe")
    blocked = _blocked(item, problem, observed)
    return Remedy(advice=blocked) if blocked else Remedy((Action(Verb.REMOVE_FINALIZERS, problem.about),))


def _blocked(item: Object, problem: Problem, observed: Observed) -> str:
    """Why an object's finalizers must stay."""
    kind, answers = problem.about.kind, observed.answers.get(problem.pool, Answers())
    if kind == "Runner":
        return "the legacy controller unregisters it: read its log, and cancel the job at GitHub if it has one"
    if not gone_owners(item, kind, observed):
        if kind == "EphemeralRunner" and answers.agents.get(int(status_of(item).get("runnerId") or 0)):
            return "GitHub says that it is a runner, and may have a job: let that end, or cancel it there"
        return "its controller is to do it: read the controller's log"
    if kind == "EphemeralRunner":
        return _blocked_runner(item, answers, observed)
    if kind == "EphemeralRunnerSet" and owned(item, observed.runners):
        return "it still has runners: they go first"
    if kind == "AutoscalingListener" and any(name_of(pod) == name_of(item) for pod in observed.listener_pods):
        return "its pod is still there: it goes first"
    if kind == "AutoscalingRunnerSet":
        if owned(item, observed.runner_sets) or listener_of(name_of(item), observed):
            return "it still has a runner set or a listener: they go first"
        if answers.set_exists or (credential_of(item.get("spec") or {}) in observed.secrets and answers.problem):
            return "the service may still have it: run site.yml, whose controller takes it out"
    return ""


def _blocked_runner(item: Object, answers: Answers, observed: Observed) -> str:
    if pod_of(item, observed):
        return "its pod is still there, and may have a job: it goes first"
    number = int(status_of(item).get("runnerId") or 0)
    if not number or credential_of(item.get("spec") or {}) not in observed.secrets:
        return ""
    if number not in answers.agents:
        return "GitHub could not be asked whether it is still a runner"
    return "GitHub still knows it as a runner: remove it there" if answers.agents[number] else ""


def _ready(deployment: Object | None) -> bool:
    return bool(deployment and status_of(deployment).get("readyReplicas"))


def _of(items: Sequence[Object], about: Ref) -> Object | None:
    return next(
        (one for one in items if name_of(one) == about.name and str(one["metadata"].get("uid", "")) == about.uid), None
    )


def _release(item: Object | None) -> tuple[int, ...]:
    """Major and minor of the set's chart."""
    labels = (item["metadata"].get("labels") or {}) if item else {}
    parts = str(labels.get(VERSION_LABEL, "")).split(".")[:2]
    return tuple(int(part) for part in parts if part.isdigit())


_REMEDIES: Mapping[Kind, Callable[[Problem, Observed], Remedy]] = {
    Kind.CONTROLLER_DOWN: _advice("read its pods' events and log, and run site.yml"),
    Kind.CREDENTIAL_MISSING: _advice("create the Secret, or state the credential in runner_pools_pools; run site.yml"),
    Kind.GITHUB_SILENT: _advice("what GitHub knows of this pool is not told here; correct it and look again"),
    Kind.OUTDATED: _outdated,
    Kind.NOT_REGISTERED: _waits,
    Kind.SET_MISSING: _set_missing,
    Kind.LISTENER_MISSING: _listener_missing,
    Kind.LISTENER_FAILING: _delete,
    Kind.LISTENER_ORPHANED: _delete,
    Kind.RUNNERS_MISSING: _advice("if it stays so, see the other lines of this pool, and the log of who does not act"),
    Kind.RUNNER_FAILED: _delete,
    Kind.RUNNER_FAILING: _advice("the controller tries it five times"),
    Kind.RUNNER_FINISHED: _delete,
    Kind.RUNNER_NOT_STARTING: _advice("mend what is named; the controller goes on by itself"),
    Kind.NODE_GONE: _delete,
    Kind.FINALIZER_STUCK: _finalizer,
    Kind.REGISTRATION_STUCK: _advice("delete its Runner if its log shows no job: the controller makes another"),
    Kind.QUEUE_WAITS: _advice("see the other lines of this pool, or let it have more runners (max)"),
    Kind.VERSION_ENDS: _advice("name an image with a newer runner (runner_pools_image) and run site.yml"),
}
# What an action only asks for, and the controller of scale sets does.
_BY_CONTROLLER = {
    Kind.NOT_REGISTERED,
    Kind.SET_MISSING,
    Kind.LISTENER_MISSING,
    Kind.LISTENER_FAILING,
    Kind.LISTENER_ORPHANED,
    Kind.RUNNER_FAILED,
    Kind.RUNNER_FINISHED,
    Kind.NODE_GONE,
}
