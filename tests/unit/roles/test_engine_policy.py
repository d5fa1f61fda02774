"""What becomes of an engine's state before it starts, and what is told about it."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import engine_policy
import pytest
from engine_policy import Checkpoint, Marker, Persisted, Requests, Settings

SETTINGS = Settings("0.21.8", "/cache")
KEPT = Marker("0.21.8", 1000, 4096, results=40)
RAN = replace(KEPT, answered=True)


def checkpoint(name: str = "a", **more: Any) -> Checkpoint:
    return replace(Checkpoint(name, "0.21.8", 16, "runner-1", 900, "btrfs", 0, 4096, 890, True), **more)


NEW, OLD = checkpoint("new", time=900), checkpoint("old", time=800)
BAD = checkpoint("bad", time=950, bad=True)


@pytest.mark.parametrize(
    ("clean", "running", "full", "own", "others", "wanted", "action", "chosen", "missed"),
    [
        pytest.param(None, None, False, [], [], None, "fresh", None, False, id="a new node"),
        pytest.param(
            None,
            None,
            False,
            [],
            [OLD],
            None,
            "restore",
            "old",
            False,
            id="a new version begins with the checkpoint of another",
        ),
        pytest.param(
            None, None, False, [NEW], [OLD], None, "restore", "new", False, id="its own checkpoint goes first"
        ),
        pytest.param(None, None, True, [NEW], [], None, "adopt", None, False, id="a state from before this program"),
        pytest.param(KEPT, None, True, [NEW], [], None, "keep", None, False, id="stopped clean"),
        pytest.param(KEPT, RAN, True, [NEW], [], None, "keep", None, False, id="cut while the clean stop was noted"),
        pytest.param(KEPT, None, False, [NEW], [], None, "restore", "new", False, id="somebody removed the state"),
        pytest.param(
            replace(KEPT, origin="cold"), None, False, [NEW], [], None, "keep", None, False, id="prepared to start cold"
        ),
        pytest.param(None, RAN, True, [NEW, OLD], [], None, "restore", "new", True, id="killed"),
        pytest.param(None, RAN, True, [BAD, OLD], [], None, "restore", "old", True, id="killed, the newest is bad"),
        pytest.param(
            None, RAN, True, [], [OLD], None, "cold", None, True, id="killed, and only others have checkpoints"
        ),
        pytest.param(None, RAN, False, [NEW], [], None, "restore", "new", True, id="cut in the middle of a restore"),
        pytest.param(
            KEPT, None, True, [NEW, OLD], [], "old", "restore", "old", False, id="an operator wants an old one"
        ),
        pytest.param(KEPT, None, True, [NEW, OLD], [], "", "restore", "new", False, id="an operator wants the newest"),
        pytest.param(
            KEPT, None, True, [NEW], [], "lost", "keep", None, False, id="an operator wants one that is not there"
        ),
    ],
)
def test_judge(
    clean: Marker | None,
    running: Marker | None,
    full: bool,
    own: list[Checkpoint],
    others: list[Checkpoint],
    wanted: str | None,
    action: str,
    chosen: str | None,
    missed: bool,
) -> None:
    decision = engine_policy.choose_start(clean, running, full, own, others, wanted)
    assert (decision.action, decision.checkpoint and decision.checkpoint.name, decision.missed) == (
        action,
        chosen,
        missed,
    )
    assert decision.reason


@pytest.mark.parametrize(
    ("persisted", "own", "action"),
    [
        pytest.param(None, [NEW], "keep", id="no database to read"),
        pytest.param(Persisted(True, 4333, 1 << 20), [NEW], "keep", id="marked"),
        pytest.param(
            Persisted(False, 0, 4096), [NEW], "restore", id="an exit code of 0 and no mark: the engine would drop it"
        ),
        pytest.param(Persisted(False), [], "cold", id="damaged, and no checkpoint"),
    ],
)
def test_the_engines_own_mark_of_a_clean_stop_has_the_last_word(
    persisted: Persisted | None, own: list[Checkpoint], action: str
) -> None:
    decision = engine_policy.choose_start(KEPT, None, True, own, persisted=persisted)
    assert (decision.action, decision.missed) == (action, action != "keep")


@pytest.mark.parametrize(
    ("code", "persisted", "complained", "clean"),
    [
        (0, Persisted(True), True, True),
        (0, Persisted(False), False, False),
        (0, None, False, True),
        (0, None, True, False),
        (1, Persisted(True), False, False),
        (-9, None, False, False),
    ],
)
def test_exit_code_0_alone_is_no_clean_stop(
    code: int, persisted: Persisted | None, complained: bool, clean: bool
) -> None:
    assert engine_policy.stopped_clean(code, persisted, complained) is clean


@pytest.mark.parametrize(("known", "cached"), [("n-1 a", 1), ("n-1 b", 0), ("", -1)])
def test_judge_canary(known: str, cached: int) -> None:
    assert engine_policy.judge_canary(known, "n-1", "a") == ("n-1 a", cached)


@pytest.mark.parametrize(
    ("annotations", "requests"),
    [
        pytest.param({}, Requests(), id="none"),
        pytest.param({engine_policy.CHECKPOINT_ANNOTATION: "1700000000"}, Requests(1.7e9), id="a checkpoint"),
        pytest.param({engine_policy.CHECKPOINT_ANNOTATION: "soon"}, Requests(), id="nonsense"),
        pytest.param(
            {engine_policy.RESTORE_ANNOTATION: "2026-01-01T00:00:00Z"},
            Requests(None, "2026-01-01T00:00:00Z"),
            id="the newest",
        ),
        pytest.param(
            {engine_policy.RESTORE_ANNOTATION: "id 20260101T000000Z"},
            Requests(None, "id", "20260101T000000Z"),
            id="one by name",
        ),
        pytest.param({engine_policy.RESTORE_ANNOTATION: " "}, Requests(), id="empty"),
    ],
)
def test_read_requests(annotations: dict[str, str], requests: Requests) -> None:
    assert engine_policy.read_requests(annotations) == requests


def test_a_checkpoint_that_does_not_start_is_left_for_the_one_before_it_and_then_for_a_cold_start() -> None:
    """The way of an engine that never answers: each checkpoint twice, then cold, and then all over again, since it was
    not their fault.
    """
    own, running, path = [NEW, OLD], RAN, []
    for _start in range(8):
        decision = engine_policy.choose_start(None, running, True, own)
        own = [replace(item, bad=not decision.forgive and (item.bad or item.name in decision.bad)) for item in own]
        chosen = decision.checkpoint.name if decision.checkpoint else ""
        path.append(chosen or decision.action)
        running = Marker(
            "0.21.8", 1, origin="restored" if chosen else decision.action, checkpoint=chosen, tries=decision.tries
        )
    assert path == ["new", "new", "old", "old", "cold", "new", "new", "old"]


def test_a_checkpoint_that_answered_once_is_not_held_to_be_bad() -> None:
    running = Marker("0.21.8", 1, origin="restored", checkpoint="new", tries=1, answered=True)
    decision = engine_policy.choose_start(None, running, True, [NEW, OLD])
    assert (decision.bad, decision.checkpoint, decision.tries) == ((), NEW, 0)


@pytest.mark.parametrize(
    ("clean", "newest", "now", "asked", "due"),
    [
        pytest.param(KEPT, None, 1001, None, True, id="the first one"),
        pytest.param(
            replace(KEPT, bytes=0), None, 1001, None, True, id="the first one, of a cache that was not counted yet"
        ),
        pytest.param(replace(KEPT, bytes=0), NEW, 90000, None, False, id="nothing in it"),
        pytest.param(replace(KEPT, results=0), NEW, 90000, None, True, id="whatever the count of results"),
        pytest.param(replace(KEPT, origin="adopted"), None, 1001, None, False, id="not known to be clean"),
        pytest.param(replace(KEPT, origin="restored"), NEW, 90000, None, False, id="just restored"),
        pytest.param(KEPT, NEW, 1001, None, False, id="too early"),
        pytest.param(KEPT, NEW, 1001, 950.0, True, id="asked for"),
        pytest.param(KEPT, NEW, 1001, 850.0, False, id="asked for, and taken since"),
        pytest.param(KEPT, NEW, 4500, None, True, id="time"),
        pytest.param(KEPT, replace(NEW, stopped=1000), 90000, 89000.0, False, id="the engine has not run since"),
    ],
)
def test_checkpoint_due(clean: Marker, newest: Checkpoint | None, now: float, asked: float | None, due: bool) -> None:
    assert engine_policy.checkpoint_due(clean, newest, now, 3600, asked) is due


@pytest.mark.parametrize(
    ("newest", "started", "now", "used", "due"),
    [
        pytest.param(NEW, 500, 4600, True, True, id="an old checkpoint, and a cache that was used"),
        pytest.param(NEW, 500, 4600, False, False, id="nothing new"),
        pytest.param(NEW, 500, 4400, True, False, id="a checkpoint that is young"),
        pytest.param(NEW, 2000, 4600, True, False, id="tried at the last start, in vain"),
        pytest.param(None, 500, 4200, True, True, id="no checkpoint yet"),
        pytest.param(None, 500, 9000, False, False, id="nothing to keep"),
    ],
)
def test_rest_due(newest: Checkpoint | None, started: float, now: float, used: bool, due: bool) -> None:
    assert engine_policy.rest_due(newest, started, now, 3600, used, calm=True) is due
    assert not engine_policy.rest_due(newest, started, now, 0, used, calm=True)


@pytest.mark.parametrize(
    ("ran", "calm", "due"), [(3599, True, False), (3600, True, True), (7199, False, False), (7200, False, True)]
)
def test_without_a_calm_an_engine_runs_twice_as_long(ran: float, calm: bool, due: bool) -> None:
    assert engine_policy.rest_due(None, 1000, 1000 + ran, 3600, used=True, calm=calm) is due


@pytest.mark.parametrize(
    ("checkpoints", "gone"),
    [
        pytest.param([NEW, OLD], ["old"], id="one beyond"),
        pytest.param([NEW], [], id="none beyond"),
        pytest.param([NEW, replace(BAD, time=850)], ["bad"], id="a bad one behind a good one"),
        pytest.param([BAD, NEW], [], id="a bad one that is the newest may be forgiven"),
    ],
)
def test_surplus(checkpoints: list[Checkpoint], gone: list[str]) -> None:
    assert [item.name for item in engine_policy.surplus(checkpoints, 1)] == gone


@pytest.mark.parametrize(
    ("other", "usable"),
    [
        pytest.param({}, True, id="same version"),
        pytest.param({"version": "0.21.9"}, True, id="same schema"),
        pytest.param({"version": "1.0.0", "schema": 17}, False, id="another schema"),
        pytest.param({"version": "0.22.0", "schema": None}, False, id="a schema that is not known"),
        pytest.param({"clean": False}, False, id="not of a clean stop"),
        pytest.param({"bad": True}, False, id="bad"),
    ],
)
def test_is_usable(other: dict[str, Any], usable: bool) -> None:
    assert engine_policy.is_usable(checkpoint(**other), SETTINGS) is usable


@pytest.mark.parametrize(
    ("version", "schema"),
    [
        *[
            (version, 16)
            for version in ("0.21.0", "0.21.11", "1.0.0-alpha", "1.0.0-beta", "1.0.0-beta.1", "1.0.0-beta.7")
        ],
        *[
            (version, 17)
            for version in ("1.0.0-beta.8", "1.0.0-beta.10", "1.0.0-beta.21", "1.0.0-rc.1", "1.0.0", "1.4.2")
        ],
        *[(version, None) for version in ("0.20.8", "2.0.0", "main", "", "0.21", "2.0.0-beta.1")],
    ],
)
def test_schema_of(version: str, schema: int | None) -> None:
    assert engine_policy.schema_of(version) == schema


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        pytest.param(json.dumps(asdict(KEPT)), True, id="whole"),
        pytest.param(json.dumps({**asdict(KEPT), "later": 1}), True, id="of a later release"),
        pytest.param(json.dumps(asdict(KEPT))[:-9], False, id="cut"),
        pytest.param("", False, id="empty"),
        pytest.param("[1]", False, id="a list"),
        pytest.param('{"time": 1}', False, id="without what it needs"),
    ],
)
def test_parse(text: str, whole: bool) -> None:
    assert engine_policy.parse(Marker, text) == (KEPT if whole else None)


MOUNTS = """\
22 1 253:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 22 259:1 / /var/lib/runnerfleet/engine rw shared:9 - xfs /dev/nvme0n1p1 rw
41 40 0:44 / /var/lib/with\\040space rw - btrfs /dev/loop1 rw
42 40 0:45 / /var/lib/with\\040space rw master:3 - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/runnerfleet/engine", "xfs"),
        ("/var/lib/with space", "tmpfs"),
        ("/var/lib/runnerfleet", None),
        ("/var/lib/runnerfleet/engine/0.21.8", None),
    ],
)
def test_mount_at(path: str, kind: str | None) -> None:
    assert engine_policy.mount_at(MOUNTS, path) == kind


def test_parse_metrics() -> None:
    page = '# TYPE a gauge\ndagger_connected_clients 2\ndagger_x{le="1"} 1.5e+09\nbroken\n'
    assert engine_policy.parse_metrics(page) == {"dagger_connected_clients": 2, "dagger_x": 1.5e9}


def test_only_the_pods_that_use_this_engine_are_ended() -> None:
    def pod(name: str, path: str | None) -> dict[str, Any]:
        volumes = [{"emptyDir": {}}] + ([{"hostPath": {"path": path}}] if path else [])
        return {"metadata": {"name": name}, "spec": {"volumes": volumes}}

    pods = [
        pod("b", "/run/e/0.21.8/"),
        pod("a", "/run/e/0.21.8"),
        pod("other-version", "/run/e/1.0.0"),
        pod("none", None),
        {"metadata": {}},
    ]
    assert [pod["metadata"]["name"] for pod in engine_policy.runner_pods(pods, "/run/e/0.21.8")] == ["a", "b"]


@pytest.mark.parametrize(
    ("cgroup", "uid"),
    [
        (
            "0::/kubepods.slice/kubepods-pod12345678_aaaa_bbbb_cccc_123456789abc.slice/cri-containerd-f.scope\n",
            "systemd",
        ),
        ("5:memory:/kubepods/burstable/pod12345678-aaaa-bbbb-cccc-123456789abc/0f0f\n4:cpu:/\n", "cgroupfs"),
        ("0::/../../pod12345678-aaaa-bbbb-cccc-123456789abc/f", "a cgroup namespace of its own"),
        ("0::/system.slice/ssh.service", ""),
        ("", ""),
    ],
)
def test_pod_of(cgroup: str, uid: str) -> None:
    assert engine_policy.pod_of(cgroup) == ("12345678-aaaa-bbbb-cccc-123456789abc" if uid else "")


@pytest.mark.parametrize("name", ["dagger", "a b", "x) S 1 (y"])
def test_start_of(name: str) -> None:
    assert engine_policy.start_of(
        f"12 ({name}) S 1 12 12 0 -1 4194560 1 0 0 0 5 6 0 0 20 0 1 0 4711 1000 10 18446744073709551615"
    ) == (
        name,
        4711,
    )


def test_old_events_go_and_their_numbers_stay() -> None:
    events: list[dict[str, Any]] = [{"kind": "wiped", "number": 1}] + [
        {"kind": "restored", "number": n} for n in range(1, 1202)
    ]
    kept = engine_policy.trimmed(events)
    assert len(kept) == engine_policy.EVENTS_KEPT + 1
    assert (
        engine_policy.numbered(kept, "wiped"),
        engine_policy.numbered(kept, "restored"),
        engine_policy.numbered(kept, "checkpoint"),
    ) == (1, 1201, 0)


def test_metrics_page() -> None:
    events = [{"kind": "restored", "number": 3}]
    page = engine_policy.exposition(
        {"node": "r", "version": "0.21.8"}, replace(RAN, origin="restored"), [BAD, NEW, OLD], events, (10**12, 5), True
    )
    found = engine_policy.parse_metrics(page)
    assert (found["runnerfleet_engine_state_clean"], found["runnerfleet_engine_answers"]) == (0, 1)
    assert (found["runnerfleet_engine_canary"], found["runnerfleet_engine_persisted_results"]) == (-1, 40)
    assert found["runnerfleet_engine_restores_total"] == 3
    assert found["runnerfleet_engine_wipes_total"] == 0
    assert found["runnerfleet_engine_checkpoints"] == 2
    assert found["runnerfleet_engine_checkpoint_timestamp_seconds"] == 900
    assert found["runnerfleet_engine_cache_filesystem_size_bytes"] == 10**12
    assert 'runnerfleet_engine_cache_filesystem_free_bytes{node="r",version="0.21.8"} 5\n' in page


def test_an_event_is_about_a_pod() -> None:
    event = engine_policy.kubernetes_event(
        {"name": "engine-x", "namespace": "dagger", "uid": "1"}, "EngineWiped", "m" * 2000, True, 0
    )
    assert event["metadata"] == {"generateName": "engine-x.", "namespace": "dagger"}
    assert event["involvedObject"]["kind"] == "Pod" and event["type"] == "Warning"
    assert event["firstTimestamp"] == "1970-01-01T00:00:00Z" and len(event["message"]) == 1000


def test_shares_of_a_disk_become_bytes_of_the_one_that_is_there() -> None:
    policies = [
        {"filters": ["type==exec.cachemount"], "maxUsedSpace": "60%"},
        {"all": True, "reservedSpace": "48%", "sweepSize": "10%"},
    ]
    config = {
        "logLevel": "info",
        "gc": {"enabled": True, "minFreeSpace": "5%", "maxUsedSpace": 7, "policies": policies},
    }
    found = engine_policy.exact_config(config, 100 * 2**30 + 12345)
    assert found["logLevel"] == "info" and found["gc"]["enabled"] is True and found["gc"]["maxUsedSpace"] == 7
    assert found["gc"]["minFreeSpace"] == 5 * 2**30
    assert found["gc"]["policies"] == [
        {"filters": ["type==exec.cachemount"], "maxUsedSpace": 60 * 2**30},
        {"all": True, "reservedSpace": 48 * 2**30, "sweepSize": "10%"},  # a share of the span, not of the disk
    ]


@pytest.mark.parametrize("config", [{}, {"gc": None}, {"gc": {"policies": None}}, {"gc": {"reservedSpace": "10GB"}}])
def test_an_engine_json_without_shares_stays(config: dict[str, Any]) -> None:
    assert engine_policy.exact_config(config, 1000) == config
