# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules of the API about nodes: how long a kubelet's certificate lasts, and who is put out. Pure objects. Private to
the collection.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._names import EXPELLED_ANNOTATION
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nodes.credentials import (
    CLIENT_SIGNER,
    MANAGED,
    NODE_USER,
)

GROUP = "/apis/admissionregistration.k8s.io/v1"
LIFE, EXPELLED = "runnerfleet-node-certificates", "runnerfleet-expelled-nodes"
DENIED = "this node is expelled (fleet_expelled_nodes)"
_OF_POD = "authentication.kubernetes.io/node-name"
Object = Mapping[str, Any]


def _pair(
    kind: str, name: str, spec: dict[str, Any], binding: dict[str, Any], annotations: Mapping[str, str]
) -> list[dict[str, Any]]:
    meta = {"name": name, "labels": MANAGED, **({"annotations": dict(annotations)} if annotations else {})}
    head = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": meta}
    return [
        {**head, "kind": kind, "spec": spec},
        {**head, "kind": f"{kind}Binding", "spec": {"policyName": name, **binding}},
    ]


def certificate_life(seconds: int) -> list[dict[str, Any]]:
    """A kubelet's client certificate ends after so many seconds at the latest: at a join, and each time that it renews
    itself.

    The signer's own limit (kube-controller-manager) is the same for what kubelets serve with, which nobody renews
    between two plays.
    """
    rule = {
        "apiGroups": ["certificates.k8s.io"],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["certificatesigningrequests"],
    }
    longer = f"!has(object.spec.expirationSeconds) || object.spec.expirationSeconds > {seconds}"
    spec = {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "IfNeeded",
        "matchConstraints": {"resourceRules": [rule]},
        "matchConditions": [
            {"name": "client-of-a-kubelet", "expression": f"object.spec.signerName == '{CLIENT_SIGNER}'"},
            {"name": "longer", "expression": longer},
        ],
        "mutations": [
            {
                "patchType": "ApplyConfiguration",
                "applyConfiguration": {"expression": f"Object{{spec: Object.spec{{expirationSeconds: {seconds}}}}}"},
            }
        ],
    }
    return _pair("MutatingAdmissionPolicy", LIFE, spec, {}, {})


def expelled(names: Sequence[str]) -> list[dict[str, Any]]:
    """Whoever speaks with the certificate of one of these nodes, or with the token of a pod on it, writes nothing any
    more.
    """
    listed = sorted(set(names))
    users = json.dumps([f"{NODE_USER}{name}" for name in listed])
    of_pods = f"has(request.userInfo.extra) && '{_OF_POD}' in request.userInfo.extra"
    rule = {
        "apiGroups": ["*"],
        "apiVersions": ["*"],
        "operations": ["CREATE", "UPDATE", "DELETE", "CONNECT"],
        "resources": ["*/*"],
    }
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [
            {
                "expression": f"!(request.userInfo.username in {users})",
                "message": DENIED,
                "reason": "Forbidden",
            },
            {
                "expression": f"!({of_pods} && request.userInfo.extra['{_OF_POD}'].exists(name, name in "
                f"{json.dumps(listed)}))",
                "message": "the node of this pod is expelled (fleet_expelled_nodes)",
                "reason": "Forbidden",
            },
        ],
    }
    return _pair(
        "ValidatingAdmissionPolicy",
        EXPELLED,
        spec,
        {"validationActions": ["Deny"]},
        {EXPELLED_ANNOTATION: json.dumps(listed)},
    )


def path(item: Object) -> str:
    """Where an object of these kinds is."""
    kind = {
        "MutatingAdmissionPolicy": "mutatingadmissionpolicies",
        "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    }.get(item["kind"], f"{item['kind'].lower()}s")
    return f"{GROUP}/{kind}/{item['metadata']['name']}"


def expelled_names(policy: Object) -> set[str]:
    """The names that the cluster's policy puts out; none where there is no policy."""
    text = ((policy.get("metadata") or {}).get("annotations") or {}).get(EXPELLED_ANNOTATION)
    try:
        listed = json.loads(text) if text else []
    except ValueError:
        return set()
    return {str(name) for name in listed} if isinstance(listed, list) else set()


def refusal(name: str) -> str:
    """Why a host of this name is not joined, nor left alone."""
    return (
        f"the name {name} is expelled: found it in fleet_expelled_nodes, or in ValidatingAdmissionPolicy {EXPELLED}, "
        "expected a host that may be a node. Take it out of the inventory. Where the machine is set up anew and may "
        "come back, take its name out of fleet_expelled_nodes and run expel_node.yml, which lifts it"
    )


def knowledge(pods: Collection[Object]) -> dict[str, list[str]]:
    """What pods on a node were given, as <namespace>/<name>: Secrets by any way, and accounts with a token."""
    found: dict[str, set[str]] = {"secrets": set(), "accounts": set()}
    for pod in pods:
        space, spec = str(pod["metadata"].get("namespace")), pod.get("spec") or {}
        found["secrets"] |= {f"{space}/{name}" for name in _secrets(spec)}
        if any("serviceAccountToken" in source for volume in spec.get("volumes") or () for source in _sources(volume)):
            found["accounts"].add(f"{space}/{spec.get('serviceAccountName') or 'default'}")
    return {key: sorted(values) for key, values in found.items()}


def _sources(volume: Object) -> Sequence[Object]:
    return (volume.get("projected") or {}).get("sources") or ()


def _secrets(spec: Object) -> Iterator[str]:
    for volume in spec.get("volumes") or ():
        if volume.get("secret"):
            yield str(volume["secret"].get("secretName"))
        yield from (str(source["secret"].get("name")) for source in _sources(volume) if source.get("secret"))
    for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
        yield from (
            str(item["secretRef"].get("name")) for item in container.get("envFrom") or () if item.get("secretRef")
        )
        keys = [(item.get("valueFrom") or {}).get("secretKeyRef") for item in container.get("env") or ()]
        yield from (str(key.get("name")) for key in keys if key)
    yield from (str(item.get("name")) for item in spec.get("imagePullSecrets") or ())
