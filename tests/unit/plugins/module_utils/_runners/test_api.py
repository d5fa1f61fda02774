"""One look at a cluster and at GitHub, and what is changed, against both of them in memory."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners import api, service
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners.api import Access, RunnerCluster, observe
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners.plan_heal import Action, Verb
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners.service import GitHub, QueuedJob, Silent
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._runners.status import Observed, Ref, judge, ref

from tests.unit.plugins.answers import serving
from tests.unit.plugins.module_utils._runners.things import (
    NOW,
    legacy,
    legacy_runner,
    listener,
    pod,
    protected,
    runner,
    runner_set,
    scale_set,
    thing,
)
from tests.unit.plugins.module_utils._runners.worlds import QUEUE_TOKEN, TOKEN, MemoryApi, Site

SETS = f"{api.SCALE_SETS}/namespaces/arc-runners"
OLD_KINDS = f"{api.LEGACY_RUNNERS}/namespaces/arc-runners"
SECRET = "/api/v1/namespaces/arc-runners/secrets/github"
LOG = "/api/v1/namespaces/arc-systems/pods/small-listener/log"


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    with serving(made.answer) as made.url:
        yield made


def world(site: Site, owner: str = "example-org/app", token: str = TOKEN) -> MemoryApi:
    """A set of one repository with its runner, listener and Secret."""
    secret = thing("github", data={"github_token": base64.b64encode(token.encode()).decode()})
    image = {"template": {"spec": {"containers": [{"name": "runner", "image": "x/actions-runner:2.338.1"}]}}}
    return MemoryApi(
        {
            f"{SETS}/autoscalingrunnersets/small": scale_set(
                spec={"githubConfigUrl": f"{site.url}/{owner}", "githubConfigSecret": "github", **image}
            ),
            f"{SETS}/ephemeralrunnersets/small-abc": runner_set(),
            f"{SETS}/ephemeralrunners/r": runner(),
            f"{api.SCALE_SETS}/namespaces/arc-systems/autoscalinglisteners/small-listener": listener(),
            "/api/v1/namespaces/arc-runners/pods/r": pod(),
            "/api/v1/namespaces/arc-systems/pods/small-listener": pod("small-listener"),
            "/api/v1/nodes/runner-1": thing("runner-1"),
            SECRET: secret,
        }
    )


def look(memory: MemoryApi, site: Site, ask: bool = True) -> Observed:
    cluster = RunnerCluster(memory, "arc-runners", "arc-systems")
    return observe(cluster, Access(ask, site.url, "controller-manager"), 300, 900)


def test_a_set_as_the_service_knows_it(site: Site) -> None:
    """With the token of its Secret, and jobs of its repository that its runners take."""
    site.with_service("repos/example-org/app")
    site.with_set(7, totalAvailableJobs=1, totalAssignedJobs=3, totalRunningJobs=2)
    base = "GET /api/v3/repos/example-org/app/actions"
    site.answers[f"{base}/runs"] = 200, {"workflow_runs": [{"id": 5, "created_at": "2020-01-01T00:00:00Z"}]}
    jobs = [
        {"status": "completed", "labels": ["small"], "created_at": "2020-01-01T00:00:00Z"},
        {"status": "queued", "labels": ["other"], "created_at": "2020-01-01T00:00:00Z"},
        {"status": "queued", "labels": ["Small", "gpu"], "created_at": "2021-01-01T00:00:00Z"},
    ]
    site.answers[f"{base}/runs/5/jobs"] = 200, {"jobs": jobs}
    site.answers[f"{base}/runners/deprecations/2.338.1"] = 200, {"runtime_deprecates_at": "2099-01-01T00:00:00Z"}
    found = look(world(site), site).answers["small"]
    assert (found.set_exists, found.waiting, found.problem, found.version) == (True, 2, "", "2.338.1")
    assert found.days_left and found.days_left > 10000 and found.oldest and found.oldest > 86400 * 365 * 5
    registration = next(sent for asked, sent in site.asked if asked.endswith("runner-registration"))
    assert registration.startswith("RemoteAuth AREG") and f"{site.url}/example-org/app" in registration
    assert {sent for asked, sent in site.asked if "/tenant/1/" in asked} == {f"Bearer {QUEUE_TOKEN}"}


def test_a_set_that_the_service_does_not_know(site: Site) -> None:
    """And an organization, whose queue's age nobody knows."""
    site.with_service("orgs/example-org")
    found = look(world(site, "example-org"), site).answers["small"]
    assert (found.set_exists, found.waiting, found.oldest, found.days_left) == (False, None, None, None)


def test_agents_are_asked_for_only_where_a_runner_is_held(site: Site) -> None:
    site.with_service("orgs/example-org")
    site.with_set(7)
    memory = world(site, "example-org")
    memory.objects[f"{SETS}/ephemeralrunners/r"] = runner(going=3600)
    assert look(memory, site).answers["small"].agents == {11: False}
    site.answers["GET /tenant/1/_apis/distributedtask/pools/0/agents/11"] = 200, {"id": 11}
    assert look(memory, site).answers["small"].agents == {11: True}
    site.answers["GET /tenant/1/_apis/distributedtask/pools/0/agents/11"] = 500, {}
    assert "HTTP 500" in look(memory, site).answers["small"].problem


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"POST /api/v3/orgs/example-org/actions/runners/registration-token": (401, {})}, "HTTP 401"),
        ({"POST /api/v3/actions/runner-registration": (500, {})}, "registers nobody for orgs/example-org: HTTP 500"),
        ({"GET /tenant/1/_apis/runtime/runnerscalesets/7": (503, {})}, "does not tell of"),
    ],
)
def test_who_does_not_tell_is_named(site: Site, change: dict[str, Any], problem: str) -> None:
    site.with_service("orgs/example-org")
    site.answers |= change
    found = look(world(site, "example-org"), site).answers["small"]
    assert problem in found.problem and TOKEN not in found.problem and found.set_exists is None


@pytest.mark.parametrize(
    ("secret", "problem"),
    [
        ({}, "neither github_token nor an App's"),
        ({"github_app_id": "1"}, "neither github_token nor an App's"),
        (
            {"github_app_id": "1", "github_app_installation_id": "2", "github_app_private_key": "k"},
            "private key in its Secret is no RSA key",
        ),
    ],
)
def test_a_secret_that_proves_nothing(secret: dict[str, str], problem: str) -> None:
    with pytest.raises(Silent, match=problem):
        GitHub("http://127.0.0.1:9", "orgs/x", secret)


@pytest.mark.parametrize(
    ("url", "owner"),
    [
        ("https://github.com/o", "orgs/o"),
        ("https://github.com/o/r/", "repos/o/r"),
        ("https://github.com/enterprises/e", "enterprises/e"),
    ],
)
def test_whose_an_address_is(url: str, owner: str) -> None:
    assert service.server_and_owner(url) == ("https://github.com", owner)


def test_an_address_of_nobody(site: Site) -> None:
    memory = world(site, "a/b/c")
    assert "expected the address of an owner" in look(memory, site).answers["small"].problem


def test_github_is_not_asked_where_it_is_not_to_be(site: Site) -> None:
    assert look(world(site), site, ask=False).answers == {} and site.asked == []


def test_a_healthy_world_has_no_problem_but_its_controller(site: Site) -> None:
    assert [problem.kind.value for problem in judge(look(world(site), site, ask=False))[1]] == ["controller_down"]


def test_a_legacy_pool_is_asked_about_with_its_controllers_secret(site: Site) -> None:
    spec = {"replicas": 1, "template": {"spec": {"repository": "o/r", "labels": ["big"], "image": "x/runner:2.338.1"}}}
    memory = MemoryApi(
        {
            f"{OLD_KINDS}/runnerdeployments/old": legacy() | {"spec": spec},
            f"{OLD_KINDS}/runners/old-1": legacy_runner(),
            "/api/v1/namespaces/arc-systems/secrets/controller-manager": thing(
                "controller-manager", data={"github_token": base64.b64encode(TOKEN.encode()).decode()}
            ),
        }
    )
    base = "GET /api/v3/repos/o/r/actions"
    site.answers[f"{base}/runs"] = 200, {"workflow_runs": []}
    site.answers[f"{base}/runners"] = 200, {"runners": [{"name": "old-1", "busy": True, "status": "online"}]}
    found = look(memory, site).answers["old"]
    assert (found.runners, found.oldest, found.set_exists) == ({"old-1": (True, True)}, 0.0, None)
    assert not [asked for asked, _sent in site.asked if asked.startswith("POST")]


def test_the_head_of_a_queue() -> None:
    jobs = [QueuedJob(frozenset({"small"}), NOW - timedelta(minutes=minutes)) for minutes in (1, 9, 3)]
    assert service.oldest(jobs, ["SMALL"], NOW) == 540
    assert service.oldest(jobs, ["large"], NOW) == 0
    assert service.oldest([QueuedJob(frozenset(), NOW - timedelta(minutes=1))], ["small"], NOW) == 0
    assert service.oldest(None, ["small"], NOW) is None


def test_what_a_listener_said_last_has_no_token(site: Site) -> None:
    memory = world(site)
    memory.objects[LOG] = f"start\nerror: Bearer {QUEUE_TOKEN} and {TOKEN} and {QUEUE_TOKEN}: 409 Conflict\nfine\n"
    said = look(memory, site, ask=False).listener_said["small"]
    assert "409 Conflict" in said and "c4n4ry" not in said


def test_changes_are_of_the_object_that_was_seen(site: Site) -> None:
    memory = world(site)
    cluster = RunnerCluster(memory, "arc-runners", "arc-systems")
    item, held = runner_set(), protected(going=3600)
    memory.objects[f"{api.RBAC}/namespaces/arc-runners/roles/p"] = held | {
        "metadata": held["metadata"] | {"resourceVersion": "1"}
    }
    other = Ref("EphemeralRunner", "arc-runners", "r", "another")
    assert [cluster.carry_out(Action(verb, other)) for verb in Verb] == [False] * 4 and memory.wrote() == [
        ("DELETE", "ephemeralrunners/r")
    ]
    for verb, about in (
        (Verb.SCALE_TO_ZERO, ref(item, "EphemeralRunnerSet")),
        (Verb.FORGET_ID, ref(scale_set(), "AutoscalingRunnerSet")),
        (Verb.REMOVE_FINALIZERS, ref(held, "Role")),
        (Verb.DELETE, ref(runner(), "EphemeralRunner")),
    ):
        assert cluster.carry_out(Action(verb, about))
    assert memory.objects[f"{SETS}/ephemeralrunnersets/small-abc"]["spec"]["replicas"] == 0
    assert "patchID" not in memory.objects[f"{SETS}/ephemeralrunnersets/small-abc"]["spec"]
    assert memory.objects[f"{SETS}/autoscalingrunnersets/small"]["metadata"]["annotations"] == {}
    assert memory.objects[f"{api.RBAC}/namespaces/arc-runners/roles/p"]["metadata"]["finalizers"] == []
    assert f"{SETS}/ephemeralrunners/r" not in memory.objects
    assert not cluster.carry_out(Action(Verb.DELETE, ref(runner(), "EphemeralRunner")))


def test_a_newer_runner_set_is_told_a_patch_that_counts() -> None:
    assert api._to_zero({"spec": {"replicas": 3, "patchID": 5}}) == {"replicas": 0, "patchID": 0}
