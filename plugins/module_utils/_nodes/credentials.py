# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who may become which node, and by which credential: pure decisions over what the API says. Private to the collection.

A bootstrap token is for one host, and a certificate is signed for the name of the host that the token was made for, and
for no other.
"""

from __future__ import annotations

import base64
import ipaddress
import secrets
import string
import traceback
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._names import JOINS_ANNOTATION
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._text import clean

try:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.x509.oid import ExtensionOID, NameOID
except ImportError:
    CRYPTOGRAPHY_ERROR: str | None = traceback.format_exc()
else:
    CRYPTOGRAPHY_ERROR = None

CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
SERVING_SIGNER = "kubernetes.io/kubelet-serving"
TOKEN_TYPE, TOKEN_USER = "bootstrap.kubernetes.io/token", "system:bootstrap:"
NODE_USER, NODE_GROUP = "system:node:", "system:nodes"
# kubeadm gives this group what a join needs. With it, and with the groups of every token, the API is asked who approves
# by itself.
JOIN_GROUP = "system:bootstrappers:kubeadm:default-node-token"
TOKEN_GROUPS = ("system:bootstrappers", JOIN_GROUP, "system:authenticated")
AUTOMATIC_BINDING = "kubeadm:node-autoapprove-bootstrap"
MANAGED = {"app.kubernetes.io/managed-by": "runnerfleet"}
REASON = "RunnerfleetJoin"  # of a condition that was set from here
_USAGES = {CLIENT_SIGNER: {"digital signature", "client auth"}, SERVING_SIGNER: {"digital signature", "server auth"}}
_ALPHABET = string.ascii_lowercase + string.digits
Object = Mapping[str, Any]


@dataclass(frozen=True)
class Expected:
    """The one certificate that a requester may have. `addresses`: what a serving certificate may name beside the node's
    name.
    """

    node: str
    user: str
    signer: str = CLIENT_SIGNER
    addresses: Collection[str] = ()


@dataclass(frozen=True)
class Token:
    """A bootstrap token and the node that it may become. `secret` is never shown."""

    node: str
    id: str
    secret: str

    @property
    def value(self) -> str:
        """As kubeadm takes it."""
        return f"{self.id}.{self.secret}"

    def to_object(self, now: datetime, seconds: int) -> dict[str, Any]:
        """The Secret that makes it good for so many seconds."""
        ends = now.astimezone(timezone.utc) + timedelta(seconds=seconds)
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": TOKEN_TYPE,
            "metadata": {
                "name": f"bootstrap-token-{self.id}",
                "namespace": "kube-system",
                "labels": MANAGED,
                "annotations": {JOINS_ANNOTATION: self.node},
            },
            "stringData": {
                "description": f"Lets {self.node} join, and nobody else",
                "token-id": self.id,
                "token-secret": self.secret,
                "expiration": ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "usage-bootstrap-authentication": "true",
                "usage-bootstrap-signing": "true",
                "auth-extra-groups": JOIN_GROUP,
            },
        }


def new_token(node: str, taken: Collection[str] = ()) -> Token:
    """A token whose id no other has."""
    while True:
        found = "".join(secrets.choice(_ALPHABET) for _letter in range(6))
        if found not in taken:
            return Token(node, found, "".join(secrets.choice(_ALPHABET) for _letter in range(16)))


def tokens_of(token_secrets: Sequence[Object], names: Collection[str]) -> dict[str, str]:
    """Node by id, of the tokens that were made here for these names."""
    found = {}
    for item in token_secrets:
        meta = item.get("metadata") or {}
        node = (meta.get("annotations") or {}).get(JOINS_ANNOTATION)
        if node in names and (meta.get("labels") or {}).get("app.kubernetes.io/managed-by") == "runnerfleet":
            found[str(meta["name"]).rpartition("-")[2]] = str(node)
    return found


def taken(node: Object) -> str:
    """Why a host whose Node exists gets no credential when it says that it has not joined."""
    meta = node["metadata"]
    name, since = meta["name"], clean(meta.get("creationTimestamp") or "an unknown time", 30)
    return (
        f"the cluster has a node {name} (since {since}), and this host says that it has not joined: found a Node "
        "object, expected none. The host's word is not taken, and it was sent no token. If the machine was "
        f"reinstalled, or its membership broke, run `kubectl delete node {name}` and then this play again; where its "
        f"drive was replaced, replace_drive.yml with -e replace_drive_rejoin={name}. If another machine has that name, "
        "rename this host in the inventory. If none of these is so, take the machine for stolen"
    )


def age(node: Object, now: datetime) -> float:
    """Seconds since a Node was made; without end where it does not say so."""
    try:
        made = datetime.strptime(str(node["metadata"].get("creationTimestamp")), "%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return float("inf")
    return (now - made.replace(tzinfo=timezone.utc)).total_seconds()


def automatic_question(group: str = "nodeclient") -> dict[str, Any]:
    """What kube-controller-manager asks before it approves a joining machine's request by itself."""
    attributes = {
        "group": "certificates.k8s.io",
        "resource": "certificatesigningrequests",
        "verb": "create",
        "subresource": group,
    }
    spec = {"user": f"{TOKEN_USER}000000", "groups": list(TOKEN_GROUPS), "resourceAttributes": attributes}
    return {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}


def pending(request: Object) -> bool:
    """Whether nobody has decided on a CertificateSigningRequest."""
    status = request.get("status") or {}
    return not status.get("conditions") and not status.get("certificate")


def refusal(request: Object, expected: Expected) -> str:
    """Why a CertificateSigningRequest is not the one that is expected; empty where it is, in every field that the
    signer looks at.
    """
    spec = request.get("spec") or {}
    if spec.get("username") != expected.user:
        return f"found requester {clean(spec.get('username'), 100)}, expected {expected.user}"
    if spec.get("signerName") != expected.signer:
        return f"found signer {clean(spec.get('signerName'), 100)}, expected {expected.signer}"
    usages = spec.get("usages")
    if not isinstance(usages, list) or len(set(map(str, usages))) != len(usages):
        return "found usages that are no list of different words"
    if set(usages) - {"key encipherment"} != _USAGES[expected.signer]:
        return (
            f"found usages {clean(', '.join(map(str, usages)), 100)}, expected "
            f"{', '.join(sorted(_USAGES[expected.signer]))}"
        )
    try:
        asked = x509.load_der_x509_csr(_only_block(str(spec.get("request") or "")))
        good = asked.is_signature_valid
        attributes = [(item.oid, item.value) for item in asked.subject]
        extensions = {item.oid: item.value for item in asked.extensions}
        key: Any = asked.public_key()
    except Exception as error:  # whatever its parser throws: what cannot be read is not granted
        return f"found a request that cannot be read ({type(error).__name__}), expected one PKCS #10 block in PEM form"
    wanted = {(NameOID.ORGANIZATION_NAME, NODE_GROUP), (NameOID.COMMON_NAME, f"{NODE_USER}{expected.node}")}
    if len(attributes) != len(wanted) or set(attributes) != wanted:
        return (
            f"found subject {clean(asked.subject.rfc4514_string(), 200)}, expected O={NODE_GROUP}, "
            f"CN={NODE_USER}{expected.node}"
        )
    if not good:
        return "found a request that its own key has not signed"
    strong = isinstance(key, ec.EllipticCurvePublicKey) or (isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048)
    if not strong:
        return "found a key that is neither ECDSA nor RSA of 2048 bits"
    return _names_refusal(extensions, expected)


def _only_block(encoded: str) -> bytes:
    """DER of a PEM text that is one block and nothing else: of two blocks the signer, which is another parser, may read
    the other.
    """
    text = base64.b64decode(encoded, validate=True).decode("ascii")
    first, _newline, rest = text.partition("\n")
    body, _newline, last = rest.rstrip("\n").rpartition("\n")
    der = base64.b64decode(body.replace("\n", ""), validate=True)
    plain = base64.b64encode(der).decode()
    lines = [plain[start : start + 64] for start in range(0, len(plain), 64)]
    if (first, body.split("\n"), last) != (
        "-----BEGIN CERTIFICATE REQUEST-----",
        lines,
        "-----END CERTIFICATE REQUEST-----",
    ):
        raise ValueError("more, or less, than a block")
    return der


def _names_refusal(extensions: Mapping[Any, Any], expected: Expected) -> str:
    """Alternative names: none for a client, the node's own name and addresses for what it serves."""
    others = [oid.dotted_string for oid in extensions if oid != ExtensionOID.SUBJECT_ALTERNATIVE_NAME]
    if others:
        return f"found extensions {clean(', '.join(others), 100)}, expected none but alternative names"
    names = list(extensions.get(ExtensionOID.SUBJECT_ALTERNATIVE_NAME) or ())
    if expected.signer == CLIENT_SIGNER:
        return f"found alternative names {_shown(names)}, expected none" if extensions else ""
    own = {ipaddress.ip_address(address) for address in expected.addresses}
    strange = [
        name
        for name in names
        if not (isinstance(name, x509.DNSName) and name.value == expected.node)
        and not (isinstance(name, x509.IPAddress) and name.value in own)
    ]
    if strange:
        return (
            f"found alternative names {_shown(strange)}, expected {', '.join([expected.node, *sorted(map(str, own))])} "
            "and no other"
        )
    return "" if names else "found no alternative names, expected the node's name or address"


def _shown(names: Sequence[Any]) -> str:
    return clean(", ".join(str(getattr(name, "value", name)) for name in names), 200)


def decided(request: Object, kind: str, message: str, now: datetime) -> dict[str, Any]:
    """The request with a condition: kind is Approved or Denied."""
    stamp = now.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    condition = {"type": kind, "status": "True", "reason": REASON, "message": clean(message), "lastUpdateTime": stamp}
    status = dict(request.get("status") or {})
    return {**request, "status": {**status, "conditions": [*(status.get("conditions") or ()), condition]}}


def refused(requests: Sequence[Object], tokens: Mapping[str, str]) -> list[str]:
    """What the tokens' hosts asked for and were denied, a line each."""
    lines = []
    for request in requests:
        user = str((request.get("spec") or {}).get("username") or "")
        node = tokens.get(user[len(TOKEN_USER) :]) if user.startswith(TOKEN_USER) else None
        for condition in (request.get("status") or {}).get("conditions") or () if node else ():
            if condition.get("type") == "Denied" and condition.get("reason") == REASON:
                lines.append(f"{node}: {clean(condition.get('message'))}")
    return sorted(set(lines))
