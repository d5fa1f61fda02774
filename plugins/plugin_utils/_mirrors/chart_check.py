# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a chart is where the roles will fetch it, and which images it deploys. Private to the collection.

It is fetched by the roles' own code and rendered by helm, so that values of the inventory have their say. Upstream is
not asked.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import urllib.error
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.urls import ConnectionError
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._addresses import has_credential
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._helm import charts as helm_charts
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._helm import fetch as helm_fetch
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._mirror import check_mirror, mirrored
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.findings import Finding
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._text import clean
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet.images import Chart, Image, manifest_images
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._mirrors.mirror_check import unreachable, wrong_sum
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._mirrors.registry_check import (
    CHART,
    Question,
    registry_of,
)

TIMEOUT = 15  # of a request
HELM_TIMEOUT = 60


@dataclass(frozen=True)
class Place:
    """Where a chart comes from. `key`: which key of fleet_mirror leads there, empty for a file; `upstream`: no mirror
    stands in for it.
    """

    address: str
    key: str = ""
    upstream: bool = False


def place(chart: Chart) -> Place:
    """Where the role will fetch it. ValueError where it cannot be fetched at all."""
    if "://" not in chart.address:
        return Place(os.path.expanduser(chart.address))
    address = mirrored(chart.address, chart.mirror)
    key = "registry" if chart.address.startswith("oci://") else "url"
    return Place(address, key, upstream=not chart.mirror.get(key))


def question(chart: Chart, fleet_mirror: Mapping[str, Any]) -> Question | None:
    """What a registry is asked for; None for a chart that comes from no mirror's registry."""
    if not chart.address.startswith("oci://") or has_credential(chart.address):
        return None
    registry = registry_of(chart.mirror, f"{chart.role}_mirror", fleet_mirror)
    name, tag = (
        helm_charts.key(chart.address, chart.version),
        helm_charts.tag(chart.address, chart.version).replace("+", "_"),
    )
    return (
        Question(registry, CHART, name, chart.address.removeprefix("oci://"), tag, _variables(chart))
        if registry
        else None
    )


def check_chart(
    chart: Chart, fleet_mirror: Mapping[str, Any], kubernetes: str, render: bool
) -> tuple[list[Finding], list[Image]]:
    """What is wrong with a chart, and the images that it deploys. Those of a chart that cannot be looked at are not
    known.

    `kubernetes`: version of the cluster that it is rendered for. `render`: whether images matter.
    """
    if has_credential(chart.address) or not _is_usable(chart.mirror):  # told as such, and sent to nobody
        return [], []
    where = Place(chart.address)
    try:
        where, known = place(chart), helm_charts.expected(chart.address, chart.version, chart.mirror, "")
        if where.upstream:
            return [_unknown(chart)] if render else [], []
        refused, expected, hint = helm_charts.refusal(chart.address, chart.version, chart.mirror, known)
        if refused:
            return [Finding("mirror_checksum_unknown", _subject(chart), refused, expected, hint)], []
        helm = shutil.which(chart.helm) or ""
        if where.key == "registry" and not helm:
            return [], []  # the helm that is missing is told
        with tempfile.TemporaryDirectory(prefix="runnerfleet-chart-") as directory:
            asked = helm_fetch.Helm(helm, _run)
            archive, _source = helm_fetch.fetch(
                where.address if not where.key else chart.address,
                chart.version,
                chart.mirror,
                directory,
                asked,
                TIMEOUT,
            )
            wrong = helm_charts.identity_error(helm_charts.archive_identity(archive), chart.name, chart.version)
            if wrong:
                raise ValueError(wrong)
            found = hashlib.sha256(archive).hexdigest()
            findings = [wrong_sum(where.address, found, one.sha256) for one in known if one.sha256 != found]
            if not render or not helm or findings:
                return findings, []
            path = Path(directory, "chart.tgz")
            path.write_bytes(archive)
            return _rendered(chart, helm, path, kubernetes)
    except urllib.error.HTTPError as error:
        return [_missing(chart, fleet_mirror, where, f"HTTP {error.code} {error.reason} at {where.address}")], []
    except (OSError, HTTPException, ConnectionError, ValueError) as error:
        if where.key == "url" and not isinstance(error, ValueError):
            return [_unreachable(chart, fleet_mirror, error)], []
        return [_missing(chart, fleet_mirror, where, clean(error))], []


def _is_usable(mirror: Mapping[str, Any]) -> bool:
    try:
        check_mirror(mirror)
    except ValueError:
        return False
    return True


def _run(command: Sequence[str], stdin: str = "") -> tuple[int, str, str]:
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=HELM_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return 1, "", f"no end within {HELM_TIMEOUT} seconds"
    return done.returncode, done.stdout, done.stderr


def _rendered(chart: Chart, helm: str, path: Path, kubernetes: str) -> tuple[list[Finding], list[Image]]:
    """The images of what helm makes of the chart. Values go in by stdin: they may hold what must not be seen among the
    processes.
    """
    command = [
        helm,
        "template",
        chart.release,
        str(path),
        "--namespace",
        chart.namespace,
        "--skip-tests",
        "--values",
        "-",
    ]
    command += ["--kube-version", f"v{kubernetes}"] if kubernetes else []
    code, manifest, said = _run(command, json.dumps(_plain(chart.values), default=str))
    try:
        if code == 0:
            return [], manifest_images(manifest, f"{chart.role}_chart, {chart.role}_values")
    except yaml.YAMLError as error:
        said = f"its manifest is no YAML ({type(error).__name__})"
    expected = f"a manifest of the chart with {chart.role}_values, whose images can be asked for"
    hint = f"correct {chart.role}_values, or {chart.role}_version: the chart would be deployed with the same values"
    return [
        Finding(
            "chart_not_rendered", _subject(chart), clean(f"helm template ended with {code}: {said}"), expected, hint
        )
    ], []


def _plain(value: Any) -> Any:
    """Without Ansible's own containers, which no encoder is known to take."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _variables(chart: Chart) -> str:
    return f"{chart.role}_chart, {chart.role}_version"


def _subject(chart: Chart) -> str:
    return f"{helm_charts.key(chart.address, chart.version)} ({_variables(chart)})"


def _said(chart: Chart, fleet_mirror: Mapping[str, Any], key: str) -> str:
    """The variable that leads to the mirror."""
    same = chart.mirror.get(key) == fleet_mirror.get(key)
    return f"{'fleet_mirror' if same else f'{chart.role}_mirror'}.{key}"


def _missing(chart: Chart, fleet_mirror: Mapping[str, Any], where: Place, found: str) -> Finding:
    if where.key:
        hint = (
            f"put upstream's chart there, or correct {chart.role}_chart, {chart.role}_version or "
            f"{_said(chart, fleet_mirror, where.key)}"
        )
    else:
        hint = f"put the chart there, or correct {chart.role}_chart or {chart.role}_version"
    return Finding(
        "mirror_chart_missing",
        _subject(chart),
        found,
        f"the chart {chart.name} {chart.version} at {where.address}",
        hint,
    )


def _unreachable(chart: Chart, fleet_mirror: Mapping[str, Any], error: BaseException) -> Finding:
    """As the mirror's own check tells it: where several charts say it, it is told once."""
    url = str(chart.mirror["url"]).rstrip("/")
    return unreachable(f"{url}/", "mirror_unreachable", f"{_said(chart, fleet_mirror, 'url')} {url}", error)


def _unknown(chart: Chart) -> Finding:
    hint = (
        f"see that the mirror has the images of this chart, or fetches them; {chart.role}_mirror can bring the "
        "chart from it too"
    )
    found, expected = (
        "it comes from upstream, which is not asked",
        "a chart from the mirror, whose images can be asked for",
    )
    return Finding("images_unknown", _subject(chart), found, expected, hint)
