"""What every unit test needs: paths, and one way to run a module's main() without a host."""

from __future__ import annotations

import datetime
import functools
import http.server
import ipaddress
import json
import os
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import settings

from tests.unit.plugins import machines

ROOT = Path(__file__).resolve().parents[2]

# CI tries the same examples each time, so that what lands depends on the change alone; elsewhere each run tries new
# ones. A machine that is busy is no failure.
settings.register_profile("runnerfleet", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("runnerfleet")


class ModuleExit(Exception):
    """The module ended; `result` is what it would have printed."""

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__(json.dumps(result, default=str))
        self.result = result


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> machines.Machine:
    """A machine that is made up: see tests/unit/plugins/machines.py."""
    return machines.machine(tmp_path / "machine", monkeypatch)


@pytest.fixture
def run_module(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Call a module's main() with arguments: `run_module(my_module.main, {"name": "x"}, check=True)` returns its
    result.

    The result of fail_json carries `failed: true`, as a task's does.
    """

    def leave(_module: basic.AnsibleModule, **result: Any) -> None:
        raise ModuleExit({"changed": False, **result})

    def fail(_module: basic.AnsibleModule, msg: str, **result: Any) -> None:
        raise ModuleExit({"changed": False, **result, "msg": msg, "failed": True})

    def call(
        main: Callable[[], None], arguments: dict[str, Any], *, check: bool = False, diff: bool = True
    ) -> dict[str, Any]:
        monkeypatch.setattr(basic.AnsibleModule, "exit_json", leave)
        monkeypatch.setattr(basic.AnsibleModule, "fail_json", fail)
        with (
            patch_module_args({**arguments, "_ansible_check_mode": check, "_ansible_diff": diff}),
            pytest.raises(ModuleExit) as caught,
        ):
            main()
        return caught.value.result

    return call


class FileHandler(http.server.SimpleHTTPRequestHandler):
    """Serves a directory, notes requests, and sends `/elsewhere` to where the server was told."""

    def __init__(self, *arguments: Any, requests: list[str], elsewhere: list[str], **more: Any) -> None:
        self.requests, self.elsewhere = requests, elsewhere
        super().__init__(*arguments, **more)

    def do_GET(self) -> None:
        """Note the request."""
        self.requests.append(self.path)
        if self.elsewhere and self.path == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", self.elsewhere[0])
            self.end_headers()
            return
        super().do_GET()

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


class Https:
    """A site with a certificate that this process trusts: its files, what was asked of it, and where `/elsewhere`
    leads.
    """

    def __init__(self, directory: Path) -> None:
        self.directory, self.url = directory, ""
        self.requests: list[str] = []
        self.elsewhere: list[str] = []


@pytest.fixture
def https(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Https]:
    """A site that answers over TLS."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "site")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "tls/site.pem"
    pem.parent.mkdir()
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem.write_bytes(key.private_bytes(*plain) + certificate.public_bytes(serialization.Encoding.PEM))
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    site = Https(tmp_path / "tls/served")
    site.directory.mkdir()
    handler = functools.partial(
        FileHandler, directory=str(site.directory), requests=site.requests, elsewhere=site.elsewhere
    )
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        site.url = f"https://127.0.0.1:{server.server_port}"
        yield site
        server.shutdown()
