"""A password inside an address is never shown, and what is none stays readable."""

from __future__ import annotations

import string

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils import _addresses
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.findings import Finding, findings_table
from hypothesis import given
from hypothesis import strategies as st

SECRETS = {
    "http://ci:S3cr3t@127.0.0.1:9/raw": "http://***@127.0.0.1:9/raw",
    "[Errno 111] refused at http://ci:S3cr3t@127.0.0.1:9/raw/": "[Errno 111] refused at http://***@127.0.0.1:9/raw/",
    "ci:S3cr3t@127.0.0.1:9/docker": "***@127.0.0.1:9/docker",
    "fleet_mirror.registry ci:S3cr3t@mirror": "fleet_mirror.registry ***@mirror",
    "https://S3cr3t@github.com/a/b": "https://***@github.com/a/b",
    "https://x:S3cr3t@[2001:db8::1]/": "https://***@[2001:db8::1]/",
    "http://ci:S3@cr3t@host/": "http://***@host/",
    "http://ci:S3/cr3t@host/": "http://***@host/",
    "HTTP://ci:S3cr3t@host": "HTTP://***@host",
    "socks5://ci:S3cr3t@host:1080,http://ci:S3cr3t@host": "socks5://***@host:1080,http://***@host",
    "{'url': 'http://ci:S3cr3t@host/'}": "{'url': 'http://***@host/'}",
    "git+ssh://ci:S3cr3t@host/x": "git+ssh://***@host/x",
    "HTTP_PROXY=ci:S3cr3t@host:3128": "HTTP_PROXY=***@host:3128",
}
OPEN = [
    "https://mirror.example.org:8443/raw",
    "http://mirror:8080/v2/a@sha256:0123",
    "ghcr.io/org/image:tag@sha256:0123",
    "registry.k8s.io/pause:3.10.2",
    "someone@example.org",
    "fleet_pools[0].name",
    "192.0.2.1:6443",
    "a: b@c",
    "",
]


@pytest.mark.parametrize(("text", "shown"), SECRETS.items())
def test_a_credential_is_hidden(text: str, shown: str) -> None:
    assert _addresses.hidden(text) == shown and _addresses.hidden(shown) == shown
    assert _addresses.has_credential(text) and not _addresses.has_credential(shown)


@pytest.mark.parametrize("text", OPEN)
def test_what_holds_none_stays(text: str) -> None:
    assert _addresses.hidden(text) == text and not _addresses.has_credential(text)


WORD = st.text(string.ascii_letters + string.digits + "-._~!$&*+;%:@", min_size=4, max_size=12)


@given(
    st.sampled_from(["http", "https", "oci", "socks5h"]),
    WORD,
    st.sampled_from(["host", "host:9/raw", "192.0.2.1", "[::1]:5000/x"]),
)
def test_whatever_the_password_is(scheme: str, password: str, rest: str) -> None:
    text = f"cannot reach {scheme}://ci:{password}@{rest}"
    assert _addresses.hidden(text) == f"cannot reach {scheme}://***@{rest}"
    finding = Finding("mirror_unreachable", text, text, text, text)
    assert password not in findings_table([finding]).replace(rest, "") and f"ci:{password}" not in str(
        finding.as_dict()
    )


def test_where_a_credential_stands() -> None:
    value = {
        "url": "http://a:b@c",
        "list": ["x", "u:p@h"],
        "deep": {"k": "https://t@h"},
        "number": 1,
        "good": "https://h",
    }
    assert list(_addresses.credentials_in("v", value)) == ["v.url", "v.list[1]", "v.deep.k"]


def test_a_value_keeps_its_shape_without_credentials() -> None:
    value = {"url": "http://a:b@c", "list": ["x", ("u:p@h",)], "http://a:b@c/x.tgz": {"k": None}, "number": 1}
    assert _addresses.masked(value) == {
        "url": "http://***@c",
        "list": ["x", ["***@h"]],
        "http://***@c/x.tgz": {"k": None},
        "number": 1,
    }
    assert list(_addresses.credentials_in("v", _addresses.masked(value))) == []
