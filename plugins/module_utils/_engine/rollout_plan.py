# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which engines a roll-out stops and why, in which order, and whether a cache came through. Private to the collection.

Objects are as the API returns them. How far a node is stands in an annotation of the node, so that a run that was
killed goes on.
"""

from __future__ import annotations

import json
import math
import re
import time
from calendar import timegm
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.conditions import (
    TIME,
    is_not_reporting,
    owner,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.readiness import VERSION_LABEL
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._names import (
    CHECKPOINT_ANNOTATION,
    RESTORE_ANNOTATION,
    ROLLOUT_ANNOTATION,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._text import clean

HASH_LABEL = "controller-revision-hash"
# Gauges of the engine, and of what watches its state, by the name that a figure has here.
GAUGES = {
    "clients": "dagger_connected_clients",
    "bytes": "dagger_local_cache_total_disk_size_bytes",
    "canary": "runnerfleet_engine_canary",
    "persisted_results": "runnerfleet_engine_persisted_results",
    "persisted_bytes": "runnerfleet_engine_persisted_bytes",
    "clean": "runnerfleet_engine_state_clean",
    "restores": "runnerfleet_engine_restores_total",
    "wipes": "runnerfleet_engine_wipes_total",
    "missed": "runnerfleet_engine_clean_stop_missed_total",
    "checkpoints": "runnerfleet_engine_checkpoints",
    "checkpoint_bytes": "runnerfleet_engine_checkpoint_bytes",
    "checkpoint_time": "runnerfleet_engine_checkpoint_timestamp_seconds",
    "size": "runnerfleet_engine_cache_filesystem_size_bytes",
    "free": "runnerfleet_engine_cache_filesystem_free_bytes",
}
# What is compared before and after. An engine's count of entries is no part of it: open and recent sessions are most of
# that.
COMPARED = ("bytes", "canary", "persisted_results", "persisted_bytes", "restores", "wipes", "missed")
STEPS = ("drain", "stop", "start", "lost")
REQUESTS = ("", "checkpoint", "restore")
# Bounds of what nodes and their pods say.
MAX_NOTE, MAX_PROBLEM, MAX_ENGINES, MAX_CHECKPOINTS = 32 * 1024, 1000, 20, 200
MAX_GRACE = 24 * 3600
_WORD = re.compile(r"[\w.:-]{0,64}")
DOUBLED = 2  # an engine may count a cache with up to twice the bytes, and not so after its next start


class RolloutError(Exception):
    """Why a node's roll could not be finished."""


@dataclass(frozen=True)
class Progress:
    """How far a node's roll is: `engines` has, by DaemonSet, the uid of the pod that was to stop and its figures from
    before the stop.
    """

    step: str = "drain"  # drain, stop, start, lost
    since: str = ""
    problem: str = ""
    engines: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    request: str = ""  # what its engines are to do at their start: checkpoint or restore
    checkpoint: str = ""  # the one to restore
    asking: bool = (
        False  # the request stands: from right before the stop until the engines have answered, or the roll has ended
    )

    @property
    def lost(self) -> bool:
        """The node's cache did not come through, and nobody has said yet that this is known."""
        return self.step == "lost"

    def to_json(self) -> str:
        """What stands in the annotation."""
        return json.dumps(self.__dict__, sort_keys=True)

    def at(self, step: str, **changes: Any) -> Progress:
        """The same roll, further on."""
        return replace(self, step=step, **changes)


@dataclass(frozen=True)
class Stale:
    """An engine pod that is to be started anew."""

    daemonset: str
    pod: str
    uid: str
    reasons: tuple[str, ...]
    grace: int = 0  # seconds that it may take to stop


@dataclass(frozen=True)
class RolloutPlan:
    """What a roll-out does on one node."""

    node: str
    not_reporting: bool  # its kubelet stopped reporting: nothing on it can be stopped clean
    stale: tuple[Stale, ...]
    progress: Progress | None = None  # of a roll that began earlier

    @property
    def needed(self) -> bool:
        """There is something to stop, or to finish."""
        return bool(self.stale or self.progress)

    def lines(self) -> list[str]:
        """The plan for a person."""
        found = [f"{self.node}: engine pod {item.pod}: {'; '.join(item.reasons)}" for item in self.stale]
        if self.progress and not found:
            found = [
                f"{self.node}: finish the roll of {self.progress.since or 'before'}, which was at step "
                f"{self.progress.step}"
            ]
        return found


def read_progress(node: Mapping[str, Any]) -> Progress | None:
    """The roll that a node is in. One that cannot be read begins anew: nothing but the figures from before is lost with
    it.
    """
    text = (node["metadata"].get("annotations") or {}).get(ROLLOUT_ANNOTATION)
    if not text:
        return None
    try:
        return _progress(json.loads(text if len(text) <= MAX_NOTE else ""))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Progress()


def _progress(found: Mapping[str, Any]) -> Progress:
    """What a note says, in its types and bounds: a node can write its own. Raises what reading another value raises."""
    given = {item.name: found[item.name] for item in fields(Progress) if item.name in found}
    progress = Progress(**{**given, "problem": clean(given.get("problem", ""), MAX_PROBLEM)})
    if progress.step not in STEPS or progress.request not in REQUESTS or not isinstance(progress.asking, bool):
        raise ValueError("no step, or no request")
    if not _WORD.fullmatch(progress.since) or not _WORD.fullmatch(progress.checkpoint):
        raise ValueError("no time, or no name of a checkpoint")
    if progress.asking and progress.request == "checkpoint":
        time.strptime(progress.since, TIME)
    return replace(
        progress,
        engines={_name(name): _engine_note(entry) for name, entry in list(progress.engines.items())[:MAX_ENGINES]},
    )


def _engine_note(entry: Mapping[str, Any]) -> dict[str, Any]:
    figures = {key: float(entry[key]) for key in COMPARED if key in entry}
    if not all(math.isfinite(value) for value in figures.values()):
        raise ValueError("a figure that is none")
    grace = int(entry.get("grace") or 0)
    return {"uid": _name(entry["uid"]), "pod": _name(entry["pod"]), "grace": min(max(grace, 0), MAX_GRACE), **figures}


def _name(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[\w.-]{1,253}", value):
        raise ValueError("no name")
    return value


def read_state(text: str) -> dict[str, Any]:
    """What a node tells of an engine's state, in its types and bounds: its `checkpoints`. Empty where nothing of it can
    be read.
    """
    try:
        told = json.loads(text)["checkpoints"][:MAX_CHECKPOINTS]
        return {"checkpoints": [item for item in map(_checkpoint, told) if item]}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def _checkpoint(told: Any) -> dict[str, Any]:
    """One of them; nothing where it has no name."""
    if (
        not isinstance(told, Mapping)
        or not isinstance(told.get("name"), str)
        or not _WORD.fullmatch(told["name"])
        or not told["name"]
    ):
        return {}
    size = told.get("bytes")
    known = (
        {"bytes": size}
        if isinstance(size, (int, float)) and not isinstance(size, bool) and 0 <= size < math.inf
        else {}
    )
    words = {key: clean(told.get(key, ""), 40) for key in ("version", "method")}
    return {"name": told["name"], **words, **known, "bad": bool(told.get("bad"))}


def notes(before: Progress | None, now: Progress | None) -> dict[str, str | None]:
    """The annotations of a node, None for those that go. A request stands in them only while its roll says so, whoever
    goes on with it.
    """
    found: dict[str, str | None] = {ROLLOUT_ANNOTATION: now.to_json() if now else None, RESTORE_ANNOTATION: None}
    if before and before.request == "checkpoint" and before.asking:
        found[CHECKPOINT_ANNOTATION] = None  # one that a person wrote is left alone
    if now and now.asking and now.request == "restore":
        found[RESTORE_ANNOTATION] = f"{now.since} {now.checkpoint}".rstrip()
    elif now and now.asking:
        found[CHECKPOINT_ANNOTATION] = str(timegm(time.strptime(now.since, TIME)))
    return found


def read_gauges(text: str) -> dict[str, float]:
    """Figures from metrics in Prometheus' text form, summed over their labels. A negative gauge means that the engine
    does not know.
    """
    names = {name: key for key, name in GAUGES.items()}
    figures: dict[str, float] = {}
    for name, value in re.findall(r"^([a-z_:]+)(?:\{[^\n]*\})? +(\S+)", text, re.MULTILINE):
        key = names.get(name)
        try:
            if key and 0 <= float(value) < math.inf:
                figures[key] = figures.get(key, 0) + float(value)
        except ValueError:
            continue
    return figures


@dataclass(frozen=True)
class CacheVerdict:
    """What became of a cache over a stop and a start."""

    cache: str  # kept, lost, or not known
    reason: str = ""


def judge_cache(before: Mapping[str, float], after: Mapping[str, float], min_kept_percent: int) -> CacheVerdict:
    """Whether a cache came through. What is not known yet may become known: figures lag behind a start, by a minute at
    most.

    An engine keeps its cache as a whole or drops it as a whole, so one step that is known to have been in it stands for
    all: the canary. Bytes show what else is missing, with a margin: the collector of garbage takes a share while the
    engine stops.
    """
    if not before:
        return CacheVerdict("not known", "the engine said nothing of its cache before the stop")
    for key, what in (
        ("wipes", "the engine dropped its cache at its start"),
        ("restores", "the state was put back from a checkpoint"),
        ("missed", "the engine was not stopped clean"),
    ):
        if key in before and after.get(key, 0) > before[key]:
            return CacheVerdict("lost", what)
    if after.get("canary") == 0:
        return CacheVerdict("lost", "the canary step, which was cached before the stop, had to run anew")
    if before.get("persisted_results") and after.get("persisted_results") == 0:
        return CacheVerdict(
            "lost", f"it wrote no result down when it stopped, expected about {before['persisted_results']:.0f}"
        )
    for key, had in _expected_bytes(before, after).items():
        has = after.get(key)
        if has is None:
            return CacheVerdict("lost", f"it had {had:.0f} bytes before and its metrics do not say how many now")
        if has * 100 * DOUBLED < had * min_kept_percent:
            expected = (
                f"at least {min_kept_percent} % of half of the {had:.0f} from before, since an engine may "
                "count them twice"
            )
            return CacheVerdict("lost", f"it has {has:.0f} bytes, expected {expected}")
    if "canary" not in after:
        return CacheVerdict("not known", "it did not say whether its canary step was cached; nothing speaks for a loss")
    return CacheVerdict("kept")


def _expected_bytes(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What must be there afterwards, by figure. Of what was written at the stop before this one, some may have been
    pruned since.
    """
    expected = {"bytes": before.get("bytes", 0)}
    if "persisted_bytes" in before and "persisted_bytes" in after:
        expected["persisted_bytes"] = min(before["persisted_bytes"], expected["bytes"])
    return {key: value for key, value in expected.items() if value}


def judge_restore(before: Mapping[str, float], after: Mapping[str, float]) -> CacheVerdict:
    """Whether an engine came back from a checkpoint, as it was asked to."""
    if after.get("wipes", 0) > before.get("wipes", 0):
        return CacheVerdict("lost", "its cache was dropped, and no checkpoint took its place")
    restored = after.get("restores", 0) > before.get("restores", 0)
    return CacheVerdict("kept") if restored else CacheVerdict("lost", "no checkpoint was restored")


def wanted_revisions(
    daemonsets: Iterable[Mapping[str, Any]], revisions: Iterable[Mapping[str, Any]]
) -> dict[str, dict[str, Mapping[str, Any]]]:
    """The templates of each DaemonSet by their hash, the newest one last. Raises when the cluster has not digested a
    change yet.
    """
    by_owner: dict[str, list[Mapping[str, Any]]] = {}
    for item in revisions:
        for reference in item["metadata"].get("ownerReferences") or []:
            by_owner.setdefault(reference["uid"], []).append(item)
    found = {}
    for item in daemonsets:
        meta = item["metadata"]
        own = sorted(by_owner.get(meta["uid"], []), key=lambda revision: int(revision["revision"]))
        if not own or (item.get("status") or {}).get("observedGeneration", 0) < meta.get("generation", 0):
            raise RolloutError(f"the cluster has not looked at the DaemonSet {meta['name']} since it was changed")
        found[meta["name"]] = {
            revision["metadata"]["labels"][HASH_LABEL]: ((revision.get("data") or {}).get("spec") or {}).get("template")
            or {}
            for revision in own
        }
    return found


def with_intended(
    templates: Mapping[str, Mapping[str, Mapping[str, Any]]], intended: Iterable[Mapping[str, Any]]
) -> dict[str, dict[str, Mapping[str, Any]]]:
    """The templates, with those that DaemonSets are about to get as the newest ones."""
    found = {name: dict(known) for name, known in templates.items()}
    for item in intended:
        known, wanted = found.get(item["metadata"]["name"], {}), item["spec"]["template"]
        if known and changes(list(known.values())[-1], wanted):
            known["intended"] = wanted
    return found


def changes(old: Any, new: Any, path: str = "") -> list[str]:
    """Where two pod templates differ. Of values, only those that are no secret are told."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        found = []
        for key in sorted(set(old) | set(new)):
            if not key.startswith("$"):
                found += changes(old.get(key), new.get(key), f"{path}.{key}" if path else key)
        return found
    if _named(old) and _named(new):
        return changes({item["name"]: item for item in old}, {item["name"]: item for item in new}, path)
    if old == new:
        return []
    told = path.endswith(".image") or ".resources." in path
    return [f"{path}: {old or 'none'} -> {new or 'none'}" if told else f"{path} changed"]


def plan(
    nodes: Iterable[Mapping[str, Any]],
    pods: Iterable[Mapping[str, Any]],
    templates: Mapping[str, Mapping[str, Mapping[str, Any]]],
    older_than: str = "",
) -> list[RolloutPlan]:
    """One plan a node, those in the middle of a roll first, then by name. `older_than` restarts what was created before
    that time, too.
    """
    by_node: dict[str, list[Stale]] = {}
    for pod in pods:
        daemonset = owner(pod, "DaemonSet")
        if daemonset not in templates:
            continue
        known, meta = templates[daemonset], pod["metadata"]
        wanted, found = list(known)[-1], (meta.get("labels") or {}).get(HASH_LABEL, "")
        reasons: list[str] = []
        if found != wanted:
            reasons = (
                changes(known[found], known[wanted])
                if found in known
                else ["its template is too old to say what changed"]
            )
        elif older_than and meta["creationTimestamp"] < older_than:
            reasons = [f"asked to restart what runs since before {older_than}"]
        if reasons:
            spec = pod.get("spec") or {}
            item = Stale(
                daemonset, meta["name"], meta["uid"], tuple(reasons), spec.get("terminationGracePeriodSeconds") or 0
            )
            by_node.setdefault(spec.get("nodeName") or "", []).append(item)
    plans = []
    for node in nodes:
        name = node["metadata"]["name"]
        stale = tuple(sorted(by_node.get(name, []), key=lambda item: item.daemonset))
        plans.append(RolloutPlan(name, is_not_reporting(node), stale, read_progress(node)))
    return sorted(plans, key=lambda item: (item.progress is None, item.node))


def batches(plans: Sequence[RolloutPlan], canary: bool, at_once: int) -> list[list[RolloutPlan]]:
    """What rolls together. The first node alone shows whether the change is any good, unless the roll goes on from an
    earlier run.
    """
    rest = list(plans)
    first = [[rest.pop(0)]] if canary and rest and not rest[0].progress else []
    return first + [rest[start : start + at_once] for start in range(0, len(rest), at_once)]


def at_once(wanted: str, nodes: int) -> int:
    """How many nodes may be without an engine: a number, or a share of all nodes, never less than one."""
    number = re.fullmatch(r"(\d+)(%?)", wanted.strip())
    if not number or int(number.group(1)) == 0:
        raise ValueError(
            f"max_unavailable: found {wanted!r}, expected a number of nodes from 1 on, or a share such as 10%"
        )
    return max(1, nodes * int(number.group(1)) // 100) if number.group(2) else int(number.group(1))


def version(pod: Mapping[str, Any]) -> str:
    """Which engine a pod runs."""
    return str((pod["metadata"].get("labels") or {}).get(VERSION_LABEL, ""))


def _named(value: Any) -> bool:
    return (
        isinstance(value, Sequence)
        and bool(value)
        and all(isinstance(item, Mapping) and "name" in item for item in value)
    )
