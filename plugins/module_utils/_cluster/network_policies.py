# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who may open a connection to what, as NetworkPolicies take it. No I/O. Private to the collection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Union

CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
EVERYWHERE = {4: "0.0.0.0/0", 6: "::/0"}
# What clouds and machines tell about themselves, and what no router passes on.
LINK_LOCAL = {4: "169.254.0.0/16", 6: "fe80::/10"}
HELD, OPEN, UNKNOWN = "held", "open", "unknown"

Network = Union[IPv4Network, IPv6Network]


@dataclass(frozen=True)
class Observation:
    """What could be reached of a pod of which one port is open to all and the other to nobody. `seconds`: since the
    first look.
    """

    seconds: float
    open_port: bool
    closed_port: bool


def verdict(looks: Sequence[Observation], patience: float) -> str:
    """Whether policies are held. UNKNOWN until the open port answered: a pod that nobody reaches proves nothing.

    OPEN only when both ports answered for `patience` seconds: what holds policies learns of a pod a moment after it has
    an address.
    """
    reached = [look for look in looks if look.open_port]
    if not reached:
        return UNKNOWN
    if not reached[-1].closed_port:
        return HELD
    return OPEN if reached[-1].seconds - reached[0].seconds >= patience else UNKNOWN


def addresses(node: Mapping[str, Any]) -> list[str]:
    """A node's own addresses, as its kubelet tells them. What is none is left out."""
    told = (node.get("status") or {}).get("addresses") or []
    return [
        str(entry["address"])
        for entry in told
        if entry.get("type") in ("InternalIP", "ExternalIP") and _is_address(entry["address"])
    ]


def node_networks(nodes: Iterable[Mapping[str, Any]]) -> list[str]:
    """Each node's addresses as networks of one address, sorted."""
    return _sorted(ip_network(address) for node in nodes for address in addresses(node))


def api_servers(nodes: Iterable[Mapping[str, Any]], slices: Iterable[Mapping[str, Any]]) -> list[str]:
    """Where connections of the API servers come from, as networks, sorted. `slices`: EndpointSlices of the service
    kubernetes.

    Beside their own addresses, and those of the nodes that carry them, the first two of these nodes' ranges for pods:
    those of the tunnel and of the bridge, which no pod gets.
    """
    found: list[Network] = [ip_network(address) for one in slices for address in _endpoint_addresses(one)]
    for node in nodes:
        if CONTROL_PLANE not in ((node.get("metadata") or {}).get("labels") or {}):
            continue
        found += [ip_network(address) for address in addresses(node)]
        spec = node.get("spec") or {}
        for text in spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else []):
            share = ip_network(text)
            found += [ip_network(share.network_address), ip_network(share.network_address + 1)]
    return _sorted(found)


def api_endpoints(slices: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rules for egress to where the API answers, one for each EndpointSlice of the service kubernetes."""
    rules = []
    for one in slices:
        ports = [
            {"protocol": port.get("protocol", "TCP"), "port": port["port"]}
            for port in one.get("ports") or []
            if port.get("port")
        ]
        networks = _sorted(ip_network(address) for address in _endpoint_addresses(one))
        if ports and networks:
            rules.append({"to": peers(networks), "ports": ports})
    return rules


def _endpoint_addresses(one: Mapping[str, Any]) -> list[str]:
    told = [address for endpoint in one.get("endpoints") or [] for address in endpoint.get("addresses") or []]
    return [str(address) for address in told if _is_address(address)]


def peers(networks: Iterable[str]) -> list[dict[str, Any]]:
    """Peers of a policy's rule."""
    return [{"ipBlock": {"cidr": network}} for network in networks]


def internet(denied: Iterable[str]) -> list[dict[str, Any]]:
    """Peers that are everything but these networks, metadata addresses and what no router passes on.

    IPv6 is there only where one of the networks is of IPv6. Raises ValueError for what is no network.
    """
    networks = [ip_network(str(text), strict=False) for text in denied]
    found = []
    for version, everywhere in EVERYWHERE.items():
        own = [network for network in networks if network.version == version]
        if version == 4 or own:
            found.append({"ipBlock": {"cidr": everywhere, "except": _apart([ip_network(LINK_LOCAL[version]), *own])}})
    return found


def openings(hosts: Mapping[str, Sequence[str]], denied: Iterable[str]) -> list[str]:
    """The addresses among those of the named hosts that lie in networks which are denied otherwise, as networks,
    sorted.
    """
    networks = [ip_network(str(text), strict=False) for text in denied]
    found = [ip_network(address) for answers in hosts.values() for address in answers if _is_address(address)]
    return _sorted(one for one in found if any(_within(one, network) for network in networks))


def _within(one: Network, network: Network) -> bool:
    return one.version == network.version and one.subnet_of(network)  # type: ignore[arg-type]


def _apart(networks: Iterable[Network]) -> list[str]:
    """The same networks without those that lie in another, sorted."""
    distinct = set(networks)
    return _sorted(
        one
        for one in distinct
        if not any(one != other and one.version == other.version and one.subnet_of(other) for other in distinct)  # type: ignore[arg-type]
    )


def _sorted(networks: Iterable[Network]) -> list[str]:
    return [
        str(network)
        for network in sorted(
            set(networks), key=lambda network: (network.version, int(network.network_address), network.prefixlen)
        )
    ]


def _is_address(text: Any) -> bool:
    try:
        ip_address(str(text))
    except ValueError:
        return False
    return True
