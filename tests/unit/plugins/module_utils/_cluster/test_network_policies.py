"""Who may open a connection to what, as NetworkPolicies take it."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster import network_policies as policies
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.network_policies import (
    HELD,
    OPEN,
    UNKNOWN,
    Observation,
)
from hypothesis import given
from hypothesis import strategies as st

SLICE = {
    "ports": [{"port": 6443, "protocol": "TCP"}],
    "endpoints": [{"addresses": ["10.0.0.11"]}, {"addresses": ["10.0.0.12"]}],
}


def node(name: str, address: str, share: str = "", control_plane: bool = False) -> dict[str, Any]:
    told = [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}]
    labels = {policies.CONTROL_PLANE: ""} if control_plane else {}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"podCIDR": share} if share else {},
        "status": {"addresses": told},
    }


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        pytest.param([], UNKNOWN, id="nobody looked"),
        pytest.param([Observation(90, False, False)], UNKNOWN, id="a pod that does not answer proves nothing"),
        pytest.param([Observation(0, True, False)], HELD, id="one answers and one does not"),
        pytest.param([Observation(0, True, True), Observation(5, True, True)], UNKNOWN, id="a moment is not enough"),
        pytest.param([Observation(0, True, True), Observation(5, True, False)], HELD, id="it came to be held"),
        pytest.param([Observation(0, True, True), Observation(20, True, True)], OPEN, id="both answer for long"),
        pytest.param(
            [Observation(0, False, False), Observation(20, True, True)],
            UNKNOWN,
            id="the time before the first answer does not count",
        ),
        pytest.param(
            [Observation(0, True, True), Observation(20, False, False)], UNKNOWN, id="silence of both is no proof"
        ),
    ],
)
def test_verdict(looks: list[Observation], expected: str) -> None:
    assert policies.verdict(looks, 20) == expected


def test_api_servers_come_from_their_nodes_tunnels_and_bridges() -> None:
    nodes = [
        node("cp-1", "10.0.0.11", "10.244.3.0/24", control_plane=True),
        node("runner-1", "10.0.0.31", "10.244.1.0/24"),
    ]
    expected = ["10.0.0.11/32", "10.0.0.12/32", "10.244.3.0/32", "10.244.3.1/32"]
    assert policies.api_servers(nodes, [SLICE]) == expected


def test_an_api_that_no_node_carries_is_known_by_its_endpoints() -> None:
    assert policies.api_servers([node("runner-1", "10.0.0.31", "10.244.1.0/24")], [SLICE]) == [
        "10.0.0.11/32",
        "10.0.0.12/32",
    ]


def test_where_the_api_answers() -> None:
    rule = {"to": policies.peers(["10.0.0.11/32", "10.0.0.12/32"]), "ports": [{"protocol": "TCP", "port": 6443}]}
    assert policies.api_endpoints([SLICE, {"ports": None, "endpoints": None}]) == [rule]


def test_addresses_of_nodes_and_what_is_none() -> None:
    assert policies.node_networks(
        [node("b", "10.0.0.12"), node("a", "10.0.0.11"), node("c", "not an address"), {}]
    ) == [
        "10.0.0.11/32",
        "10.0.0.12/32",
    ]


@given(
    st.lists(
        st.ip_addresses(v=4).flatmap(lambda one: st.integers(8, 32).map(lambda bits: f"{one}/{bits}")), max_size=8
    ),
    st.ip_addresses(v=4),
)
def test_the_internet_is_what_lies_in_no_denied_network(denied: list[str], address: Any) -> None:
    (peer,) = policies.internet(denied)
    apart = [ip_network(text) for text in peer["ipBlock"]["except"]]
    kept_from = any(address in network for network in apart)
    assert kept_from == any(address in ip_network(text, strict=False) for text in [*denied, "169.254.0.0/16"])
    assert not any(one != other and one.subnet_of(other) for one in apart for other in apart)


def test_ipv6_is_open_only_where_it_is_spoken_of() -> None:
    families = [peer["ipBlock"] for peer in policies.internet(["10.0.0.0/8", "fd00::/8"])]
    assert families == [
        {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8", "169.254.0.0/16"]},
        {"cidr": "::/0", "except": ["fd00::/8", "fe80::/10"]},
    ]


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        policies.internet(["nonsense"])


def test_openings_are_only_what_is_denied_otherwise() -> None:
    hosts = {"ghes.example.org": ["10.0.0.9", "192.0.2.7"], "nobody": [], "odd": ["not an address"]}
    assert policies.openings(hosts, ["10.0.0.0/24"]) == ["10.0.0.9/32"]
    assert ip_address("192.0.2.7") not in ip_network("10.0.0.0/24")
