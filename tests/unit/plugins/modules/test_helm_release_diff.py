"""The module with a helm that answers from files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.modules import helm_release_diff

RunModule = Callable[..., dict[str, Any]]
SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {type: "


@pytest.fixture
def helm(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Arguments with a helm whose `get` and `template` do this; what it is asked and given is written down."""

    def make(get: str, template: str = "") -> dict[str, Any]:
        program = tmp_path / "helm"
        program.write_text(
            f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\ncase $1 in\nget) {get};;\ntemplate) cat > {tmp_path}/given; '
            f"{template};;\nesac\n"
        )
        program.chmod(0o755)
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text("clusters: []")
        return {
            "binary_path": str(program),
            "kubeconfig": str(kubeconfig),
            "release_name": "r",
            "release_namespace": "n",
            "chart": "/charts/x.tgz",
            "values": {"password": "hidden"},
            "kube_version": "v1.36.6",
        }

    return make


def test_a_release_that_would_change(
    run_module: RunModule, helm: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    arguments = helm(f"echo '{SERVICE}A}}'", f"echo '{SERVICE}B}}'")
    result = run_module(helm_release_diff.main, arguments, check=True)
    assert result["changed"] and "type: A" in result["diff"]["before"] and "type: B" in result["diff"]["after"]
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == [
        "get manifest r",
        "template r /charts/x.tgz --namespace n --no-hooks --values - --kube-version v1.36.6",
    ]
    assert (tmp_path / "given").read_text().strip() == '{"password": "hidden"}'  # by stdin, not among the arguments


def test_a_release_that_is_not_there_yet(run_module: RunModule, helm: Callable[..., dict[str, Any]]) -> None:
    result = run_module(
        helm_release_diff.main, helm("echo 'Error: release: not found' >&2; exit 1", f"echo '{SERVICE}B}}'")
    )
    assert result["changed"] and result["diff"]["before"] == "" and "type: B" in result["diff"]["after"]


def test_a_release_that_stays(run_module: RunModule, helm: Callable[..., dict[str, Any]]) -> None:
    result = run_module(helm_release_diff.main, helm(f"echo '{SERVICE}A}}'", f"echo '{SERVICE}A}}'"))
    assert not result["changed"] and result["diff"] == {"before": "", "after": ""}


@pytest.mark.parametrize(
    ("get", "template", "said"),
    [
        ("echo 'Error: Kubernetes cluster unreachable' >&2; exit 1", "", "cluster unreachable"),
        (
            "true",
            "echo 'Error: values do not meet the schema' >&2; exit 1",
            "makes no manifest of these values: Error: values",
        ),
        ("true", "echo '{ no'", "is no YAML"),
    ],
    ids=["no cluster", "bad values", "no YAML"],
)
def test_what_fails_says_so(
    run_module: RunModule, helm: Callable[..., dict[str, Any]], get: str, template: str, said: str
) -> None:
    result = run_module(helm_release_diff.main, helm(get, template))
    assert result["failed"] and said in result["msg"] and "hidden" not in result["msg"]
