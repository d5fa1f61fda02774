"""The requests, against an API that answers from memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.api import EngineCluster
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.readiness import ROLLOUT_ANNOTATION
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.rollout_plan import Progress, RolloutError
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._names import ENGINE_TAINT


class Refused(Exception):
    """An answer of the API that is none."""

    def __init__(self, status: int) -> None:
        super().__init__(str(status))
        self.status = status


class Answer(list):
    """Bytes as a whole, or line by line."""

    @property
    def data(self) -> bytes:
        return b"\n".join(self)


class Api:
    """Answers each path with what stands in `answers`, in turn, and keeps what was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Any]] = {}
        self.asked: list[tuple[str, str, Any, dict[str, str]]] = []

    def call_api(self, path: str, method: str, **request: Any) -> Answer:
        self.asked.append((method, path, request["body"], dict(request["query_params"])))
        queue = self.answers.get(f"{method} {path}") or [Refused(404)]
        answer = queue.pop(0) if len(queue) > 1 else queue[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, str):
            return Answer([answer.encode()])
        return Answer([json.dumps(item).encode() for item in (answer if isinstance(answer, list) else [answer])])


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def cluster(api: Api) -> EngineCluster:
    return EngineCluster(api, ["runner", "large"], "dagger", "arc-runners")


NODE = "/api/v1/nodes/n"
POD = "/api/v1/namespaces/dagger/pods/p"
PODS = "/api/v1/namespaces/dagger/pods"


def pod(uid: str = "u", exit_code: int | None = None) -> dict[str, Any]:
    """An engine pod."""
    state = {} if exit_code is None else {"terminated": {"exitCode": exit_code}}
    statuses = [{"name": "exporter", "state": {"terminated": {"exitCode": 143}}}, {"name": "engine", "state": state}]
    meta = {"name": "p", "namespace": "dagger", "uid": uid, "resourceVersion": "7"}
    return {"kind": "Pod", "metadata": meta, "status": {"containerStatuses": statuses}}


def test_lists_ask_for_what_is_ours(api: Api, cluster: EngineCluster) -> None:
    """Nodes of the pools, engines by their label, runners by their node."""
    for path in ("/api/v1/nodes", PODS, "/api/v1/namespaces/arc-runners/pods"):
        api.answers[f"GET {path}"] = [{"items": [{"a": 1}]}]
    assert cluster.nodes() == cluster.engine_pods("n") == cluster.runner_pods("n") == [{"a": 1}]
    assert api.asked[0][3] == {"labelSelector": "node-restriction.kubernetes.io/runnerfleet-pool in (runner,large)"}
    assert api.asked[1][3] == {
        "labelSelector": "app.kubernetes.io/name=dagger-engine",
        "fieldSelector": "spec.nodeName=n",
    }
    assert api.asked[2][3] == {"fieldSelector": "spec.nodeName=n"}


ACCOUNT = "/api/v1/namespaces/dagger/serviceaccounts/dagger-engine"
OURS = {"metadata": {"labels": {"app.kubernetes.io/managed-by": "runnerfleet"}}}


def former(account: str, pods: int = 0, labels: Any = None) -> dict[str, list[Any]]:
    """What the API has of an earlier release: the account of the DaemonSets' template, and pods that still use it."""
    sets = {"items": [{"spec": {"template": {"spec": {"serviceAccountName": account}}}}]}
    return {
        f"GET {ACCOUNT}": [OURS if labels is None else labels],
        "GET /apis/apps/v1/namespaces/dagger/daemonsets": [sets],
        f"GET {PODS}": [{"items": [pod()] * pods}],
    }


def test_the_account_of_earlier_releases_goes_with_its_rights_and_comes_last(api: Api, cluster: EngineCluster) -> None:
    api.answers = former("default")
    found = cluster.former_access()
    assert {(item["kind"], item["name"], item.get("namespace", "")) for item in found} == {
        *(
            (f"Role{suffix}", "dagger-engine", namespace)
            for suffix in ("", "Binding")
            for namespace in ("dagger", "arc-runners")
        ),
        *((f"ClusterRole{suffix}", "dagger-dagger-engine", "") for suffix in ("", "Binding")),
        ("ServiceAccount", "dagger-engine", "dagger"),
    }
    assert found[-1]["kind"] == "ServiceAccount"  # by it the next run sees what is left, if this one is cut
    assert api.asked[-1][3] == {"fieldSelector": "spec.serviceAccountName=dagger-engine", "limit": "1"}


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param({}, id="it was never there"),
        pytest.param(former("default", pods=1), id="a pod has it still"),
        pytest.param(former("dagger-engine"), id="a pod could be made with it"),
        pytest.param(former("default", labels={"metadata": {}}), id="somebody else's"),
    ],
)
def test_an_account_that_is_used_or_not_ours_stays(
    api: Api, cluster: EngineCluster, answers: dict[str, list[Any]]
) -> None:
    api.answers = answers
    assert cluster.former_access() == []


def test_a_mark_is_one_write_of_taint_and_note(api: Api, cluster: EngineCluster) -> None:
    """So that a node is never closed without saying why; others' taints stay."""
    other = {"key": "other", "effect": "NoSchedule"}
    api.answers = {
        f"GET {NODE}": [{"metadata": {"resourceVersion": "1"}, "spec": {"taints": [other]}}],
        f"PATCH {NODE}": [Refused(409), {}],
    }
    cluster.mark("n", Progress("drain", "T"))
    body = api.asked[-1][2]
    assert [request[0] for request in api.asked] == ["GET", "PATCH", "GET", "PATCH"]
    assert body["spec"]["taints"] == [other, {"key": ENGINE_TAINT, "effect": "NoSchedule"}]
    assert (
        json.loads(body["metadata"]["annotations"][ROLLOUT_ANNOTATION])["step"] == "drain"
        and body["metadata"]["resourceVersion"] == "1"
    )
    cluster.mark("n", None)
    assert api.asked[-1][2]["metadata"]["annotations"][ROLLOUT_ANNOTATION] is None and api.asked[-1][2]["spec"][
        "taints"
    ] == [other]


def test_a_mark_gives_up_on_a_busy_node_and_tells_other_errors(api: Api, cluster: EngineCluster) -> None:
    """Both with what happened."""
    api.answers = {f"GET {NODE}": [{"metadata": {"resourceVersion": "1"}}], f"PATCH {NODE}": [Refused(409)]}
    with pytest.raises(RolloutError, match="n was written to by others"):
        cluster.mark("n", None)
    api.answers[f"PATCH {NODE}"] = [Refused(403)]
    with pytest.raises(Refused):
        cluster.mark("n", None)


def test_a_node_is_cordoned_with_its_taint_in_one_write(api: Api, cluster: EngineCluster) -> None:
    """And written anew when somebody was faster; its roll-out's note stays, and its taints when it is uncordoned."""
    other = {"key": "other", "effect": "NoSchedule"}
    api.answers = {
        f"GET {NODE}": [{"metadata": {"resourceVersion": "1"}, "spec": {"taints": [other]}}],
        f"PATCH {NODE}": [Refused(409), {}],
    }
    cluster.set_closed("n", True, True)
    assert [request[0] for request in api.asked] == ["GET", "PATCH", "GET", "PATCH"]
    taints = [other, {"key": ENGINE_TAINT, "effect": "NoSchedule"}]
    assert api.asked[-1][2] == {
        "metadata": {"resourceVersion": "1"},
        "spec": {"unschedulable": True, "taints": taints},
    }
    cluster.set_closed("n", False)
    assert api.asked[-1][2] == {"metadata": {"resourceVersion": "1"}, "spec": {"unschedulable": None}}
    api.answers[f"PATCH {NODE}"] = [Refused(409)]
    with pytest.raises(RolloutError, match="n was written to by others"):
        cluster.set_closed("n", True)


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("EphemeralRunner", "/apis/actions.github.com/v1alpha1/namespaces/arc-runners/ephemeralrunners/r"),
        ("Runner", "/apis/actions.summerwind.dev/v1alpha1/namespaces/arc-runners/runners/r"),
    ],
)
def test_the_object_of_a_runner(api: Api, cluster: EngineCluster, kind: str, path: str) -> None:
    """By the owner of its pod; gone, or of nobody, it is nothing."""
    item = {"metadata": {"namespace": "arc-runners", "ownerReferences": [{"kind": kind, "name": "r"}]}}
    assert cluster.runner(item) == {} and api.asked[0][1] == path
    api.answers[f"GET {path}"] = [{"kind": kind}]
    assert cluster.runner(item) == {"kind": kind}
    assert cluster.runner({"metadata": {"namespace": "arc-runners"}}) == {} and len(api.asked) == 2


def test_gauges_of_both_ports(api: Api, cluster: EngineCluster) -> None:
    """A port that does not answer is left out; a lack of rights is not."""
    api.answers[f"GET {POD}:9090/proxy/metrics"] = ["dagger_connected_clients 4\n"]
    assert cluster.gauges("p") == {"clients": 4}
    api.answers[f"GET {POD}:9091/proxy/metrics"] = ["runnerfleet_engine_wipes_total 1\n"]
    assert cluster.gauges("p") == {"clients": 4, "wipes": 1}
    api.answers[f"GET {POD}:9090/proxy/metrics"] = [Refused(403)]
    with pytest.raises(Refused):
        cluster.gauges("p")


@pytest.mark.parametrize(
    ("ask", "request_line", "body"),
    [
        pytest.param(lambda c, p: c.remove(p), f"DELETE {POD}", {"preconditions": {"uid": "u"}}, id="remove"),
        pytest.param(
            lambda c, p: c.release(p),
            "DELETE /apis/actions.github.com/v1alpha1/namespaces/dagger/ephemeralrunners/p",
            None,
            id="release",
        ),
        pytest.param(lambda c, p: c.unregister(p), f"PATCH {POD}", ..., id="unregister"),
    ],
)
def test_what_is_gone_already_is_fine(
    ask: Callable[[EngineCluster, Any], None], request_line: str, body: Any, api: Api, cluster: EngineCluster
) -> None:
    """Another pod of the same name too, which the uid guards."""
    for status in (404, 409):
        api.answers[request_line] = [Refused(status)]
        ask(cluster, pod())
    assert f"{api.asked[-1][0]} {api.asked[-1][1]}" == request_line
    assert body is ... or api.asked[-1][2] == body
    api.answers[request_line] = [Refused(500)]
    with pytest.raises(Refused):
        ask(cluster, pod())


@pytest.mark.parametrize(
    ("looks", "events", "expected"),
    [
        pytest.param([Refused(404)], [], (True, None), id="gone before"),
        pytest.param([pod("v")], [], (True, None), id="another one in its place"),
        pytest.param(
            [pod(), Refused(404)],
            [{"type": "MODIFIED", "object": pod(exit_code=0)}, {"type": "DELETED", "object": pod()}],
            (True, 0),
            id="seen",
        ),
        pytest.param(
            [pod(), Refused(404)], [{"type": "DELETED", "object": pod(exit_code=137)}], (True, 137), id="killed"
        ),
        pytest.param([pod(exit_code=0), Refused(404)], [], (True, 0), id="ended before it was watched"),
        pytest.param(
            [pod(), Refused(404)],
            [{"type": "ERROR", "object": {"kind": "Status"}}],
            (True, None),
            id="the watch was too old",
        ),
    ],
)
def test_a_stop_is_watched_to_its_end(
    looks: list[Any], events: list[Any], expected: Any, api: Api, cluster: EngineCluster
) -> None:
    """The exit code is that of the engine, whatever its neighbours ended with."""
    api.answers = {f"GET {POD}": looks, f"GET {PODS}": [events]}
    assert cluster.stopped("p", "u", "engine", 60) == expected


def test_a_stop_that_does_not_end(api: Api, cluster: EngineCluster) -> None:
    """Is no stop."""
    api.answers[f"GET {POD}"] = [pod()]
    assert cluster.stopped("p", "u", "engine", 0) == (False, None)


def test_of_a_secret_only_a_sum_is_known(api: Api, cluster: EngineCluster) -> None:
    """Another one when what it holds changes, and not when somebody labels it; none where it is not there."""
    path = "GET /api/v1/namespaces/dagger/secrets/engine"
    held = [
        {"metadata": {"uid": "u", "resourceVersion": "1"}, "data": {"A_TOKEN": "czNjcmV0"}},
        {"metadata": {"uid": "u", "resourceVersion": "2", "labels": {"a": "b"}}, "data": {"A_TOKEN": "czNjcmV0"}},
        {"metadata": {"uid": "u"}, "data": {"A_TOKEN": "b3RoZXI="}},
        {"metadata": {"uid": "v"}, "data": {"A_TOKEN": "b3RoZXI="}},
    ]
    api.answers[path] = [[item] for item in held]
    first, labelled, changed, another = (cluster.secret_digest("engine") for _item in held)
    assert first == labelled and len({first, changed, another}) == 3
    assert cluster.secret_digest("not-there") == ""
    api.answers[path] = [Refused(403)]
    with pytest.raises(Refused):
        cluster.secret_digest("engine")
