"""Where jobs may connect to, as rules of a network policy."""

from __future__ import annotations

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet import job_egress as _job_egress

KNOWN = {"mirror.example.org": ["10.0.0.2"], "ghes.example.org": ["10.0.0.3"], "github.com": ["192.0.2.1"]}
SERVICES = [
    "https://ghes.example.org/",
    "mirror.example.org:5000",
    "http://mirror.example.org",
    "https://github.com",
    "",
    "nowhere",
]


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://a.example:8443/x", "a.example"),
        ("a.example:5000", "a.example"),
        ("[fd00::1]:5000", "fd00::1"),
        ("a.example", "a.example"),
        ("", ""),
    ],
)
def test_host_of(address: str, host: str) -> None:
    assert _job_egress.host_of(address) == host


def test_what_a_job_needs_is_open_in_what_is_denied() -> None:
    named = [{"to": [{"ipBlock": {"cidr": "10.0.0.40/32"}}], "ports": [{"port": 443}]}]
    rules = _job_egress.job_egress(["10.0.0.0/24"], SERVICES, named, lambda host: KNOWN.get(host, []))
    assert rules[0] == _job_egress.DNS
    assert rules[1] == {"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/24", "169.254.0.0/16"]}}]}
    assert rules[2] == {"to": [{"ipBlock": {"cidr": "10.0.0.2/32"}}, {"ipBlock": {"cidr": "10.0.0.3/32"}}]}
    assert rules[3:] == named


def test_nothing_is_opened_where_nothing_is_denied() -> None:
    """A rule without peers would open everything."""
    rules = _job_egress.job_egress(["10.244.0.0/16"], SERVICES, (), lambda host: KNOWN.get(host, []))
    assert len(rules) == 2 and all(rule["to"] for rule in rules)


def test_a_name_that_nobody_knows_is_left_out() -> None:
    assert _job_egress.resolve("no-such-host.invalid") == []
