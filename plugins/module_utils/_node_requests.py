# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The requests about nodes, their tokens and their certificates, on plain dicts. Private to the collection."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils import _node_credentials as credentials

JSON = "application/json"
TIMEOUT = 30
THREADS = 20
POLL_SECONDS = 1
RBAC_SECONDS = 20
_SECRETS = "/api/v1/namespaces/kube-system/secrets"
_REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
_BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class CredentialError(Exception):
    """Why no credential was given; the text is for people."""


class Requests:
    """A cluster's nodes and who may become one. `api` is the client library's ApiClient."""

    def __init__(self, api: Any) -> None:
        self.api = api

    def nodes(self, names: Collection[str]) -> dict[str, dict[str, Any]]:
        """The Nodes of these names, each with its metadata. One request for all of them."""
        listed = self.call("GET", "/api/v1/nodes", accept=_METADATA).get("items") or []
        return {item["metadata"]["name"]: item for item in listed if item["metadata"]["name"] in names}

    def tokens(self, names: Collection[str]) -> dict[str, str]:
        """Node by id, of the tokens that were made here for these names."""
        label = "app.kubernetes.io/managed-by=runnerfleet"
        query = {"fieldSelector": f"type={credentials.TOKEN_TYPE}", "labelSelector": label}
        return credentials.tokens_of(self.call("GET", _SECRETS, query, accept=_METADATA).get("items") or [], names)

    def requests(self, signer: str) -> list[dict[str, Any]]:
        """CertificateSigningRequests for a signer."""
        return list(self.call("GET", _REQUESTS, {"fieldSelector": f"spec.signerName={signer}"}).get("items") or [])

    def create_tokens(self, names: Sequence[str], seconds: int) -> dict[str, str]:
        """A token for each name, in place of those that an earlier run left behind."""
        self.delete_tokens(names)
        made: dict[str, credentials.Token] = {}
        for name in names:
            made[name] = credentials.new_token(name, {token.id for token in made.values()})
        now = datetime.now(timezone.utc)
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda token: self.call("POST", _SECRETS, body=token.to_object(now, seconds)), made.values()))
        return {name: token.value for name, token in made.items()}

    def delete_tokens(self, names: Collection[str]) -> dict[str, str]:
        """Delete the tokens of these names; returns them, node by id."""
        found = self.tokens(names)
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda ident: self.call("DELETE", f"{_SECRETS}/bootstrap-token-{ident}", passed=(404,)), found))
        return found

    def automatic(self) -> bool:
        """Whether the cluster would approve what a joining machine asks for by itself."""
        answer = self.call("POST", _REVIEWS, body=credentials.automatic_question())
        return bool((answer.get("status") or {}).get("allowed"))

    def end_automatic(self) -> bool:
        """See that nothing is approved but by name; returns whether kubeadm's binding had to go."""
        if not self.automatic():
            return False
        self.call("DELETE", f"{_BINDINGS}/{credentials.AUTOMATIC_BINDING}", passed=(404,))
        deadline = time.monotonic() + RBAC_SECONDS
        while self.automatic():
            if time.monotonic() > deadline:
                raise CredentialError(
                    f"the cluster approves every certificate that a joining machine asks for: found, {RBAC_SECONDS} s after "
                    f"ClusterRoleBinding {credentials.AUTOMATIC_BINDING} was deleted, that {credentials.JOIN_GROUP} may still create "
                    "certificatesigningrequests/nodeclient, expected not. Any of these machines could become any node. Delete the "
                    "ClusterRoleBinding that gives it (`kubectl get clusterrolebindings -o wide | grep nodeclient`) and run again"
                )
            time.sleep(POLL_SECONDS)
        return True

    def decide(self, request: dict[str, Any], expected: credentials.Expected, deny: bool = True) -> str:
        """Approve a request that is the expected one; returns why it is not, after denying it."""
        reason = credentials.refusal(request, expected)
        kind, message = ("Denied", f"refused: {reason}") if reason else ("Approved", f"the certificate of node {expected.node}")
        if not reason or deny:
            body = credentials.decided(request, kind, message, datetime.now(timezone.utc))
            self.call("PUT", f"{_REQUESTS}/{request['metadata']['name']}/approval", body=body, passed=(404, 409))
        return reason

    def approve_joins(self, names: Collection[str]) -> list[str] | None:
        """One look: approve what the tokens of these names ask for, each for its own. None once there are no such tokens."""
        tokens = self.tokens(names)
        if not tokens:
            return None
        approved = []
        for request in filter(credentials.pending, self.requests(credentials.CLIENT_SIGNER)):
            node = tokens.get(_token_id(request))
            if node:
                reason = self.decide(request, credentials.Expected(node, request["spec"]["username"]))
                approved += [] if reason else [node]
        return approved

    def refused(self, tokens: dict[str, str]) -> list[str]:
        """What hosts with these tokens asked for and were denied, a line each."""
        return credentials.refused(self.requests(credentials.CLIENT_SIGNER), tokens) if tokens else []

    def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        accept: str = JSON,
        passed: Sequence[int] = (),
    ) -> dict[str, Any]:
        """One call; nothing for an answer whose status is `passed` over."""
        try:
            answer = self.api.call_api(
                path,
                method,
                query_params=list((query or {}).items()),
                body=body,
                header_params={"Accept": accept, "Content-Type": "application/json"},
                auth_settings=["BearerToken"],
                _preload_content=False,
                _return_http_data_only=True,
                _request_timeout=TIMEOUT,
            )
        except Exception as error:
            if getattr(error, "status", None) in passed:
                return {}
            raise
        return dict(json.loads(bytes(answer.data)))


def _token_id(request: dict[str, Any]) -> str:
    user = str(request["spec"].get("username") or "")
    return user[len(credentials.TOKEN_USER) :] if user.startswith(credentials.TOKEN_USER) else ""


def approve_until(requests: Requests, names: Iterable[str], seconds: float) -> tuple[list[str], str]:
    """Approve as long as there are tokens of these names; returns whose certificates were approved, and the last look's error."""
    wanted, trouble = set(names), ""
    approved: set[str] = set()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            found = requests.approve_joins(wanted)
        except Exception as error:  # an API server that restarts meanwhile: hosts wait, so this waits too
            trouble = f"{type(error).__name__}: {str(error)[:300]}"
            found = []
        else:
            trouble = ""
        if found is None:
            break
        approved.update(found)
        time.sleep(POLL_SECONDS)
    return sorted(approved), trouble
