# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How scale sets reach GitHub: through which proxy, and whose certificates they trust. No I/O. Private to the
collection.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._addresses import has_credential

KEY = "ca.crt"  # in ConfigMaps that are made
BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
SCHEMES = ("http", "https")


@dataclass(frozen=True)
class Reach:
    """`proxy`: the chart's value of each entry that has one. `ca`: the ConfigMap and key of each that has its own.
    `made`: the certificates of each ConfigMap that is made.
    """

    proxy: Mapping[str, Mapping[str, Any]]
    ca: Mapping[str, Mapping[str, str]]
    made: Mapping[str, str]


def reach(entries: Sequence[Mapping[str, Any]], proxy: Any, ca: Any, direct: Sequence[str]) -> Reach:
    """What the entries of runner_pools_pools use. `proxy`, `ca`: of entries that state none; one that states an empty
    one has none. `direct`: what is reached without a proxy in any case.
    """
    proxies, trusted, made = {}, {}, {}
    for entry in entries:
        name, own_ca = str(entry["name"]), ca if entry.get("ca") is None else entry["ca"]
        value = _chart_proxy(proxy if entry.get("proxy") is None else entry["proxy"], direct)
        if value:
            proxies[name] = value
        if isinstance(own_ca, Mapping) and own_ca:
            trusted[name] = {"name": str(own_ca["config_map"]), "key": str(own_ca.get("key") or KEY)}
        elif own_ca:
            text = "\n".join(line.strip() for line in str(own_ca).strip().splitlines()) + "\n"
            # Another certificate is another ConfigMap: nobody looks again into one that he has read.
            config_map = f"runners-ca-{hashlib.sha256(text.encode()).hexdigest()[:10]}"
            trusted[name], made[config_map] = {"name": config_map, "key": KEY}, text
    return Reach(proxies, trusted, made)


def _chart_proxy(stated: Any, direct: Sequence[str]) -> dict[str, Any]:
    given = stated if isinstance(stated, Mapping) else {}
    secret = {"credentialSecretRef": str(given["secret"])} if given.get("secret") else {}
    servers = {scheme: {"url": str(given[scheme]), **secret} for scheme in SCHEMES if given.get(scheme)}
    if not servers:
        return {}
    return {**servers, "noProxy": list(dict.fromkeys(map(str, [*direct, *(given.get("no_proxy") or [])])))}


Told = tuple[str, str, str]  # path, found, expected


def proxy_problems(path: str, value: Any) -> Iterator[Told]:
    """What cannot be a proxy. Its credential is not looked at here, and never told."""
    given = value if isinstance(value, Mapping) else {}
    for scheme in SCHEMES:
        address = str(given.get(scheme) or "")
        if address and not has_credential(address) and not _is_server(address):
            yield f"{path}.{scheme}", repr(address), "http://host:port or https://host:port"
    for index, name in enumerate(given.get("no_proxy") or ()):
        if not str(name).strip() or any(sign in str(name) for sign in ", @"):
            yield f"{path}.no_proxy[{index}]", repr(name), "one host, domain or network"
    if given and not any(given.get(scheme) for scheme in SCHEMES):
        yield path, f"only {', '.join(map(str, given))}", f"the address of a proxy: {' or '.join(SCHEMES)}"


def ca_problems(path: str, value: Any) -> Iterator[Told]:
    """What cannot be certificates, nor name where they are."""
    if isinstance(value, Mapping):
        strange = sorted(map(str, set(value) - {"config_map", "key"}))
        if value and (strange or not value.get("config_map")):
            yield path, f"the keys {', '.join(sorted(map(str, value)))}", "config_map, and perhaps key"
    elif value:
        text = str(value).strip()
        if "PRIVATE KEY" in text:
            yield path, "a private key", "certificates alone, since jobs read them"
        elif not text.startswith(BEGIN) or not text.endswith(END) or len(text.splitlines()) < 3:
            yield path, "a text that is no certificate in PEM", f"certificates with their lines, from {BEGIN}"


def _is_server(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return parts.scheme in SCHEMES and bool(parts.hostname) and (parts.port or 1) > 0 and parts.path in ("", "/")
    except ValueError:
        return False
