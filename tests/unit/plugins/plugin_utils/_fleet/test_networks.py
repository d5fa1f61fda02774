"""Networks of the cluster, the site and the hosts."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.findings import Finding
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet import networks as _networks
from hypothesis import given
from hypothesis import strategies as st

CLUSTER = {"fleet_pod_cidr": "10.244.0.0/16", "fleet_service_cidr": "10.96.0.0/12"}
APART = {"addresses": ["192.0.2.31"]}


def codes(findings: list[Finding]) -> list[str]:
    return [finding.code for finding in findings]


@pytest.mark.parametrize(
    ("networks", "expected"),
    [
        (CLUSTER, []),
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
        (
            {"addresses": ["10.244.3.4"]},
            CLUSTER,
            [("network_overlap", "it holds 10.244.3.4, an address of runner-1, runner-2")],
        ),
        (
            {"addresses": ["10.244.3.4"], "networks": [{"cidr": "10.244.3.0/24", "interface": "eth0"}]},
            CLUSTER,
            [("network_overlap", "it holds 10.244.3.4, an address of runner-1, runner-2")],
        ),
        (
            {"addresses": ["192.0.2.31"], "networks": [{"cidr": "10.100.0.0/16", "interface": "vpn0"}]},
            CLUSTER,
            [
                (
                    "network_overlap",
                    "it overlaps with 10.100.0.0/16, which is reached through vpn0 of runner-1, runner-2",
                )
            ],
        ),
        (
            {"addresses": ["2001:db8::7"]},
            CLUSTER,
            [("address_family_missing", "no IPv4 address with a route on runner-1, runner-2")] * 2,
        ),
        ({}, CLUSTER, []),
    ],
    ids=["apart", "an address inside", "told once", "a route", "no IPv4", "no answer"],
)
def test_hosts(survey: dict[str, Any], networks: dict[str, str], expected: list[tuple[str, str]]) -> None:
    parsed, _invalid = _networks.parse(networks)
    findings = _networks.host_findings({key: {**survey, "member": False} for key in ["runner-1", "runner-2"]}, parsed)
    assert [(finding.code, finding.found) for finding in findings] == expected


# As `kubeadm config validate` of 1.36 judges them.
@pytest.mark.parametrize(
    ("name", "text", "invalid"),
    [
        ("fleet_service_cidr", "10.0.0.0/8", True),
        ("fleet_service_cidr", "10.0.0.0/11", True),
        ("fleet_service_cidr", "10.96.0.0/12", False),
        ("fleet_service_cidr", "10.96.0.0/28", False),
        ("fleet_service_cidr", "10.96.0.0/29", True),
        ("fleet_service_cidr", "10.96.0.0/32", True),
        ("fleet_service_cidr", "fd00::/64", True),
        ("fleet_service_cidr", "fd00::/107", True),
        ("fleet_pod_cidr", "10.0.0.0/8", False),
        ("fleet_pod_cidr", "0.0.0.0/0", True),
        ("fleet_pod_cidr", "128.0.0.0/7", True),
        ("fleet_pod_cidr", "172.20.0.0/24", False),
        ("fleet_pod_cidr", "172.20.0.0/25", True),
        ("fleet_pod_cidr", "2a0a:e5c0:13:aaaa::/80", True),
        ("fleet_pod_cidr", "fd00::/47", True),
        ("fleet_pod_cidr", "10.244.0.0/255.255.0.0", True),
        ("fleet_pod_cidr", "10.244.0.0/016", True),
        ("fleet_pod_cidr", "10.244.0.0", True),
        ("fleet_pod_cidr", "10.244/16", True),
        ("fleet_pod_cidr", "10.244.0.0 /16", True),
        ("fleet_pod_cidr", "10.244.0.0/33", True),
        ("fleet_pod_cidr", "10.244.0.0/16,", True),
        ("fleet_pod_cidr", "10.244.0.0/16,10.245.0.0/16", True),
        ("fleet_pod_cidr", "10.244.0.0/16, fd00::/56", True),
        ("fleet_pod_cidr", "fe80::%eth0/64", True),
    ],
)
def test_networks_are_those_that_kubeadm_takes(name: str, text: str, invalid: bool) -> None:
    _parsed, findings = _networks.parse({name: text})
    assert ("network_invalid" in codes(findings)) is invalid


@given(st.integers(0, 2**32 - 1), st.integers(0, 32), st.sampled_from(_networks.CLUSTER))
def test_every_ipv4_network_is_judged_by_its_size(address: int, prefix: int, name: str) -> None:
    text = str(ipaddress.ip_network((address, prefix), strict=False))
    parsed, findings = _networks.parse({name: text})
    fits = 8 <= prefix <= 24 if name == "fleet_pod_cidr" else 12 <= prefix <= 28
    assert (list(parsed), codes(findings)) == (([f"{name} {text}"], []) if fits else ([], ["network_invalid"]))


@pytest.mark.parametrize(
    "text", ["10.244.0.0/16,fd00:10:244::/56", "fd00:10:244::/56,10.244.0.0/16", "fd00:10:244::/56"]
)
def test_a_second_family_and_ipv6_alone_are_refused(text: str) -> None:
    parsed, findings = _networks.parse({"fleet_pod_cidr": text})
    assert codes(findings) == ["address_family_unsupported"] and all(
        network.version == 4 for network in parsed.values()
    )


@pytest.mark.parametrize(
    ("pods", "config", "nodes", "expected"),
    [
        ("172.20.0.0/24", {}, 1, []),
        ("172.20.0.0/24", {}, 2, ["pod_network_too_small"]),
        ("10.244.0.0/16", {}, 256, []),
        ("10.244.0.0/16", {}, 257, ["pod_network_too_small"]),
        (
            "10.244.0.0/16",
            {"controllerManager": {"extraArgs": [{"name": "node-cidr-mask-size", "value": "25"}]}},
            257,
            [],
        ),
        (
            "172.20.0.0/25",
            {"controllerManager": {"extraArgs": [{"name": "node-cidr-mask-size-ipv4", "value": 26}]}},
            2,
            [],
        ),
        (
            "172.20.0.0/24",
            {"controllerManager": {"extraArgs": [{"name": "v", "value": "2"}]}},
            2,
            ["pod_network_too_small"],
        ),
        ("172.20.0.0/24", {"controllerManager": {"extraArgs": {"node-cidr-mask-size": "25"}}}, 1, []),
        ("172.20.0.0/24", "no config", 1, []),
    ],
)
def test_every_node_finds_a_share_of_the_pod_network(pods: str, config: Any, nodes: int, expected: list[str]) -> None:
    masks = _networks.node_masks(config)
    parsed, findings = _networks.parse({"fleet_pod_cidr": pods}, masks)
    assert codes([*findings, *_networks.room_findings(parsed, nodes, masks)]) == expected


@pytest.mark.parametrize("interface", ["eth0", "*", "cni0", "flannel.1", "antrea-gw0", "ovn0", "kube-bridge", "vpn0"])
@pytest.mark.parametrize(
    "cidr", ["10.244.0.0/24", "10.244.137.64/26", "10.244.3.7/32", "10.244.0.0/16", "10.96.0.0/12"]
)
def test_routes_into_its_networks_are_a_member_s_own(interface: str, cidr: str) -> None:
    parsed, _invalid = _networks.parse(CLUSTER)
    survey = {**APART, "networks": [{"cidr": cidr, "interface": interface}]}
    assert _networks.host_findings({"a": {**survey, "member": True}}, parsed) == []
    assert codes(_networks.host_findings({"a": {**survey, "member": False}}, parsed)) == ["network_overlap"]


def test_only_the_cluster_s_networks_are_a_member_s_own() -> None:
    parsed, _invalid = _networks.parse({**CLUSTER, "preflight_engine_network": "10.87.0.0/16"})
    route = {"networks": [{"cidr": "10.87.3.0/24", "interface": "vpn0"}], "member": True, **APART}
    assert [finding.subject for finding in _networks.host_findings({"a": route}, parsed)] == [
        "preflight_engine_network 10.87.0.0/16"
    ]


@given(st.integers(0, 15), st.booleans())
def test_a_wider_route_is_not_inside(prefix: int, member: bool) -> None:
    """10.0.0.0/8 of a site, or a default route that was written as one network: the pods' own routes are longer."""
    parsed, _invalid = _networks.parse({"fleet_pod_cidr": "10.244.0.0/16"})
    cidr = str(ipaddress.ip_network(("10.244.0.0", prefix), strict=False))
    survey = {**APART, "networks": [{"cidr": cidr, "interface": "eth0"}], "member": member}
    assert _networks.host_findings({"a": survey}, parsed) == []
