# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How GitHub is asked, with a token or as an App. Private to the collection."""

from __future__ import annotations

import base64
import json
import re
import time
import urllib.error
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from http import HTTPStatus
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils import urls
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._text import clean

TIMEOUT = 5
MAX_REASON = 64 << 10  # bytes of a refusal that are read
MAX_ANSWER = 4 << 20  # bytes: a page of a hundred jobs with their steps has some hundred kilobytes
# Runners of this image are told to update themselves before they are given a job, and do.
UPDATING = re.compile(r"(^|/)summerwind/actions-runner[:@]")
# Of the runner itself: an image of one's own may count otherwise.
_VERSION = re.compile(r":v?(2\.\d{3}\.\d+)(?![.\d])[^/:@]*(@|$)")
_TOKEN = re.compile(r"\b(eyJ[\w.-]+|gh[a-z]_\w+|github_pat_\w+)|(?<=[Bb]earer )\S+|(?<=RemoteAuth )\S+")


@dataclass(frozen=True)
class Reply:
    """What came back: the status of HTTP, or 0 and why there is none; `limited` where it was refused for too many
    requests; `reason` is what the API says of a refusal, without the credential.
    """

    status: int
    body: Mapping[str, Any]
    problem: str = ""
    limited: bool = False
    reason: str = ""

    @property
    def refusal(self) -> str:
        """The status, and the API's own reason where it gives one."""
        return f"HTTP {self.status}{': ' * bool(self.reason)}{self.reason}"


def without_tokens(text: str) -> str:
    """The text with `...` in the place of each token of GitHub."""
    return _TOKEN.sub("...", text)


def api(url: str) -> str:
    """The base of the REST API that belongs to a GitHub; empty where that is no address."""
    try:
        parts = urlsplit(url.rstrip("/"))
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return ""
    if parts.hostname in ("github.com", "www.github.com"):
        return "https://api.github.com"
    if parts.hostname.endswith(".ghe.com"):
        return f"https://api.{parts.hostname.removeprefix('api.')}"
    return f"{parts.scheme}://{parts.netloc}{parts.path}/api/v3"


def version_of(image: str) -> str:
    """The runner's version, where the image's tag is one."""
    found = _VERSION.search(image)
    return found[1] if found else ""


def days_until(date: Any, now: datetime) -> int | None:
    """Whole days until then, below 0 once it has passed; nothing where no date is set yet. ValueError or TypeError
    where it is no date.
    """
    return None if date is None else (moment(date) - now).days


def moment(text: Any) -> datetime:
    """A time as GitHub and the API of a cluster write it. ValueError or TypeError where it is none."""
    if not isinstance(text, str):
        raise TypeError
    then = datetime.fromisoformat(re.sub(r"Z$", "+00:00", text))
    return then if then.tzinfo else then.replace(tzinfo=timezone.utc)


def app_token(base: str, installation: str, signed: str) -> Reply:
    """What is said to an App that asks for the token of its installation, as the runner controller does: `token` in
    its body.
    """
    return send(f"{base}/app/installations/{installation}/access_tokens", signed, method="POST")


def signed_claims(app_id: str, private_key: str) -> str:
    """A JSON web token of the App, good for some minutes. ValueError without a reason, which might show the key, where
    that is none. ImportError where Python has no package for it.
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


def send(
    url: str, token: str, method: str = "GET", scheme: str = "Bearer", content: Mapping[str, Any] | None = None
) -> Reply:
    """One request. It follows nobody elsewhere, and takes no other credential than this one; what went wrong never
    holds it.
    """
    headers = {
        "Authorization": f"{scheme} {token}",
        "Accept": "application/vnd.github+json",
        "X-GitHub-Api-Version": "2022-11-28",
    }
    data = None
    if content is not None:
        headers["Content-Type"], data = "application/json", json.dumps(content).encode()
    try:
        with urls.open_url(
            url, method=method, headers=headers, data=data, timeout=TIMEOUT, follow_redirects="none", use_netrc=False
        ) as answer:
            # The service of scale sets may begin with a byte order mark, and says nothing where it deletes.
            text = answer.read(MAX_ANSWER).decode("utf-8-sig")
            body = {} if answer.status == HTTPStatus.NO_CONTENT else json.loads(text)
            return Reply(answer.status, body if isinstance(body, dict) else {})
    except urllib.error.HTTPError as error:
        none_left = error.headers.get("X-RateLimit-Remaining") == "0" or bool(error.headers.get("Retry-After"))
        limited = error.code == HTTPStatus.TOO_MANY_REQUESTS or (error.code == HTTPStatus.FORBIDDEN and none_left)
        return Reply(error.code, {}, limited=limited, reason=_reason(error, token))
    except OSError as error:
        return Reply(0, {}, problem=str(getattr(error, "reason", "") or error))
    except (
        HTTPException,
        ValueError,
        urls.ConnectionError,
    ) as error:  # whose text may be the header that they could not send
        return Reply(0, {}, problem=f"no answer that can be read ({type(error).__name__})")


def _reason(error: urllib.error.HTTPError, token: str) -> str:
    """The `message` of a refusal in one line. A server may give back what it was sent."""
    try:
        told = json.loads(error.read(MAX_REASON).decode("utf-8-sig"))
    except (OSError, HTTPException, ValueError):
        return ""
    message = str(told.get("message") or "") if isinstance(told, dict) else ""
    return clean(without_tokens(message.replace(token, "...") if token else message), 200)


def _encoded(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")
