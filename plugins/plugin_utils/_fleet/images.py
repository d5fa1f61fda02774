# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The images that a fleet will pull and the charts that it will deploy, from its roles' variables. No I/O. Private to
the collection.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import yaml
from ansible.utils.vars import merge_hash
from ansible_collections.runnerfleet.baremetal.plugins.module_utils import _image_digests
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._api_values import engine_of
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.pools import ENGINE, pools_from
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._names import POOL_LABEL
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._pins import of_kubeadm
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet.sizing import engine_pools

CONTROL_PLANE = ""  # where others are pools
# Roles that deploy a chart, and the variable that says whether they do.
CHARTS = {
    "pod_network": ("pod_network_provider", "flannel"),
    "cert_manager": ("cert_manager_needed", True),
    "runner_controller": None,
    "runner_pools": ("runner_pools_flavour", "scale_set"),
}
CLUSTER = "__control_plane_cluster_configuration"
# Roles whose vars hold what is read here besides their defaults, and the names of all of it.
ROLES = (*CHARTS, "control_plane")
NAMES = (
    *(f"dagger_engine_{key}" for key in ENGINE),
    *(f"{role}_{name}" for role in CHARTS for name in ("chart", "version", "values", "mirror", "helm_binary")),
    *(f"__{role}_release" for role in CHARTS),
    *(switch[0] for switch in CHARTS.values() if switch),
    *(f"{role}_image_digests" for role in (*CHARTS, "dagger_engine")),
    CLUSTER,
    "dagger_engine_image",
    "dagger_engine_pools",
    "pod_network_canary_image",
    "pod_network_dns_node_selector",
    "pod_network_policies",
    "pod_network_policies_image",
    "pod_network_policies_version",
    "runner_pools_engine_image",
    "runner_pools_engine_pools",
    "runner_pools_engine_version",
    "runner_pools_engine_versions",
    "runner_pools_image",
    "runner_pools_listener_node_selector",
    "runner_pools_pools",
    "runner_pools_schedule_image",
)
# Hooks that run when a chart is deployed. Others, such as tests, pull nothing then.
HOOKS = {"pre-install", "post-install", "pre-upgrade", "post-upgrade"}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Image:
    """An image by its upstream name. `variable`: what chooses it. `pools`: whose nodes pull it, where that is known;
    None: any host.

    `by_tag`: it cannot be named by its digest, which is compared instead.
    """

    reference: str
    variable: str
    pools: frozenset[str] | None = None
    by_tag: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart that a role deploys. `address`: at upstream, or a file. `values`: the role's under the user's."""

    role: str
    address: str
    name: str
    version: str
    release: str
    namespace: str
    helm: str
    mirror: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)


def merged(images: Iterable[Image]) -> list[Image]:
    """Each image once: with all variables that choose it, and all pools that pull it."""
    found: dict[str, Image] = {}
    for image in images:
        known = found.get(image.reference, replace(image, pools=frozenset()))
        variables = dict.fromkeys([*known.variable.split(", "), *image.variable.split(", ")])
        pools = None if known.pools is None or image.pools is None else known.pools | image.pools
        found[image.reference] = Image(image.reference, ", ".join(variables), pools, known.by_tag or image.by_tag)
    return [found[reference] for reference in sorted(found)]


def pulled_by(images: Iterable[Image], pool: str) -> list[Image]:
    """What a node of this pool may pull."""
    return [image for image in images if image.pools is None or pool in image.pools]


def kubernetes_version(values: Mapping[str, Any]) -> str:
    """The version that the control plane is to be of, without its v; empty where it is no full version."""
    config = values.get(CLUSTER)
    stated = str(config.get("kubernetesVersion") or "") if isinstance(config, Mapping) else ""
    return stated.removeprefix("v") if re.fullmatch(r"v?\d+\.\d+\.\d+[\w.+-]*", stated) else ""


def kubeadm_images(values: Mapping[str, Any], version: str, initialises: bool) -> list[Image]:
    """What kubeadm of this version has nodes pull, as its own `config images list` says; of a running cluster only what
    every node pulls.

    Its other parts are left out where it is not known which versions of them it deploys.
    """
    config, variable = values.get(CLUSTER), "control_plane_kubernetes_version"
    if not version or not isinstance(config, Mapping):
        return []
    known, repository = of_kubeadm(version), str(config.get("imageRepository") or "registry.k8s.io")
    tag = "v" + re.sub(r"[^-\w.]", "_", version)
    dns, proxy, etcd = (_section(config, *path) for path in (["dns"], ["proxy"], ["etcd", "local"]))
    leaders = frozenset({CONTROL_PLANE})
    found = []
    if initialises:
        found += [
            Image(f"{repository}/kube-{part}:{tag}", variable, leaders)
            for part in ("apiserver", "controller-manager", "scheduler")
        ]
        found += [Image(f"{repository}/pause:{known['pause']}", variable, leaders)] if known else []
        etcd_tag = etcd.get("imageTag") or known.get("etcd")
        if etcd_tag and not _section(config, "etcd", "external"):
            found.append(Image(f"{etcd.get('imageRepository') or repository}/etcd:{etcd_tag}", variable, leaders))
    if not proxy.get("disabled"):
        found.append(Image(f"{repository}/kube-proxy:{tag}", variable))
    dns_tag = dns.get("imageTag") or (f"v{known['coredns']}" if known else "")
    if dns_tag and not dns.get("disabled"):
        base = str(dns.get("imageRepository") or repository)
        # Upstream's own repository has it one level deeper than any other is expected to.
        base += "/coredns" if base == "registry.k8s.io" else ""
        pool = (values.get("pod_network_dns_node_selector") or {}).get(POOL_LABEL)
        found.append(Image(f"{base}/coredns:{dns_tag}", variable, leaders | {pool} if pool else None))
    return [replace(image, by_tag=True) for image in found]


def _named(values: Mapping[str, Any], role: str, reference: str) -> str:
    """An image as its role names it."""
    return _image_digests.with_digest(reference, _image_digests.usable(values.get(f"{role}_image_digests")))


def _section(config: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """A part of a configuration; an empty one where it is not there."""
    for key in path:
        part = config.get(key)
        config = part if isinstance(part, Mapping) else {}
    return config


def network_images(values: Mapping[str, Any]) -> list[Image]:
    """What holds network policies on each node, and what proves it where that is not the cluster's own DNS."""
    if not values.get("pod_network_policies"):
        return []
    found = []
    if values.get("pod_network_provider") == "flannel":
        reference = f"{values['pod_network_policies_image']}:v{values['pod_network_policies_version']}"
        found.append(Image(_named(values, "pod_network", reference), "pod_network_policies_image"))
    if values.get("pod_network_canary_image"):
        found.append(
            Image(_named(values, "pod_network", str(values["pod_network_canary_image"])), "pod_network_canary_image")
        )
    return found


def engine_images(values: Mapping[str, Any]) -> list[Image]:
    """One image for each version that a pool's engines have."""
    found = []
    for pool in engine_pools(values):
        same = list(pool.versions) == list(values.get("dagger_engine_versions") or [])
        variable = "dagger_engine_versions" if same else f"fleet_pools: {pool.name}.engine.versions"
        for version in pool.versions:
            reference = _named(values, "dagger_engine", f"{values['dagger_engine_image']}:v{version}")
            found.append(Image(reference, variable, frozenset({pool.name})))
    return found


def runner_images(values: Mapping[str, Any]) -> list[Image]:
    """The image of each pool's runners, and of the engine whose client they get. An entry without an engine is told
    elsewhere.
    """
    try:
        common = {"versions": values.get("runner_pools_engine_versions")}
        pools = {
            pool.name: list(map(str, pool.versions))
            for pool in pools_from(values.get("runner_pools_engine_pools"), common)
            if pool.engine
        }
    except ValueError:
        return []
    entries, found = values.get("runner_pools_pools"), []
    for entry in entries if isinstance(entries, Sequence) and not isinstance(entries, str) else ():
        if not isinstance(entry, Mapping):
            continue
        pool, version = engine_of(entry, pools, str(values.get("runner_pools_engine_version") or ""))
        if version not in pools.get(pool, ()):
            continue
        own = f"runner_pools_pools: {entry.get('name')}.image" if entry.get("image") else "runner_pools_image"
        on = frozenset({pool})
        found.append(
            Image(_named(values, "runner_pools", str(entry.get("image") or values["runner_pools_image"])), own, on)
        )
        engine = _named(values, "runner_pools", f"{values['runner_pools_engine_image']}:v{version}")
        found.append(Image(engine, "runner_pools_engine_image", on))
        if entry.get("schedule") and values.get("runner_pools_flavour") == "scale_set":
            near = (values.get("runner_pools_listener_node_selector") or {}).get(POOL_LABEL)
            reference = _named(values, "runner_pools", str(values["runner_pools_schedule_image"]))
            found.append(Image(reference, "runner_pools_schedule_image", frozenset({near}) if near else None))
    return found


def charts(values: Mapping[str, Any]) -> list[Chart]:
    """The charts that the roles deploy. One with a value that cannot be known, which is told elsewhere, is left out."""
    found = []
    for role, switch in CHARTS.items():
        release, overrides = values.get(f"__{role}_release"), values.get(f"{role}_values")
        address, version = values.get(f"{role}_chart"), values.get(f"{role}_version")
        if switch and values.get(switch[0]) != switch[1]:
            continue
        if not address or not version or not isinstance(release, Mapping) or not isinstance(overrides, Mapping):
            continue
        mirror = values.get(f"{role}_mirror")
        found.append(
            Chart(
                role,
                str(address).strip(),
                str(release["chart"]),
                str(version),
                str(release["name"]),
                str(release["namespace"]),
                str(values.get(f"{role}_helm_binary") or "helm"),
                mirror if isinstance(mirror, Mapping) else {},
                merge_hash(dict(release["values"]), dict(overrides), recursive=True),
            )
        )
    return found


def default_images(chart: Chart) -> tuple[list[Image], bool]:
    """What a chart that nobody looked at is known to deploy, and whether that is all: the images that its values may
    name by a digest.
    """
    found = []
    for image, reference in _image_digests.chart_images(chart.name, chart.version, {}):
        section: Any = chart.values
        for key in image.path:
            section = section.get(key) if isinstance(section, Mapping) else None
        stated = section if isinstance(section, Mapping) else {}
        name, tag = (
            stated.get("repository") or image.name,
            stated.get("tag") or reference.removeprefix(f"{image.name}:"),
        )
        digest = f"@{stated['digest']}" if stated.get("digest") else ""
        found.append(Image(f"{name}:{tag}{digest}", f"{chart.role}_chart, {chart.role}_values"))
    return found, len(found) == len(_image_digests.CHARTS.get(chart.name, ("", (None,)))[1])


def manifest_images(manifest: str, variable: str) -> list[Image]:
    """The images of all pods that a chart's manifest makes."""
    found = []
    for text in re.split(r"(?m)^---\s*$", manifest):
        # Definitions of kinds are most of a manifest, and have no pods.
        if "containers:" not in text or re.search(r"(?m)^kind: CustomResourceDefinition\s*$", text):
            continue
        item = yaml.load(text, Loader=_LOADER)
        if not isinstance(item, Mapping) or not _is_deployed(item):
            continue
        for pod in _pods(item):
            pool = (pod.get("nodeSelector") or {}).get(POOL_LABEL)
            pools = frozenset({str(pool)}) if pool else None
            containers = [*(pod.get("initContainers") or ()), *pod["containers"]]
            found += [
                Image(str(container["image"]), variable, pools) for container in containers if container.get("image")
            ]
    return found


def _is_deployed(item: Mapping[str, Any]) -> bool:
    hooks = (_section(item, "metadata", "annotations")).get("helm.sh/hook")
    return not hooks or bool(HOOKS & {hook.strip() for hook in str(hooks).split(",")})


def _pods(item: Any) -> Iterator[Mapping[str, Any]]:
    """What looks like a pod's spec, wherever it stands in an object."""
    if isinstance(item, Mapping):
        if isinstance(item.get("containers"), list):
            yield item
        for value in item.values():
            yield from _pods(value)
    elif isinstance(item, list):
        for value in item:
            yield from _pods(value)
