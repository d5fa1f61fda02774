# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asks GitHub, once from the controller, what it will say to the runner controller and to its runners. Private to the
collection.
"""

from __future__ import annotations

import base64
import json
import time
import urllib.error
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http import HTTPStatus
from http.client import HTTPException
from typing import Any

from ansible.module_utils import urls
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._pins import PINS
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.findings import Finding
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._github import runners as github

TIMEOUT = 5
THREADS = 8


def github_findings(url: str, auth: Any, pools: Any, image: str, ask: bool) -> list[Finding]:
    """What is wrong with the credential and the address by themselves and, where GitHub is to be asked, everything that
    it says.

    `auth` has one of the forms of runner_controller_github_auth; what stands in a Secret of the cluster is not known
    here.
    """
    given = {key: str(value) for key, value in auth.items() if value not in (None, "")}
    told, signed = github.credential_findings(given), ""
    if not told and "private_key" in given:
        try:
            signed = _signed(given["app_id"], given["private_key"])
        except ImportError:
            hint = "pip install cryptography, for the Python that runs ansible-playbook"
            found, expected = "no Python package cryptography to use an App's key with", "the package on the controller"
            told = [Finding("github_dates_unknown", github.CREDENTIAL, found, expected, hint)]
        except ValueError:
            told = [github.no_key()]
    base = github.api(url)
    told += [] if base else [github.no_address(url)]
    asked = github.questions(pools if isinstance(pools, list) else [], image)
    if told or not ask or "secret" in given or not asked:
        return told
    token, trouble = (given["token"], None) if "token" in given else _app_token(base, given["installation_id"], signed)
    return [trouble] if trouble else _answers(base, asked, github.private_repositories(pools), token)


def _answers(base: str, asked: list[github.Question], repositories: list[str], token: str) -> list[Finding]:
    """What is said of each owner and version, and of repositories that should be private.

    The first is asked alone: where it gets no answer, the others would wait for the same.
    """
    now = datetime.now(UTC)

    def judged(question: github.Question) -> list[Finding]:
        path = f"{question.owner}/actions/runners/deprecations/{question.version or PINS['runner']}"
        return github.github_findings(question, _ask(f"{base}/{path}", token), base, now)

    def public(path: str) -> list[Finding]:
        return github.judge_repository(path, _ask(f"{base}/{path}", token))

    findings = judged(asked[0])
    if not {finding.code for finding in findings} & {"github_unreachable", "github_credential_refused"}:
        with ThreadPoolExecutor(THREADS) as threads:
            said = [*threads.map(judged, asked[1:]), *threads.map(public, repositories)]
        findings += [finding for several in said for finding in several]
    return list(dict.fromkeys(findings))


def _app_token(base: str, installation: str, signed: str) -> tuple[str, Finding | None]:
    """The token of an App's installation, as the runner controller gets it, or why there is none."""
    reply = _ask(f"{base}/app/installations/{installation}/access_tokens", signed, method="POST")
    found = github.refusal(reply, app=True) or github.silence(reply, base) or github.no_token(reply)
    return str(reply.body.get("token", "")), found


def _signed(app_id: str, private_key: str) -> str:
    """A JSON web token of the App, good for some minutes. ValueError without a reason, which might show the key, where
    that is none.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    try:
        key = serialization.load_pem_private_key(private_key.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError
    now = int(time.time())
    claims = {"iat": now - 60, "exp": now + 300, "iss": app_id}
    text = b".".join(_encoded(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT"}, claims))
    return (text + b"." + _encoded(key.sign(text, padding.PKCS1v15(), hashes.SHA256()))).decode()


def _encoded(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def _ask(url: str, token: str, method: str = "GET") -> github.Reply:
    """One request. It follows nobody elsewhere, and takes no other credential than this one; what went wrong never
    holds it.
    """
    headers = {
        "Authorization": f"Bearer {token}",
        "Accept": "application/vnd.github+json",
        "X-GitHub-Api-Version": "2022-11-28",
    }
    try:
        with urls.open_url(
            url, method=method, headers=headers, timeout=TIMEOUT, follow_redirects="none", use_netrc=False
        ) as answer:
            body = json.loads(answer.read(1 << 20))
            return github.Reply(answer.status, body if isinstance(body, dict) else {})
    except urllib.error.HTTPError as error:
        none_left = error.headers.get("X-RateLimit-Remaining") == "0" or bool(error.headers.get("Retry-After"))
        limited = error.code == HTTPStatus.TOO_MANY_REQUESTS or (error.code == HTTPStatus.FORBIDDEN and none_left)
        return github.Reply(error.code, {}, limited=limited)
    except OSError as error:
        return github.Reply(0, {}, problem=str(getattr(error, "reason", "") or error))
    except (
        HTTPException,
        ValueError,
        urls.ConnectionError,
    ) as error:  # whose text may be the header that they could not send
        return github.Reply(0, {}, problem=f"no answer that can be read ({type(error).__name__})")
