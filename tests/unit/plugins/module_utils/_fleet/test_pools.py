"""What fleet_pools means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.runnerfleet.baremetal.plugins.filter.pools import FilterModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet import pools as fleet_pools

ROOT = Path(__file__).resolve().parents[5]
DEFAULTS = {"versions": ["0.21.8"], "cpu": "500m", "config": {"logLevel": "info"}}
LARGE = {"name": "large", "group": "large_nodes", "engine": {"cpu": 2, "versions": ["0.21.8", "1.0.0"], "memory": None}}


@pytest.mark.parametrize("given", [None, "", []])
def test_without_pools_a_fleet_has_the_default_ones(given: Any) -> None:
    """One for the platform, one for the engines."""
    support, runner = FilterModule().filters()["pools"](given, DEFAULTS)
    assert support == {"name": "support", "group": "support_nodes", "labels": {}, "taints": [], "engine": False}
    assert runner == {"name": "runner", "group": "runner_nodes", "labels": {}, "taints": [], "engine": DEFAULTS}
    assert FilterModule().filters()["engine_pools"](given) == ["runner"]


def test_a_pool_says_what_differs() -> None:
    """What it does not say, or leaves empty, is as for all; and a number is the text that Kubernetes takes."""
    (large,) = fleet_pools.pools_from([LARGE], {**DEFAULTS, "memory": "4Gi"})
    assert large.engine == {
        "versions": ["0.21.8", "1.0.0"],
        "cpu": "2",
        "memory": "4Gi",
        "config": {"logLevel": "info"},
    }
    assert large.versions == ["0.21.8", "1.0.0"]
    assert fleet_pools.pools_from([large.as_dict()], {"cpu": "9"}) == [large]


@pytest.mark.parametrize(
    ("engine", "has"),
    [
        (True, True),
        ({}, True),
        ("true", True),
        ("yes", True),
        (False, False),
        (None, False),
        ("false", False),
        ("", False),
        ("off", False),
    ],
)
def test_an_engine_is_there_or_not(engine: Any, has: bool) -> None:
    """However the truth value was written, and with all of its options left out."""
    pools = [{"name": "a", "group": "g", "engine": engine}]
    assert FilterModule().filters()["engine_pools"](pools) == (["a"] if has else [])
    assert bool(FilterModule().filters()["pools"](pools)[0]["engine"]) is has


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("runner", "expected a list of pools"),
        ({"name": "runner"}, "expected a list of pools"),
        (["runner"], "fleet_pools[0]: found 'runner'"),
        ([{"name": "a"}], "missing required arguments: group"),
        ([{"name": "a", "group": "g", "engin": True}], "fleet_pools[0]: found engin, expected only name, group"),
        (
            [{"name": "a", "group": "g", "engine": "large"}],
            "pool a: engine: found 'large', expected true, false, or a dictionary",
        ),
        (
            [{"name": "a", "group": "g", "engine": {"memry": "4Gi"}}],
            "pool a: engine: found memry, expected only versions",
        ),
        (
            [{"name": "a", "group": "g", "engine": {"profile": "fast"}}],
            "pool a: engine: value of profile must be one of: ci, engine",
        ),
        (
            [{"name": "a", "group": "g", "engine": {"checkpoints_keep": "two"}}],
            "pool a: engine: argument 'checkpoints_keep'",
        ),
        ([{"name": "a", "group": "g", "taints": [{"key": "k", "effect": "Never"}]}], "value of effect must be one of"),
        ([{"name": "a", "group": "g"}, {"name": "a", "group": "h"}], "found the pool a twice"),
    ],
)
def test_what_is_no_pool_is_refused(given: Any, says: str) -> None:
    """With the place of what is wrong."""
    for name in ("pools", "engine_pools"):
        with pytest.raises(AnsibleFilterError) as caught:
            FilterModule().filters()[name](given)
        assert says in str(caught.value)


def test_all_problems_are_told_at_once() -> None:
    """Not one a run."""
    with pytest.raises(ValueError, match=r"engin, .*; .*memry") as caught:
        fleet_pools.pools_from(
            [{"name": "a", "group": "g", "engin": 1}, {"name": "b", "group": "g", "engine": {"memry": 1}}]
        )
    assert str(caught.value).count(";") == 1


def test_what_is_documented_is_what_is_read() -> None:
    """The option fleet_pools, and the defaults for all pools in role dagger_engine."""
    spec = yaml.safe_load((ROOT / "roles/preflight/meta/argument_specs.yml").read_text())["argument_specs"]["fleet"][
        "options"
    ]
    documented = spec["fleet_pools"]["options"]
    assert set(documented) == set(fleet_pools._POOL)
    engine = documented["engine"]["options"]
    shown = {
        name: {key: option[key] for key in ("type", "elements", "choices") if key in option}
        for name, option in engine.items()
    }
    assert shown == fleet_pools.ENGINE
    role = yaml.safe_load((ROOT / "roles/dagger_engine/meta/argument_specs.yml").read_text())["argument_specs"]["main"][
        "options"
    ]
    for name, option in fleet_pools.ENGINE.items():
        same = {
            key: role[f"dagger_engine_{name}"][key]
            for key in ("type", "elements", "choices")
            if key in role[f"dagger_engine_{name}"]
        }
        assert same == option, name
