"""Who gets which certificate: a request is what is expected in every field, or it is refused."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nodes import credentials
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nodes.credentials import (
    CLIENT_SIGNER,
    SERVING_SIGNER,
    Expected,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import assume, given
from hypothesis import strategies as st

NODE, USER = "runner-1", "system:bootstrap:abc123"
CLIENT = Expected(NODE, USER)
SERVING = Expected(NODE, f"system:node:{NODE}", SERVING_SIGNER, ["192.0.2.7", "2001:db8::7"])
KEY = ec.generate_private_key(ec.SECP256R1())
OF_CLIENT, OF_SERVING = ["digital signature", "client auth"], ["digital signature", "server auth"]
ORGANIZATION, COMMON = NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME
OWN_NAMES = [x509.DNSName(NODE), x509.IPAddress(ipaddress.ip_address("192.0.2.7"))]
Subject = Sequence[tuple[Any, str]]


def pem(
    subject: Subject = ((ORGANIZATION, "system:nodes"), (COMMON, f"system:node:{NODE}")),
    names: Sequence[x509.GeneralName] = (),
    key: Any = KEY,
    more: Sequence[x509.ExtensionType] = (),
) -> str:
    """A PKCS #10 request."""
    built = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(oid, value) for oid, value in subject])
    )
    if names:
        built = built.add_extension(x509.SubjectAlternativeName(names), critical=False)
    for extension in more:
        built = built.add_extension(extension, critical=False)
    signed = built.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def request(text: str, user: str = USER, signer: str = CLIENT_SIGNER, usages: Any = None) -> dict[str, Any]:
    """As the API has it."""
    spec = {"request": base64.b64encode(text.encode()).decode(), "username": user, "signerName": signer}
    return {"metadata": {"name": "csr-x"}, "spec": {**spec, "usages": OF_CLIENT if usages is None else usages}}


def serving(names: Sequence[x509.GeneralName], **more: Any) -> dict[str, Any]:
    """What a kubelet asks for what it serves."""
    return request(pem(names=names, **more), SERVING.user, SERVING_SIGNER, OF_SERVING)


def test_what_a_kubelet_asks_for_is_approved() -> None:
    """With a key of either kind, and the usage that goes with RSA."""
    assert credentials.refusal(request(pem()), CLIENT) == ""
    key = rsa.generate_private_key(65537, 2048)
    assert credentials.refusal(request(pem(key=key), usages=[*OF_CLIENT, "key encipherment"]), CLIENT) == ""
    assert (
        credentials.refusal(
            request(pem(subject=[(COMMON, f"system:node:{NODE}"), (ORGANIZATION, "system:nodes")])), CLIENT
        )
        == ""
    )
    assert credentials.refusal(serving(OWN_NAMES), SERVING) == ""
    assert credentials.refusal(serving([x509.IPAddress(ipaddress.ip_address("2001:db8:0::7"))]), SERVING) == ""


@given(name=st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), max_size=40))
def test_no_other_name(name: str) -> None:
    """Neither another node's, nor one that looks like it, nor anything else."""
    assume(name != NODE and len(name.encode()) <= 50)
    for text in (f"system:node:{name}", name or "x"):
        said = credentials.refusal(request(pem(subject=[(ORGANIZATION, "system:nodes"), (COMMON, text)])), CLIENT)
        assert said.startswith("found subject"), said


@pytest.mark.parametrize(
    "name",
    [
        "support-1",
        "runner-1.",
        "RUNNER-1",
        "runner-11",
        "runner-1\u200b",
        " runner-1",
        "runner-1,CN=system:node:runner-2",
    ],
)
def test_no_name_that_looks_like_it(name: str) -> None:
    subject = [(ORGANIZATION, "system:nodes"), (COMMON, f"system:node:{name}")]
    assert "expected O=system:nodes, CN=system:node:runner-1" in credentials.refusal(
        request(pem(subject=subject)), CLIENT
    )


PARTS = st.sampled_from(
    [
        (ORGANIZATION, "system:nodes"),
        (ORGANIZATION, "system:masters"),
        (COMMON, f"system:node:{NODE}"),
        (COMMON, "system:node:support-1"),
        (COMMON, "kubernetes-admin"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "system:nodes"),
        (NameOID.SERIAL_NUMBER, "1"),
    ]
)


@given(subject=st.lists(PARTS, max_size=5))
def test_a_subject_has_the_two_parts_and_no_other(subject: list[tuple[Any, str]]) -> None:
    """A group more would be a right more."""
    good = sorted(subject, key=str) == sorted(
        [(ORGANIZATION, "system:nodes"), (COMMON, f"system:node:{NODE}")], key=str
    )
    assert (credentials.refusal(request(pem(subject=subject)), CLIENT) == "") is good


USAGES = ["digital signature", "key encipherment", "client auth", "server auth", "cert sign", "signing", "any", ""]


@given(usages=st.lists(st.sampled_from(USAGES), max_size=5), serves=st.booleans())
def test_usages_are_those_of_a_kubelet(usages: list[str], serves: bool) -> None:
    """In any order, each once."""
    wanted = set(OF_SERVING if serves else OF_CLIENT)
    good = len(usages) == len(set(usages)) and set(usages) in (wanted, wanted | {"key encipherment"})
    asked, expected = (serving(OWN_NAMES), SERVING) if serves else (request(pem()), CLIENT)
    asked["spec"]["usages"] = usages
    assert (credentials.refusal(asked, expected) == "") is good


@given(
    user=st.text(max_size=30),
    signer=st.sampled_from([CLIENT_SIGNER, SERVING_SIGNER, "kubernetes.io/kube-apiserver-client", "", "x/y"]),
)
def test_requester_and_signer_are_the_expected_ones(user: str, signer: str) -> None:
    """What another asks for is not this host's, whatever it names."""
    assume(user != USER)
    assert credentials.refusal(request(pem(), user=user), CLIENT).startswith("found requester")
    assert (credentials.refusal(request(pem(), signer=signer), CLIENT) == "") is (signer == CLIENT_SIGNER)


NAMES = st.sampled_from(
    [
        *OWN_NAMES,
        x509.DNSName("support-1"),
        x509.DNSName("*.runner-1"),
        x509.DNSName("kubernetes.default.svc"),
        x509.IPAddress(ipaddress.ip_address("192.0.2.8")),
        x509.IPAddress(ipaddress.ip_network("192.0.2.0/24")),
        x509.RFC822Name("runner-1"),
        x509.UniformResourceIdentifier("runner-1"),
        x509.RegisteredID(NameOID.COMMON_NAME),
    ]
)


@given(names=st.lists(NAMES, min_size=1, max_size=4))
def test_a_client_has_no_alternative_names_and_a_server_its_own(names: list[x509.GeneralName]) -> None:
    """An address that is not the inventory's would let a node answer for another one."""
    assert "alternative names" in credentials.refusal(request(pem(names=names)), CLIENT)
    said = credentials.refusal(serving(names), SERVING)
    assert (said == "") is (set(names) <= set(OWN_NAMES)), said


def test_a_server_without_names_and_extensions_that_nobody_asked_for() -> None:
    assert "found no alternative names" in credentials.refusal(serving([]), SERVING)
    for extension in (x509.BasicConstraints(True, None), x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])):
        assert "found extensions" in credentials.refusal(request(pem(more=[extension])), CLIENT)
        assert "found extensions" in credentials.refusal(serving(OWN_NAMES, more=[extension]), SERVING)


def test_weak_and_strange_keys() -> None:
    for key in (ed25519.Ed25519PrivateKey.generate(), rsa.generate_private_key(65537, 1024)):
        assert "found a key" in credentials.refusal(request(pem(key=key)), CLIENT)


def test_a_request_that_its_key_has_not_signed() -> None:
    der = bytearray(x509.load_pem_x509_csr(pem().encode()).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    text = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM).decode()
    assert "its own key has not signed" in credentials.refusal(request(text), CLIENT)


def test_two_blocks_of_which_the_signer_might_read_the_other() -> None:
    """Go passes over a block that it cannot read, and this parser reads the first that it can."""
    mine, theirs = pem(), pem(subject=[(ORGANIZATION, "system:nodes"), (COMMON, "system:node:support-1")])
    broken = theirs.replace("\n", "\n \n", 1)
    for text in (
        mine + theirs,
        theirs + mine,
        broken + mine,
        mine + broken,
        f"x\n{mine}",
        mine.replace("\n", "\r\n"),
        f"{mine}x",
        mine[:-30],
    ):
        assert "cannot be read" in credentials.refusal(request(text), CLIENT), text


@given(
    text=st.one_of(st.text(max_size=60), st.binary(max_size=60)),
    spec=st.dictionaries(st.sampled_from(["usages", "username", "x"]), st.none()),
)
def test_nonsense_is_refused(text: str | bytes, spec: dict[str, None]) -> None:
    """And stops nothing."""
    made = request("x")
    made["spec"].update({"request": text if isinstance(text, str) else base64.b64encode(text).decode(), **spec})
    assert credentials.refusal(made, CLIENT)
    assert credentials.refusal({}, CLIENT)


def test_a_token_is_for_one_host_and_ends() -> None:
    token = credentials.new_token(NODE)
    made = token.to_object(datetime(2026, 11, 27, 9, tzinfo=UTC), 600)
    assert made["stringData"]["expiration"] == "2026-11-27T09:10:00Z"
    assert made["metadata"]["name"] == f"bootstrap-token-{token.id}" and token.value == f"{token.id}.{token.secret}"
    assert credentials.tokens_of([made], [NODE]) == {token.id: NODE}
    assert credentials.tokens_of([made], ["runner-2"]) == {}
    foreign = {"metadata": {**made["metadata"], "labels": {}}}
    assert credentials.tokens_of([foreign, {"metadata": {"name": "bootstrap-token-zzzzzz"}}], [NODE]) == {}


def test_ids_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second token of an id would be in the place of the first."""
    letters = iter("aaaaaa" + "aaaaaa" + "bbbbbb" + "c" * 16)
    monkeypatch.setattr(credentials.secrets, "choice", lambda _alphabet: next(letters))
    assert credentials.new_token(NODE, {"aaaaaa"}).id == "bbbbbb"


def test_what_was_denied_is_told_of_our_tokens_alone() -> None:
    now = datetime(2026, 11, 27, 9, tzinfo=UTC)
    denied = credentials.decided(request(pem()), "Denied", "refused: \x1b[2Jx", now)
    assert not credentials.pending(denied) and credentials.pending(request(pem()))
    assert credentials.refused([denied, request(pem())], {"abc123": NODE}) == ["runner-1: refused: [2Jx"]
    assert credentials.refused([denied], {"abc124": NODE}) == []
    assert credentials.refused([credentials.decided(request(pem()), "Approved", "x", now)], {"abc123": NODE}) == []


def test_a_taken_name_says_what_to_do() -> None:
    said = credentials.taken({"metadata": {"name": NODE, "creationTimestamp": "2026-11-02T10:00:00Z"}})
    assert "found a Node object, expected none" in said and "kubectl delete node runner-1" in said
    assert "replace_drive_rejoin=runner-1" in said and "since 2026-11-02T10:00:00Z" in said
