# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""host:port at which every node reaches the API, typed or made from a host's address. No I/O. Private to the
collection.
"""

from __future__ import annotations

import ipaddress
import re

PORT = 6443
EXPECTED = "host:port, an address that every node reaches, such as 192.0.2.11:6443"
_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")
_TYPED = re.compile(r"(?:\[(?P<bracketed>[^\[\]]*)\]|(?P<plain>[^\[\]:]*)):(?P<port>[0-9]{1,5})")
# Names that every machine gives to itself.
_SELF = re.compile(r"(localhost|ip6-localhost|ip6-loopback)[46]?(\.localdomain[46]?)?|.*\.localhost")


def host_problem(host: str) -> str:
    """Why other machines cannot reach the API at this host, as kubeadm and networks see it; empty where they can."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if _SELF.fullmatch(host.lower()):
            return f"{host} is each machine's name for itself"
        # What looks like an IPv4 address and is none is a legal name, but nobody has it.
        if not _HOST.fullmatch(host) or re.fullmatch(r"[0-9.]+", host):
            return f"{host!r} is neither an IP address nor a DNS name in lower case"
        return ""
    if "%" in host:
        return f"{host} holds for one interface of one machine"
    if address.is_loopback or (address.version == 6 and address.ipv4_mapped and address.ipv4_mapped.is_loopback):
        return f"{host} is each machine's address of itself"
    if address.is_unspecified or address.is_multicast or address.is_link_local:
        return f"{host} is no address of one machine that is reached from every network"
    return ""


def endpoint_problem(endpoint: str) -> str:
    """What is wrong with a typed host:port; empty for nothing."""
    match = _TYPED.fullmatch(endpoint)
    if not match or not 0 < int(match["port"]) < 65536:
        return f"{endpoint!r} is not host:port (an IPv6 address stands in brackets)"
    return host_problem(match["plain"] if match["bracketed"] is None else match["bracketed"])


def api_endpoint(host: str, port: int = PORT) -> str:
    """host:port for a machine's address, with brackets around an IPv6 one; ValueError where no other machine reaches
    it.
    """
    problem = host_problem(host)
    if problem:
        raise ValueError(
            f"the API's endpoint cannot be made of the control plane host's address: {problem}. Expected {EXPECTED}"
        )
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
