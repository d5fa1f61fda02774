"""What a host is to a cluster, as a table, and the reading of certificates and kubeconfigs."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host import plan_membership as membership
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host.plan_membership import (
    Evidence,
    classify_membership,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(days=1)


def certificate(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, end: datetime = LATER) -> str:
    """A self-signed CA, as kubeadm makes one."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
    builder = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    )
    built = builder.not_valid_before(NOW - timedelta(days=9)).not_valid_after(end).sign(key, hashes.SHA256())
    return built.public_bytes(serialization.Encoding.PEM).decode()


KEY = ec.generate_private_key(ec.SECP256R1())
OURS = certificate(KEY)
THEIRS = certificate(ec.generate_private_key(ec.SECP256R1()))

MEMBER = Evidence(ca=OURS, kubelet_conf=True, client_expires=LATER, node_object=True)
WORKERS: list[tuple[str, Evidence, str, str]] = [
    ("new", Evidence(), "absent", "join"),
    ("new, an attempt failed before it wrote", Evidence(begun=True), "absent", "join"),
    ("member", MEMBER, "member", "keep"),
    ("member, the API is silent", replace(MEMBER, node_object=None), "member", "keep"),
    ("member with a file to remove", replace(MEMBER, bootstrap_conf=True), "member", "join"),
    ("member with our mark", replace(MEMBER, begun=True), "member", "join"),
    ("its node is gone", replace(MEMBER, node_object=False), "stale", "join"),
    (
        "its certificate has ended",
        replace(MEMBER, client_expires=NOW - timedelta(days=1), node_object=None),
        "half",
        "join",
    ),
    ("cut off before the certificate", Evidence(ca=OURS, bootstrap_conf=True), "half", "join"),
    ("cut off in the first file", Evidence(bootstrap_conf=True, begun=True), "half", "join"),
    ("another cluster", replace(MEMBER, ca=THEIRS), "foreign", "refuse"),
    ("another cluster, cut off", Evidence(ca=THEIRS, begun=True), "foreign", "refuse"),
    ("nobody's files", Evidence(kubelet_conf=True), "foreign", "refuse"),
    ("a control plane", Evidence(ca=OURS, admin_conf=True, manifests=["kube-apiserver.yaml"]), "foreign", "refuse"),
    ("etcd", Evidence(ca=OURS, etcd_data=True), "foreign", "refuse"),
]
WHOLE = Evidence(
    ca=OURS, kubelet_conf=True, admin_conf=True, manifests=["etcd.yaml", "kube-apiserver.yaml"], etcd_data=True
)
CONTROL_PLANES: list[tuple[str, Evidence, str, str, str]] = [
    ("new", Evidence(), "", "absent", "init"),
    ("new, with a kubeconfig of something else", Evidence(), OURS, "absent", "refuse"),
    ("initialised", WHOLE, OURS, "member", "keep"),
    ("initialised, its kubeconfig not fetched yet", WHOLE, "", "member", "keep"),
    ("of another kubeconfig", WHOLE, THEIRS, "foreign", "refuse"),
    ("cut off early", Evidence(begun=True), "", "half", "init"),
    ("cut off late", replace(WHOLE, begun=True), "", "half", "init"),
    ("a node of something", Evidence(ca=OURS, kubelet_conf=True), "", "foreign", "refuse"),
    ("remains", Evidence(etcd_data=True), "", "foreign", "refuse"),
]


@pytest.mark.parametrize(("found", "state", "action"), [row[1:] for row in WORKERS], ids=[row[0] for row in WORKERS])
def test_a_node(found: Evidence, state: str, action: str) -> None:
    """What a host is, and what follows."""
    verdict = classify_membership(found, OURS, False, NOW)
    assert (verdict.state, verdict.action) == (state, action)
    assert verdict.reason


@pytest.mark.parametrize(
    ("found", "cluster", "state", "action"), [row[1:] for row in CONTROL_PLANES], ids=[row[0] for row in CONTROL_PLANES]
)
def test_a_control_plane(found: Evidence, cluster: str, state: str, action: str) -> None:
    """What a host is, and what follows."""
    verdict = classify_membership(found, cluster, True, NOW)
    assert (verdict.state, verdict.action) == (state, action)


def test_a_refusal_names_both_clusters_and_the_way_out() -> None:
    """Found, expected, what to do."""
    reason = classify_membership(replace(MEMBER, ca=THEIRS), OURS, False, NOW).reason
    assert membership.fingerprint(OURS) in reason
    assert membership.fingerprint(THEIRS) in reason
    assert "kubeadm reset" in reason


EVIDENCE = st.builds(
    Evidence,
    ca=st.sampled_from([None, OURS, THEIRS]),
    kubelet_conf=st.booleans(),
    client_expires=st.sampled_from([None, NOW - timedelta(1), LATER]),
    node_object=st.sampled_from([None, True, False]),
    bootstrap_conf=st.booleans(),
    admin_conf=st.booleans(),
    manifests=st.sampled_from([[], ["kube-apiserver.yaml"]]),
    etcd_data=st.booleans(),
    begun=st.booleans(),
)


@given(EVIDENCE, st.booleans(), st.sampled_from(["", OURS]))
def test_nothing_of_another_cluster_is_ever_touched(found: Evidence, control_plane: bool, cluster: str) -> None:
    """Whatever else lies on the host."""
    verdict = classify_membership(found, cluster, control_plane, NOW)
    if found.ca == THEIRS and cluster:
        assert verdict.action == "refuse"
    if found.traces and not found.begun and (found.ca is None or control_plane):
        assert verdict.action in ("keep", "refuse")


@pytest.mark.parametrize("key", [KEY, rsa.generate_private_key(65537, 2048)], ids=["ec", "rsa"])
@pytest.mark.parametrize("end", [LATER, datetime(2060, 5, 6, tzinfo=UTC)], ids=["utc time", "generalised time"])
def test_certificates_are_read_as_by_the_library(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, end: datetime
) -> None:
    """The fingerprint is kubeadm's."""
    pem = certificate(key, end)
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert membership.fingerprint(pem) == f"sha256:{hashlib.sha256(public).hexdigest()}"
    assert membership.expiry(pem) == end


@pytest.mark.parametrize("cut", [0, 30, 60, 200, 400])
def test_a_file_that_was_cut_off_is_told(cut: int) -> None:
    """By a crash in the middle of a write."""
    with pytest.raises(ValueError, match="certificate"):
        membership.fingerprint(OURS[:cut])
    body = base64.b64encode(base64.b64decode("".join(OURS.splitlines()[1:-1]))[: cut // 2]).decode()
    with pytest.raises(ValueError, match="certificate"):
        membership.fingerprint(f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")


def test_a_kubeconfig_is_read_without_a_parser() -> None:
    """Only what kubeadm writes."""
    text = "clusters:\n- cluster:\n    certificate-authority-data: YWJj\n    server: https://[::1]:6443\n  name: k\n"
    text += "users:\n- name: n\n  user:\n"
    text += "    client-certificate: /var/lib/kubelet/pki/kubelet-client-current.pem\n"
    assert membership.kubeconfig(text) == {
        "certificate-authority-data": "YWJj",
        "server": "https://[::1]:6443",
        "client-certificate": "/var/lib/kubelet/pki/kubelet-client-current.pem",
    }
    assert membership.decoded("YWJj") == "abc"
    assert membership.decoded("YWJ") == ""


def test_the_credential_goes_into_the_right_document() -> None:
    """And not into the caller's copy of it."""
    documents = [
        {"kind": "Other"},
        {"kind": "JoinConfiguration", "discovery": {"bootstrapToken": {"apiServerEndpoint": "h:1"}}},
    ]
    joined = membership.join_documents(documents, "abcdef.0123456789abcdef", OURS)
    expected = {
        "apiServerEndpoint": "h:1",
        "token": "abcdef.0123456789abcdef",
        "caCertHashes": [membership.fingerprint(OURS)],
    }
    assert joined[1]["discovery"]["bootstrapToken"] == expected
    assert "token" not in documents[1]["discovery"]["bootstrapToken"]
    assert membership.api_endpoint(documents) == "h:1"
    with pytest.raises(ValueError, match="apiServerEndpoint"):
        membership.api_endpoint([{"kind": "JoinConfiguration"}])


def test_output_is_shown_without_the_secret() -> None:
    """The first half is only a name."""
    text = membership.redacted("kubeadm join 192.0.2.1:6443 --token abcdef.0123456789abcdef --x")
    assert "0123456789abcdef" not in text
    assert "abcdef." in text


@pytest.mark.parametrize(
    ("name", "good"),
    [("runner-1", True), ("a.b.example", True), ("Runner", False), ("a_b", False), ("-a", False), ("", False)],
)
def test_node_names(name: str, good: bool) -> None:
    """As the API takes them."""
    if good:
        membership.check_node_name(name)
    else:
        with pytest.raises(ValueError, match="Rename the inventory host"):
            membership.check_node_name(name)
