"""Sums that upstream publishes: every form of them, and only over TLS."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._published_sums import SumError, fetch, find

A, B = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(A, id="bare"),
        pytest.param(A.upper() + "\n", id="bare, upper case"),
        pytest.param(f"{A}  runc.amd64\n", id="one file"),
        pytest.param(f"{A} *runc.amd64\n", id="binary mode"),
        pytest.param(f"{A}  ./release/runc.amd64\n", id="below a directory"),
        pytest.param(f"{B}  runc.arm64\n{A}  runc.amd64\n{B}  runc.amd64.asc\n", id="among others"),
        pytest.param(
            f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{A}  runc.amd64\n-----BEGIN PGP SIGNATURE-----\n",
            id="signed",
        ),
        pytest.param(f"{A}  runc.amd64\r\n", id="DOS"),
    ],
)
def test_forms(text: str) -> None:
    assert find(text, "runc.amd64") == A


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("", "no sum", id="empty"),
        pytest.param("<html>not found</html>", "no sum", id="a page"),
        pytest.param(f"{A}  runc.arm64", "no sum", id="of another file"),
        pytest.param(f"{A}\n{B}\n", "no sum", id="two without names"),
        pytest.param(f"{A[:-1]}  runc.amd64", "no sum", id="cut"),
        pytest.param(f"{A}a  runc.amd64", "no sum", id="sha512 and longer"),
        pytest.param(f"{A}  runc.amd64\n{B}  runc.amd64", "several sums", id="two for one file"),
    ],
)
def test_what_is_no_sum(text: str, reason: str) -> None:
    with pytest.raises(SumError, match=f"it names {reason} for runc.amd64"):
        find(text, "runc.amd64")


@pytest.fixture
def plain(https: Any) -> Iterator[str]:
    """The same files without TLS."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(https.directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_over_tls(https: Any) -> None:
    (https.directory / "runc.sha256sum").write_text(f"{A}  runc.amd64\n")
    assert fetch(f"{https.url}/runc.sha256sum", "runc.amd64", 5) == A


@pytest.mark.parametrize("where", ["http", "leads to http", "not trusted", "absent"])
def test_not_otherwise(https: Any, plain: str, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (https.directory / "runc.sha256sum").write_text(f"{A}  runc.amd64\n")
    address = {"http": f"{plain}/runc.sha256sum", "absent": f"{https.url}/none"}.get(
        where, f"{https.url}/runc.sha256sum"
    )
    reason = {
        "http": "it is not https",
        "leads to http": "which is not https",
        "not trusted": "(?i)certificate",
        "absent": "404",
    }[where]
    if where == "leads to http":
        https.elsewhere.append(f"{plain}/runc.sha256sum")
        address = f"{https.url}/elsewhere"
    if where == "not trusted":
        monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(SumError, match=reason) as refused:
        fetch(address, "runc.amd64", 5)
    assert address in str(refused.value) and "fleet_mirror.checksums" in str(refused.value)
