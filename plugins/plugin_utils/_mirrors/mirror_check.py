# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a mirror serves what the fleet needs, asked once from the controller. Private to the collection."""

from __future__ import annotations

import hashlib
import json
import os
import urllib.error
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from typing import Any

from ansible.module_utils.urls import open_url
from ansible_collections.runnerfleet.baremetal.plugins.module_utils import _published_sums
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._mirror import mirrored, sha256_digits
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._pins import artifacts
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.findings import Finding

TIMEOUT = 15
THREADS = 8
PLAIN = "plain http: whoever is between it and the fleet reads what is pulled, and can put something else in its place"
FROM_HERE = "if only the nodes reach it, set preflight_mirror_check: none"


def memory_path() -> Path | None:
    """Where verified answers are remembered, so that the next run only asks for headers; None for a user who has no
    home.
    """
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        return None
    return Path(base) / "runnerfleet" / "verified-artifacts.json"


def load(path: Path | None) -> dict[str, str]:
    """What was verified before; a lost or broken file only costs time."""
    try:
        content = json.loads(path.read_text()) if path else {}
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def save(path: Path, verified: Mapping[str, str]) -> None:
    """Remember; where there is no writable home, the next run verifies again."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(verified, indent=1, sort_keys=True))
        temporary.replace(path)
    except OSError:
        return


def needed(
    mirror: Mapping[str, Any], names: Iterable[str], versions: Mapping[str, str], archs: Iterable[str]
) -> dict[str, str]:
    """Mirror address -> sha256 of each file that hosts will fetch; one that is only published is asked for as the hosts
    will.
    """
    archs = set(archs)
    files = {}
    for artifact in artifacts(list(names), mirror, versions):
        for arch in sorted(archs):
            source = artifact["sources"][arch]
            file = source["upstream"].rpartition("/")[2]
            files[source["url"]] = source.get("sha256") or _published_sums.fetch(source["sums"], file, TIMEOUT)
    return files


def others(mirror: Mapping[str, Any], files: Mapping[str, str], archs: Iterable[str]) -> dict[str, str]:
    """Files that only the mirror's own checksums name, such as charts. Those of an architecture that no host has, and
    charts of a registry (compared when they are fetched), are left out.
    """
    foreign = {"amd64", "arm64"} - set(archs)
    sums = {url: sum_ for url, sum_ in (mirror.get("checksums") or {}).items() if not str(url).startswith("oci://")}
    named = {mirrored(url, mirror): sha256_digits(sum_) for url, sum_ in sums.items()}
    return {url: sum_ for url, sum_ in named.items() if url not in files and not any(arch in url for arch in foreign)}


def _open(url: str, method: str = "GET") -> Any:
    return open_url(url, method=method, timeout=TIMEOUT)


def _reason(error: BaseException) -> str:
    return str(getattr(error, "reason", "") or error)


def wrong_sum(url: str, found: str, expected: str) -> Finding:
    """A file that is another one than it should be."""
    hint = (
        "replace the mirror's file by upstream's; if it was repackaged on purpose, set its sum in "
        "fleet_mirror.checksums"
    )
    return Finding("mirror_checksum_wrong", url, f"sha256 {found}", f"sha256 {expected}", hint)


def verify(url: str, sha256: str, verified: dict[str, str], content: bool, optional: bool = False) -> Finding | None:
    """One file: there, and with the right sum. A sum is not computed again while the server tells the same tag, date
    and size.
    """
    try:
        with _open(url, "HEAD") as answer:
            tag = " ".join(str(answer.headers.get(name)) for name in ("ETag", "Last-Modified", "Content-Length"))
        known = f"{sha256} {tag}"
        if not content or verified.get(url) == known:
            return None
        digest = hashlib.sha256()
        with _open(url) as answer:
            for chunk in iter(lambda: answer.read(1 << 20), b""):
                digest.update(chunk)
    except urllib.error.HTTPError as error:
        if optional and error.code == 404:
            return None
        hint = "put the file on the mirror, or correct fleet_mirror.url or the version that asks for it"
        return Finding("mirror_artifact_missing", url, f"HTTP {error.code} {error.reason}", "the file", hint)
    except (OSError, ValueError) as error:
        return Finding(
            "mirror_artifact_missing",
            url,
            _reason(error),
            "the file",
            f"see why the mirror does not serve it; {FROM_HERE}",
        )
    if digest.hexdigest() != sha256:
        return wrong_sum(url, digest.hexdigest(), sha256)
    if "None None" not in tag:
        verified[url] = known
    return None


def unreachable(url: str, code: str, subject: str, error: BaseException) -> Finding:
    """Nothing answers there."""
    hint = f"start it, or correct {subject.split(' ')[0]}; {FROM_HERE}"
    expected = "a server that answers, with a certificate that is trusted if https"
    return Finding(code, subject, f"{_reason(error)} at {url}", expected, hint)


def reach(url: str, code: str, subject: str) -> Finding | None:
    """Whether anything answers there; an HTTP error is an answer too."""
    try:
        with _open(url):
            return None
    except urllib.error.HTTPError as error:
        if error.code < 500 and (code == "mirror_unreachable" or error.code in (401, 403)):
            return None
        found, hint = f"HTTP {error.code} {error.reason} at {url}", f"see the server's log; {FROM_HERE}"
        return Finding(code, subject, found, "a server that answers", hint)
    except (OSError, HTTPException, ValueError) as error:
        return unreachable(url, code, subject, error)


def plain_http(mirrors: Mapping[str, Any]) -> list[Finding]:
    """Mirrors that nobody can tell from another, by the variable that names them; one that several name is told by the
    first.
    """
    findings: dict[tuple[str, str], Finding] = {}
    for variable, mirror in mirrors.items():
        given = mirror if isinstance(mirror, Mapping) else {}
        url, registry = str(given.get("url") or ""), str(given.get("registry") or "")
        if url.startswith("http://"):
            hint = (
                "serve it over https. Files and charts are held to sums, and one whose sum is not known is refused "
                "from there"
            )
            finding = Finding("mirror_plain_http", f"{variable}.url {url}", PLAIN, "https", hint)
            findings.setdefault(("url", url.rstrip("/")), finding)
        if registry and given.get("registry_plain_http"):
            hint = "give it a certificate. Until then name all images by their content, in fleet_image_digests"
            finding = Finding(
                "mirror_plain_http", f"{variable}.registry {registry}", PLAIN, "a registry with TLS", hint
            )
            findings.setdefault(("registry", registry.rstrip("/")), finding)
    return list(findings.values())


def mirror_findings(
    mirror: Mapping[str, Any], names: Iterable[str], versions: Mapping[str, str], archs: Iterable[str], content: bool
) -> list[Finding]:
    """Everything about the mirror's files, in parallel. What its registry has is asked by _image_check."""
    url = str(mirror.get("url") or "").rstrip("/")
    down = reach(f"{url}/", "mirror_unreachable", f"fleet_mirror.url {url}") if url else None
    if down or not url:
        return [down] if down else []
    return [finding for finding in _files(mirror, names, versions, set(archs) or {"amd64"}, content) if finding]


def _files(
    mirror: Mapping[str, Any], names: Iterable[str], versions: Mapping[str, str], archs: set[str], content: bool
) -> list[Finding | None]:
    try:
        files = needed(mirror, names, versions, archs)
        wanted = [(url, sha256, False) for url, sha256 in files.items()]
        wanted += [(url, sha256, True) for url, sha256 in others(mirror, files, archs).items()]
    except ValueError as error:
        found, _dot, hint = str(error).partition(". ")
        return [Finding("mirror_checksum_unknown", "fleet_mirror.checksums", found, "a sha256 for each file", hint)]
    path = memory_path()
    verified = load(path)
    before = dict(verified)
    with ThreadPoolExecutor(THREADS) as threads:
        told = list(threads.map(lambda file: verify(file[0], file[1], verified, content, optional=file[2]), wanted))
    if path and verified != before:
        save(path, verified)
    return told
