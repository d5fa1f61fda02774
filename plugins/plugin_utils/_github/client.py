# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests to GitHub's REST API from the controller, and the token that they carry. Private to the collection."""

from __future__ import annotations

import base64
import json
import time
import urllib.error
from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPException
from typing import Any

from ansible.module_utils import urls
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.findings import Finding
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._github import runners as github

TIMEOUT = 5


def credential(given: Mapping[str, str]) -> tuple[str, list[Finding]]:
    """What an App signs itself in with, empty for a token, and what is wrong with the credential by itself. Nobody is
    asked.
    """
    told = github.credential_findings(given)
    if told or "private_key" not in given:
        return "", told
    try:
        return _signed(given["app_id"], given["private_key"]), []
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
    reply = ask(f"{base}/app/installations/{installation}/access_tokens", signed, method="POST")
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


def ask(url: str, bearer: str, method: str = "GET", content: Any = None) -> github.Reply:
    """One request. It follows nobody elsewhere, and takes no other credential than this one; what went wrong never
    holds it.
    """
    headers = {
        "Authorization": f"Bearer {bearer}",
        "Accept": "application/vnd.github+json",
        "X-GitHub-Api-Version": "2022-11-28",
        **({} if content is None else {"Content-Type": "application/json"}),
    }
    try:
        with urls.open_url(
            url,
            data=None if content is None else json.dumps(content),
            method=method,
            headers=headers,
            timeout=TIMEOUT,
            follow_redirects="none",
            use_netrc=False,
        ) as answer:
            if answer.status == HTTPStatus.NO_CONTENT:
                return github.Reply(answer.status, {})
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
