# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What becomes of an engine's state on its node: pure decisions, from markers and checkpoints to what is done. Private
to the collection.

The engine's pod runs this file beside those of roles/dagger_engine/files, with the Python of its host: only the
standard library here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from typing import Any, TypeVar

EVENTS_KEPT = 1000
TRIES = 2  # starts on one checkpoint that may be cut short before it is held to be bad
CHECKPOINT_ANNOTATION = "runnerfleet.dev/engine-checkpoint"  # of a node: take one if the last is older than this time
RESTORE_ANNOTATION = (
    "runnerfleet.dev/engine-restore"  # of a node: <id> <checkpoint, or nothing for the newest>, obeyed once for an id
)
# What an engine logs when it drops its cache at the start, when it begins to write its cache down at the stop, and when
# that failed.
DROPPED = ("local cache state invalid; resetting", "dagql persistence store marked unclean; wiping")
CLOSING = "starting dagql cache close"
NOT_PERSISTED = ("failed to persist dagql cache", "dagql cache close exiting with error")
_STAMP = "%Y%m%dT%H%M%SZ"
_SAMPLE = re.compile(r"^([a-z_:]+)(?:\{[^}]*\})? ([-+0-9.eE]+|NaN)", re.MULTILINE)
# Only these may be restored into another version of the engine; see the engine's schemaVersion.
_SCHEMAS = (((0, 21, 0, "", 0), 16), ((1, 0, 0, "beta", 8), 17), ((2, 0, 0, "", 0), None))

# Limits of the collector of garbage that are shares of the whole filesystem. sweepSize is a share of something else.
_SHARES = ("reservedSpace", "maxUsedSpace", "minFreeSpace")
_MIB = 1024**2

T = TypeVar("T")


@dataclass(frozen=True)
class Settings:
    """What the role says about one engine of a node; read from settings.json."""

    version: str
    cache: str
    namespace: str = "dagger"
    runner_namespace: str = "arc-runners"
    sockets: str = ""
    entrypoint: Sequence[str] = ("dagger-entrypoint.sh",)
    keep: int = 2
    interval: int = 21600
    when_idle: bool = True
    max_files: int = 1000000
    min_free: int = 10
    drain_deadline: int = 480
    client_grace: int = 30
    kubeconfig: str = "/etc/kubernetes/kubelet.conf"

    @property
    def base(self) -> str:
        """Where all of this engine lies on the cache filesystem."""
        return f"{self.cache}/{self.version}"


def exact_config(config: Mapping[str, Any], size: int) -> dict[str, Any]:
    """engine.json with shares of a filesystem of so many bytes as bytes: an engine rounds a percentage up to its own
    kind of gigabyte.
    """

    def exact(limits: Mapping[str, Any]) -> dict[str, Any]:
        return {key: _bytes(value, size) if key in _SHARES else value for key, value in limits.items()}

    gc = config.get("gc")
    if not isinstance(gc, Mapping):
        return dict(config)
    found = exact(gc)
    if isinstance(found.get("policies"), list):
        found["policies"] = [exact(policy) for policy in found["policies"]]
    return {**config, "gc": found}


def _bytes(value: Any, size: int) -> Any:
    share = re.fullmatch(r"(\d+)%", value) if isinstance(value, str) else None
    return size * int(share.group(1)) // 100 // _MIB * _MIB if share else value


@dataclass(frozen=True)
class Marker:
    """clean.json, or running.json while the engine runs. A figure of -1 is not known."""

    version: str
    time: float
    bytes: int = -1  # of the cache, as the engine counted last before it stopped
    origin: str = "kept"  # where the state came from: kept, adopted, fresh, restored or cold
    checkpoint: str = ""  # the one it was restored from
    tries: int = 0  # starts on that checkpoint that were cut short
    answered: bool = False
    results: int = -1  # that the engine wrote down when it stopped last
    persisted: int = -1  # bytes of them in its database
    canary: str = ""  # `<nonce> <answer>` of the canary step that is in this cache
    cached: int = -1  # whether the canary step was cached after this start: 1, or 0 where it had to run anew


@dataclass(frozen=True)
class Persisted:
    """What an engine wrote down when it stopped, in state/dagql-cache.db."""

    clean: bool  # its own mark, without which it drops its cache at the next start
    results: int = -1
    bytes: int = -1


@dataclass(frozen=True)
class Requests:
    """What the annotations of a node ask of an engine that starts there."""

    checkpoint: float | None = None
    restore: str = ""  # its id; empty where nothing is asked for
    name: str = ""  # the checkpoint to restore, empty for the newest


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint, as it describes itself in checkpoint.json."""

    name: str
    version: str
    schema: int | None
    node: str
    time: float
    method: str
    files: int
    bytes: int
    stopped: float  # when the engine had stopped, which tells one state from the next
    clean: bool
    bad: bool = False  # an engine did not start on it; a file beside checkpoint.json says so
    results: int = -1
    persisted: int = -1
    canary: str = ""


@dataclass(frozen=True)
class Decision:
    """What to do before the engine starts."""

    action: str  # keep, adopt, fresh, restore or cold
    reason: str
    checkpoint: Checkpoint | None = None
    bad: Sequence[str] = ()  # checkpoints that turned out not to start
    forgive: bool = False  # a cold start failed as well, so no checkpoint was at fault
    tries: int = 0
    missed: bool = False  # the engine was not stopped clean


def schema_of(version: str) -> int | None:
    """The schema of an engine version's cache, None where it is not known."""
    found = re.match(r"(\d+)\.(\d+)\.(\d+)(?:-([a-z]+)(?:\.(\d+))?)?$", version)
    if not found:
        return None
    major, minor, patch = (int(part) for part in found.group(1, 2, 3))
    # Pre-releases come before their release: alpha, beta and rc are all before "~".
    number = (major, minor, patch, found.group(4) or "~", int(found.group(5) or 0))
    return next((schema for first, schema in reversed(_SCHEMAS) if number >= first), None)


def parse(kind: type[T], text: str) -> T | None:
    """A dataclass from JSON; None where a file was cut short, or lacks what it needs. What a later release adds is
    ignored.
    """
    try:
        data = json.loads(text)
        known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
        return kind(**{key: value for key, value in data.items() if key in known})
    except (ValueError, TypeError, AttributeError):
        return None


def stamp(time: float) -> str:
    """A time as checkpoints and set-aside states carry it in their names."""
    return datetime.fromtimestamp(time, timezone.utc).strftime(_STAMP)


def is_usable(checkpoint: Checkpoint, settings: Settings) -> bool:
    """Whether this engine may start on it: of a clean stop, and of its own version or schema."""
    same = checkpoint.version == settings.version
    schema = schema_of(settings.version)
    return checkpoint.clean and not checkpoint.bad and (same or (schema is not None and checkpoint.schema == schema))


def read_requests(annotations: Mapping[str, str]) -> Requests:
    """What a node's annotations ask for. What cannot be understood asks for nothing."""
    restore, _blank, name = annotations.get(RESTORE_ANNOTATION, "").strip().partition(" ")
    try:
        checkpoint: float | None = float(annotations[CHECKPOINT_ANNOTATION])
    except (KeyError, ValueError):
        checkpoint = None
    return Requests(checkpoint, restore, name.strip())


def choose_start(
    clean: Marker | None,
    running: Marker | None,
    full: bool,
    own: Sequence[Checkpoint],
    others: Sequence[Checkpoint] = (),
    wanted: str | None = None,
    persisted: Persisted | None = None,
) -> Decision:
    """What becomes of a state before the engine starts.

    `full`: the state directory holds something. `persisted`: what the engine's database says, None where there is none
    to read. `own`: checkpoints of this version, newest first; `others`: usable ones of other versions. `wanted`: the
    checkpoint that an operator asked for, empty for the newest.
    """
    good = [item for item in own if not item.bad]
    if wanted is not None:
        chosen = next((item for item in own if wanted in ("", item.name)), None)
        if chosen:
            return Decision("restore", f"an operator asked for checkpoint {chosen.name}", chosen)
    if clean and full and persisted and not persisted.clean:
        return _back(
            good, "the engine's own database has no mark of a clean stop, so that it would drop its cache", missed=True
        )
    if clean and (full or clean.origin in ("fresh", "cold")):
        return Decision("keep", "the engine was stopped clean")
    if clean:
        return _back(good, "the state is empty, and an engine had left its cache there")
    if running:
        return _unclean(running, own)
    if full:
        return Decision("adopt", "nothing is known about the last stop: the engine judges its state by itself")
    seeds = [*good, *others]
    if seeds:
        return Decision(
            "restore",
            f"there is no state yet, and checkpoint {seeds[0].name} of engine {seeds[0].version} fits",
            seeds[0],
        )
    return Decision("fresh", "there is no state yet")


def _back(good: Sequence[Checkpoint], reason: str, **more: Any) -> Decision:
    if good:
        return Decision("restore", f"{reason}; checkpoint {good[0].name} takes its place", good[0], **more)
    return Decision("cold", f"{reason}, and there is no checkpoint of it", **more)


def _unclean(running: Marker, own: Sequence[Checkpoint]) -> Decision:
    reason = "the engine was not stopped clean"
    if running.answered:
        return _back([item for item in own if not item.bad], reason, missed=True)
    if running.origin == "cold":
        # Whatever keeps this engine from starting, it was not the checkpoints.
        return _back(own, "the engine did not start on an empty state either", forgive=True)
    tries = running.tries + 1 if running.checkpoint else 0
    bad = (running.checkpoint,) if tries >= TRIES else ()
    good = [item for item in own if not item.bad and item.name not in bad]
    same = bool(good) and good[0].name == running.checkpoint
    return _back(good, f"{reason}, and never answered", bad=bad, tries=tries if same else 0, missed=True)


def checkpoint_due(clean: Marker, newest: Checkpoint | None, now: float, interval: float, asked: float | None) -> bool:
    """Whether the state that was stopped clean is worth a checkpoint: the engine ran since the last one, and it is
    time, or asked for.
    """
    if clean.origin != "kept":
        return False  # No engine wrote this marker when it stopped.
    if newest is None:
        return True
    if clean.bytes == 0:
        return False  # An older checkpoint with something in it is worth more.
    if clean.time <= newest.stopped:
        return False
    return now - newest.time >= interval or (asked is not None and asked > newest.time)


def rest_due(newest: Checkpoint | None, started: float, now: float, interval: float, used: bool, calm: bool) -> bool:
    """Whether an engine without clients is worth a stop for a checkpoint: it ran for long since the last one, and
    somebody used it.

    `started`: when this engine answered first; `used`: since then; `calm`: it had no client for long, which does not
    count once it ran for two intervals. A checkpoint that could not be taken is not tried again before another
    interval. An interval of 0 means one at each start that comes anyway.
    """
    ran = now - max(started, newest.time if newest else started)
    return used and 0 < interval <= ran and (calm or 2 * interval <= ran)


def stopped_clean(code: int, persisted: Persisted | None, complained: bool) -> bool:
    """Whether an engine that has ended kept its cache. Exit code 0 alone does not say so: it drops errors of its
    cache's close.

    Its database has the last word; where that cannot be read, its log.
    """
    return code == 0 and (persisted.clean if persisted else not complained)


def judge_canary(known: str, nonce: str, answer: str) -> tuple[str, int]:
    """What to remember of a canary step that has answered, and whether it was cached: 1, 0, or -1 where none was known
    before.
    """
    expected = known.partition(" ")[2]
    return f"{nonce} {answer}", int(expected == answer) if expected else -1


def surplus(checkpoints: Sequence[Checkpoint], keep: int) -> list[Checkpoint]:
    """What is beyond the newest `keep` good ones. A bad one goes when a good one is newer."""
    good = [item for item in checkpoints if not item.bad][:keep]
    return [item for item in checkpoints if item not in good and (not item.bad or (good and good[0].time > item.time))]


def parse_metrics(text: str) -> dict[str, float]:
    """The samples of a Prometheus page, without their labels."""
    return {name: float(value) for name, value in _SAMPLE.findall(text)}


def mount_at(mountinfo: str, path: str) -> str | None:
    """The filesystem type of what is mounted exactly at a path, None where nothing is. The last mount is the one on
    top.
    """
    found = None
    for line in mountinfo.splitlines():
        left, _dash, right = line.partition(" - ")
        words = left.split()
        if len(words) > 4 and words[4].encode().decode("unicode_escape") == path:
            found = right.split()[0]
    return found


def runner_pods(pods: Iterable[Mapping[str, Any]], sockets: str) -> list[Mapping[str, Any]]:
    """The pods that use the engine behind a socket directory, by their hostPath volumes; ordered by name."""

    def paths(pod: Mapping[str, Any]) -> list[str]:
        volumes = (pod.get("spec") or {}).get("volumes") or []
        return [(volume.get("hostPath") or {}).get("path", "").rstrip("/") for volume in volumes]

    return sorted((pod for pod in pods if sockets in paths(pod)), key=lambda pod: str(pod["metadata"]["name"]))


def being_prepared(pod: Mapping[str, Any]) -> bool:
    """Whether a runner's pod is on its way to its first job: its engine must not go away under it."""
    return (pod.get("status") or {}).get("phase") == "Pending"


def pod_of(cgroup: str) -> str:
    """The uid of the pod that a process belongs to, from its /proc/<pid>/cgroup, whichever driver made it; empty for
    none.
    """
    found = re.search(r"pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12})", cgroup)
    return found.group(1).replace("_", "-") if found else ""


def start_of(stat: str) -> tuple[str, int]:
    """The name of a process and when it started, in clock ticks since the machine's boot, from its /proc/<pid>/stat."""
    name, _bracket, rest = stat.partition("(")[2].rpartition(")")
    return name, int(rest.split()[19])


def numbered(events: Sequence[Mapping[str, Any]], kind: str) -> int:
    """How often a kind of event has happened; each event carries its own number, so that old ones may go."""
    return max((int(event.get("number", 0)) for event in events if event.get("kind") == kind), default=0)


def trimmed(events: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The newest events, and the last one of each kind, which holds its number."""
    last = {str(event.get("kind")): index for index, event in enumerate(events)}
    start = len(events) - EVENTS_KEPT
    return [event for index, event in enumerate(events) if index >= start or last[str(event.get("kind"))] == index]


def kubernetes_event(
    involved: Mapping[str, str], reason: str, message: str, warning: bool, now: float
) -> dict[str, Any]:
    """An Event of the core API about a pod."""
    time = datetime.fromtimestamp(now, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{involved['name']}.", "namespace": involved["namespace"]},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", **involved},
        "reason": reason,
        "message": message[:1000],
        "type": "Warning" if warning else "Normal",
        "source": {"component": "runnerfleet-engine"},
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
    }


def describe(
    clean: Marker | None, running: Marker | None, checkpoints: Sequence[Checkpoint], events: Sequence[Any]
) -> dict[str, Any]:
    """All that is known about a state, as JSON."""
    return {
        "clean": asdict(clean) if clean else None,
        "running": asdict(running) if running else None,
        "checkpoints": [asdict(item) for item in checkpoints],
        "events": list(events)[-100:],
    }


def exposition(
    labels: Mapping[str, str],
    marker: Marker | None,
    checkpoints: Sequence[Checkpoint],
    events: Sequence[Mapping[str, Any]],
    filesystem: tuple[int, int],
    answers: bool,
) -> str:
    """The metrics of a state and of its engine, for Prometheus."""
    good = [item for item in checkpoints if not item.bad]
    newest = good[0] if good else None
    marker = marker or Marker("", 0)
    whole = marker.origin not in ("restored", "cold")
    lines = []
    for name, kind, text, value in (
        ("answers", "gauge", "1 if the engine answers: its metrics and its socket", int(answers)),
        ("state_clean", "gauge", "1 unless the last start had to restore a checkpoint or to begin cold", int(whole)),
        ("restores_total", "counter", "States that a checkpoint took the place of", numbered(events, "restored")),
        ("wipes_total", "counter", "Caches that were lost", numbered(events, "wiped")),
        ("clean_stop_missed_total", "counter", "Stops that were not clean", numbered(events, "clean_stop_missed")),
        (
            "canary",
            "gauge",
            "1 if the canary step was cached after the start, 0 if it had to run anew, -1 if not known",
            marker.cached,
        ),
        (
            "persisted_results",
            "gauge",
            "Results that the engine wrote down at its last stop, -1 if not known",
            marker.results,
        ),
        ("persisted_bytes", "gauge", "Bytes of these in its database, -1 if not known", marker.persisted),
        ("checkpoints", "gauge", "Checkpoints that an engine may start on", len(good)),
        ("checkpoint_bytes", "gauge", "Size of the cache in the newest checkpoint", newest.bytes if newest else 0),
        (
            "checkpoint_timestamp_seconds",
            "gauge",
            "When the newest checkpoint was taken, 0 without one",
            newest.time if newest else 0,
        ),
        ("cache_filesystem_size_bytes", "gauge", "Size of the cache filesystem", filesystem[0]),
        ("cache_filesystem_free_bytes", "gauge", "What is free on the cache filesystem", filesystem[1]),
    ):
        tags = ",".join(f'{key}="{value}"' for key, value in labels.items())
        lines += [f"# HELP runnerfleet_engine_{name} {text}", f"# TYPE runnerfleet_engine_{name} {kind}"]
        lines.append(f"runnerfleet_engine_{name}{{{tags}}} {value:.15g}")
    return "\n".join(lines) + "\n"
