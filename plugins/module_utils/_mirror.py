# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one rule of fleet_mirror: an upstream address, without its scheme, is appended to the mirror's. Private to the
collection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._addresses import credentials_in, hidden
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host.plan_settings import HEADER

KEYS = ("url", "registry", "registry_plain_http", "checksums")


def check_mirror(mirror: Any) -> Mapping[str, Any]:
    """Refuse what is not a fleet_mirror, so that a typo does not silently mean "go upstream"."""
    if not isinstance(mirror, Mapping):
        raise ValueError(f"fleet_mirror must be a dictionary, found {type(mirror).__name__}")
    unknown = sorted(set(mirror) - set(KEYS))
    if unknown:
        raise ValueError(f"fleet_mirror has no key {', '.join(map(str, unknown))}; its keys are: {', '.join(KEYS)}")
    secret = next(credentials_in("fleet_mirror", {key: mirror.get(key) for key in ("url", "registry")}), "")
    if secret:
        raise ValueError(
            f"{secret} carries a user name or a password, expected none: it would be printed and written to files of "
            "hosts"
        )
    url = mirror.get("url") or ""
    if url and not str(url).startswith(("http://", "https://")):
        raise ValueError(f"fleet_mirror.url must begin with http:// or https://, found {url!r}")
    registry = mirror.get("registry") or ""
    if "://" in str(registry):
        raise ValueError(f"fleet_mirror.registry must be host[:port][/path] without a scheme, found {registry!r}")
    return mirror


def sha256_digits(given: Any) -> str:
    """A sha256 as people write it, with or without `sha256:`, in either case: its digits alone."""
    return str(given).replace("sha256:", "").lower()


def qualified_image(reference: str) -> str:
    """An image reference with its registry written out, as a container runtime understands it."""
    first, slash, _rest = reference.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return reference
    return f"docker.io/{reference}" if slash else f"docker.io/library/{reference}"


def mirrored(reference: str, mirror: Mapping[str, Any]) -> str:
    """Where a file (http, https), an OCI chart (oci) or an image lies when there is a mirror; unchanged when there is
    none.
    """
    check_mirror(mirror)
    url, registry = str(mirror.get("url") or "").rstrip("/"), str(mirror.get("registry") or "").rstrip("/")
    scheme, separator, address = reference.partition("://")
    if not separator:
        return f"{registry}/{qualified_image(reference)}" if registry else reference
    if scheme == "oci":
        return f"oci://{registry}/{address}" if registry else reference
    if scheme in ("http", "https"):
        return f"{url}/{address}" if url else reference
    raise ValueError(f"cannot mirror {hidden(reference)!r}: expected an http(s):// or oci:// address or an image")


def is_plain(reference: str, mirror: Mapping[str, Any]) -> bool:
    """Whether a file or an OCI chart comes over plain http, so that nothing says from whom."""
    address = mirrored(reference, mirror)
    if address.startswith("oci://"):
        return bool(mirror.get("registry") and mirror.get("registry_plain_http"))
    return address.startswith("http://")


def registry_api(mirror: Mapping[str, Any]) -> str:
    """Below which address the mirror's registry answers for the names of images; empty when there is no mirror."""
    address = str(check_mirror(mirror).get("registry") or "").rstrip("/")
    if not address:
        return ""
    host, _slash, path = address.partition("/")
    scheme = "http" if mirror.get("registry_plain_http") else "https"
    return "/".join(part for part in (f"{scheme}://{host}/v2", path) if part)


def registry_hosts(registries: Sequence[str], mirror: Mapping[str, Any]) -> list[dict[str, str]]:
    """The files that send containerd to the mirror for these registries; none when there is no mirror."""
    base = registry_api(mirror)
    if not base:
        return []
    return [
        {
            "path": f"/etc/containerd/certs.d/{registry}/hosts.toml",
            "content": f'{HEADER}\nserver = "{base}/{registry}"\ncapabilities = ["pull", "resolve"]\noverride_path = '
            "true\n",
        }
        for registry in registries
    ]
