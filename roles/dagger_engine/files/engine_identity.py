# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who the program beside an engine is to the cluster's API: the kubelet of its node, whom the API lets act on that node
alone.
"""

from __future__ import annotations

import base64
import binascii
import re
import ssl
from collections.abc import Mapping
from pathlib import Path

_FILES = re.compile(
    r"""^[ \t-]*(certificate-authority|certificate-authority-data|client-certificate|client-key): *["']?([^"'\s]+)""",
    re.M,
)


def read_kubeconfig(text: str) -> Mapping[str, str]:
    """Authority, certificate and key as a kubelet's kubeconfig names them: it has one cluster and one user, and nodes
    need no YAML.
    """
    return dict(_FILES.findall(text))


def tls(kubeconfig: str) -> ssl.SSLContext:
    """What a connection to the API is made with. The kubelet renews its certificate, so all of it is read anew each
    time.

    An OSError where a file is missing, a ValueError where the kubeconfig names no certificate or what it names is none.
    """
    path = Path(kubeconfig)
    found = read_kubeconfig(path.read_text(encoding="utf-8"))
    if "client-certificate" not in found or not found.keys() & {"certificate-authority", "certificate-authority-data"}:
        keys = ", ".join(sorted(found)) or "none of the two"
        raise ValueError(
            f"{kubeconfig}: found {keys}, expected a certificate-authority and a client-certificate that is a file"
        )
    try:
        authority = base64.b64decode(found.get("certificate-authority-data", ""), validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        raise ValueError(f"{kubeconfig}: found a certificate-authority-data that is no base64") from None
    file = None if authority else str(path.parent / found["certificate-authority"])
    context = ssl.create_default_context(cafile=file, cadata=authority or None)
    certificate = path.parent / found["client-certificate"]
    context.load_cert_chain(certificate, path.parent / found.get("client-key", certificate))
    return context
