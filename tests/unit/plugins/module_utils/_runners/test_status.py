"""Each kind of problem, from objects that have it and from objects that are near it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners import lines
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners.status import (
    Answers,
    Kind,
    Observed,
    duration,
    judge,
)

from tests.unit.plugins.module_utils._runners.things import (
    OLD,
    RUNS,
    YOUNG,
    deployment,
    ended,
    legacy,
    legacy_runner,
    listener,
    observed,
    pod,
    protected,
    runner,
    runner_set,
    scale_set,
)

PENDING = {
    "phase": "Pending",
    "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no node fits"}],
}
FAILED = {"phase": "Failed", "ready": False, "reason": "TooManyPodFailures", "message": "Pod has failed to start"}
TRIED = {"ready": False, "phase": "Pending", "failures": {"a": True, "b": True}, "message": "exit code 1"}
WAITS = {"ready": False, "phase": "Pending"}
KNOWN = Answers(set_exists=True, available=2, assigned=3, running=1)
LEGACY_CONTROLLER = deployment(label=("app.kubernetes.io/name", "actions-runner-controller"))


def old_pool(**more: Any) -> Observed:
    """A RunnerDeployment and no scale set."""
    nothing: dict[str, Any] = {"sets": [], "runner_sets": [], "runners": [], "listeners": [], "listener_pods": []}
    given = {
        "deployments": [legacy()],
        "legacy_runners": [legacy_runner()],
        "pods": [pod("old-1")],
        "controllers": [LEGACY_CONTROLLER],
        "answers": {"old": Answers(runners={"old-1": (False, True)})},
    }
    return observed(**(nothing | given | more))


CASES: list[Any] = [
    pytest.param(observed(), None, "", id="all is well"),
    pytest.param(observed(controllers=[]), Kind.CONTROLLER_DOWN, "no Deployment with the label", id="no controller"),
    pytest.param(observed(controllers=[deployment(0)]), Kind.CONTROLLER_DOWN, "no pod of", id="controller not ready"),
    pytest.param(observed(secrets=frozenset()), Kind.CREDENTIAL_MISSING, "Secret github, is not there", id="no Secret"),
    pytest.param(
        observed(answers={"small": Answers(problem="HTTP 401")}), Kind.GITHUB_SILENT, "HTTP 401", id="GitHub refuses"
    ),
    pytest.param(
        observed(sets=[scale_set(status={"phase": "Outdated"})]), Kind.OUTDATED, "switched off", id="outdated"
    ),
    pytest.param(
        observed(sets=[scale_set(number="")]), Kind.NOT_REGISTERED, "has not registered it", id="not registered"
    ),
    pytest.param(observed(sets=[scale_set(number="", age=YOUNG)]), None, "", id="a new set is registered soon"),
    pytest.param(
        observed(answers={"small": Answers(set_exists=False)}), Kind.SET_MISSING, "no scale set 7", id="set missing"
    ),
    pytest.param(observed(answers={}), None, "", id="a set that GitHub was not asked about"),
    pytest.param(
        observed(listeners=[], listener_pods=[]), Kind.LISTENER_MISSING, "wait for 1 runners to end", id="no listener"
    ),
    pytest.param(
        observed(listeners=[], listener_pods=[], sets=[scale_set(age=YOUNG)]), None, "", id="a new set's listener"
    ),
    pytest.param(observed(listener_pods=[]), Kind.LISTENER_FAILING, "it has no pod", id="listener without a pod"),
    pytest.param(observed(listeners=[listener(age=YOUNG)], listener_pods=[]), None, "", id="a new listener"),
    pytest.param(
        observed(listener_pods=[pod("small-listener", status=PENDING)]),
        Kind.LISTENER_FAILING,
        "it does not run: Unschedulable: no node fits",
        id="a listener that does not start",
    ),
    pytest.param(
        observed(listener_pods=[pod("small-listener", status=PENDING, age=YOUNG)]), None, "", id="it just began to"
    ),
    pytest.param(
        observed(listeners=[listener(), listener(of="gone")]),
        Kind.LISTENER_ORPHANED,
        "gone, which is gone",
        id="orphan",
    ),
    pytest.param(
        observed(runners=[runner(status=FAILED)], runner_sets=[runner_set(0)]),
        Kind.RUNNER_FAILED,
        "TooManyPodFailures: Pod has failed to start",
        id="failed five times",
    ),
    pytest.param(
        observed(runners=[runner(status=TRIED)]), Kind.RUNNER_FAILING, "failed 2 times, and is tried", id="failing"
    ),
    pytest.param(observed(pods=[pod(node="lost")]), Kind.NODE_GONE, "on lost, and the cluster has no such", id="node"),
    pytest.param(observed(pods=[pod(status=ended(OLD))]), Kind.RUNNER_FINISHED, "its pod ended 60 min ago", id="ended"),
    pytest.param(observed(pods=[pod(status=ended(YOUNG))]), None, "", id="it just ended"),
    pytest.param(
        observed(runners=[runner(status={"phase": "Succeeded"})], pods=[]),
        Kind.RUNNER_FINISHED,
        "has finished, and is still there",
        id="finished without a pod",
    ),
    pytest.param(
        observed(runners=[runner(status=WAITS)], pods=[pod(status=PENDING)]),
        Kind.RUNNER_NOT_STARTING,
        "Unschedulable: no node fits",
        id="no room",
    ),
    pytest.param(
        observed(runners=[runner(status={**WAITS, "runnerId": 0})], pods=[]),
        Kind.RUNNER_NOT_STARTING,
        "not registered with the service yet",
        id="not registered",
    ),
    pytest.param(observed(runners=[runner(status=WAITS, age=YOUNG)], pods=[]), None, "", id="a new runner"),
    pytest.param(
        observed(runners=[runner(going=OLD)]),
        Kind.FINALIZER_STUCK,
        "should be gone for 60 min, and is held by ephemeralrunner.actions.github.com/finalizer",
        id="a runner that is held",
    ),
    pytest.param(observed(runners=[runner(going=YOUNG)]), None, "", id="a runner that goes"),
    pytest.param(observed(runners=[runner(going=OLD, finalizers=["other"])]), None, "", id="held by somebody else"),
    pytest.param(
        observed(
            sets=[scale_set(going=OLD, metadata={"finalizers": ["autoscalingrunnerset.actions.github.com/finalizer"]})]
        ),
        Kind.FINALIZER_STUCK,
        "all of those that would take it away are there",
        id="a set that is held",
    ),
    pytest.param(observed(protected=[protected(going=OLD)]), Kind.FINALIZER_STUCK, "its scale set gone", id="a role"),
    pytest.param(
        observed(sets=[scale_set(spec={"minRunners": 1})], runners=[], pods=[], runner_sets=[runner_set(0)]),
        Kind.RUNNERS_MISSING,
        "has 0 runners, expected 1 (min 1, 0 jobs assigned): its listener asked for 0; it said nothing of a failure",
        id="the listener asked for none",
    ),
    pytest.param(
        observed(
            sets=[scale_set(spec={"minRunners": 1})],
            runners=[],
            pods=[],
            runner_sets=[runner_set(0)],
            listener_said={"small": "409 Conflict: a session is open"},
        ),
        Kind.RUNNERS_MISSING,
        "it said last: 409 Conflict: a session is open",
        id="the listener has no session",
    ),
    pytest.param(
        observed(sets=[scale_set(spec={"minRunners": 1})], runners=[], pods=[]),
        Kind.RUNNERS_MISSING,
        "the listener asked for 1, and the controller made 0",
        id="the controller makes none",
    ),
    pytest.param(
        observed(sets=[scale_set(spec={"minRunners": 1})], runners=[], pods=[], runner_sets=[]),
        Kind.RUNNERS_MISSING,
        "it has no EphemeralRunnerSet",
        id="no runner set",
    ),
    pytest.param(
        observed(answers={"small": replace(KNOWN, oldest=7200.0)}, sets=[scale_set(spec={"maxRunners": 1})]),
        Kind.QUEUE_WAITS,
        "a job waits for 2 h: 0 of at most 1 runners are busy, 1 idle",
        id="a job that waits",
    ),
    pytest.param(
        observed(
            answers={"small": replace(KNOWN, oldest=7200.0)},
            sets=[scale_set(spec={"maxRunners": 1})],
            runners=[runner(status={"jobId": "j"})],
        ),
        Kind.QUEUE_WAITS,
        "each of the 1 runners that it may have is busy",
        id="at its maximum",
    ),
    pytest.param(
        observed(answers={"small": Answers(version="2.338.1", days_left=3)}),
        Kind.VERSION_ENDS,
        "jobs to runner 2.338.1 for 3 more days",
        id="three days",
    ),
    pytest.param(observed(answers={"small": Answers(version="2.338.1", days_left=14)}), None, "", id="two weeks"),
    pytest.param(
        observed(answers={"small": Answers(version="2.338.1", days_left=-1)}), Kind.VERSION_ENDS, "no more", id="over"
    ),
    pytest.param(old_pool(), None, "", id="legacy: all is well"),
    pytest.param(old_pool(legacy_runners=[]), Kind.RUNNERS_MISSING, "has 0 Runners, expected 1", id="legacy: none"),
    pytest.param(old_pool(deployments=[legacy(0)], legacy_runners=[]), None, "", id="legacy: none wanted"),
    pytest.param(
        old_pool(pods=[pod("old-1", status=PENDING)]), Kind.RUNNER_NOT_STARTING, "no node fits", id="legacy: no room"
    ),
    pytest.param(old_pool(pods=[]), Kind.RUNNER_NOT_STARTING, "it has no pod", id="legacy: no pod"),
    pytest.param(old_pool(pods=[pod("old-1", node="lost")]), Kind.NODE_GONE, "no such node", id="legacy: node gone"),
    pytest.param(
        old_pool(answers={"old": Answers(runners={})}),
        Kind.REGISTRATION_STUCK,
        "GitHub does not know it as a runner",
        id="legacy: not registered",
    ),
    pytest.param(old_pool(answers={"old": Answers()}), None, "", id="legacy: GitHub was not asked"),
    pytest.param(
        old_pool(deployments=[legacy(0)], legacy_runners=[legacy_runner(going=OLD)]),
        Kind.FINALIZER_STUCK,
        "held by runner.actions.summerwind.dev",
        id="legacy: held",
    ),
    pytest.param(
        old_pool(
            deployments=[legacy(0)],
            legacy_runners=[legacy_runner(going=OLD)],
            answers={"old": Answers(runners={"old-1": (True, True)})},
        ),
        Kind.FINALIZER_STUCK,
        "GitHub says that it has a job",
        id="legacy: held by a job",
    ),
    pytest.param(old_pool(controllers=[]), Kind.CONTROLLER_DOWN, "actions-runner-controller", id="legacy: controller"),
]


@pytest.mark.parametrize(("found", "kind", "reason"), CASES)
def test_what_is_named(found: Observed, kind: Kind | None, reason: str) -> None:
    problems = judge(found)[1]
    assert [problem.kind for problem in problems] == ([kind] if kind else [])
    assert all(reason in problem.reason for problem in problems)


def test_every_kind_is_seen() -> None:
    assert {case.values[1] for case in CASES} == {None, *Kind}


def test_a_runner_counts_once() -> None:
    """Busy by whichever field the release writes, and those that are going are none."""
    runners = [
        runner("a", status={"jobId": "x"}),
        runner("b", status={"jobRequestId": 3}),
        runner("c", status={"workflowRunId": 4, "ready": False}),
        runner("d", status={"phase": "Pending"}),
        runner("e", status={"ready": False}, age=YOUNG),
        runner("f", status=FAILED),
        runner("g", going=YOUNG),
        runner("h", status={"phase": "Succeeded"}, age=YOUNG),
    ]
    (pool,), _problems = judge(observed(runners=runners, answers={"small": KNOWN}))
    assert (pool.busy, pool.idle, pool.starting, pool.failed, pool.queue) == (3, 1, 1, 1, 4)


def test_the_table() -> None:
    """A line a pool, and one for each problem with what is done about it."""
    found = observed(
        answers={"small": replace(KNOWN, oldest=61.0, version="2.338.1", days_left=20)}, pods=[pod(node="lost")]
    )
    pools, problems = judge(found)
    told = lines.status_lines(pools, problems, found)
    assert told[0].split() == list(lines.COLUMNS)
    assert told[1].split() == ["small", "running", "4", "61", "s", "0", "1", "0", "0", "0", "4", "2.338.1", "20"]
    gone = "its pod is on lost, and the cluster has no such node. runner_heal.yml would delete EphemeralRunner r"
    assert told[2] == f"! small: EphemeralRunner r: {gone}"


def test_a_legacy_pool_says_what_is_not_known() -> None:
    found = old_pool(answers={})
    (pool,), problems = judge(found)
    assert (pool.flavour, pool.busy, pool.idle, pool.queue, pool.oldest) == ("legacy", None, None, None, None)
    assert lines.status_lines([pool], problems, found)[1].split()[:6] == ["old", "-", "-", "not", "known", "-"]
    (pool,), _problems = judge(old_pool(answers={"old": Answers(runners={"old-1": (True, True)})}))
    assert (pool.busy, pool.idle) == (1, 0)


@pytest.mark.parametrize(
    ("state", "found"),
    [
        ("running", observed()),
        ("missing", observed(listeners=[])),
        ("failing", observed(listener_pods=[])),
        ("ending", observed(listeners=[listener(going=YOUNG)], listener_pods=[])),
        ("starting", observed(listener_pods=[pod("small-listener", age=YOUNG, status=PENDING)])),
    ],
)
def test_the_state_of_a_listener(state: str, found: Observed) -> None:
    assert judge(found)[0][0].listener == state


def test_a_text_of_the_cluster_steers_no_terminal() -> None:
    status = {**FAILED, "message": "\x1b[31mred\nline"}
    (problem, *_rest) = judge(observed(runners=[runner(status=status)]))[1]
    assert "\x1b" not in problem.reason and "\n" not in problem.reason


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (2e5, "2 d")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_pod_that_runs_is_no_problem() -> None:
    assert RUNS["phase"] == "Running" and judge(observed(pods=[pod(status=RUNS)]))[1] == []
