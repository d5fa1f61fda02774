# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which file a chart must be: its sums, and what a chart's archive says of itself. Pure; private to the collection."""

from __future__ import annotations

import copy
import gzip
import io
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

try:
    import yaml
except ImportError:  # the module says so
    yaml = None  # type: ignore[assignment]

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._mirror import is_plain, sha256_digits

# The sha256 of a chart's archive, by the name that fleet_mirror.checksums gives it as well. Only sums that upstream
# publishes stand here. This one is in the provenance file that cert-manager's maintainers sign. Their registry has the
# same archive as their repository.
SUMS: dict[str, str] = {
    "oci://quay.io/jetstack/charts/cert-manager:v1.21.2": "73a56e1728edd6c99f1f31082618c3259d279a76b7ebd3d4bdc5475c2442d34a",  # noqa: E501
}
FROM_MIRROR = "fleet_mirror.checksums"
FROM_PINS = "pinned"
FROM_CLUSTER = "recorded in the cluster"
LARGEST = 32 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Expected:
    """The sum that a chart must have, and who says so."""

    sha256: str
    origin: str


def key(chart: str, version: str) -> str:
    """What sums call a chart: its address, with the version where the address has none."""
    return f"{chart}:{tag(chart, version)}" if chart.startswith("oci://") else chart


def tag(chart: str, version: str) -> str:
    """A chart's version as its registry has it: cert-manager's begin with a v, and others' do not."""
    return f"v{version}" if chart.rpartition("/")[2] == "cert-manager" else version


def record(version: str, sha256: str) -> str:
    """What the cluster remembers of a chart that it got."""
    return f"{version} sha256:{sha256}"


def expected(chart: str, version: str, mirror: Mapping[str, Any], recorded: str) -> list[Expected]:
    """All sums that are known of a chart: the user's wins over a pinned one, and that over what the cluster
    remembers.
    """
    name, sums = key(chart, version), mirror.get("checksums") or {}
    found = []
    if name in sums:
        given = sha256_digits(sums[name])
        if not _SHA256.fullmatch(given):
            raise ValueError(
                f"fleet_mirror.checksums['{name}'] is {sums[name]!r}, expected the 64 hexadecimal digits of a sha256"
            )
        found.append(Expected(given, FROM_MIRROR))
    elif name in SUMS:
        found.append(Expected(SUMS[name], FROM_PINS))
    known_version, _space, known_sum = recorded.partition(" sha256:")
    if not found and known_version == version and _SHA256.fullmatch(known_sum):
        found.append(Expected(known_sum, FROM_CLUSTER))
    return found


def refusal(chart: str, version: str, mirror: Mapping[str, Any], known: list[Expected]) -> tuple[str, str, str]:
    """Why a chart must not be taken as it comes: what was found, what was expected and what to do; empty where it may
    be.

    Of a chart whose sum nobody states, TLS alone says from whom it is. What the cluster recorded was taken as it came,
    the first time.
    """
    if any(one.origin != FROM_CLUSTER for one in known) or not is_plain(chart, mirror):
        return "", "", ""
    found = "its sum is not known, and it comes over plain http: whoever is between can make it any other chart"
    hint = (
        f"set fleet_mirror.checksums['{key(chart, version)}'] to the sha256 of upstream's chart, or serve it over https"
    )
    return found, "a sum, or TLS", hint


def archive_identity(content: bytes) -> tuple[str, str]:
    """Name and version that a chart's archive says it has. Nothing of it is unpacked."""
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            member = next(
                member
                for member in archive
                if member.isfile() and re.fullmatch(r"(\./)?[^/]+/Chart\.yaml", member.name)
            )
            file = archive.extractfile(member)
            chart = yaml.safe_load(file.read(1 << 20) if file else b"")
        return str(chart["name"]), str(chart["version"])
    except (tarfile.TarError, OSError, EOFError, StopIteration, KeyError, TypeError, yaml.YAMLError) as error:
        raise ValueError(f"it is no archive of a chart ({type(error).__name__}: {error})") from error


def with_files(content: bytes, files: Mapping[str, str]) -> bytes:
    """The archive with other content of some of its files, by their paths in the chart. ValueError where one is not
    there.
    """
    target, missing = io.BytesIO(), set(files)
    zipped = gzip.GzipFile(fileobj=target, mode="wb", mtime=0)
    with (
        zipped,
        tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as old,
        tarfile.open(fileobj=zipped, mode="w") as new,
    ):
        for member in old:
            path = member.name.removeprefix("./").partition("/")[2]
            if path not in files or not member.isfile():
                new.addfile(member, old.extractfile(member) if member.isfile() else None)
                continue
            missing.discard(path)
            entry, text = copy.copy(member), files[path].encode()
            entry.size = len(text)
            new.addfile(entry, io.BytesIO(text))
    if missing:
        raise ValueError(f"found no {', '.join(sorted(missing))} in it, which is to be replaced")
    return target.getvalue()


def identity_error(found: tuple[str, str], name: str, version: str) -> str:
    """Why a chart is not the one that was asked for; empty where it is."""
    if found[0] == name and found[1] in (version, f"v{version}"):
        return ""
    return f"found the chart {found[0]} {found[1]}, expected {name} {version}"
