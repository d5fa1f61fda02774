# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The token that the controller asks GitHub with, or why there is none. Private to the collection."""

from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._github.requests import app_token, signed_claims
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.findings import Finding
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._github import runners as github


def credential(given: Mapping[str, str]) -> tuple[str, list[Finding]]:
    """What an App signs itself in with, empty for a token, and what is wrong with the credential by itself. Nobody is
    asked.
    """
    told = github.credential_findings(given)
    if told or "private_key" not in given:
        return "", told
    try:
        return signed_claims(given["app_id"], given["private_key"]), []
    except ImportError:
        hint = "pip install cryptography, for the Python that runs ansible-playbook"
        found, expected = "no Python package cryptography to use an App's key with", "the package on the controller"
        return "", [Finding("github_dates_unknown", github.CREDENTIAL, found, expected, hint)]
    except ValueError:
        return "", [github.no_key()]


def token(base: str, given: Mapping[str, str], signed: str) -> tuple[str, Finding | None]:
    """The token to ask with, or why there is none. `signed`: what `credential` made."""
    return (given["token"], None) if "token" in given else _app_token(base, given["installation_id"], signed)


def _app_token(base: str, installation: str, signed: str) -> tuple[str, Finding | None]:
    """The token of an App's installation, as the runner controller gets it, or why there is none."""
    reply = app_token(base, installation, signed)
    found = github.refusal(reply, app=True) or github.silence(reply, base) or github.no_token(reply)
    return str(reply.body.get("token", "")), found
