# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether mirrors have the charts and the images that the fleet will pull, asked before the first change. Private to
the collection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._pins import PINS, of_kubeadm
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.findings import Finding
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet import images as _fleet_images
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet.images import Chart, Image
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._mirrors import chart_check as _chart_check
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._mirrors import digest_check as _digest_check
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._mirrors import registry_check as registries
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._mirrors.registry_check import Host, Registry


@dataclass(frozen=True)
class Cluster:
    """What is known of the cluster. `version`: of its API server, or the one that it is to get; empty where nobody
    knows. `initialises`: whether a control plane is still to be made.
    """

    version: str
    initialises: bool


@dataclass(frozen=True)
class ImageReport:
    """What is wrong; all images that are known of the fleet, as they are deployed; and charts of which not all are."""

    findings: list[Finding]
    images: list[Image]
    unknown: list[str]


def check_images(
    hosts: Sequence[Host],
    values: Mapping[str, Any],
    cluster: Cluster,
    fleet_mirror: Mapping[str, Any],
    digests: Mapping[str, str],
    ask: bool,
) -> ImageReport:
    """All that is missing, or is another one.

    `values` holds _fleet_images.NAMES; `digests`: the fleet's; `ask`: whether anybody is asked.
    """
    charts = _fleet_images.charts(values)
    images = _fleet_images.kubeadm_images(values, cluster.version, cluster.initialises)
    images += (
        _fleet_images.network_images(values) + _fleet_images.engine_images(values) + _fleet_images.runner_images(values)
    )
    found, rendered = _asked(hosts, charts, images, cluster.version, fleet_mirror, digests) if ask else ([], {})
    everything, unknown = [*images, *registries.sandbox_images(hosts)], []
    for chart in charts:
        known, whole = (rendered[chart.role], True) if rendered.get(chart.role) else _fleet_images.default_images(chart)
        everything += known
        unknown += [] if whole else [f"{chart.role}_chart"]
    return ImageReport(found, everything, unknown)


def _asked(
    hosts: Sequence[Host],
    charts: Sequence[Chart],
    images: list[Image],
    kubernetes: str,
    fleet_mirror: Mapping[str, Any],
    digests: Mapping[str, str],
) -> tuple[list[Finding], dict[str, list[Image]]]:
    """What mirrors say, and upstream of images that are pulled by tag and have a digest; and the images of each chart,
    by its role.
    """
    own = [registries.registry_of(host.mirror, "container_runtime_mirror", fleet_mirror) for host in hosts]
    pulling = any(registry and host.mirrored for registry, host in zip(own, hosts, strict=True))
    asked = [question for chart in charts if (question := _chart_check.question(chart, fleet_mirror))]
    everyone = [
        *own,
        *(question.registry for question in asked),
        registries.registry_of(fleet_mirror, "fleet_mirror", fleet_mirror),
    ]
    down = registries.unreachable([registry for registry in everyone if registry])
    told = registries.answers(question for question in asked if question.registry not in down)
    there = {question.name for question, reply in told.items() if registries.is_there(reply)}
    found, rendered = _charts(charts, fleet_mirror, kubernetes, pulling, there)
    found += _unknown(kubernetes) if pulling else []
    silent: set[Registry] = {
        *down,
        *(question.registry for question, reply in told.items() if registries.is_silent(reply)),
    }
    pulled = [*images, *(image for some in rendered.values() for image in some)]
    by_tag = _digest_check.compared(hosts, images, fleet_mirror, digests)
    behind = registries.answers((question for question in by_tag if question.registry not in silent), digests=True)
    questions = registries.image_questions(hosts, pulled, fleet_mirror)
    told |= {question: behind[question] for question in questions if question in behind}
    told |= registries.answers(
        question for question in questions if question.registry not in silent and question not in behind
    )
    for registry in {question.registry: None for question in behind if not question.registry.variable}:
        found += registries.registry_not_answering(
            registry, {question: reply for question, reply in behind.items() if question.registry == registry}
        )
    return [
        *down.values(),
        *found,
        *registries.registry_findings(told),
        *_digest_check.differing(behind, digests),
    ], rendered


def _charts(
    charts: Sequence[Chart], fleet_mirror: Mapping[str, Any], kubernetes: str, render: bool, there: set[str]
) -> tuple[list[Finding], dict[str, list[Image]]]:
    """The charts beside each other. Of those in a registry only what is `there`: of the others the registry's answers
    tell.
    """

    def look(chart: Chart) -> tuple[list[Finding], list[Image]]:
        question = _chart_check.question(chart, fleet_mirror)
        if question and question.name not in there:
            return [], []
        return _chart_check.check_chart(chart, fleet_mirror, kubernetes, render)

    with ThreadPoolExecutor(registries.THREADS) as threads:
        looked = list(threads.map(look, charts))
    images = {chart.role: some for chart, (_found, some) in zip(charts, looked, strict=True)}
    return [finding for found, _images in looked for finding in found], images


def _unknown(version: str) -> list[Finding]:
    if not version or of_kubeadm(version):
        return []
    minor = ".".join(PINS["kubernetes"].split(".")[:2])
    found = f"of kubeadm {minor} alone it is known which etcd, CoreDNS and pause it deploys"
    hint = f"see that the mirror has what `kubeadm config images list --kubernetes-version v{version}` names"
    return [
        Finding(
            "images_unknown", f"kubeadm {version} (control_plane_kubernetes_version)", found, f"kubeadm {minor}", hint
        )
    ]
