# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What GitHub says of a runner's version and of a credential, judged. No I/O. Private to the collection."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._api_values import OWNERS
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._github.requests import (
    UPDATING,
    Reply,
    days_until,
    version_of,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.findings import Finding

CREDENTIAL = "runner_controller_github_auth"
URL = "runner_controller_github_url"
# Fewer days than this are a warning: a new image has to be built, and its runners rolled out.
FEW_DAYS = 14
OFF = "set preflight_github_check: false where the controller is not to ask"
_SCOPES = {"repository": "repos", "organization": "orgs", "enterprise": "enterprises"}
_HEADER = re.compile(r"[!-~]+")


@dataclass(frozen=True, order=True)
class Question:
    """Whose runners are asked for (`repos/o/r`, `orgs/o`, `enterprises/e`), and which version; none where the image
    does not tell it.
    """

    owner: str
    version: str
    updates: bool = False


def no_address(url: str) -> Finding:
    """An address of GitHub that is none."""
    hint = "correct it, or fleet_github_url, which it is made of"
    return Finding(
        "variable_invalid", URL, repr(url), "https://github.com, or the http or https address of a server", hint
    )


def of_github(base: str) -> bool:
    """Whether it is GitHub's own API, which has every answer, and not that of a server of a certain age."""
    return str(urlsplit(base).hostname or "").endswith((".github.com", ".ghe.com"))


def questions(pools: Iterable[Any], image: str) -> list[Question]:
    """One for each owner and version of the runner pools. An entry that the preflight refuses for another reason asks
    nothing.
    """
    found = set()
    for pool in pools:
        owners = [kind for kind in OWNERS if isinstance(pool, Mapping) and pool.get(kind)]
        if len(owners) != 1 or OWNERS[owners[0]](pool[owners[0]]):
            continue
        used = str(pool.get("image") or image)
        found.add(
            Question(
                f"{_SCOPES[owners[0]]}/{quote(str(pool[owners[0]]))}", version_of(used), bool(UPDATING.search(used))
            )
        )
    return sorted(found)


def private_repositories(pools: Iterable[Any]) -> list[str]:
    """Repositories (`repos/o/r`) of entries that are not stated to run jobs of forks, so that they have to be
    private.
    """
    good = (
        pool
        for pool in pools
        if isinstance(pool, Mapping) and [kind for kind in OWNERS if pool.get(kind)] == ["repository"]
    )
    stated = {
        str(pool["repository"])
        for pool in good
        if not pool.get("forks") and not OWNERS["repository"](pool["repository"])
    }
    return sorted(f"{_SCOPES['repository']}/{quote(name)}" for name in stated)


def judge_repository(path: str, reply: Reply) -> list[Finding]:
    """Whether everybody may propose what runs there. Any other answer than that it is public says nothing: not all
    credentials may look.
    """
    if reply.status != HTTPStatus.OK or reply.body.get("private") is not False:
        return []
    found = "a public repository, in which anybody may open a pull request whose jobs run on this fleet"
    hint = (
        "say forks: true for its entry and give it a pool of nodes of its own; or let GitHub run workflows of forks "
        "only when somebody has approved them. See docs/security.md"
    )
    return [
        Finding("repository_public", f"runner_pools_pools: {path}", found, "a private repository, or forks: true", hint)
    ]


def credential_findings(auth: Mapping[str, Any]) -> list[Finding]:
    """A credential that cannot be one, whoever is asked. Values are never told."""
    found = []
    for key in ("app_id", "installation_id"):
        if auth.get(key) and not re.fullmatch("[0-9]+", str(auth[key])):
            found.append(_refused(f".{key}", "no number", "the number that GitHub shows"))
    if auth.get("token") and not _HEADER.fullmatch(str(auth["token"])):
        found.append(
            _refused(
                ".token", "a token with white space, a line break or a letter that no token has", "the token alone"
            )
        )
    key = str(auth.get("private_key") or "").strip()
    if "-----BEGIN" in key and len(key.splitlines()) == 1:
        found.append(_on_one_line())
    return found


def refusal(reply: Reply, app: bool) -> Finding | None:
    """Why a credential is none that this GitHub takes, where that is what the reply says."""
    if reply.status == HTTPStatus.UNAUTHORIZED:
        expected = (
            "an App of that app_id with that private_key, and a clock that is right" if app else "a token that is valid"
        )
        return _refused("", f"a credential that GitHub does not take ({reply.refusal})", expected)
    if app and reply.status == HTTPStatus.NOT_FOUND:
        return _refused(
            ".installation_id",
            f"no such installation of the App ({reply.refusal})",
            "an installation of the App that app_id names",
        )
    return None


def _on_one_line() -> Finding:
    """A key whose line breaks were lost, as in an environment variable or between single quotes."""
    hint = (
        "give it as a block, private_key: | with the lines of the file below it, or read the file into the vault; a "
        "text between single quotes keeps \\n as two letters"
    )
    found, expected = "an App's key on one line", "the lines of the file as GitHub gave it, from BEGIN to END"
    return Finding("github_credential_refused", f"{CREDENTIAL}.private_key", found, expected, hint)


def no_key() -> Finding:
    """An App's key that is none."""
    return _refused(
        ".private_key", "no RSA key in PEM, or one with a password", "the App's private key as GitHub gave it"
    )


def no_token(reply: Reply) -> Finding | None:
    """An installation that gets no token though its App is known, as one that was suspended."""
    if reply.body.get("token"):
        return None
    found = "too many requests for now" if reply.limited else f"{reply.refusal} and no token of the installation"
    hint = "see at GitHub whether the installation is suspended, and run again"
    return Finding("github_access_denied", CREDENTIAL, found, "a token of the App's installation", hint)


def silence(reply: Reply, base: str) -> Finding | None:
    """No answer that says anything: a controller without a way to GitHub is no fault of the fleet."""
    if reply.status in (HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND) or reply.limited:
        return None
    found = reply.refusal if reply.status else reply.problem
    hint = f"see whether the controller reaches it, and a proxy lets it; {OFF}"
    return Finding("github_unreachable", f"{URL} {base}", found, "an answer of GitHub's API", hint)


def github_findings(question: Question, reply: Reply, base: str, now: datetime) -> list[Finding]:
    """What a reply about an owner and a version means. `now`: with its time zone."""
    told = refusal(reply, app=False) or silence(reply, base)
    if told:
        return [told]
    if reply.limited:
        hint = "run again in an hour, or take another credential"
        return [Finding("github_dates_unknown", f"{URL} {base}", "too many requests for now", "an answer", hint)]
    if reply.status == HTTPStatus.FORBIDDEN:
        hint = "let it administer the owner's self-hosted runners, and allow it for the organization's single sign-on"
        expected = "a credential that may register runners there"
        return [
            Finding(
                "github_access_denied",
                f"{CREDENTIAL} at {question.owner}",
                f"{reply.refusal}: it may not ask for runners",
                expected,
                hint,
            )
        ]
    if reply.status == HTTPStatus.NOT_FOUND:
        if not of_github(base):
            found, hint = "HTTP 404: a server that does not tell of it", "look at the runner's releases by yourself"
            return [Finding("github_dates_unknown", f"{URL} {base}", found, "dates of the runner's version", hint)]
        hint = "correct the owner in runner_pools_pools, or let the credential see it"
        expected = "an owner that the credential sees"
        return [Finding("github_owner_unknown", f"runner_pools_pools: {question.owner}", reply.refusal, expected, hint)]
    return _dates(question, reply.body, now) if question.version else []


def _dates(question: Question, body: Mapping[str, Any], now: datetime) -> list[Finding]:
    subject = f"runner {question.version}"
    try:
        registers, runs = (days_until(body.get(f"{what}_deprecates_at"), now) for what in ("registration", "runtime"))
    except (TypeError, ValueError):
        found, hint = "an answer without dates that can be read", "look at the runner's releases by yourself"
        return [Finding("github_dates_unknown", subject, found, "dates of the runner's version", hint)]
    build = "let runner_pools_image, or image of the runner pool, name an image with a newer runner"
    expected = "a version that GitHub gives jobs to"
    if registers is not None and registers < 0:
        return [
            Finding(
                "runner_deprecated", subject, f"GitHub registers none of it, for {_of(-registers)}", expected, build
            )
        ]
    if runs is None:
        return []
    if runs < 0 and question.updates:
        found = f"GitHub gives no job to it, for {_of(-runs)}: each runner updates itself first"
        return [
            Finding("runner_updates_itself", subject, found, expected, f"{build}, to save the download at each start")
        ]
    if runs < 0:
        return [Finding("runner_deprecated", subject, f"GitHub gives no job to it, for {_of(-runs)}", expected, build)]
    code = "runner_deprecates_soon" if runs < FEW_DAYS else "runner_days_left"
    return [Finding(code, subject, f"GitHub gives jobs to it for {_of(runs)} more", expected, build)]


def _of(days: int) -> str:
    return f"{days} day" if days == 1 else f"{days} days"


def _refused(key: str, found: str, expected: str) -> Finding:
    hint = "correct it, in its vault: the runner controller would be refused as well"
    return Finding("github_credential_refused", f"{CREDENTIAL}{key}", found, expected, hint)
