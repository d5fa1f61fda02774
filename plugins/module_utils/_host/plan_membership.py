# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""To which cluster a host belongs, judged from what lies on it. This module util is private to the collection.

Nothing is read or run here: a module gathers Evidence, `judge` says what it means.
"""

from __future__ import annotations

import base64
import binascii
import copy
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\s+(.+?)\s+-----END CERTIFICATE-----", re.DOTALL)
_NODE_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_TOKEN = re.compile(r"\b([a-z0-9]{6})\.[a-z0-9]{16}\b")
_KUBECONFIG_KEYS = ("server", "certificate-authority-data", "client-certificate", "client-certificate-data")

# What an interrupted `kubeadm init` of ours has left behind and kubeadm would stumble over.
INIT_LEFTOVERS = (
    *(
        f"FileAvailable--etc-kubernetes-manifests-{name}.yaml"
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd")
    ),
    *(f"Port-{port}" for port in (6443, 10250, 10257, 10259, 2379, 2380)),
    "DirAvailable--var-lib-etcd",
)


@dataclass(frozen=True)
class Evidence:
    """What was found on a host; the fields are empty on a machine that never saw kubeadm."""

    ca: str | None = None  # PEM of the CA that the host trusts
    kubelet_conf: bool = False
    client_expires: datetime | None = None  # of the kubelet's client certificate, if there is one
    node_object: bool | None = None  # whether the API knows the node, None where it was not or could not be asked
    bootstrap_conf: bool = False
    admin_conf: bool = False
    manifests: Sequence[str] = ()  # names of static pods
    etcd_data: bool = False
    begun: bool = False  # our own mark that an init or a join of ours has not ended

    @property
    def traces(self) -> list[str]:
        """Everything that speaks of a cluster, for people."""
        found = {
            "pki/ca.crt": self.ca is not None,
            "kubelet.conf": self.kubelet_conf,
            "bootstrap-kubelet.conf": self.bootstrap_conf,
            "admin.conf": self.admin_conf,
        }
        paths = [f"/etc/kubernetes/{name}" for name, there in found.items() if there]
        paths += [f"/etc/kubernetes/manifests/{name}" for name in self.manifests]
        return paths + (["/var/lib/etcd/member"] if self.etcd_data else [])


@dataclass(frozen=True)
class Membership:
    """The verdict: `state` names what the host is, `action` what is to be done about it."""

    state: str  # absent, member, half, stale, foreign
    action: str  # keep, join, init, refuse
    reason: str
    host_ca: str = ""
    cluster_ca: str = ""


def classify_membership(evidence: Evidence, cluster_ca: str, control_plane: bool, now: datetime) -> Membership:
    """What a host is to the cluster whose CA (PEM, or empty where it is not known yet) is given."""
    host = fingerprint(evidence.ca) if evidence.ca else ""
    cluster = fingerprint(cluster_ca) if cluster_ca else ""
    state, action, reason = (_control_plane if control_plane else _worker)(evidence, host, cluster, now)
    return Membership(state, action, reason, host, cluster)


def _worker(found: Evidence, host: str, cluster: str, now: datetime) -> tuple[str, str, str]:
    if not found.traces:
        return "absent", "join", "the host belongs to no cluster"
    if host and cluster and host != cluster:
        return (
            "foreign",
            "refuse",
            f"the host belongs to another cluster: found {host} in /etc/kubernetes/pki/ca.crt, expected {cluster} "
            "(fleet_kubeconfig). Take it out of that cluster (drain it there, `kubeadm reset` here), or correct "
            "fleet_kubeconfig",
        )
    if found.admin_conf or found.manifests or found.etcd_data:
        return (
            "foreign",
            "refuse",
            f"found a control plane ({', '.join(found.traces)}), expected a machine to join as a node. Put the host "
            "into the group of control planes, or run `kubeadm reset` on it if that control plane may go",
        )
    valid = found.kubelet_conf and found.client_expires is not None and found.client_expires > now
    # What is to be tidied up must be known to be ours.
    if valid and found.node_object is not False and (host or found.begun or not found.bootstrap_conf):
        if found.bootstrap_conf or found.begun:
            return "member", "join", "the host has joined, and what a join leaves behind is still to be removed"
        return "member", "keep", "the host is a node of the cluster"
    if not host and not found.begun:
        return (
            "foreign",
            "refuse",
            f"found {', '.join(found.traces)} without a CA to tell whose they are, expected none of them or a whole "
            "membership. Run `kubeadm reset` on the host if they may go",
        )
    if valid:
        return "stale", "join", "the host holds a membership whose Node object is gone"
    return "half", "join", f"an earlier join did not end: found {', '.join(found.traces)}"


def _control_plane(found: Evidence, host: str, cluster: str, now: datetime) -> tuple[str, str, str]:
    del now
    if host and cluster and host != cluster:
        return (
            "foreign",
            "refuse",
            f"this control plane is not the one of fleet_kubeconfig: found {host} in /etc/kubernetes/pki/ca.crt, "
            f"expected {cluster}. Point fleet_kubeconfig at another file, or the inventory at the right host",
        )
    if found.begun:
        return "half", "init", "an earlier kubeadm init did not end"
    if not found.traces:
        if cluster:
            return (
                "absent",
                "refuse",
                f"found a kubeconfig of a cluster (CA {cluster}) at fleet_kubeconfig, expected none, as this one is "
                "not made yet. Move that file away, or correct fleet_kubeconfig, or leave the group of control planes "
                "empty to use that cluster",
            )
        return "absent", "init", "the control plane is not initialised"
    if host and found.admin_conf and "kube-apiserver.yaml" in found.manifests:
        return "member", "keep", "the control plane is initialised"
    return (
        "foreign",
        "refuse",
        f"found {', '.join(found.traces)}, expected a whole control plane or an empty machine. Something else has "
        "installed Kubernetes here: run `kubeadm reset` on the host if that may go",
    )


def still_registered(node: str) -> str:
    """Why a host without a usable membership must not take over a Node object that exists."""
    return (
        f"the cluster already has a node {node}, and this host cannot prove to be it: found a Node object, expected "
        f"none. If the machine was reinstalled, or its membership broke, run `kubectl delete node {node}` and then "
        "this play again; if another machine has that name, rename this host in the inventory"
    )


def check_node_name(name: str) -> None:
    """A node is named like its inventory host, and the API accepts only DNS names in lower case."""
    if len(name) > 253 or not _NODE_NAME.fullmatch(name):
        raise ValueError(
            f"node name: found {name!r}, expected a DNS name in lower case (letters, digits, dashes, dots). Rename the "
            "inventory host"
        )


def kubeconfig(text: str, *more: str) -> dict[str, str]:
    """The few scalars of a kubeconfig as kubeadm and kubelet write it (one cluster, one user), without a YAML parser on
    the host.

    `more`: other keys than those that are no secret.
    """
    found = {}
    for line in text.splitlines():
        key, _colon, value = line.strip().lstrip("- ").partition(":")
        if key in (*_KUBECONFIG_KEYS, *more) and value.strip():
            found[key] = value.strip().strip("\"'")
    return found


def decoded(data: str) -> str:
    """Text of a base64 field, empty where it is not one: a file cut off by a crash is no reason to crash again."""
    try:
        return base64.b64decode(data, validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return ""


def api_endpoint(documents: Sequence[dict[str, Any]]) -> str:
    """Where a JoinConfiguration says the API is, as host:port."""
    for document in documents:
        if document.get("kind") == "JoinConfiguration":
            endpoint = document.get("discovery", {}).get("bootstrapToken", {}).get("apiServerEndpoint")
            if endpoint:
                return str(endpoint)
    raise ValueError(
        "config: found no JoinConfiguration with discovery.bootstrapToken.apiServerEndpoint, expected one with "
        "host:port of the API"
    )


def join_documents(documents: Sequence[dict[str, Any]], token: str, cluster_ca: str) -> list[dict[str, Any]]:
    """kubeadm's documents with the credential put in; the CA is always pinned."""
    result = copy.deepcopy(list(documents))
    for document in result:
        if document.get("kind") == "JoinConfiguration":
            document["discovery"]["bootstrapToken"].update(token=token, caCertHashes=[fingerprint(cluster_ca)])
    return result


def redacted(text: str) -> str:
    """Output of kubeadm without the secret half of a token."""
    return _TOKEN.sub(r"\1.****************", text)


def fingerprint(pem: str) -> str:
    """How kubeadm names a CA: the sha256 of its public key (SubjectPublicKeyInfo)."""
    return "sha256:" + hashlib.sha256(_certificate(pem).public_key).hexdigest()


def expiry(pem: str) -> datetime:
    """When a certificate ends."""
    return _certificate(pem).not_after


@dataclass(frozen=True)
class _Certificate:
    not_after: datetime
    public_key: bytes = field(repr=False)


def _certificate(pem: str) -> _Certificate:
    """The two fields of an X.509 certificate that matter here. Managed hosts have neither openssl nor a library for it
    for sure.
    """
    match = _PEM.search(pem)
    if not match:
        raise ValueError("found no certificate in PEM form")
    try:
        whole = next(_elements(base64.b64decode(match.group(1))))
        signed = next(_elements(whole[1]))
        # version (optional, tag 0xa0), serial, algorithm, issuer, validity, subject, public key
        fields = [element for element in _elements(signed[1]) if element[0] != 0xA0]
        tag, end, _encoded = list(_elements(fields[3][1]))[1]
        year = "%y" if tag == 0x17 else "%Y"
        not_after = datetime.strptime(end.decode("ascii"), f"{year}%m%d%H%M%SZ").replace(tzinfo=timezone.utc)
        return _Certificate(not_after, fields[5][2])
    except (IndexError, StopIteration, ValueError) as error:
        raise ValueError(f"the certificate cannot be read: {error}") from error


def _elements(der: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Tag, content and full encoding of each DER element."""
    start = 0
    while start < len(der):
        length, content = der[start + 1], start + 2
        if length & 0x80:
            octets = length & 0x7F
            length, content = int.from_bytes(der[content : content + octets], "big"), content + octets
        end = content + length
        if end > len(der):
            raise ValueError("it is cut off")
        yield der[start], der[content:end], der[start:end]
        start = end
