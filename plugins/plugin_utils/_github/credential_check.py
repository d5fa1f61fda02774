# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asks GitHub, once from the controller, what it will say to the runner controller and to its runners. Private to the
collection.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.runner_credentials import FORMS, stated
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._github.requests import api, send
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._pins import PINS
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.findings import Finding
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._github import client
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._github import runners as github

THREADS = 8
COMMON = "runner_pools_github_auth"


def scale_set_findings(url: str, common: Any, name: str, pools: Any, image: str, ask: bool) -> list[Finding]:
    """The same for scale sets, each with the credential that it uses: that of its own entry, or the common one.

    `common` has one of the forms of runner_pools_github_auth, and `name` is the variable that states it. One of another
    form is told elsewhere.
    """
    findings: list[Finding] = []
    for subject, auth, entries in _credentials(common, name, pools if isinstance(pools, list) else []):
        told = github_findings(url, auth, entries, image, ask)
        # Where there is no answer, the others would wait for the same.
        ask = ask and not any(finding.code == "github_unreachable" for finding in told)
        findings += [replace(one, subject=one.subject.replace(github.CREDENTIAL, subject, 1)) for one in told]
    return list(dict.fromkeys(findings))


def _credentials(common: Any, name: str, pools: list[Any]) -> Iterator[tuple[str, dict[str, Any], list[Any]]]:
    """Each credential that can be one: where it is stated, what it is, and the entries that use it."""
    own = [pool for pool in pools if isinstance(pool, Mapping) and stated(pool.get("credential"))]
    others = [pool for pool in pools if pool not in own]
    stands = [(name, common, others)] if others or not own else []
    stands += [(f"runner_pools_pools: {pool.get('name')}.credential", pool["credential"], [pool]) for pool in own]
    for subject, auth, entries in stands:
        given = stated(auth)
        if tuple(sorted(given)) in FORMS:
            yield subject, given, entries


def github_findings(url: str, auth: Any, pools: Any, image: str, ask: bool) -> list[Finding]:
    """What is wrong with the credential and the address by themselves and, where GitHub is to be asked, everything that
    it says.

    `auth` has one of the forms of runner_controller_github_auth; what stands in a Secret of the cluster is not known
    here.
    """
    given = {key: str(value) for key, value in auth.items() if value not in (None, "")}
    signed, told = client.credential(given)
    base = api(url)
    told += [] if base else [github.no_address(url)]
    asked = github.questions(pools if isinstance(pools, list) else [], image)
    if told or not ask or "secret" in given or not asked:
        return told
    token, trouble = client.token(base, given, signed)
    return [trouble] if trouble else _answers(base, asked, github.private_repositories(pools), token)


def _answers(base: str, asked: list[github.Question], repositories: list[str], token: str) -> list[Finding]:
    """What is said of each owner and version, and of repositories that should be private.

    The first is asked alone: where it gets no answer, the others would wait for the same.
    """
    now = datetime.now(UTC)

    def judged(question: github.Question) -> list[Finding]:
        path = f"{question.owner}/actions/runners/deprecations/{question.version or PINS['runner']}"
        return github.github_findings(question, send(f"{base}/{path}", token), base, now)

    def public(path: str) -> list[Finding]:
        return github.judge_repository(path, send(f"{base}/{path}", token))

    findings = judged(asked[0])
    if not {finding.code for finding in findings} & {"github_unreachable", "github_credential_refused"}:
        with ThreadPoolExecutor(THREADS) as threads:
            said = [*threads.map(judged, asked[1:]), *threads.map(public, repositories)]
        findings += [finding for several in said for finding in several]
    return list(dict.fromkeys(findings))
