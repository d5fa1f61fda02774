# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The requests about nodes, their tokens and their certificates, on plain dicts. Private to the collection."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.client import (
    CONFLICT,
    FORBIDDEN,
    METADATA,
    NOT_FOUND,
    Cluster,
    ClusterError,
    status,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nodes import credentials, policies

THREADS = 20
POLL_SECONDS = 1
RBAC_SECONDS = 20
RULE_SECONDS = 60
NEW_SECONDS = 600  # since a node registered
_SECRETS = "/api/v1/namespaces/kube-system/secrets"
_REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
_BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_KUBELET_CONFIG = "/api/v1/namespaces/kube-system/configmaps/kubelet-config"


class Requests(Cluster):
    """A cluster's nodes and who may become one."""

    def nodes(self, names: Collection[str]) -> dict[str, dict[str, Any]]:
        """The Nodes of these names, each with its metadata. One request for all of them."""
        listed = self.items("/api/v1/nodes", accept=METADATA)
        return {item["metadata"]["name"]: item for item in listed if item["metadata"]["name"] in names}

    def tokens(self, names: Collection[str]) -> dict[str, str]:
        """Node by id, of the tokens that were made here for these names."""
        label = "app.kubernetes.io/managed-by=runnerfleet"
        kind = f"type={credentials.TOKEN_TYPE}"
        found = self.items(_SECRETS, {"fieldSelector": kind, "labelSelector": label}, accept=METADATA)
        return credentials.tokens_of(found, names)

    def requests(self, signer: str) -> list[dict[str, Any]]:
        """CertificateSigningRequests for a signer."""
        return self.items(_REQUESTS, {"fieldSelector": f"spec.signerName={signer}"})

    def create_tokens(self, names: Sequence[str], seconds: int) -> dict[str, str]:
        """A token for each name, in place of those that an earlier run left behind."""
        self.delete_tokens(names)
        made: dict[str, credentials.Token] = {}
        for name in names:
            made[name] = credentials.new_token(name, {token.id for token in made.values()})
        now = datetime.now(timezone.utc)
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda token: self.create(_SECRETS, token.to_object(now, seconds)), made.values()))
        return {name: token.value for name, token in made.items()}

    def delete_tokens(self, names: Collection[str]) -> dict[str, str]:
        """Delete the tokens of these names; returns them, node by id."""
        found = self.tokens(names)
        with ThreadPoolExecutor(THREADS) as pool:
            paths = [f"{_SECRETS}/bootstrap-token-{ident}" for ident in found]
            list(pool.map(lambda path: self.delete(path, passed=(NOT_FOUND,)), paths))
        return found

    def automatic(self) -> bool:
        """Whether the cluster would approve what a joining machine asks for by itself."""
        answer = self.create(_REVIEWS, credentials.automatic_question())
        return bool((answer.get("status") or {}).get("allowed"))

    def end_automatic(self) -> bool:
        """See that nothing is approved but by name; returns whether kubeadm's binding had to go."""
        if not self.automatic():
            return False
        self.delete(f"{_BINDINGS}/{credentials.AUTOMATIC_BINDING}", passed=(NOT_FOUND,))
        deadline = time.monotonic() + RBAC_SECONDS
        while self.automatic():
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"the cluster approves every certificate that a joining machine asks for: found, {RBAC_SECONDS} s "
                    f"after ClusterRoleBinding {credentials.AUTOMATIC_BINDING} was deleted, that "
                    f"{credentials.JOIN_GROUP} may still create certificatesigningrequests/nodeclient, expected not. "
                    "Any of these machines could become any node. Delete the ClusterRoleBinding that gives it "
                    "(`kubectl get clusterrolebindings -o wide | grep nodeclient`) and run again"
                )
            time.sleep(POLL_SECONDS)
        return True

    def decide(self, request: dict[str, Any], expected: credentials.Expected, deny: bool = True) -> str:
        """Approve a request that is the expected one; returns why it is not, after denying it."""
        reason = credentials.refusal(request, expected)
        kind, message = (
            ("Denied", f"refused: {reason}") if reason else ("Approved", f"the certificate of node {expected.node}")
        )
        if not reason or deny:
            body = credentials.decided(request, kind, message, datetime.now(timezone.utc))
            self._answer(request, body)
        return reason

    def _answer(self, request: dict[str, Any], body: Any) -> None:
        """Write the decision about a request, unless it is gone or was decided meanwhile."""
        self.replace(f"{_REQUESTS}/{request['metadata']['name']}/approval", body, passed=(NOT_FOUND, CONFLICT))

    def approve_joins(self, names: Collection[str]) -> list[str] | None:
        """One look: approve what the tokens of these names ask for, each for its own. None once there are no such
        tokens.
        """
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

    def approve_serving(self, addresses: Mapping[str, Collection[str]]) -> tuple[list[str], list[str]]:
        """One look at what kubelets want to serve with: approved nodes, and what was left undecided, a line each."""
        approved: list[str] = []
        left: list[str] = []
        for request in filter(credentials.pending, self.requests(credentials.SERVING_SIGNER)):
            user = str(request["spec"].get("username") or "")
            node = user[len(credentials.NODE_USER) :] if user.startswith(credentials.NODE_USER) else ""
            if node in addresses:
                expected = credentials.Expected(node, user, credentials.SERVING_SIGNER, addresses[node])
                reason = self.decide(request, expected, deny=False)
                (left if reason else approved).append(f"{node}: {reason}" if reason else node)
        return sorted(set(approved)), sorted(set(left))

    def unserved(self, names: Collection[str], now: datetime) -> set[str]:
        """New nodes that will ask for a certificate to serve with, and have not asked."""
        config = self.get(_KUBELET_CONFIG, passed=(NOT_FOUND,)).get("data") or {}
        if not any("serverTLSBootstrap: true" in str(text) for text in config.values()):
            return set()
        new = {name for name, node in self.nodes(names).items() if credentials.age(node, now) < NEW_SECONDS}
        users = (
            {str(request["spec"].get("username")) for request in self.requests(credentials.SERVING_SIGNER)}
            if new
            else set()
        )
        return {name for name in new if f"{credentials.NODE_USER}{name}" not in users}

    def apply_all(self, objects: Sequence[Mapping[str, Any]], dry: bool = False) -> bool | None:
        """Have these objects as they are here; whether they were not. None where the API does not know their kind."""
        changed = False
        for item in objects:
            path = policies.path(item)
            if not self.get(path.rpartition("/")[0], passed=(NOT_FOUND,), accept=METADATA):
                return None
            before = self.get(path, passed=(NOT_FOUND,))
            after = self.apply(path, item, "runnerfleet", dry)
            changed |= _without_record(before) != _without_record(after)
        return changed

    def expelled(self) -> set[str]:
        """Names that the cluster's policy puts out."""
        policy = policies.path({"kind": "ValidatingAdmissionPolicy", "metadata": {"name": policies.EXPELLED}})
        return policies.expelled_names(self.get(policy, passed=(NOT_FOUND,)))

    def await_expelled(self, names: Sequence[str]) -> None:
        """Wait until the API server holds to the policy, which takes it a moment: tried in each one's name, without
        writing.
        """
        deadline = time.monotonic() + RULE_SECONDS
        for name in names:
            while not self._denied(name):
                if time.monotonic() > deadline:
                    raise ClusterError(
                        f"{name} may still write: found, {RULE_SECONDS} s after ValidatingAdmissionPolicy "
                        f"{policies.EXPELLED} was written, that the API server lets it make a Node, expected that it "
                        "denies that. Its Node was not deleted, since it would be made again. See the policy's status, "
                        "and run again"
                    )
                time.sleep(POLL_SECONDS)

    def _denied(self, name: str) -> bool:
        body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
        who = {"Impersonate-User": f"{credentials.NODE_USER}{name}", "Impersonate-Group": credentials.NODE_GROUP}
        try:
            self.call("POST", "/api/v1/nodes", {"dryRun": "All"}, body, headers=who)
        except Exception as error:
            if status(error) == FORBIDDEN and policies.DENIED in str(getattr(error, "body", "")):
                return True
            if status(error) != CONFLICT:  # it is there, and might have been made
                raise
        return False

    def pods(self, node: str) -> list[dict[str, Any]]:
        """Pods on a node, of all namespaces."""
        return self.items("/api/v1/pods", {"fieldSelector": f"spec.nodeName={node}"})

    def deny_pending(self, names: Collection[str]) -> list[str]:
        """Deny what these nodes ask for now; returns the requests' names."""
        users, denied = {f"{credentials.NODE_USER}{name}" for name in names}, []
        for request in filter(
            credentials.pending, [*self.requests(credentials.CLIENT_SIGNER), *self.requests(credentials.SERVING_SIGNER)]
        ):
            if request["spec"].get("username") in users:
                body = credentials.decided(request, "Denied", "the node is expelled", datetime.now(timezone.utc))
                self._answer(request, body)
                denied.append(str(request["metadata"]["name"]))
        return denied

    def delete_node(self, name: str) -> bool:
        """Delete a Node; whether there was one."""
        return bool(self.delete(f"/api/v1/nodes/{name}", passed=(NOT_FOUND,)))

    def refused(self, tokens: dict[str, str]) -> list[str]:
        """What hosts with these tokens asked for and were denied, a line each."""
        return credentials.refused(self.requests(credentials.CLIENT_SIGNER), tokens) if tokens else []


def _without_record(item: Mapping[str, Any]) -> dict[str, Any]:
    meta = {
        key: value
        for key, value in (item.get("metadata") or {}).items()
        if key not in ("managedFields", "resourceVersion")
    }
    return {**item, "metadata": meta}


def _token_id(request: dict[str, Any]) -> str:
    user = str(request["spec"].get("username") or "")
    return user[len(credentials.TOKEN_USER) :] if user.startswith(credentials.TOKEN_USER) else ""


def approve_until(requests: Requests, names: Iterable[str], seconds: float) -> tuple[list[str], str]:
    """Approve as long as there are tokens of these names; returns whose certificates were approved, and the last look's
    error.
    """
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
