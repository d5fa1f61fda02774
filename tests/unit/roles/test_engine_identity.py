"""Who the program beside an engine is to the cluster's API: the kubelet, whose certificate is read anew for each
call.
"""

from __future__ import annotations

import base64
import datetime
import importlib
import ipaddress
import json
import ssl
import sys
import threading
import urllib.error
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

KUBECONFIG = """\
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {authority}
    server: https://fleet.example:6443
  name: default-cluster
contexts:
- context: {{cluster: default-cluster, namespace: default, user: default-auth}}
  name: default-context
current-context: default-context
kind: Config
preferences: {{}}
users:
- name: default-auth
  user:
    client-certificate: {certificate}
    client-key: {certificate}
"""


class Authority:
    """Signs certificates; `pem` is its own."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kubernetes")])
        signs = x509.KeyUsage(True, False, False, False, False, True, False, False, False)
        self.pem = self._sign("kubernetes", self.key, x509.BasicConstraints(ca=True, path_length=None), signs)

    def _sign(self, name: str, key: Any, *extensions: x509.ExtensionType) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder(
            self.name,
            x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]),
            key.public_key(),
            x509.random_serial_number(),
            now - datetime.timedelta(minutes=5),
            now + datetime.timedelta(hours=1),
        )
        identifiers = [
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
        ]
        for extension in extensions:
            builder = builder.add_extension(extension, critical=True)
        for extension in identifiers:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def issue(self, name: str) -> bytes:
        """Certificate and key in one, as the kubelet keeps them. Good for a server on loopback, too."""
        key = ec.generate_private_key(ec.SECP256R1())
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        return self._sign(name, key, address) + private


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def program(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Imported as in the pod, where its files lie side by side."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(repository / "roles/dagger_engine/files"))
    return importlib.import_module("engine_supervisor")


@pytest.fixture
def asked(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[tuple[str, str, str | None]]]:
    """Who asked an API for what, with which token. It takes nobody without a certificate of its authority."""
    seen: list[tuple[str, str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        """Says ok, and remembers."""

        def do_GET(self) -> None:
            subject = dict(item[0] for item in self.connection.getpeercert()["subject"])  # type: ignore[attr-defined]
            seen.append((subject["commonName"], self.path, self.headers.get("Authorization")))
            text = json.dumps({"metadata": {"annotations": {"asked": "yes"}}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_arguments: Any) -> None:
            """Nothing."""

    (tmp_path / "server.pem").write_bytes(authority.issue("kube-apiserver"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=authority.pem.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(tmp_path / "server.pem")
    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_arguments: None  # type: ignore[method-assign]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.server_address[1]))
    yield seen
    server.shutdown()
    server.server_close()


def node(tmp_path: Path, authority: Authority, certificate: str | Path = "pki/current.pem") -> str:
    """A node's kubeconfig; returns where it is."""
    path = tmp_path / "kubelet.conf"
    path.write_text(
        KUBECONFIG.format(authority=base64.b64encode(authority.pem).decode(), certificate=certificate), encoding="utf-8"
    )
    (tmp_path / "pki").mkdir(exist_ok=True)
    (tmp_path / "pki/current.pem").write_bytes(authority.issue("system:node:runner-1"))
    return str(path)


@pytest.mark.parametrize("absolute", [False, True])
def test_each_call_is_the_kubelets_with_the_certificate_of_now(
    program: ModuleType, asked: list[tuple[str, str, str | None]], authority: Authority, tmp_path: Path, absolute: bool
) -> None:
    kubeconfig = node(tmp_path, authority, tmp_path / "pki/current.pem" if absolute else "pki/current.pem")
    api = program.Api(program.Settings("0.21.8", "/cache", kubeconfig=kubeconfig))
    assert api.rolling("runner-1") is False
    (tmp_path / "pki/current.pem").write_bytes(authority.issue("system:node:renewed"))
    assert api.rolling("runner-1") is False
    assert asked == [
        ("system:node:runner-1", "/api/v1/nodes/runner-1", None),
        ("system:node:renewed", "/api/v1/nodes/runner-1", None),
    ]


def test_an_authority_may_be_a_file(
    program: ModuleType, asked: list[tuple[str, str, str | None]], authority: Authority, tmp_path: Path
) -> None:
    path = Path(node(tmp_path, authority))
    (tmp_path / "pki/ca.crt").write_bytes(authority.pem)
    lines = [
        line.replace("-data", "").partition(":")[0] + ': "pki/ca.crt"' if "-data:" in line else line
        for line in path.open()
    ]
    path.write_text("\n".join(line.rstrip("\n") for line in lines), encoding="utf-8")
    program.Api(program.Settings("0.21.8", "/cache", kubeconfig=str(path))).call("GET", "/api")
    assert [name for name, _path, _token in asked] == ["system:node:runner-1"]


def test_an_api_of_another_authority_is_told_nothing(
    program: ModuleType, asked: list[tuple[str, str, str | None]], authority: Authority, tmp_path: Path
) -> None:
    kubeconfig = node(tmp_path, Authority())
    (tmp_path / "pki/current.pem").write_bytes(authority.issue("system:node:runner-1"))
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        program.Api(program.Settings("0.21.8", "/cache", kubeconfig=kubeconfig)).call("GET", "/api")
    assert asked == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(
            ("client-certificate", "token"),
            "expected a certificate-authority and a client-certificate",
            id="no certificate",
        ),
        pytest.param(
            ("certificate-authority-data", "insecure"), "expected a certificate-authority and a", id="no authority"
        ),
        pytest.param(
            ("certificate-authority-data: ", "certificate-authority-data: ?"), "is no base64", id="a broken authority"
        ),
        pytest.param(("pki/current.pem", "pki/gone.pem"), "No such file", id="a certificate that is gone"),
        pytest.param(None, "No such file", id="no kubeconfig"),
    ],
)
def test_a_node_without_such_a_kubeconfig_is_told_in_the_log_and_stops_no_engine(
    program: ModuleType,
    authority: Authority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Any,
    said: str,
) -> None:
    path = Path(node(tmp_path, authority))
    if change is None:
        path.unlink()
    else:
        path.write_text(path.read_text(encoding="utf-8").replace(*change), encoding="utf-8")
    api = program.Api(program.Settings("0.21.8", "/cache", kubeconfig=str(path)))
    assert api.requests("runner-1") == program.Requests()
    assert api.rolling("runner-1") is True
    api.event("wiped", "why")
    assert api.expects_job("runner-1", ()) is True
    assert capsys.readouterr().err.count(said) == 2
