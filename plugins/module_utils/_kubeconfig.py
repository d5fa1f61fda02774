# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which cluster a kubeconfig speaks of: its current context's. One reader for preflight, roles and modules. Private to
the collection.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

try:
    import yaml
except ImportError:  # the modules that need it say so
    yaml = None  # type: ignore[assignment]

try:
    from cryptography import x509
except ImportError:
    x509 = None  # type: ignore[assignment]

NOT_SET = (
    "fleet_kubeconfig: found nothing, expected the path of a kubeconfig on the controller. No cluster is guessed from "
    "~/.kube/config or the environment. Set fleet_kubeconfig for all hosts of the inventory"
)


class KubeconfigError(ValueError):
    """What is wrong with a kubeconfig. Never quotes its content, which may hold a credential."""


@dataclass(frozen=True)
class KubeconfigCluster:
    """The cluster of a kubeconfig's current context."""

    server: str = ""
    authority: str = ""  # PEM; empty where it names none
    names: int = 1  # how many clusters the kubeconfig names

    @property
    def fingerprint(self) -> str:
        """The sha256 of its CA's certificate, empty without one."""
        return fingerprint(self.authority)


def fingerprint(pem: str) -> str:
    """The sha256 of a certificate's DER form, empty for an empty text."""
    try:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.strip())).hexdigest() if pem.strip() else ""
    except (ValueError, binascii.Error):
        raise KubeconfigError("its certificate authority is no certificate") from None


def shown(fingerprint: str) -> str:
    """A fingerprint as messages show it: enough of it to compare."""
    return f"sha256:{fingerprint[:16]}" if fingerprint else "none"


def parse(text: str, folder: Path | None = None) -> KubeconfigCluster:
    """The current cluster of a kubeconfig. `folder`: where paths in it begin; without one, a CA that is a file is not
    read.
    """
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or "no YAML"
        raise KubeconfigError(f"{problem}{f' in line {mark.line + 1}' if mark else ''}") from None
    if not isinstance(config, Mapping) or not config.get("clusters"):
        raise KubeconfigError("no clusters in it")
    clusters, contexts = _named(config, "clusters", "cluster"), _named(config, "contexts", "context")
    cluster = clusters.get(str(contexts.get(str(config.get("current-context")), {}).get("cluster")))
    if cluster is None:
        raise KubeconfigError("its current-context names no cluster in it")
    return KubeconfigCluster(str(cluster.get("server") or ""), _authority(cluster, folder), len(clusters))


def read(path: str) -> KubeconfigCluster:
    """The current cluster of a file."""
    try:
        return parse(Path(path).read_text(encoding="utf-8"), Path(path).parent)
    except UnicodeDecodeError:
        raise KubeconfigError("no text") from None


def rebuilt(text: str) -> str:
    """A kubeconfig with its current cluster's address and CA and the user's certificate and key, and nothing else of
    what it was.

    One that was fetched from a node may name programs to run, files to read or proxies to go through.
    """
    cluster = parse(text)
    config = yaml.safe_load(text)
    context = _named(config, "contexts", "context")[str(config["current-context"])]
    user = _named(config, "users", "user").get(str(context.get("user")), {})
    if not re.fullmatch(r"https://[\w.:\[\]-]+/?", cluster.server) or not cluster.fingerprint:
        raise KubeconfigError("its cluster has no https address, or no certificate authority in the file itself")
    data = {key: _pem(key, user.get(key)) for key in ("client-certificate-data", "client-key-data")}
    authority = base64.b64encode(cluster.authority.encode()).decode()
    made = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "fleet", "cluster": {"server": cluster.server, "certificate-authority-data": authority}}],
        "users": [{"name": "operator", "user": data}],
        "contexts": [{"name": "operator@fleet", "context": {"cluster": "fleet", "user": "operator"}}],
        "current-context": "operator@fleet",
    }
    return str(yaml.safe_dump(made, sort_keys=False))


def holder(path: str, now: datetime) -> tuple[str, float]:
    """Whom the certificate in a kubeconfig names, and for how many hours yet; an empty name where its user has none in
    the file.
    """
    config = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    contexts, users = _named(config, "contexts", "context"), _named(config, "users", "user")
    user = users.get(str(contexts.get(str(config.get("current-context")), {}).get("user")), {})
    if x509 is None or not user.get("client-certificate-data"):
        return "", 0.0
    try:
        certificate = x509.load_pem_x509_certificate(
            base64.b64decode("".join(str(user["client-certificate-data"]).split()), validate=True)
        )
        names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    except (ValueError, binascii.Error):
        raise KubeconfigError("its current user's client-certificate-data are no base64 of a certificate") from None
    # Older packages know the naive one alone.
    end = getattr(certificate, "not_valid_after_utc", None) or certificate.not_valid_after.replace(tzinfo=timezone.utc)
    return (str(names[0].value) if names else ""), (end - now).total_seconds() / 3600


def _pem(name: str, value: Any) -> str:
    """Base64 of one PEM, in one line."""
    try:
        content = base64.b64decode("".join(str(value or "").split()), validate=True).decode("ascii")
    except (ValueError, binascii.Error):
        content = ""
    if not re.fullmatch(r"-----BEGIN [A-Z ]+-----\n[A-Za-z0-9+/=\n]+-----END [A-Z ]+-----\n?", content):
        raise KubeconfigError(f"its current user has no {name}, or none that is a PEM")
    return base64.b64encode(content.encode()).decode()


def _named(config: Mapping[str, Any], listed: str, key: str) -> dict[str, Mapping[str, Any]]:
    found = config.get(listed) or []
    if not isinstance(found, list) or not all(isinstance(item, Mapping) for item in found):
        raise KubeconfigError(f"its {listed} are no list of {listed}")
    values = {str(item.get("name")): item.get(key) or {} for item in found}
    if not all(isinstance(value, Mapping) for value in values.values()):
        raise KubeconfigError(f"a {key} of its {listed} is no mapping")
    return values


def _authority(cluster: Mapping[str, Any], folder: Path | None) -> str:
    data, file = cluster.get("certificate-authority-data"), cluster.get("certificate-authority")
    try:
        if data:
            return base64.b64decode("".join(str(data).split()), validate=True).decode()
        return (folder / str(file)).read_text(encoding="utf-8") if file and folder else ""
    except (ValueError, binascii.Error):
        raise KubeconfigError("its certificate-authority-data are no base64 of a certificate") from None
    except OSError as error:
        raise KubeconfigError(f"its certificate-authority cannot be read: {error.strerror}") from None
