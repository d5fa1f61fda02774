"""What the admission policies say of a fleet. That an API takes and enforces them is tried by lab.identities."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .render import rendered

POLICIES = {
    "node_pools": "__node_pools_policy",
    "static_pods": "__node_pools_static_pods",
    "pod_network": "__pod_network_policy",
    "runner_controller": "__runner_controller_policy",
    "runner_pools": "__runner_pools_policy",
}
ROLES = {"static_pods": "node_pools"}
POOLS = [
    {"name": "support", "group": "s", "labels": {"example.org/size": "small"}},
    {"name": "runner", "group": "r", "engine": True, "taints": [{"key": "example.org/gpu", "effect": "NoSchedule"}]},
    {"name": "large", "group": "l", "engine": {"versions": ["1.2.3", "1.3.0"]}},
]


def policy(repository: Path, name: str, **given: Any) -> dict[str, Any]:
    """A policy of a role, whose binding is there too."""
    role = ROLES.get(name, name)
    given = {
        "fleet_pools": POOLS,
        "fleet_engine_versions": ["1.2.3"],
        "role_path": str(repository / "roles" / role),
        **given,
    }
    found, binding = rendered(repository, role, POLICIES[name], given)
    assert binding["spec"]["policyName"] == found["metadata"]["name"] and binding["spec"]["validationActions"] == [
        "Deny"
    ]
    assert ("paramRef" in binding["spec"]) == ("paramKind" in found["spec"])
    return found  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", POLICIES)
def test_what_a_policy_cannot_judge_is_refused(repository: Path, name: str) -> None:
    assert policy(repository, name)["spec"]["failurePolicy"] == "Fail"


def test_runners_may_mount_the_sockets_of_their_pool(repository: Path) -> None:
    found = policy(repository, "runner_pools", fleet_runner_namespace="builds")["spec"]
    sockets = next(item["expression"] for item in found["variables"] if item["name"] == "sockets")
    base = "/run/runnerfleet/engine"
    assert json.loads(sockets) == {"runner": [f"{base}/1.2.3"], "large": [f"{base}/1.2.3", f"{base}/1.3.0"]}
    assert found["matchConstraints"]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "builds"}


def test_labels_and_taints_that_pools_state_are_theirs(repository: Path) -> None:
    text = json.dumps(policy(repository, "node_pools", node_pools_label_writers=["system:serviceaccount:a:b"]))
    assert all(part in text for part in ("example.org/size", "example.org/gpu", "system:serviceaccount:a:b"))


def test_kubelets_that_may_have_static_pods_are_named(repository: Path) -> None:
    (condition,) = policy(repository, "static_pods", node_pools_static_pod_nodes=["edge-1"])["spec"]["matchConditions"]
    assert '["system:node:edge-1"]' in condition["expression"]


@pytest.mark.parametrize(("namespaces", "scope"), [(["builds"], "builds"), (["builds", "tests"], "")])
def test_a_controller_of_one_namespace_watches_that_alone(repository: Path, namespaces: list[str], scope: str) -> None:
    given = {"runner_controller_runner_namespaces": namespaces}
    (validation,) = policy(repository, "runner_controller", **given)["spec"]["validations"]
    own, sets = validation["expression"].split(" || ")
    assert own == f"request.namespace in {json.dumps(namespaces)}"
    # The controller of scale sets alone, in its own namespace alone, and nothing that makes pods but listeners.
    account = "request.userInfo.username == 'system:serviceaccount:arc-systems:gha-runner-scale-set-controller'"
    assert sets.startswith(f"({account} && request.namespace == 'arc-systems' && request.resource.resource in [")
    assert not {"deployments", "daemonsets", "jobs", "rolebindings"} & set(sets.split("'"))
    found = rendered(repository, "runner_controller", "__runner_controller_scope", given)
    assert found == ({"singleNamespace": True, "watchNamespace": scope} if scope else {})
