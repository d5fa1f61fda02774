"""Taints of a host that joins."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.filter.join_taints import FilterModule

POOLS = [
    {"name": "support", "group": "support_nodes", "engine": False},
    {"name": "runner", "group": "runner_nodes", "engine": True},
]
START = {"key": "runnerfleet.dev/engine-not-ready", "effect": "NoSchedule"}
TABLE: list[tuple[list[str], list[dict[str, Any]]]] = [
    (["runner_nodes"], [{"key": "runnerfleet.dev/pool", "value": "runner", "effect": "NoSchedule"}, START]),
    (["support_nodes"], []),
    ([], []),
]


@pytest.mark.parametrize(("groups", "expected"), TABLE)
def test_only_engine_pools_have_taints(groups: list[str], expected: list[dict[str, Any]]) -> None:
    """So that nothing lands on a runner node before its engine answers."""
    assert FilterModule().filters()["join_taints"](POOLS, groups) == expected
