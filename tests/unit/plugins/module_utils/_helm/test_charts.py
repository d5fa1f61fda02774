"""Which sums count for a chart, and what its archive says of itself."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._helm import charts

OCI, FILE = "oci://quay.io/jetstack/charts/cert-manager", "https://example.org/flannel-1.2.3.tgz"
A, B = "a" * 64, "b" * 64
PINNED = "1.21.2"


def archive(files: dict[str, str]) -> bytes:
    """A chart's archive with these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as made:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            made.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("chart", "version", "mirror", "recorded", "expected"),
    [
        (OCI, PINNED, {}, "", [(charts.SUMS[f"{OCI}:v{PINNED}"], charts.FROM_PINS)]),
        (OCI, PINNED, {}, f"{PINNED} sha256:{A}", [(charts.SUMS[f"{OCI}:v{PINNED}"], charts.FROM_PINS)]),
        (OCI, PINNED, {"checksums": {f"{OCI}:v{PINNED}": f"sha256:{A.upper()}"}}, "", [(A, charts.FROM_MIRROR)]),
        (OCI, "1.11.5", {}, "", []),
        (OCI, "1.11.5", {}, f"1.11.5 sha256:{B}", [(B, charts.FROM_CLUSTER)]),
        (OCI, "1.11.5", {}, f"1.11.4 sha256:{B}", []),
        (OCI, "1.11.5", {}, "nonsense", []),
        (FILE, "1.2.3", {"checksums": {FILE: A}}, f"1.2.3 sha256:{B}", [(A, charts.FROM_MIRROR)]),
        (FILE, "1.2.3", {"checksums": {"https://example.org/other.tgz": A}}, "", []),
    ],
    ids=[
        "pinned",
        "pinned and remembered",
        "user",
        "unknown",
        "remembered",
        "other version",
        "nonsense",
        "user and remembered",
        "other file",
    ],
)
def test_expected(
    chart: str, version: str, mirror: dict[str, Any], recorded: str, expected: list[tuple[str, str]]
) -> None:
    assert [(one.sha256, one.origin) for one in charts.expected(chart, version, mirror, recorded)] == expected


@pytest.mark.parametrize("given", ["", "abc", 5, None, "z" * 64])
def test_a_sum_that_is_none_is_refused(given: Any) -> None:
    """It would otherwise be compared with nothing."""
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        charts.expected(FILE, "1.2.3", {"checksums": {FILE: given}}, "")


def test_what_is_recorded_is_what_is_expected() -> None:
    assert charts.expected(FILE, "1.2.3", {}, charts.record("1.2.3", A)) == [charts.Expected(A, charts.FROM_CLUSTER)]


def test_every_pinned_sum_is_one() -> None:
    assert all(len(value) == 64 and set(value) <= set("0123456789abcdef") for value in charts.SUMS.values())


@pytest.mark.parametrize("version", ["1.2.3", "v1.2.3"])
def test_identity(version: str) -> None:
    found = charts.archive_identity(
        archive({"flannel/values.yaml": "a: 1", "flannel/Chart.yaml": f"name: flannel\nversion: {version}\n"})
    )
    assert charts.identity_error(found, "flannel", "1.2.3") == ""
    assert "found the chart flannel" in charts.identity_error(found, "flannel", "1.2.4")
    assert "expected cilium 1.2.3" in charts.identity_error(found, "cilium", "1.2.3")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>not found</html>",
        archive({"a/b/Chart.yaml": "name: x\nversion: 1"}),
        archive({"a/Chart.yaml": "- 1"}),
        archive({"a/Chart.yaml": "name: x"}),
        archive({"a/Chart.yaml": "{"}),
        archive({"a/Chart.yaml": "name: x\nversion: 1"})[:40],
    ],
    ids=["empty", "a web page", "a dependency's", "a list", "no version", "no YAML", "cut off"],
)
def test_what_is_no_chart(content: bytes) -> None:
    with pytest.raises(ValueError, match="no archive of a chart"):
        charts.archive_identity(content)


def test_a_registry_s_tags_are_as_upstream_makes_them() -> None:
    assert charts.key(OCI, "1.2.3") == f"{OCI}:v1.2.3"
    sets = "oci://ghcr.io/actions/actions-runner-controller-charts/gha-runner-scale-set"
    assert charts.key(sets, "0.15.1") == f"{sets}:0.15.1" and charts.key(FILE, "1.2.3") == FILE
