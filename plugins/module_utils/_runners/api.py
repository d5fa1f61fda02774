# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests to the Kubernetes API about runner pools, and one look at all of them. Private to the collection."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.client import (
    GONE,
    LEGACY_RUNNERS,
    METADATA,
    NOT_FOUND,
    SCALE_SETS,
    Cluster,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._github.requests import version_of, without_tokens
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners.plan_heal import Action, Verb
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners.service import (
    GitHub,
    QueuedJob,
    Silent,
    oldest,
    server_and_owner,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners.status import (
    FINALIZERS,
    PROTECTION,
    SET_ID,
    Answers,
    Object,
    Observed,
    Ref,
    credential_of,
    deleting,
    listener_of,
    name_of,
    pool_of,
    status_of,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._text import clean

RBAC = "/apis/rbac.authorization.k8s.io/v1"
THREADS = 8
NAMESPACE_ARGS: dict[str, Any] = {
    "namespace": {"type": "str", "default": "arc-runners"},
    "controller_namespace": {"type": "str", "default": "arc-systems"},
}
RUNNER_ARGS: dict[str, Any] = {
    **NAMESPACE_ARGS,
    "ask_github": {"type": "bool", "default": True},
    "github_url": {"type": "str", "default": "https://github.com"},
    "legacy_secret": {"type": "str", "default": "controller-manager", "no_log": False},
    "grace": {"type": "int", "default": 300},
    "patience": {"type": "int", "default": 900},
}
TAIL = 200  # lines of a listener's log
# A line of a listener that tells of a failure.
_FAILURE = re.compile(r"error|fail|conflict|refused|unauthorized|forbidden|timeout", re.IGNORECASE)
_PLACES = {
    "AutoscalingRunnerSet": (SCALE_SETS, "autoscalingrunnersets"),
    "EphemeralRunnerSet": (SCALE_SETS, "ephemeralrunnersets"),
    "EphemeralRunner": (SCALE_SETS, "ephemeralrunners"),
    "AutoscalingListener": (SCALE_SETS, "autoscalinglisteners"),
    "Secret": ("/api/v1", "secrets"),
    "ServiceAccount": ("/api/v1", "serviceaccounts"),
    "Role": (RBAC, "roles"),
    "RoleBinding": (RBAC, "rolebindings"),
}


@dataclass(frozen=True)
class Access:
    """How GitHub is asked: not at all, or of the legacy flavour with the Secret of its controller. Scale sets name
    theirs.
    """

    ask: bool
    server: str
    legacy_secret: str


class RunnerCluster(Cluster):
    """A cluster with runners in one namespace, and their controller in another."""

    def __init__(self, api: Any, namespace: str, controller_namespace: str) -> None:
        super().__init__(api)
        self.namespace, self.controller_namespace = namespace, controller_namespace

    def look(self, grace: float, patience: float) -> Observed:
        """What the cluster has. Kinds of a controller that is not there are none."""

        def own(group: str, kind: str, namespace: str = self.namespace) -> list[dict[str, Any]]:
            return self.items(f"{group}/namespaces/{namespace}/{kind}", passed=(NOT_FOUND,))

        warnings = {"fieldSelector": "type!=Normal"}
        events = self.items(f"/api/v1/namespaces/{self.namespace}/events", warnings)
        if self.controller_namespace != self.namespace:
            events += self.items(f"/api/v1/namespaces/{self.controller_namespace}/events", warnings)
        protected = [
            {**item, "kind": kind}
            for kind in ("Secret", "ServiceAccount", "Role", "RoleBinding")
            for item in self._names(kind)
            if PROTECTION in (item["metadata"].get("finalizers") or [])
        ]
        found = Observed(
            now=datetime.now(timezone.utc),
            grace=grace,
            patience=patience,
            sets=own(SCALE_SETS, "autoscalingrunnersets"),
            runner_sets=own(SCALE_SETS, "ephemeralrunnersets"),
            runners=own(SCALE_SETS, "ephemeralrunners"),
            listeners=own(SCALE_SETS, "autoscalinglisteners", self.controller_namespace),
            pods=own("/api/v1", "pods"),
            listener_pods=own("/api/v1", "pods", self.controller_namespace),
            events=events,
            controllers=own("/apis/apps/v1", "deployments", self.controller_namespace),
            nodes=frozenset(name_of(item) for item in self.items("/api/v1/nodes", accept=METADATA)),
            secrets=frozenset(name_of(item) for item in self._names("Secret")),
            protected=protected,
            deployments=own(LEGACY_RUNNERS, "runnerdeployments"),
            legacy_runners=own(LEGACY_RUNNERS, "runners"),
        )
        said = {name_of(item): self.last_failure(item, found) for item in found.sets}
        return replace(found, listener_said={name: text for name, text in said.items() if text})

    def last_failure(self, scale_set: Object, observed: Observed) -> str:
        """The last line of a set's listener that tells of a failure, without a token; empty where it told of none."""
        listener = listener_of(name_of(scale_set), observed)
        if not listener or not any(name_of(pod) == name_of(listener) for pod in observed.listener_pods):
            return ""
        path = f"/api/v1/namespaces/{self.controller_namespace}/pods/{name_of(listener)}/log"
        try:
            lines = self.text(path, {"tailLines": str(TAIL)}, timeout=10).splitlines()
        except Exception:  # whatever its transport throws: the rest of the look is told without it
            return ""
        last = next((line for line in reversed(lines) if _FAILURE.search(line)), "")
        return clean(without_tokens(last), 200)

    def secret(self, namespace: str, name: str) -> dict[str, str]:
        """What a Secret holds, as text; nothing where there is none."""
        found = self.get(f"/api/v1/namespaces/{namespace}/secrets/{name}", passed=(NOT_FOUND,)).get("data") or {}
        return {key: base64.b64decode(value).decode(errors="replace").strip() for key, value in found.items()}

    def carry_out(self, action: Action) -> bool:
        """Change one object, if it is still the same; returns whether it was there to be changed."""
        path, uid = self._path(action.about), action.about.uid
        if action.verb is Verb.DELETE:
            return bool(self.delete(path, {"preconditions": {"uid": uid}}, passed=GONE))
        now = self.get(path, passed=(NOT_FOUND,))
        if not now or str(now["metadata"].get("uid", "")) != uid:
            return False
        version = {"resourceVersion": now["metadata"]["resourceVersion"]}
        bodies: dict[Verb, Callable[[], dict[str, Any]]] = {
            Verb.SCALE_TO_ZERO: lambda: {"metadata": version, "spec": _to_zero(now)},
            Verb.FORGET_ID: lambda: {"metadata": {**version, "annotations": {SET_ID: None}}},
            Verb.REMOVE_FINALIZERS: lambda: {"metadata": {**version, "finalizers": _other_finalizers(now)}},
        }
        return bool(self.patch(path, bodies[action.verb](), passed=GONE))

    def _names(self, kind: str) -> list[dict[str, Any]]:
        group, plural = _PLACES[kind]
        return self.items(f"{group}/namespaces/{self.namespace}/{plural}", accept=METADATA)

    def _path(self, about: Ref) -> str:
        group, plural = _PLACES[about.kind]
        return f"{group}/namespaces/{about.namespace}/{plural}/{about.name}"


def observer(api: Any, params: Mapping[str, Any]) -> tuple[RunnerCluster, Callable[[], Observed]]:
    """The cluster that a module's arguments name, and how it is looked at."""
    cluster = RunnerCluster(api, params["namespace"], params["controller_namespace"])
    access = Access(params["ask_github"], params["github_url"], params["legacy_secret"])
    return cluster, lambda: observe(cluster, access, params["grace"], params["patience"])


def observe(cluster: RunnerCluster, access: Access, grace: float, patience: float) -> Observed:
    """The cluster, and what GitHub says of each pool. Who does not answer about one owner is not asked again."""
    found = cluster.look(grace, patience)
    if not access.ask:
        return found
    asked: dict[tuple[str, str, str, str], list[Object]] = {}
    problems: dict[str, Answers] = {}
    for item, where in _questions(cluster, access, found):
        try:
            asked.setdefault((*server_and_owner(where[0]), *where[1:]), []).append(item)
        except Silent as silent:
            problems[name_of(item)] = Answers(problem=str(silent))
    with ThreadPoolExecutor(THREADS) as threads:
        told = threads.map(lambda group: _answers(cluster, group, asked[group], found), asked)
        return replace(found, answers={**problems, **{name: one for several in told for name, one in several.items()}})


def _questions(
    cluster: RunnerCluster, access: Access, observed: Observed
) -> Iterator[tuple[Object, tuple[str, str, str]]]:
    """Each pool with the address of its owner, and the namespace and name of the Secret that tells how to ask."""
    for item in observed.sets:
        spec = item.get("spec") or {}
        if credential_of(spec) in observed.secrets:
            yield item, (str(spec.get("githubConfigUrl", "")), cluster.namespace, credential_of(spec))
    for item in observed.deployments:
        spec = ((item.get("spec") or {}).get("template") or {}).get("spec") or {}
        owner = f"enterprises/{spec['enterprise']}" if spec.get("enterprise") else spec.get("organization")
        url = f"{access.server.rstrip('/')}/{spec.get('repository') or owner}"
        yield item, (url, cluster.controller_namespace, access.legacy_secret)


def _answers(
    cluster: RunnerCluster, group: tuple[str, str, str, str], items: Sequence[Object], observed: Observed
) -> dict[str, Answers]:
    server, owner, namespace, secret = group
    try:
        github = GitHub(server, owner, cluster.secret(namespace, secret))
        scale_sets = any((item["metadata"].get("annotations") or {}).get(SET_ID) for item in items)
        if scale_sets:
            github.register()
        jobs = github.queued_jobs()
        legacy = any(item in observed.deployments for item in items)
        runners = github.runners() if legacy else None
    except Silent as silent:
        return {name_of(item): Answers(problem=str(silent)) for item in items}
    return {name_of(item): _answer(github, item, jobs, runners, observed) for item in items}


def _answer(
    github: GitHub,
    item: Object,
    jobs: Sequence[QueuedJob] | None,
    runners: Mapping[str, tuple[bool, bool]] | None,
    observed: Observed,
) -> Answers:
    """What GitHub says of one pool: a scale set, or a RunnerDeployment."""
    template = ((item.get("spec") or {}).get("template") or {}).get("spec") or {}
    containers = {one.get("name"): one for one in template.get("containers") or []}
    image = str(template.get("image") or (containers.get("runner") or {}).get("image") or "")
    version, number = version_of(image), (item["metadata"].get("annotations") or {}).get(SET_ID)
    try:
        found = github.scale_set(int(number)) if number else None
        stuck = [one for one in observed.runners if pool_of(one) == name_of(item) and deleting(one, observed)]
        numbers = {int(status_of(one).get("runnerId") or 0) for one in stuck} - {0}
        agents = {one: github.knows_agent(one) for one in numbers} if number else {}
    except (Silent, ValueError) as error:
        return Answers(problem=str(error))
    labels = [name_of(item), *(one.get("name", "") for one in (found or {}).get("labels") or [])]
    labels += [*(template.get("labels") or []), "self-hosted", "linux", "x64"] if not number else []
    figures = (found or {}).get("statistics") or {}
    return Answers(
        set_exists=found is not None if number else None,
        available=figures.get("totalAvailableJobs"),
        assigned=figures.get("totalAssignedJobs"),
        running=figures.get("totalRunningJobs"),
        oldest=oldest(jobs, labels, observed.now),
        version=version,
        days_left=github.days_left(version, observed.now) if version else None,
        agents=agents,
        runners=runners,
    )


def _to_zero(item: Mapping[str, Any]) -> dict[str, int]:
    """No runner wanted; with the number of a patch, which newer controllers compare, one that always counts as new."""
    return {"replicas": 0, **({"patchID": 0} if "patchID" in (item.get("spec") or {}) else {})}


def _other_finalizers(item: Mapping[str, Any]) -> list[str]:
    return [one for one in item["metadata"].get("finalizers") or [] if one not in FINALIZERS]
