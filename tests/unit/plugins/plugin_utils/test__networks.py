"""Networks of the cluster, the site and the hosts."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._findings import Finding
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils import _networks

CLUSTER = {"fleet_pod_cidr": "10.244.0.0/16", "fleet_service_cidr": "10.96.0.0/12"}
BOTH = {"fleet_pod_cidr": "10.244.0.0/16,fd00:10:244::/56", "fleet_service_cidr": "10.96.0.0/12,fd00:10:96::/112"}


def codes(findings: list[Finding]) -> list[str]:
    return [finding.code for finding in findings]


@pytest.mark.parametrize(
    ("networks", "expected"),
    [
        (CLUSTER, []),
        (BOTH, []),
        ({"a": "10.96.1.0/24", "b": "10.96.0.0/12"}, ["network_overlap"]),
        ({"a": "10.96.0.0/12", "b": "10.96.0.0/12"}, ["network_overlap"]),
        ({"a": "10.244.0.0/16,fd00::/48", "b": "fd00:0:0:1::/64"}, ["network_overlap"]),
        ({"a": "10.96.1.1/24"}, ["network_invalid"]),
        ({"a": "10.96.1.1"}, ["network_invalid"]),
        ({"a": "nonsense", "b": "10.96.0.0/12"}, ["network_invalid"]),
        ({"a": ""}, ["network_invalid"]),
        ({"a": "fd00::/48", "b": "10.96.0.0/12"}, []),
    ],
)
def test_networks(networks: dict[str, str], expected: list[str]) -> None:
    parsed, invalid = _networks.parse(networks)
    assert codes([*invalid, *_networks.overlap_findings(parsed)]) == expected


@pytest.mark.parametrize(
    ("survey", "networks", "expected"),
    [
        ({"addresses": ["192.0.2.31"], "networks": [{"cidr": "192.0.2.0/24", "interface": "eth0"}]}, CLUSTER, []),
        ({"addresses": ["10.244.3.4"]}, CLUSTER, [("network_overlap", "it holds 10.244.3.4, an address of runner-1, runner-2")]),
        (
            {"addresses": ["10.244.3.4"], "networks": [{"cidr": "10.244.3.0/24", "interface": "eth0"}]},
            CLUSTER,
            [("network_overlap", "it holds 10.244.3.4, an address of runner-1, runner-2")],
        ),
        (
            {"addresses": ["192.0.2.31"], "networks": [{"cidr": "10.100.0.0/16", "interface": "vpn0"}]},
            CLUSTER,
            [("network_overlap", "it overlaps with 10.100.0.0/16, which is reached through vpn0 of runner-1, runner-2")],
        ),
        ({"addresses": ["192.0.2.31", "2001:db8::7"]}, BOTH, []),
        (
            {"addresses": ["192.0.2.31"]},
            BOTH,
            [("address_family_missing", "no IPv6 address with a route on runner-1, runner-2")] * 2,
        ),
        ({}, CLUSTER, []),
    ],
    ids=["apart", "an address inside", "told once", "a route", "both families", "no IPv6", "no answer"],
)
def test_hosts(survey: dict[str, Any], networks: dict[str, str], expected: list[tuple[str, str]]) -> None:
    parsed, _invalid = _networks.parse(networks)
    findings = _networks.host_findings({"runner-1": survey, "runner-2": survey}, parsed)
    assert [(finding.code, finding.found) for finding in findings] == expected
