"""A dry run before there is a cluster says what would be, from the inventory alone; a limit that leaves nothing to do
is refused.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest

from lab.docs import playbook_specs

from .test_refusals import GOOD, ROOT, Inventory, Run


@pytest.mark.parametrize(
    ("flavour", "releases"),
    [
        ("scale_set", ["Release gha-runner-scale-set-controller would be installed"]),
        (
            "legacy",
            [
                "Release cert-manager would be installed in namespace cert-manager",
                "Release actions-runner-controller would be installed",
            ],
        ),
    ],
)
def test_it_names_pools_releases_engines_and_runners(
    play: Callable[..., Run], flavour: str, releases: list[str]
) -> None:
    inventory = copy.deepcopy(GOOD)
    inventory["all"]["vars"] |= {"fleet_engine_versions": ["0.21.11", "0.21.10"], "dagger_engine_memory": "3Gi"}
    inventory["all"]["vars"]["runner_controller_flavour"] = flavour
    pools, platform = play(inventory, "pools", "--check"), play(inventory, "platform", "--check")
    assert (pools.code, platform.code) == (0, 0), pools.output + platform.output
    for text in ("Pool support would be support-1", "Pool runner would be runner-1"):
        assert text in pools.output
    for text in (
        "Pod network flannel",
        "Engine 0.21.10 would run in namespace dagger on each of the 1 nodes of pool runner, with 3Gi of memory",
        "Engine 0.21.11 would run",
        *releases,
        "Runner pools that would be made: medium",
    ):
        assert text in platform.output, platform.output
    assert "changed=1" in pools.output and f"changed={3 + len(releases)}" in platform.output


@pytest.mark.parametrize("playbook", ["engine_upgrade", "engine_checkpoint"])
def test_a_limit_without_an_engine_is_refused(play: Callable[..., Run], playbook: str) -> None:
    run = play(copy.deepcopy(GOOD), playbook, "--limit", "support-1", "-e", "engine_checkpoint=take")
    run.refused()
    assert "--limit support-1: found no node with engines, expected some of runner-1" in run.output


def test_a_version_is_not_retired_in_a_part_of_the_fleet(play: Callable[..., Run]) -> None:
    run = play(copy.deepcopy(GOOD), "engine_retire", "--limit", "runner-1", "-e", "engine_retire=0.1.0")
    run.refused()
    assert "--limit runner-1: a version leaves whole pools, expected no limit" in run.output


PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
# What some of them ask for before anything else.
WISHES = ["-e", "engine_checkpoint=take", "-e", "engine_retire=0.1.0"]


@pytest.mark.parametrize("limit", [[], ["--limit", "runner-1"]], ids=["all", "limited"])
@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_an_inventory_without_groups_is_refused(play: Callable[..., Run], playbook: str, limit: list[str]) -> None:
    """As a smart inventory of AWX is: hosts and their variables, and nothing of where they belong."""
    smart: Inventory = {
        "all": {"hosts": {"runner-1": {"ansible_connection": "local"}, "cp-1": {"ansible_connection": "local"}}}
    }
    run = play(smart, playbook, *WISHES, *limit)
    run.refused()
    assert (
        "inventory: found no host in any of the groups" in run.output
        and "it has the groups all, and no other" in run.output
    )


@pytest.mark.parametrize("playbook", ["storage", "replace_drive", "engine_retire"])
def test_a_limit_without_a_runner_node_is_refused(play: Callable[..., Run], playbook: str) -> None:
    run = play(copy.deepcopy(GOOD), playbook, "--limit", "support-1", *WISHES)
    run.refused()
    assert "--limit support-1: found no host of runner_nodes, expected some of runner-1" in run.output


REQUIRED = [
    (name, variable)
    for name, spec in playbook_specs().items()
    for variable, option in spec.get("options", {}).items()
    if option.get("required")
]


@pytest.mark.parametrize(("playbook", "variable"), REQUIRED)
def test_a_variable_that_is_required(play: Callable[..., Run], playbook: str, variable: str) -> None:
    """Missing, and as a survey hands an empty answer over."""
    for arguments, found in ([], "not set"), (["-e", f"{variable}="], ""):
        run = play(copy.deepcopy(GOOD), playbook, *arguments)
        run.refused()
        assert f"{variable} is {found}" in run.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["engine_retire_cache=0.1.1"], "engine_retire_cache is 0.1.1"),
        (["engine_retire_timeout=soon"], "engine_retire_timeout: found 'soon', expected a whole number"),
    ],
)
def test_what_retiring_is_told_beside_the_version(play: Callable[..., Run], arguments: list[str], told: str) -> None:
    run = play(
        copy.deepcopy(GOOD),
        "engine_retire",
        "-e",
        "engine_retire=0.1.0",
        *(part for given in arguments for part in ("-e", given)),
    )
    run.refused()
    assert told in run.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "Found --limit not given, drain_pool not given and drain_timeout 7200: nodes none. Expected a limit to"),
        (["-e", "drain_pool=huge"], "drain_pool huge and drain_timeout 7200: nodes none"),
        (["-e", "drain_pool=runner", "--limit", "support-1"], "nodes none"),
        (["--limit", "cp-1"], "nodes cp-1. Expected a limit to nodes of pools (support-1, runner-1)"),
        (["--limit", "support-1,runner-7"], "no host of the inventory is called runner-7"),
        (["-e", "drain_pool=runner"], "Found runner-1: no node with engines would be left, and jobs would wait"),
        (["--limit", "support-1", "-e", "drain_timeout=soon"], "drain_timeout: found 'soon', expected a whole number"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_drain_of_nothing_or_of_everything_is_refused(
    play: Callable[..., Run], arguments: list[str], told: str
) -> None:
    run = play(copy.deepcopy(GOOD), "drain", *arguments)
    run.refused()
    assert told in " ".join(run.output.split()), run.output


def test_a_drain_that_names_nodes_goes_on_to_the_cluster(play: Callable[..., Run]) -> None:
    """Which is not there."""
    run = play(copy.deepcopy(GOOD), "drain", "--limit", "runner-1", "-e", "drain_return=true")
    assert run.code and "Expected" not in run.output and "fleet_kubeconfig names" in run.output, run.output


def test_the_same_version_once_more_is_not_refused(play: Callable[..., Run]) -> None:
    """It goes on to the cluster, which is not there."""
    run = play(copy.deepcopy(GOOD), "engine_retire", "-e", "engine_retire=0.1.0", "-e", "engine_retire_cache=0.1.0")
    assert run.code and "engine_retire_cache" not in run.output and "fleet_kubeconfig" in run.output
