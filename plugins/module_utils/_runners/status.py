# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is known of every runner pool, and what of it is stuck and why: from API objects and GitHub's answers to typed
problems. Pure; private to the collection.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.problems import pod_problem
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.drain_plan import JOB_FIELDS
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._github.requests import moment
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._text import clean

Object = Mapping[str, Any]

SET_LABEL = "actions.github.com/scale-set-name"
SET_ID = "runner-scale-set-id"  # annotation of an AutoscalingRunnerSet: its number in the service
VERSION_LABEL = "app.kubernetes.io/version"
DEPLOYMENT_LABEL = "runner-deployment-name"  # of a Runner of the legacy flavour
PROTECTION = "actions.github.com/cleanup-protection"
FINALIZERS = (
    "ephemeralrunner.actions.github.com/finalizer",
    "ephemeralrunner.actions.github.com/runner-registration-finalizer",
    "autoscalinglistener.actions.github.com/finalizer",
    "autoscalingrunnerset.actions.github.com/finalizer",
    PROTECTION,
)
CONTROLLERS = {
    "scale_set": ("app.kubernetes.io/part-of", "gha-rs-controller"),
    "legacy": ("app.kubernetes.io/name", "actions-runner-controller"),
}
FEW_DAYS = 14


class Kind(str, Enum):
    """What is wrong. The values are results of modules: tools match on them."""

    CONTROLLER_DOWN = "controller_down"
    CREDENTIAL_MISSING = "credential_missing"
    GITHUB_SILENT = "github_silent"
    OUTDATED = "outdated"
    NOT_REGISTERED = "not_registered"
    SET_MISSING = "set_missing"
    LISTENER_MISSING = "listener_missing"
    LISTENER_FAILING = "listener_failing"
    LISTENER_ORPHANED = "listener_orphaned"
    RUNNERS_MISSING = "runners_missing"
    RUNNER_FAILED = "runner_failed"
    RUNNER_FAILING = "runner_failing"
    RUNNER_FINISHED = "runner_finished"
    RUNNER_NOT_STARTING = "runner_not_starting"
    NODE_GONE = "node_gone"
    FINALIZER_STUCK = "finalizer_stuck"
    REGISTRATION_STUCK = "registration_stuck"
    QUEUE_WAITS = "queue_waits"
    VERSION_ENDS = "version_ends"


@dataclass(frozen=True)
class Ref:
    """An object of the cluster, and no other of its name."""

    kind: str
    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Problem:
    """What is wrong with a pool, said of one object."""

    kind: Kind
    pool: str
    about: Ref
    reason: str


@dataclass(frozen=True)
class Answers:
    """What GitHub says of a pool; None where it was not asked or did not say.

    `agents`: runners by number, and whether the service knows them. `runners`: those that GitHub lists by name, and
    whether each is busy and online.
    """

    problem: str = ""
    set_exists: bool | None = None
    available: int | None = None
    assigned: int | None = None
    running: int | None = None
    oldest: float | None = None  # seconds that the oldest queued job waits; 0 where none waits
    version: str = ""
    days_left: int | None = None
    agents: Mapping[int, bool] = field(default_factory=dict)
    runners: Mapping[str, tuple[bool, bool]] | None = None

    @property
    def waiting(self) -> int | None:
        """Jobs that no runner has begun. Assigned are those that run as well."""
        if self.assigned is None or self.available is None:
            return None
        return self.available + max(0, self.assigned - (self.running or 0))


@dataclass(frozen=True)
class Observed:
    """One look at the cluster and at GitHub. `answers` by the name of the pool, `listener_said` by that of the set.
    `protected`: what other objects carry the set's finalizer, with their kind. `grace`: seconds that a thing may take.
    """

    now: datetime
    grace: float = 300
    patience: float = 900  # for the oldest queued job
    sets: Sequence[Object] = ()
    runner_sets: Sequence[Object] = ()
    runners: Sequence[Object] = ()
    listeners: Sequence[Object] = ()
    pods: Sequence[Object] = ()  # of the runners' namespace
    listener_pods: Sequence[Object] = ()
    events: Sequence[Object] = ()
    controllers: Sequence[Object] = ()  # Deployments of the controller's namespace
    nodes: frozenset[str] = frozenset()
    secrets: frozenset[str] = frozenset()
    protected: Sequence[Object] = ()
    deployments: Sequence[Object] = ()  # RunnerDeployments, and their Runners
    legacy_runners: Sequence[Object] = ()
    answers: Mapping[str, Answers] = field(default_factory=dict)
    listener_said: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Pool:
    """A runner pool as it is; None where a figure is not known."""

    name: str
    flavour: str
    listener: str  # running, starting, failing, ending, missing; empty where the flavour has none
    queue: int | None
    oldest: float | None
    busy: int | None
    idle: int | None
    starting: int
    failed: int
    min: int
    max: int | None
    version: str
    days_left: int | None


def judge(observed: Observed) -> tuple[list[Pool], list[Problem]]:
    """Every pool, and everything that is stuck, the cause before what follows from it."""
    pools: list[Pool] = []
    problems = list(_controllers(observed))
    for item in sorted(observed.sets, key=name_of):
        if not item["metadata"].get("deletionTimestamp"):
            pools.append(_set_pool(item, observed))
            problems += _set_problems(item, pools[-1], observed)
    problems += _orphans(observed)
    problems += _stuck(observed)
    for item in sorted(observed.deployments, key=name_of):
        pools.append(_legacy_pool(item, observed))
        problems += _legacy_problems(item, pools[-1], observed)
    return pools, problems


# Objects, and what belongs to them.


def name_of(item: Object) -> str:
    """Its name."""
    return str(item["metadata"]["name"])


def ref(item: Object, kind: str) -> Ref:
    """The object; lists of the API leave its kind out."""
    meta = item["metadata"]
    return Ref(kind, str(meta.get("namespace", "")), str(meta["name"]), str(meta.get("uid", "")))


def status_of(item: Object) -> Mapping[str, Any]:
    """Its status."""
    return item.get("status") or {}


def pool_of(item: Object) -> str:
    """The scale set that an object belongs to, by its label."""
    return str((item["metadata"].get("labels") or {}).get(SET_LABEL, ""))


def pod_of(item: Object, observed: Observed) -> Object | None:
    """A runner's pod: it has the runner's name."""
    return next((pod for pod in observed.pods if name_of(pod) == name_of(item)), None)


def listener_of(scale_set: str, observed: Observed) -> Object | None:
    """The listener of a set."""
    return next((one for one in observed.listeners if listens_for(one) == scale_set), None)


def listens_for(listener: Object) -> str:
    """The set of a listener."""
    return str((listener.get("spec") or {}).get("autoscalingRunnerSetName", ""))


def owned(owner: Object, items: Sequence[Object]) -> list[Object]:
    """Those whose owner this object is."""
    uid = owner["metadata"].get("uid")
    return [item for item in items if uid in [one.get("uid") for one in item["metadata"].get("ownerReferences") or []]]


def is_busy(runner: Object) -> bool:
    """Whether an EphemeralRunner has a job as far as the cluster knows: what says so differs between releases."""
    return any(status_of(runner).get(key) for key in JOB_FIELDS)


def controller(flavour: str, observed: Observed) -> Object | None:
    """The Deployment of a flavour's controller."""
    key, value = CONTROLLERS[flavour]
    return next((one for one in observed.controllers if (one["metadata"].get("labels") or {}).get(key) == value), None)


def age(time: Any, observed: Observed) -> float:
    """Seconds since then; 0 where that is no time."""
    try:
        return max(0.0, (observed.now - moment(time)).total_seconds())
    except (TypeError, ValueError):
        return 0.0


def lasting(item: Object, observed: Observed) -> bool:
    """Whether an object is older than what a thing may take."""
    return age(item["metadata"].get("creationTimestamp"), observed) > observed.grace


def deleting(item: Object, observed: Observed) -> bool:
    """Whether an object should be gone, and is held."""
    since = item["metadata"].get("deletionTimestamp")
    return bool(since) and age(since, observed) > observed.grace


def duration(seconds: float) -> str:
    """Seconds for a person."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def gone_owners(item: Object, kind: str, observed: Observed) -> list[str]:
    """What of those that would take an object's finalizer away is not there any more."""
    found = [] if controller("scale_set", observed) else ["the controller's Deployment"]
    spec, pool = item.get("spec") or {}, listens_for(item) if kind == "AutoscalingListener" else pool_of(item)
    if kind != "AutoscalingRunnerSet" and pool not in {name_of(one) for one in observed.sets}:
        found.append(f"its scale set {pool}")
    secret = credential_of(spec)
    if kind in ("EphemeralRunner", "EphemeralRunnerSet", "AutoscalingRunnerSet") and secret not in observed.secrets:
        found.append(f"its credential, Secret {secret}")
    return found


def credential_of(spec: Mapping[str, Any]) -> str:
    """The Secret that a set, its runner set or a runner proves itself with."""
    return str(spec.get("githubConfigSecret") or (spec.get("ephemeralRunnerSpec") or {}).get("githubConfigSecret", ""))


# Scale sets.


def _controllers(observed: Observed) -> Iterator[Problem]:
    for flavour, needed in (("scale_set", [*observed.sets, *observed.runners]), ("legacy", observed.deployments)):
        found = controller(flavour, observed)
        label = "=".join(CONTROLLERS[flavour])
        if needed and not found:
            about = Ref("Deployment", "", label, "")
            yield Problem(Kind.CONTROLLER_DOWN, "", about, f"no Deployment with the label {label}, expected one")
        elif needed and found and not status_of(found).get("readyReplicas"):
            wanted = (found.get("spec") or {}).get("replicas", 1)
            reason = f"no pod of the runner controller is ready, its Deployment wants {wanted}"
            yield Problem(Kind.CONTROLLER_DOWN, "", ref(found, "Deployment"), reason)


def _set_pool(item: Object, observed: Observed) -> Pool:
    name, spec = name_of(item), item.get("spec") or {}
    answers = observed.answers.get(name, Answers())
    busy = idle = starting = failed = 0
    for runner in _alive(name, observed):
        if status_of(runner).get("phase") == "Failed":
            failed += 1
        elif is_busy(runner):
            busy += 1
        elif status_of(runner).get("ready"):
            idle += 1
        else:
            starting += 1
    figures = {"busy": busy, "idle": idle, "starting": starting, "failed": failed}
    return Pool(
        name=name,
        flavour="scale_set",
        listener=_listener_state(name, observed),
        queue=answers.waiting,
        oldest=answers.oldest,
        min=int(spec.get("minRunners") or 0),
        max=spec.get("maxRunners"),
        version=answers.version,
        days_left=answers.days_left,
        **figures,
    )


def _alive(scale_set: str, observed: Observed) -> list[Object]:
    """EphemeralRunners of a set that are not ending."""
    return [
        runner
        for runner in observed.runners
        if pool_of(runner) == scale_set
        and not runner["metadata"].get("deletionTimestamp")
        and status_of(runner).get("phase") != "Succeeded"
    ]


def _listener_pod(listener: Object, observed: Observed) -> Object | None:
    return next((pod for pod in observed.listener_pods if name_of(pod) == name_of(listener)), None)


def _listener_state(scale_set: str, observed: Observed) -> str:
    listener = listener_of(scale_set, observed)
    if not listener:
        return "missing"
    if listener["metadata"].get("deletionTimestamp"):
        return "ending"
    pod = _listener_pod(listener, observed)
    if pod and status_of(pod).get("phase") == "Running" and not pod_problem(pod):
        return "running"
    return "failing" if _listener_trouble(listener, observed) else "starting"


def _listener_trouble(listener: Object, observed: Observed) -> str:
    """Why a listener does not run, once it has had the time to."""
    pod = _listener_pod(listener, observed)
    if not pod:
        return "it has no pod" if lasting(listener, observed) else ""
    return pod_problem(pod, observed.events) if lasting(pod, observed) else ""


def _set_problems(item: Object, pool: Pool, observed: Observed) -> Iterator[Problem]:
    answers, about = observed.answers.get(pool.name, Answers()), ref(item, "AutoscalingRunnerSet")
    secret = credential_of(item.get("spec") or {})
    if secret not in observed.secrets:
        yield Problem(Kind.CREDENTIAL_MISSING, pool.name, about, f"its credential, Secret {secret}, is not there")
    if answers.problem:
        yield Problem(Kind.GITHUB_SILENT, pool.name, about, clean(answers.problem))
    if "Outdated" in (status_of(item).get("phase"), status_of(item).get("state")):
        reason = "switched off: GitHub told a runner that its version is too old, and the set takes no job until its"
        yield Problem(Kind.OUTDATED, pool.name, about, f"{reason} runners are others")
        return
    yield from _registration(item, pool.name, answers, observed)
    yield from _listener_problems(item, pool.name, observed)
    yield from _runner_problems(pool.name, observed)
    yield from _too_few(item, pool, observed)
    yield from _queue(pool, about, observed)
    yield from _version(pool, about)


def _registration(item: Object, name: str, answers: Answers, observed: Observed) -> Iterator[Problem]:
    about, number = ref(item, "AutoscalingRunnerSet"), (item["metadata"].get("annotations") or {}).get(SET_ID)
    if not number and lasting(item, observed):
        reason = "its controller has not registered it with the service, and says in its log why"
        yield Problem(Kind.NOT_REGISTERED, name, about, reason)
    if answers.set_exists is False:
        reason = f"the service knows no scale set {number}: its jobs are queued and nobody takes them"
        yield Problem(Kind.SET_MISSING, name, about, clean(reason))


def _listener_problems(item: Object, name: str, observed: Observed) -> Iterator[Problem]:
    listener, registered = listener_of(name, observed), (item["metadata"].get("annotations") or {}).get(SET_ID)
    if not listener and registered and lasting(item, observed):
        held = [runner for runner in _alive(name, observed) if status_of(runner).get("phase") != "Failed"]
        waits = f"; its controller may wait for {len(held)} runners to end first" if held else ""
        reason = f"it has no AutoscalingListener, so nobody asks for its jobs{waits}"
        yield Problem(Kind.LISTENER_MISSING, name, ref(item, "AutoscalingRunnerSet"), reason)
    if listener and not listener["metadata"].get("deletionTimestamp"):
        trouble = _listener_trouble(listener, observed)
        if trouble:
            about = ref(listener, "AutoscalingListener")
            yield Problem(Kind.LISTENER_FAILING, name, about, clean(f"it does not run: {trouble}"))


def _queue(pool: Pool, about: Ref, observed: Observed) -> Iterator[Problem]:
    if pool.oldest is not None and pool.oldest > observed.patience:
        reason = f"a job waits for {duration(pool.oldest)}: {_why_queued(pool)}"
        yield Problem(Kind.QUEUE_WAITS, pool.name, about, reason)


def _why_queued(pool: Pool) -> str:
    busy = pool.busy or 0
    if pool.max is not None and busy >= pool.max:
        return f"each of the {pool.max} runners that it may have is busy"
    most = "any number of" if pool.max is None else pool.max
    return f"{busy} of at most {most} runners are busy, {pool.idle or 0} idle"


def _version(pool: Pool, about: Ref) -> Iterator[Problem]:
    if pool.days_left is not None and pool.days_left < FEW_DAYS:
        left = f"for {pool.days_left} more days" if pool.days_left >= 0 else "no more"
        reason = f"GitHub gives jobs to runner {pool.version} {left}"
        yield Problem(Kind.VERSION_ENDS, pool.name, about, reason)


def _runner_problems(scale_set: str, observed: Observed) -> Iterator[Problem]:
    for runner in sorted(observed.runners, key=name_of):
        if pool_of(runner) == scale_set and not runner["metadata"].get("deletionTimestamp"):
            found = _runner_problem(runner, observed)
            if found:
                yield Problem(found[0], scale_set, ref(runner, "EphemeralRunner"), clean(found[1]))


def _runner_problem(runner: Object, observed: Observed) -> tuple[Kind, str] | None:
    status, pod = status_of(runner), pod_of(runner, observed)
    said = ": ".join(str(status[key]) for key in ("reason", "message") if status.get(key))
    if status.get("phase") == "Failed":
        return Kind.RUNNER_FAILED, f"the controller gave it up, and its place is lost: {said or 'no reason given'}"
    ended = _ended(pod) if pod else None
    over = age(ended, observed) > observed.grace if ended else lasting(runner, observed) and not pod
    if status.get("phase") == "Succeeded" and over:
        return Kind.RUNNER_FINISHED, "it has finished, and is still there"
    node = str((pod.get("spec") or {}).get("nodeName") or "") if pod else ""
    if node and node not in observed.nodes:
        return Kind.NODE_GONE, f"its pod is on {node}, and the cluster has no such node"
    if ended and over:
        return Kind.RUNNER_FINISHED, f"its pod ended {duration(age(ended, observed))} ago, and is still there"
    if status.get("failures"):
        times = f"its pod failed {len(status['failures'])} times, and is tried again"
        return Kind.RUNNER_FAILING, f"{times}: {said or 'no reason given'}"
    if status.get("ready") or is_busy(runner) or not lasting(runner, observed):
        return None
    if pod and not lasting(pod, observed):
        return None
    why = pod_problem(pod, observed.events) if pod else said or _without_pod(status)
    return (Kind.RUNNER_NOT_STARTING, f"it does not start: {why}") if why else None


def _without_pod(status: Mapping[str, Any]) -> str:
    return "it has no pod" if status.get("runnerId") else "it has no pod, and is not registered with the service yet"


def _ended(pod: Object) -> str | None:
    """When the pod's runner ended."""
    for one in status_of(pod).get("containerStatuses") or []:
        ended = (one.get("state") or {}).get("terminated") if one.get("name") == "runner" else None
        if ended:
            return str(ended.get("finishedAt") or "")
    return None


def _too_few(item: Object, pool: Pool, observed: Observed) -> Iterator[Problem]:
    """Fewer runners than the set must have, and the first link of the chain that does not hold."""
    answers = observed.answers.get(pool.name, Answers())
    wanted = max(pool.min, answers.assigned or 0)
    wanted = min(wanted, pool.max) if pool.max is not None else wanted
    have = (pool.busy or 0) + (pool.idle or 0) + pool.starting
    if have >= wanted or pool.listener in ("missing", "failing") or not lasting(item, observed):
        return
    about = ref(item, "AutoscalingRunnerSet")
    current = [one for one in owned(item, observed.runner_sets) if not one["metadata"].get("deletionTimestamp")]
    asked = max((int((one.get("spec") or {}).get("replicas") or 0) for one in current), default=0)
    if not current:
        why = "it has no EphemeralRunnerSet, which its controller makes"
    elif asked < wanted:
        said = observed.listener_said.get(pool.name)
        why = f"its listener asked for {asked}; {f'it said last: {said}' if said else 'it said nothing of a failure'}"
    else:
        why = f"the listener asked for {asked}, and the controller made {have + pool.failed}"
        why += f", of which it gave up {pool.failed}" if pool.failed else ""
    text = f"it has {have} runners, expected {wanted} (min {pool.min}, {answers.assigned or 0} jobs assigned): {why}"
    yield Problem(Kind.RUNNERS_MISSING, pool.name, about, clean(text))


def _orphans(observed: Observed) -> Iterator[Problem]:
    names = {name_of(item) for item in observed.sets}
    for listener in observed.listeners:
        ends = listener["metadata"].get("deletionTimestamp") or not lasting(listener, observed)
        if listens_for(listener) not in names and not ends:
            reason = f"it listens for the scale set {listens_for(listener)}, which is gone"
            about = ref(listener, "AutoscalingListener")
            yield Problem(Kind.LISTENER_ORPHANED, listens_for(listener), about, reason)


def _stuck(observed: Observed) -> Iterator[Problem]:
    kinds = (
        ("AutoscalingRunnerSet", observed.sets),
        ("EphemeralRunnerSet", observed.runner_sets),
        ("AutoscalingListener", observed.listeners),
        ("EphemeralRunner", observed.runners),
    )
    listed = [(item, kind) for kind, items in kinds for item in items]
    listed += [(item, str(item["kind"])) for item in observed.protected]
    for item, kind in listed:
        held = [one for one in item["metadata"].get("finalizers") or [] if one in FINALIZERS]
        if held and deleting(item, observed):
            pool = {"AutoscalingListener": listens_for, "AutoscalingRunnerSet": name_of}.get(kind, pool_of)(item)
            since = duration(age(item["metadata"]["deletionTimestamp"], observed))
            gone = gone_owners(item, kind, observed)
            why = f"gone: {', '.join(gone)}" if gone else "all of those that would take it away are there"
            reason = f"it should be gone for {since}, and is held by {', '.join(held)}; {why}"
            yield Problem(Kind.FINALIZER_STUCK, pool, ref(item, kind), clean(reason))


# The legacy flavour.


def _legacy_runners(item: Object, observed: Observed) -> list[Object]:
    return [
        runner
        for runner in sorted(observed.legacy_runners, key=name_of)
        if (runner["metadata"].get("labels") or {}).get(DEPLOYMENT_LABEL) == name_of(item)
    ]


def _legacy_pool(item: Object, observed: Observed) -> Pool:
    name, spec = name_of(item), item.get("spec") or {}
    answers = observed.answers.get(name, Answers())
    running = starting = failed = busy = 0
    for runner in _legacy_runners(item, observed):
        pod = pod_of(runner, observed)
        phase = status_of(pod).get("phase") if pod else status_of(runner).get("phase")
        if runner["metadata"].get("deletionTimestamp"):
            continue
        if phase == "Failed":
            failed += 1
        elif phase == "Running" and pod and not pod_problem(pod):
            running += 1
            busy += (answers.runners or {}).get(name_of(runner), (False, False))[0]
        else:
            starting += 1
    wanted = 1 if spec.get("replicas") is None else int(spec["replicas"])
    known = answers.runners is not None
    figures = {"busy": busy if known else None, "idle": running - busy if known else None}
    return Pool(
        name=name,
        flavour="legacy",
        listener="",
        queue=None,
        oldest=answers.oldest,
        starting=starting,
        failed=failed,
        min=wanted,
        max=wanted,
        version=answers.version,
        days_left=answers.days_left,
        **figures,
    )


def _legacy_problems(item: Object, pool: Pool, observed: Observed) -> Iterator[Problem]:
    answers = observed.answers.get(pool.name, Answers())
    about, runners = ref(item, "RunnerDeployment"), _legacy_runners(item, observed)
    if answers.problem:
        yield Problem(Kind.GITHUB_SILENT, pool.name, about, clean(answers.problem))
    for runner in runners:
        found = _legacy_problem(runner, answers, observed)
        if found:
            yield Problem(found[0], pool.name, ref(runner, "Runner"), clean(found[1]))
    there = [runner for runner in runners if not runner["metadata"].get("deletionTimestamp")]
    if len(there) < pool.min and lasting(item, observed):
        reason = f"it has {len(there)} Runners, expected {pool.min}: its controller makes them"
        yield Problem(Kind.RUNNERS_MISSING, pool.name, about, reason)
    yield from _queue(pool, about, observed)
    yield from _version(pool, about)


def _legacy_problem(runner: Object, answers: Answers, observed: Observed) -> tuple[Kind, str] | None:
    meta, pod = runner["metadata"], pod_of(runner, observed)
    known = answers.runners
    if meta.get("deletionTimestamp"):
        since, held = duration(age(meta["deletionTimestamp"], observed)), ", ".join(meta.get("finalizers") or [])
        busy = known is not None and known.get(name_of(runner), (False, False))[0]
        why = "GitHub says that it has a job" if busy else f"held by {held or 'nothing'}"
        return (Kind.FINALIZER_STUCK, f"it should be gone for {since}: {why}") if deleting(runner, observed) else None
    if not pod:
        said = status_of(runner).get("message") or "its controller makes it"
        return (Kind.RUNNER_NOT_STARTING, f"it has no pod: {said}") if lasting(runner, observed) else None
    node = str((pod.get("spec") or {}).get("nodeName") or "")
    if node and node not in observed.nodes:
        return Kind.NODE_GONE, f"its pod is on {node}, and the cluster has no such node"
    if not lasting(pod, observed):
        return None
    trouble = pod_problem(pod, observed.events)
    if trouble:
        return Kind.RUNNER_NOT_STARTING, f"it does not start: {trouble}"
    if known is not None and status_of(pod).get("phase") == "Running" and name_of(runner) not in known:
        since = duration(age(meta.get("creationTimestamp"), observed))
        return Kind.REGISTRATION_STUCK, f"its pod runs for {since}, and GitHub does not know it as a runner"
    return None
