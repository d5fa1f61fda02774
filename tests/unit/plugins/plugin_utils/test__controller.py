"""What a controller lacks is found before a host is changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils import _controller
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._controller import Tools

GOOD = Tools(core="2.19.14", kubernetes_core="6.2.0", python_client="34.1.0", helm="3.22.0")


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        ({}, []),
        ({"core": "2.15.0"}, ["core_too_old"]),
        ({"core": "2.21.5"}, []),
        ({"kubernetes_core": ""}, ["collection_missing"]),
        ({"kubernetes_core": "unknown"}, []),
        ({"python_client": ""}, ["python_client_missing"]),
        ({"helm": ""}, ["helm_missing"]),
        ({"helm": "", "helm_error": "Permission denied"}, ["helm_missing"]),
        ({"helm": "2.17.0"}, ["helm_unsupported"]),
        ({"helm": "4.0.1"}, ["helm_unsupported"]),
        ({"helm": "4.0.1", "kubernetes_core": "6.5.0"}, []),
        ({"helm": "4.0.1", "kubernetes_core": ""}, ["collection_missing"]),
        (
            {"core": "", "kubernetes_core": "", "python_client": "", "helm": ""},
            ["core_too_old", "collection_missing", "python_client_missing", "helm_missing"],
        ),
    ],
)
def test_findings(changes: dict[str, Any], codes: list[str]) -> None:
    found = _controller.findings(replace(GOOD, **changes), "helm")
    assert [finding.code for finding in found] == codes
    assert all(finding.severity == "error" and finding.hint for finding in found)


@pytest.mark.parametrize(
    ("script", "helm", "problem"),
    [
        ("echo v3.22.0", "3.22.0", False),
        ("echo broken >&2; exit 1", "", True),
        (None, "", False),
    ],
)
def test_the_helm_that_roles_call_is_asked(tmp_path: Path, script: str | None, helm: str, problem: bool) -> None:
    program = tmp_path / "helm"
    if script:
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    tools = _controller.gather(str(program))
    assert (tools.helm, bool(tools.helm_error)) == (helm, problem)
    assert tools.core and tools.python_client and tools.kubernetes_core
