"""The API's endpoint, typed or made of a host's address: one judgement for both."""

from __future__ import annotations

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils import _endpoint
from hypothesis import given
from hypothesis import strategies as st

GOOD = {
    "192.0.2.11": "192.0.2.11:6443",
    "cp-1": "cp-1:6443",
    "api.example.org": "api.example.org:6443",
    "fd00:10::11": "[fd00:10::11]:6443",
    "2001:db8::1": "[2001:db8::1]:6443",
}
BAD = [
    *(
        "127.0.0.1",
        "127.8.8.8",
        "::1",
        "::ffff:127.0.0.1",
        "localhost",
        "LOCALHOST",
        "localhost.localdomain",
        "ip6-localhost",
        "a.localhost",
    ),
    *("0.0.0.0", "::", "169.254.3.4", "fe80::1", "fe80::1%eth0", "224.0.0.1", "ff02::1"),
    *(
        "",
        "a b",
        "under_score",
        "API.example.org",
        "-a",
        "a..b",
        "999.1.1.1",
        "192.0.2",
        "https://a",
        "user@a",
        "[fd00::1]",
        "x" * 64,
    ),
]


@pytest.mark.parametrize("host", GOOD)
def test_a_host_becomes_an_endpoint(host: str) -> None:
    assert _endpoint.api_endpoint(host) == GOOD[host]
    assert _endpoint.endpoint_problem(GOOD[host]) == ""


@pytest.mark.parametrize("host", BAD)
def test_an_address_that_no_other_machine_reaches_becomes_none(host: str) -> None:
    with pytest.raises(ValueError, match="Expected host:port"):
        _endpoint.api_endpoint(host)
    assert _endpoint.endpoint_problem(f"[{host}]:6443" if ":" in host else f"{host}:6443")


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "192.0.2.1",
        "192.0.2.1:",
        "192.0.2.1:0",
        "192.0.2.1:99999",
        ":6443",
        "fd00:10::11:6443",
        "https://192.0.2.1:6443",
        "a:b",
    ],
)
def test_what_is_no_endpoint(endpoint: str) -> None:
    assert _endpoint.endpoint_problem(endpoint)


@given(st.ip_addresses(), st.integers(1, 65535))
def test_made_and_typed_endpoints_are_judged_alike(address: object, port: int) -> None:
    try:
        made = _endpoint.api_endpoint(str(address), port)
    except ValueError:
        assert _endpoint.endpoint_problem(f"[{address}]:{port}")
    else:
        assert _endpoint.endpoint_problem(made) == ""
