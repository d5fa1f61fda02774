"""What is done about each problem; above all what is not."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners import heal_run
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners.plan_heal import Action, plan
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners.status import (
    FINALIZERS,
    PROTECTION,
    Answers,
    Kind,
    Observed,
    judge,
)

from tests.unit.plugins.module_utils._runners.test_status import CASES, FAILED, PENDING
from tests.unit.plugins.module_utils._runners.things import (
    OLD,
    Thing,
    deployment,
    listener,
    observed,
    pod,
    protected,
    runner,
    runner_set,
    scale_set,
)

GONE = Answers(set_exists=False)
HELD_RUNNER_SET = runner_set(metadata={"finalizers": [FINALIZERS[0]]}, going=OLD)
SET_HELD = {"metadata": {"finalizers": [FINALIZERS[3]]}}


def alone(**more: Any) -> Observed:
    """Objects whose controller was taken away before them."""
    nothing: dict[str, Any] = {"sets": [], "runner_sets": [], "runners": [], "listeners": [], "pods": []}
    nothing |= {"listener_pods": [], "controllers": [], "answers": {}}
    return observed(**(nothing | more))


def knows(known: bool) -> dict[str, Answers]:
    return {"small": Answers(agents={11: known})}


ACTIONS = [
    pytest.param(observed(), [], id="nothing is stuck"),
    pytest.param(observed(runners=[runner(status=FAILED)]), ["delete EphemeralRunner r"], id="failed"),
    pytest.param(observed(pods=[pod(node="lost")]), ["delete EphemeralRunner r"], id="node gone"),
    pytest.param(
        observed(runners=[runner(status={"jobId": "j"})], pods=[pod(node="lost")]),
        ["delete EphemeralRunner r"],
        id="node gone, with a job: its controller asks the service",
    ),
    pytest.param(
        observed(listener_pods=[]), ["delete AutoscalingListener small-listener"], id="listener without a pod"
    ),
    pytest.param(
        observed(listeners=[], listener_pods=[]), ["scale to zero EphemeralRunnerSet small-abc"], id="held by idle ones"
    ),
    pytest.param(observed(listeners=[], listener_pods=[], runner_sets=[runner_set(0)]), [], id="it comes by itself"),
    pytest.param(
        observed(listeners=[listener(), listener(of="gone")]),
        ["delete AutoscalingListener small-listener"],
        id="orphan",
    ),
    pytest.param(
        observed(answers={"small": GONE}),
        [
            "forget the id of AutoscalingRunnerSet small",
            "delete EphemeralRunnerSet small-abc",
            "delete AutoscalingListener small-listener",
        ],
        id="registered anew",
    ),
    pytest.param(observed(answers={"small": GONE}, sets=[scale_set(version="0.15.1")]), [], id="0.15 does it itself"),
    pytest.param(alone(runners=[runner(going=OLD)], answers=knows(False)), ["remove"], id="unknown to the service"),
    pytest.param(alone(runners=[runner(going=OLD)], secrets=frozenset()), ["remove"], id="nobody can ask any more"),
    pytest.param(alone(runners=[runner(going=OLD, status={"runnerId": 0})]), ["remove"], id="never registered"),
    pytest.param(
        observed(runners=[runner(going=OLD)], pods=[], secrets=frozenset(), answers={}),
        ["remove"],
        id="credential gone",
    ),
    pytest.param(alone(listeners=[listener(going=OLD)]), ["remove"], id="a listener without a controller"),
    pytest.param(alone(runner_sets=[HELD_RUNNER_SET]), ["remove"], id="ERS"),
    pytest.param(alone(sets=[scale_set(going=OLD, **SET_HELD)]), ["remove"], id="a set without a controller"),
    pytest.param(observed(protected=[protected(going=OLD)]), ["remove"], id="what a set protected"),
]


@pytest.mark.parametrize(("found", "expected"), ACTIONS)
def test_what_is_done(found: Observed, expected: list[str]) -> None:
    actions, _left = plan(judge(found)[1], found)
    told = [str(action) for _problem, action in actions]
    assert ["remove" if one.startswith("remove the finalizers of") else one for one in told] == expected


LEFT = [
    pytest.param(observed(controllers=[deployment(0)], runners=[runner(status=FAILED)]), "not running: bring it back"),
    pytest.param(observed(sets=[scale_set(status={"phase": "Outdated"}, version="0.15.1")]), "a newer runner"),
    pytest.param(observed(sets=[scale_set(status={"phase": "Outdated"})]), "uninstall its Helm release first"),
    pytest.param(observed(runners=[runner(going=OLD)]), "its controller is to do it"),
    pytest.param(observed(runners=[runner(going=OLD)], answers=knows(True)), "may have a job: let that end"),
    pytest.param(alone(runners=[runner(going=OLD)], answers=knows(True)), "still knows it as a runner"),
    pytest.param(alone(runners=[runner(going=OLD)]), "GitHub could not be asked"),
    pytest.param(
        alone(runners=[runner(going=OLD)], answers={"small": Answers(problem="HTTP 502")}), "GitHub could not be asked"
    ),
    pytest.param(alone(runners=[runner(going=OLD)], pods=[pod()], answers=knows(False)), "its pod is still there"),
    pytest.param(
        alone(runners=[runner()], runner_sets=[HELD_RUNNER_SET]),
        "it still has runners",
    ),
    pytest.param(
        alone(listeners=[listener(going=OLD)], listener_pods=[pod("small-listener")]), "its pod is still there"
    ),
    pytest.param(
        alone(sets=[scale_set(going=OLD, **SET_HELD)], answers={"small": Answers(set_exists=True)}),
        "the service may still have it",
    ),
    pytest.param(
        alone(sets=[scale_set(going=OLD, **SET_HELD)], runner_sets=[runner_set()]), "a runner set or a listener"
    ),
]


@pytest.mark.parametrize(("found", "advice"), LEFT, ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_left_to_a_person(found: Observed, advice: str) -> None:
    actions, left = plan(judge(found)[1], found)
    assert actions == [] and any(advice in line for line in left)


@pytest.mark.parametrize("found", [pytest.param(case.values[0], id=case.id) for case in CASES])
def test_nothing_is_refused_silently(found: Observed) -> None:
    """Each problem leads to an action, is waited for, or is told with what a person does."""
    for problem in judge(found)[1]:
        actions, left = plan([problem], found)
        waits = problem.kind in (Kind.NOT_REGISTERED, Kind.LISTENER_MISSING, Kind.SET_MISSING)
        assert actions or waits or (left and left[0].split(problem.reason)[1].strip(". "))


@pytest.mark.parametrize("found", [case.values[0] for case in CASES] + [case.values[0] for case in ACTIONS])
def test_no_pod_and_no_runner_with_a_job_is_ever_touched(found: Observed) -> None:
    """A pod is deleted by its controller alone, which asks the service."""
    kinds = {action.about.kind for _problem, action in plan(judge(found)[1], found)[0]}
    assert kinds <= {
        *("AutoscalingRunnerSet", "AutoscalingListener", "EphemeralRunnerSet", "EphemeralRunner"),
        *("Role", "RoleBinding", "Secret", "ServiceAccount"),
    }


class World:
    """A set whose runner failed and, once that is deleted, has no listener for a look."""

    def __init__(self, *looks: Observed) -> None:
        self.looks, self.did = list(looks), list[Action]()

    def look(self) -> Observed:
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]

    def carry_out(self, action: Action) -> bool:
        self.did.append(action)
        return True


@pytest.fixture(autouse=True)
def no_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heal_run, "POLL", 0)


def healing(world: World, timeout: float = 60, dry: bool = False) -> heal_run.Healed:
    healed = heal_run.Healed()
    heal_run.heal(world.look, world.carry_out, timeout, healed, dry)
    return healed


def test_it_looks_until_nothing_is_left() -> None:
    """What follows from an action is healed too; the same is not done twice."""
    broken = observed(runners=[runner(status=FAILED)])
    world = World(broken, broken, observed(listeners=[], listener_pods=[]), observed())
    told = healing(world).actions
    assert [str(action) for action in world.did] == [
        "delete EphemeralRunner r",
        "scale to zero EphemeralRunnerSet small-abc",
    ]
    assert told[0].startswith("delete EphemeralRunner r, since small: EphemeralRunner r: the controller gave it up")


def test_what_takes_its_place_is_waited_for() -> None:
    """A listener that is deleted is healed when another runs."""
    broken = observed(listener_pods=[])
    ending = observed(listeners=[listener(going=1)], listener_pods=[])
    world = World(broken, ending, ending, observed())
    assert len(healing(world).actions) == 1 and len(world.looks) == 1
    with pytest.raises(heal_run.HealError, match="small: its listener is ending, expected running"):
        healing(World(broken, ending), timeout=0.2)


def test_a_healthy_fleet_is_let_alone() -> None:
    world = World(observed())
    assert healing(world) == heal_run.Healed() and world.did == []


def test_check_mode_tells_and_does_nothing() -> None:
    world = World(observed(runners=[runner(status=FAILED)]))
    assert len(healing(world, dry=True).actions) == 1 and world.did == []


def test_what_was_gone_by_then_is_not_told() -> None:
    world = World(observed(runners=[runner(status=FAILED)]), observed())
    world.carry_out = lambda _action: False  # type: ignore[method-assign]
    assert healing(world).actions == []


def test_a_wait_that_ends_says_what_it_waited_for() -> None:
    waiting = World(observed(listener_pods=[pod("small-listener", status=PENDING)]))
    with pytest.raises(heal_run.HealError) as told:
        healing(waiting, timeout=0)
    assert "not healed after 0 seconds, waited for:" in str(told.value)
    assert "AutoscalingListener small-listener: it does not run: Unschedulable: no node fits" in str(told.value)


def test_what_only_a_person_mends_is_not_waited_for() -> None:
    world = World(observed(secrets=frozenset(), answers={}))
    assert healing(world, timeout=0).left == [
        "small: AutoscalingRunnerSet small: its credential, Secret github, is not there. create the Secret, or state "
        "the credential in runner_pools_pools; run site.yml"
    ]


def test_finalizers_of_others_stay() -> None:
    from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners import api

    item: Thing = {"metadata": {"finalizers": ["foregroundDeletion", PROTECTION]}}
    assert api._other_finalizers(item) == ["foregroundDeletion"]
