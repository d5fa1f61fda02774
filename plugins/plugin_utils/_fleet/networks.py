# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Networks of the cluster, of the site and of the hosts: which kubeadm takes, and which overlap. Private to the
collection.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.findings import Finding, named

try:
    from netaddr import AddrFormatError, IPAddress, IPNetwork

    MISSING = ""
except ImportError as error:
    MISSING = f"the preflight needs the Python package netaddr on the controller: {error}"

POD, SERVICE = CLUSTER = ("fleet_pod_cidr", "fleet_service_cidr")
FORM = "a network such as 10.244.0.0/16"
_CIDR = re.compile(r"[0-9A-Fa-f:.]+/(0|[1-9][0-9]{0,2})")
# By IP version: kubeadm's mask of one node's share of the pod network.
NODE_MASKS = {4: 24, 6: 64}
MOST_NODE_BITS = 16  # between the pod network's mask and a node's
MOST_SERVICE_BITS = 20
LEAST_SERVICES = 10


def parse(
    networks: Mapping[str, Any], node_masks: Mapping[int, int] | None = None
) -> tuple[dict[str, IPNetwork], list[Finding]]:
    """Networks by name, and what is no network, or none that the cluster can have.

    The cluster's own are judged as kubeadm judges them (`validation.go`), and are of IPv4: no role sets a host up for
    IPv6.
    """
    parsed: dict[str, IPNetwork] = {}
    findings: list[Finding] = []
    for name, text in networks.items():
        good: list[IPNetwork] = []
        for part in str(text).split(","):
            try:
                good.append(_network(part))
                if name in CLUSTER:
                    _judge(name, good, node_masks or NODE_MASKS)
            except (AddrFormatError, ValueError) as error:
                findings.append(Finding("network_invalid", name, str(error), FORM, f"correct {name}"))
        if name in CLUSTER and any(network.version == 6 for network in good):
            found = f"{text}, of which {', '.join(str(network) for network in good if network.version == 6)} is IPv6"
            hint = f"leave the IPv6 network out of {name}: roles set up neither IPv6 forwarding nor an IPv6 pod network"
            findings.append(Finding("address_family_unsupported", name, found, "one IPv4 network", hint))
            good = [network for network in good if network.version == 4]
        parsed.update({f"{name} {network}": network for network in good})
    return parsed, findings


def _network(text: str) -> IPNetwork:
    """A network in CIDR notation, and in no other that a library might read: kubeadm takes no other."""
    if not _CIDR.fullmatch(text):
        raise ValueError(f"{text!r} is not in CIDR notation, address/bits")
    network = IPNetwork(text)
    if network.ip != network.network:
        raise ValueError(f"{text} is not the address of a network; that would be {network.cidr}")
    return network


def _judge(name: str, networks: list[IPNetwork], node_masks: Mapping[int, int]) -> None:
    """The last of `networks` as kubeadm would judge it; what it would refuse is taken out and raised as ValueError."""
    network = networks[-1]
    bits, mask = (32 if network.version == 4 else 128), node_masks[network.version]
    problem = ""
    if len([other for other in networks if other.version == network.version]) > 1:
        problem = f"{network} is the second IPv{network.version} network, expected one"
    elif name == SERVICE and bits - network.prefixlen > MOST_SERVICE_BITS:
        problem = f"{network} is too large for services, expected /{bits - MOST_SERVICE_BITS} or smaller"
    elif name == SERVICE and network.size < LEAST_SERVICES:
        problem = f"{network} has {network.size} addresses, expected at least {LEAST_SERVICES} for services"
    elif name == POD and network.prefixlen > mask:
        problem = f"{network} is smaller than the /{mask} of one node"
    elif name == POD and mask - network.prefixlen > MOST_NODE_BITS:
        problem = f"{network} is too large: a node gets a /{mask} of it, expected /{mask - MOST_NODE_BITS} or smaller"
    if problem:
        networks.pop()
        raise ValueError(problem)


def node_masks(cluster_config: Any) -> dict[int, int]:
    """The masks of a node's share that a kubeadm ClusterConfiguration sets for the controller manager, over kubeadm's
    own.
    """
    manager = cluster_config.get("controllerManager") if isinstance(cluster_config, Mapping) else None
    arguments = manager.get("extraArgs") if isinstance(manager, Mapping) else None
    given = {str(item.get("name")): str(item.get("value")) for item in arguments or () if isinstance(item, Mapping)}
    names = {4: ("node-cidr-mask-size", "node-cidr-mask-size-ipv4"), 6: ("node-cidr-mask-size-ipv6",)}
    masks = dict(NODE_MASKS)
    for version, arguments_of in names.items():
        for argument in arguments_of:
            if given.get(argument, "").isdigit():
                masks[version] = int(given[argument])
    return masks


def room_findings(networks: Mapping[str, IPNetwork], nodes: int, node_masks: Mapping[int, int]) -> list[Finding]:
    """A pod network in which not every node of the inventory finds a share."""
    findings = []
    for name, network in networks.items():
        if not name.startswith(f"{POD} "):
            continue
        mask = node_masks[network.version]
        room = 2 ** max(mask - network.prefixlen, 0)
        if room < nodes:
            found = f"a /{mask} for each of {room} nodes, and the inventory has {nodes}"
            hint = f"choose a larger {POD} before the cluster is made; it cannot be changed later"
            findings.append(Finding("pod_network_too_small", name, found, f"room for {nodes} nodes", hint))
    return findings


def overlap_findings(networks: Mapping[str, IPNetwork]) -> list[Finding]:
    """Pairs that overlap."""
    findings = []
    for (one, first), (other, second) in itertools.combinations(networks.items(), 2):
        if first in second or second in first:
            hint = f"choose another {one.split()[0]} or {other.split()[0]}"
            findings.append(
                Finding("network_overlap", one, f"it overlaps with {other}", "networks that lie apart", hint)
            )
    return findings


def host_findings(surveys: Mapping[str, Mapping[str, Any]], networks: Mapping[str, IPNetwork]) -> list[Finding]:
    """What the hosts' own addresses and routes have to do with these networks. `surveys`: by host name.

    On a member, what lies inside the pod or service network is the cluster's own, through whatever interface or
    neighbour. A route that is wider than a network is none into it: the longer prefix wins.
    """
    inside: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
    families: defaultdict[tuple[str, int], list[str]] = defaultdict(list)
    for host, survey in surveys.items():
        addresses = [IPAddress(address) for address in survey.get("addresses") or ()]
        routes = [(route["interface"], IPNetwork(route["cidr"])) for route in survey.get("networks") or ()]
        # Who does not say whether it is a member is no reason to refuse a route.
        member = bool(survey.get("member", True))
        for name, network in networks.items():
            hint = f"choose another {name.split()[0]}"
            held = [address for address in addresses if address in network]
            for address in held:
                inside[name, f"it holds {address}, an address of", hint].append(host)
            if not held and not (member and name.startswith(CLUSTER)):
                for interface, route in routes:
                    if route in network:
                        told = f"it overlaps with {route}, which is reached through {interface} of"
                        left = (
                            f"{hint}, or remove that route, if a former cluster left it (`ip route`, `ip link "
                            f"delete {interface}`)"
                        )
                        inside[name, told, left].append(host)
            if (
                addresses
                and name.startswith(CLUSTER)
                and network.version not in {address.version for address in addresses}
            ):
                families[name, network.version].append(host)
    findings = []
    for (name, found, hint), hosts in inside.items():
        findings.append(
            Finding("network_overlap", name, f"{found} {named(hosts)}", "a network apart from those of the hosts", hint)
        )
    for (name, version), hosts in families.items():
        found = f"no IPv{version} address with a route on {named(hosts)}"
        hint = f"give the hosts an IPv{version} address"
        findings.append(
            Finding("address_family_missing", name, found, "hosts that speak the cluster's address families", hint)
        )
    return findings
