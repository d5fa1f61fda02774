# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where jobs may connect to, as rules of a network policy. Private to the collection."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.network_policies import (
    internet,
    openings,
    peers,
)

DNS = {
    "to": [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
            "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
        }
    ],
    "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
}


def host_of(address: str) -> str:
    """The host of a URL, or of host[:port]."""
    return urlsplit(address if "://" in address else f"//{address}").hostname or ""


def resolve(host: str) -> list[str]:
    """The addresses of a host as this machine knows them; none where it does not."""
    try:
        return sorted({str(answer[4][0]) for answer in socket.getaddrinfo(host, None, proto=socket.IPPROTO_TCP)})
    except OSError:
        return []


def job_egress(
    denied: Iterable[str],
    services: Iterable[str] = (),
    named: Sequence[Mapping[str, Any]] = (),
    lookup: Callable[[str], list[str]] = resolve,
) -> list[dict[str, Any]]:
    """Rules for egress: DNS, everything but the networks that are denied, and then what is open in these.

    `services`: URLs, or host[:port], of what jobs need; `named`: rules of the site, taken as they are. Raises
    ValueError for what is no network.
    """
    networks = [str(network) for network in denied]
    hosts = sorted({host for host in (host_of(str(service)) for service in services if service) if host})
    inside = openings({host: lookup(host) for host in hosts}, networks)
    return [
        DNS,
        {"to": internet(networks)},
        *([{"to": peers(inside)}] if inside else []),
        *(dict(rule) for rule in named),
    ]
