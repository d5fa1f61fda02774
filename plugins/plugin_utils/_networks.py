# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Networks of the cluster, of the site and of the hosts: which overlap, and which a host cannot speak. Private to the collection."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._findings import Finding, named

try:
    from netaddr import AddrFormatError, IPAddress, IPNetwork

    MISSING = ""
except ImportError as error:
    MISSING = f"the preflight needs the Python package netaddr on the controller: {error}"

CLUSTER = ("fleet_pod_cidr", "fleet_service_cidr")


def parse(networks: Mapping[str, Any]) -> tuple[dict[str, IPNetwork], list[Finding]]:
    """Networks by name, of each family one (`10.244.0.0/16,fd00:10:244::/56`), and what is no network."""
    parsed: dict[str, IPNetwork] = {}
    findings = []
    for name, text in networks.items():
        for part in str(text).split(","):
            try:
                network = IPNetwork(part.strip())
                if network.ip != network.network or "/" not in part:
                    raise ValueError(f"{part.strip()} is not the address of a network; that would be {network.cidr}")
                parsed[f"{name} {network}"] = network
            except (AddrFormatError, ValueError) as error:
                findings.append(Finding("network_invalid", name, str(error), "a network such as 10.244.0.0/16", f"correct {name}"))
    return parsed, findings


def overlap_findings(networks: Mapping[str, IPNetwork]) -> list[Finding]:
    """Pairs that overlap."""
    findings = []
    for (one, first), (other, second) in itertools.combinations(networks.items(), 2):
        if first in second or second in first:
            hint = f"choose another {one.split()[0]} or {other.split()[0]}"
            findings.append(Finding("network_overlap", one, f"it overlaps with {other}", "networks that lie apart", hint))
    return findings


def host_findings(surveys: Mapping[str, Mapping[str, Any]], networks: Mapping[str, IPNetwork]) -> list[Finding]:
    """What the hosts' own addresses and routes have to do with these networks. `surveys`: by host name."""
    inside: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    families: defaultdict[tuple[str, int], list[str]] = defaultdict(list)
    for host, survey in surveys.items():
        addresses = [IPAddress(address) for address in survey.get("addresses") or ()]
        routes = [(route["interface"], IPNetwork(route["cidr"])) for route in survey.get("networks") or ()]
        for name, network in networks.items():
            for address in addresses:
                if address in network:
                    inside[name, f"it holds {address}, an address of"].append(host)
            for interface, route in routes:
                if (route in network or network in route) and not any(address in network for address in addresses):
                    inside[name, f"it overlaps with {route}, which is reached through {interface} of"].append(host)
            if addresses and name.startswith(CLUSTER) and network.version not in {address.version for address in addresses}:
                families[name, network.version].append(host)
    findings = []
    for (name, found), hosts in inside.items():
        hint = f"choose another {name.split()[0]}"
        findings.append(Finding("network_overlap", name, f"{found} {named(hosts)}", "a network apart from those of the hosts", hint))
    for (name, version), hosts in families.items():
        found = f"no IPv{version} address with a route on {named(hosts)}"
        hint = f"give the hosts an IPv{version} address, or take that network out of {name.split()[0]}"
        findings.append(Finding("address_family_missing", name, found, "hosts that speak the cluster's address families", hint))
    return findings
