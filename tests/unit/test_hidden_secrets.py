"""What a task reads of the cluster is in its result, and every callback gets that: AWX keeps it as an event, at any
verbosity.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_repo_shape import PLAY_FILES, ROOT, TASK_FILES, load, mappings

_APPLIED = "metadata.annotations[kubectl.kubernetes.io/last-applied-configuration]"  # the whole object once more
_CONTAINERS = ("containers", "initContainers")
_RUNNER = (*_CONTAINERS, "env", "dockerEnv", "sidecarContainers")
_POD, _TEMPLATE = (tuple(f"{path}.{name}" for name in _CONTAINERS) for path in ("spec", "spec.template.spec"))
# The kinds that carry a secret, and where. A token of GitHub is in the environment of each runner.
CARRIERS: dict[str, tuple[str, ...]] = {
    "Secret": (_APPLIED, "data"),
    "Pod": (_APPLIED, *_POD),
    "CronJob": (_APPLIED, *(f"spec.jobTemplate.{path}" for path in _TEMPLATE)),
    "Runner": (_APPLIED, *(f"spec.{name}" for name in _RUNNER), "status.registration"),
    **dict.fromkeys(
        ("DaemonSet", "Deployment", "Job", "ReplicaSet", "ReplicationController", "StatefulSet"), (_APPLIED, *_TEMPLATE)
    ),
    **dict.fromkeys(
        ("RunnerDeployment", "RunnerReplicaSet", "RunnerSet"),
        (_APPLIED, *(f"spec.template.spec.{name}" for name in _RUNNER)),
    ),
}
HARMLESS = (
    "Certificate",
    "CertificateSigningRequest",
    "ClusterRoleBinding",
    "ConfigMap",
    "Event",
    "Namespace",
    "Node",
    "Service",
)
READERS = ("kubernetes.core.k8s_info", "k8s_info", "community.kubernetes.k8s_info")
FILES = [*TASK_FILES, *PLAY_FILES]


def readers(path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each task of a file that reads objects of the API, with the module's arguments."""
    for task in mappings(load(path)):
        yield from ((task, task[name]) for name in READERS if isinstance(task.get(name), dict))


def covers(hidden: str, path: str) -> bool:
    """Whether hiding one path hides the other."""
    return path == hidden or path.startswith((f"{hidden}.", f"{hidden}["))


def exposed(task: dict[str, Any], arguments: dict[str, Any]) -> list[str]:
    """Where the result of a task may have a secret."""
    if task.get("no_log") is True:
        return []
    kind, hidden = arguments.get("kind"), arguments.get("hidden_fields") or []
    if kind in HARMLESS:
        return []
    if kind not in CARRIERS:
        return [f"kind {kind}, of which this test does not know what it carries"]
    return [path for path in CARRIERS[kind] if not any(covers(field, path) for field in hidden)]


@pytest.mark.parametrize("path", FILES, ids=str)
def test_nothing_that_carries_secrets_is_read_whole(path: Path) -> None:
    """Each such task hides these fields itself, or its whole result: a default of the play is too far away to be relied
    on.
    """
    found = {f"{path}: {task.get('name')}": exposed(task, arguments) for task, arguments in readers(path)}
    assert {name: fields for name, fields in found.items() if fields} == {}


def test_some_task_reads_them() -> None:
    """So that the test above has something to hold."""
    kinds = {
        arguments["kind"]
        for path in TASK_FILES + PLAY_FILES
        for _task, arguments in readers(path)
        if path.parts[0] != "molecule"
    }
    assert kinds >= {"Secret", "Namespace"}


# What cluster_objects answers is what its query takes out: a whole object, or a part that may carry a secret, is never.
WHOLE = re.compile(r"@|\b(data|stringData|env|envFrom|command|args|managedFields(?!\[\]\.manager))\b")
PARTS = ("[]", "spec", "template", "containers[]", "initContainers[]", "metadata", "annotations")
QUERIES = [
    (path, one["query"])
    for path in sorted(ROOT.glob("roles/*/vars/main.yml"))
    for one in mappings(load(path))
    if {"path", "query"} <= one.keys()
]


def takes_out_too_much(query: str) -> bool:
    """Whether a query answers more than names, labels, conditions and images."""
    leaves = re.split(r"[,}]", query.strip().rstrip("}"))
    return bool(WHOLE.search(query)) or any(leaf.strip().endswith(PARTS) for leaf in leaves)


@pytest.mark.parametrize(("path", "query"), QUERIES, ids=lambda value: str(value)[-60:])
def test_a_query_takes_no_secret_out_of_the_cluster(path: Path, query: str) -> None:
    assert not takes_out_too_much(query), (path, query)


@pytest.mark.parametrize(
    "query", ["@", "[]", "[].spec", "[].{a: metadata.name, b: spec.template}", "[].data", "[].metadata.annotations"]
)
def test_a_query_that_would_is_found(query: str) -> None:
    assert len(QUERIES) >= 8 and takes_out_too_much(query)


@pytest.mark.parametrize(
    ("task", "arguments", "fields"),
    [
        ({}, {"kind": "Pod"}, [_APPLIED, "spec.containers", "spec.initContainers"]),
        ({}, {"kind": "Pod", "hidden_fields": ["metadata", "spec.containers"]}, ["spec.initContainers"]),
        ({}, {"kind": "Pod", "hidden_fields": ["metadata.annotations", "spec"]}, []),
        ({"no_log": True}, {"kind": "Pod"}, []),
        ({"no_log": False}, {"kind": "Secret", "hidden_fields": ["metadata"]}, ["data"]),
        ({}, {"kind": "DaemonSet", "hidden_fields": [_APPLIED, "spec.templates"]}, ["spec.template.spec.containers"]),
        ({}, {"kind": "{{ some }}"}, ["kind {{ some }}, of which this test does not know what it carries"]),
    ],
)
def test_the_rule_itself(task: dict[str, Any], arguments: dict[str, Any], fields: list[str]) -> None:
    """It finds what is open, and takes a path for hidden with what is above it."""
    assert exposed(task, arguments)[: len(fields) or 1] == fields


@pytest.mark.parametrize("path", [path for path in FILES if path.parts[0] != "molecule"], ids=str)
def test_nothing_is_written_or_ended_that_comes_back_whole(path: Path) -> None:
    """A Secret that is written is the answer to it, and so is an object that ends with grace or after what depends on
    it.
    """
    for task in mappings(load(path)):
        arguments = task.get("kubernetes.core.k8s")
        if not isinstance(arguments, dict) or task.get("no_log") is True:
            continue
        definition = arguments.get("definition")
        kind = definition.get("kind") if isinstance(definition, dict) else arguments.get("kind")
        if arguments.get("state") == "absent":
            assert kind != "Pod" and ("delete_options" not in arguments or kind not in CARRIERS), (
                f"{path}: {task['name']}"
            )
        else:
            assert kind != "Secret", f"{path}: {task['name']}"


@pytest.mark.parametrize("path", [path for path in FILES if path.parts[0] != "molecule"], ids=str)
def test_no_lookup_reads_the_cluster(path: Path) -> None:
    """What a lookup finds is in the arguments of the task, whatever it hides."""
    assert "kubernetes.core.k8s'" not in (ROOT / path).read_text()


KNOW_HIDDEN_FIELDS = {"kubernetes.core.k8s", "kubernetes.core.k8s_info", "kubernetes.core.k8s_json_patch"}


@pytest.mark.parametrize("role", sorted({path.parts[1] for path in TASK_FILES}))
def test_no_module_is_given_what_it_does_not_know(role: str) -> None:
    """A default of the whole action group reaches all modules of it, and some of them have no such option."""
    tasks = [task for path in TASK_FILES if path.parts[1] == role for task in mappings(load(path))]
    defaults = [
        task["module_defaults"].get("group/kubernetes.core.k8s", {}) for task in tasks if "module_defaults" in task
    ]
    if any("hidden_fields" in default for default in defaults):
        used = {name for task in tasks for name in task if str(name).startswith("kubernetes.core.k8s")}
        assert used <= KNOW_HIDDEN_FIELDS
