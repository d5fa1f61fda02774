"""Pools with their hosts."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.runnerfleet.baremetal.plugins.filter.pool_members import FilterModule, pool_members

GROUPS = {"all": ["a", "b"], "support_nodes": ["a"], "runner_nodes": []}


def test_the_group_becomes_nodes() -> None:
    """And everything else of the pool stays; of its engines, whether there are any."""
    result = pool_members(
        [
            {"name": "support", "group": "support_nodes", "labels": {"k": "v"}},
            {"name": "r", "group": "runner_nodes", "engine": {"versions": ["0.21.8"]}},
        ],
        GROUPS,
    )
    assert result == [
        {"name": "support", "labels": {"k": "v"}, "engine": False, "nodes": ["a"]},
        {"name": "r", "engine": True, "nodes": []},
    ]
    assert FilterModule().filters()["pool_members"] is pool_members


def test_a_group_that_is_not_there_is_named() -> None:
    """With those that are."""
    with pytest.raises(
        AnsibleFilterError,
        match=r"pool x names the group runners, .* Expected one of: all, runner_nodes, support_nodes",
    ):
        pool_members([{"name": "x", "group": "runners"}], GROUPS)
