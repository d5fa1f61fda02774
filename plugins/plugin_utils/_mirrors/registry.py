# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asks a registry for a manifest and its digest, as containerd does before it pulls, without a login. Private to the
collection.
"""

from __future__ import annotations

import hashlib
import json
import re
import urllib.error
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from ansible.module_utils import urls
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._image_digests import DIGEST
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._mirror import qualified_image

TIMEOUT = 15
LARGEST = 4 << 20  # of a manifest, as containerd has it
MANIFESTS = ", ".join(
    [
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
        "*/*",
    ]
)
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Reference:
    """An image's name in parts; `tag` is its digest where it has one."""

    registry: str
    repository: str
    tag: str


@dataclass(frozen=True)
class Reply:
    """What a registry said. `status`: of HTTP; 0 where there was no answer, and `problem` says why.

    `digest`: of the manifest, where it was asked for and the registry tells it, or the manifest itself does.
    """

    status: int
    problem: str = ""
    digest: str = ""


def parse(image: str) -> Reference:
    """An image as a container runtime reads it: `latest` where it names no tag, and the digest where it names both."""
    registry, _slash, rest = qualified_image(image).partition("/")
    name, _at, digest = rest.partition("@")
    head, slash, last = name.rpartition("/")
    last, _colon, tag = last.partition(":")
    return Reference(registry, f"{head}{slash}{last}", digest or tag or "latest")


def upstream_api(registry: str) -> str:
    """Below which address upstream's registry answers, as containerd knows it: by plain http on this machine alone."""
    if registry == "docker.io":
        return "https://registry-1.docker.io/v2"
    host = registry.partition(":")[0]
    return f"{'http' if host in ('localhost', '127.0.0.1') else 'https'}://{registry}/v2"


def manifest_url(api: str, repository: str, tag: str) -> str:
    """The address of a manifest. What is no name of an image still makes one, that no registry has."""
    return f"{api}/{quote(repository)}/manifests/{quote(tag, safe=':')}"


def ask(api: str, repository: str, tag: str, digest: bool = False) -> Reply:
    """Whether the registry at `api` has this manifest. Where it asks for a token, it gets the one that anybody gets.

    `digest`: whether that of the manifest is wanted: a registry that does not tell it is asked for the manifest.
    """
    reply = _ask(api, repository, tag, "HEAD")
    if digest and 200 <= reply.status < 300 and not reply.digest:
        return _ask(api, repository, tag, "GET")
    return reply


def _ask(api: str, repository: str, tag: str, method: str) -> Reply:
    url = manifest_url(api, repository, tag)
    reply, challenge = _request(url, "", method)
    if reply.status == HTTPStatus.UNAUTHORIZED and challenge:
        token, problem = _token(challenge, urlsplit(api).path.removeprefix("/v2").strip("/"), repository)
        if problem or not token:
            return problem or reply
        reply, _challenge = _request(url, token, method)
    return reply


def _request(url: str, token: str, method: str) -> tuple[Reply, Mapping[str, str]]:
    """The answer, and the parameters of the token that it asks for."""
    headers = {"Accept": MANIFESTS, **({"Authorization": f"Bearer {token}"} if token else {})}
    try:
        with _open(url, headers, method) as answer:
            return Reply(answer.status, digest=_digest(answer, method)), {}
    except urllib.error.HTTPError as error:
        if error.code == HTTPStatus.METHOD_NOT_ALLOWED and method == "HEAD":
            return _request(url, token, "GET")
        return Reply(error.code), _challenge(error.headers.get_all("WWW-Authenticate") or [])
    except (OSError, HTTPException, ValueError, urls.ConnectionError) as error:
        return Reply(0, _reason(error)), {}


def _digest(answer: Any, method: str) -> str:
    """What the registry says of the manifest, or what the manifest is: containerd takes that by this digest."""
    if method == "HEAD":
        told = str(answer.headers.get("Docker-Content-Digest") or "")
        return told if DIGEST.fullmatch(told) else ""
    content = answer.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError("a manifest without end")
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _challenge(headers: list[str]) -> dict[str, str]:
    """Where a token is had and for what; nothing where the registry wants something else than a token."""
    for header in headers:
        scheme, _space, rest = header.strip().partition(" ")
        if scheme.lower() == "bearer":
            return {key.lower(): value for key, value in _PARAMETER.findall(rest)}
    return {}


def _token(challenge: Mapping[str, str], path: str, repository: str) -> tuple[str, Reply | None]:
    """A token without a login, or what came instead of one. Nothing but an address of http is asked: the registry named
    it.
    """
    realm = challenge.get("realm", "")
    if urlsplit(realm).scheme not in ("http", "https"):
        return "", Reply(0, f"it sends to {realm[:100]!r} for a token, which is no address of http or https")
    name = "/".join(part for part in (path, repository) if part)
    query = {"scope": challenge.get("scope") or f"repository:{name}:pull"}
    query = {"service": challenge["service"], **query} if challenge.get("service") else query
    address = f"{realm}{'&' if urlsplit(realm).query else '?'}{urlencode(query)}"
    try:
        with _open(address, {"Accept": "application/json"}) as answer:
            body = json.loads(answer.read(1 << 20))
    except urllib.error.HTTPError as error:
        refused = error.code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
        return "", Reply(error.code) if refused else Reply(
            0, f"HTTP {error.code} {error.reason} from {realm}, where it sends for a token"
        )
    except (OSError, HTTPException, ValueError, urls.ConnectionError) as error:
        return "", Reply(0, f"{_reason(error)} at {realm}, where it sends for a token")
    token = (body.get("token") or body.get("access_token")) if isinstance(body, dict) else None
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        return "", Reply(0, f"no token from {realm}, where it sends for one")
    return token, None


def _open(url: str, headers: Mapping[str, str], method: str = "GET") -> Any:
    return urls.open_url(
        url,
        method=method,
        headers=dict(headers),
        timeout=TIMEOUT,
        use_netrc=False,
        unredirected_headers=["Authorization"],
    )


def _reason(error: BaseException) -> str:
    """Why there was no answer. An error of http.client may quote what it could not send."""
    if isinstance(error, (HTTPException, ValueError, urls.ConnectionError)):
        return f"no answer that can be read ({type(error).__name__})"
    return str(getattr(error, "reason", "") or error)
