# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whose jobs share an engine. A pool of nodes is a trust domain: see docs/security.md. No I/O. Private to the
collection.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._api_values import OWNERS, engine_of
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.findings import Finding

_HINT = "give it a pool of nodes of its own (fleet_pools, and pool of the entry). See docs/security.md"


def owner_of(entry: Mapping[str, Any]) -> str:
    """Who decides what an entry of runner_pools_pools runs: an account of GitHub, whose repositories trust each other,
    or an enterprise.

    GitHub does not tell names apart by their case. Empty where the entry names none, or several.
    """
    kinds = [kind for kind in OWNERS if entry.get(kind)]
    if len(kinds) != 1:
        return ""
    name = str(entry[kinds[0]]).lower()
    return f"enterprise {name}" if kinds[0] == "enterprise" else name.partition("/")[0]


def trust_findings(entries: Sequence[Mapping[str, Any]], engines: Mapping[str, Sequence[str]]) -> list[Finding]:
    """Pools of nodes whose engines several owners share, or jobs of forks with others. `engines`: versions by pool, as
    engine_of wants.
    """
    shared: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for entry in entries:
        if owner_of(entry):
            shared[engine_of(entry, engines)[0]].append(entry)
    return [finding for pool, members in shared.items() for finding in _judge(pool, members)]


def _judge(pool: str, members: Sequence[Mapping[str, Any]]) -> list[Finding]:
    subject, findings = f"runner_pools_pools: pool {pool}", []
    owners: defaultdict[str, list[str]] = defaultdict(list)
    for entry in members:
        owners[owner_of(entry)].append(str(entry.get("name")))
    if len(owners) > 1:
        whose = " and ".join(f"{owner} ({', '.join(names)})" for owner, names in owners.items())
        found = f"{whose} share its engines: each can read and change what the others' jobs take out of the cache"
        findings.append(Finding("engine_shared_by_owners", subject, found, "one owner a pool of nodes", _HINT))
    forks = [str(entry.get("name")) for entry in members if entry.get("forks")]
    others = [str(entry.get("name")) for entry in members if not entry.get("forks")]
    if forks and others:
        found = (
            f"{', '.join(forks)} runs what anybody proposes in a pull request, on the engines and caches of "
            f"{', '.join(others)}"
        )
        findings.append(Finding("forks_share_engine", subject, found, "jobs of forks in a pool of their own", _HINT))
    return findings
