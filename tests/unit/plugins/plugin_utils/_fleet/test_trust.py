"""Whose jobs share an engine."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet.trust import owner_of, trust_findings

ENGINES = {"runner": ["0.21.11"], "large": ["0.21.11"]}


@pytest.mark.parametrize(
    ("entry", "owner"),
    [
        ({"repository": "Acme/api"}, "acme"),
        ({"organization": "ACME"}, "acme"),
        ({"enterprise": "acme"}, "enterprise acme"),
        ({}, ""),
        ({"repository": "acme/api", "organization": "acme"}, ""),
    ],
)
def test_who_decides_what_runs(entry: dict[str, Any], owner: str) -> None:
    assert owner_of(entry) == owner


A, B = {"name": "a", "repository": "acme/api"}, {"name": "b", "organization": "globex"}


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        pytest.param([], [], id="none"),
        pytest.param([A, {**A, "name": "web", "repository": "ACME/web"}], [], id="two repositories of one account"),
        pytest.param([A, {"name": "all", "organization": "acme"}], [], id="an account and a repository of it"),
        pytest.param([A, B], [("engine_shared_by_owners", "runner")], id="both in the first pool, which neither names"),
        pytest.param(
            [{**A, "pool": "runner"}, B], [("engine_shared_by_owners", "runner")], id="one by its name, one by none"
        ),
        pytest.param([A, {**B, "pool": "large"}], [], id="a pool each"),
        pytest.param(
            [A, {"name": "e", "enterprise": "acme"}],
            [("engine_shared_by_owners", "runner")],
            id="an enterprise is another",
        ),
        pytest.param([A, {"name": "none"}], [], id="an entry without an owner, which is refused elsewhere"),
        pytest.param([{**A, "forks": True}], [], id="forks alone"),
        pytest.param(
            [A, {**A, "name": "f", "forks": True}], [("forks_share_engine", "runner")], id="forks with others"
        ),
        pytest.param([A, {**A, "name": "f", "forks": True, "pool": "large"}], [], id="forks apart"),
        pytest.param(
            [A, {**B, "forks": True}],
            [("engine_shared_by_owners", "runner"), ("forks_share_engine", "runner")],
            id="both",
        ),
    ],
)
def test_who_shares_an_engine(entries: list[dict[str, Any]], expected: list[tuple[str, str]]) -> None:
    found = trust_findings(entries, ENGINES)
    assert [(item.code, item.subject.rpartition(" ")[2]) for item in found] == expected
    assert all(item.severity == "warning" for item in found)


def test_a_finding_names_owners_and_entries() -> None:
    (found,) = trust_findings([A, B, {**A, "name": "c"}], ENGINES)
    assert found.found.startswith("acme (a, c) and globex (b) share its engines")
