"""The preflight's list of images against what the roles deploy, and against what the lab's mirror serves for a whole
fleet.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._helm import charts as helm_charts
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._pins import PINS
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet import images as _fleet_images
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet.images import Image

from lab.mirror import artifacts as mirror_artifacts
from lab.mirror import charts as lab_charts
from lab.mirror import images as lab_images
from lab.mirror import serve as lab_mirror
from lab.mirror.source import Source
from lab.standins import Image as LabImage

from .render import rendered

ROLES = (*_fleet_images.ROLES, "dagger_engine", "runner_pools", "container_runtime")
# A host says this for itself; the preflight asks each.
OF_A_HOST = "container_runtime_sandbox_image"
# What kubeadm's configuration is made of.
OF_KUBEADM = "control_plane_image_repository"


def fleet_values(repository: Path, given: list[str]) -> dict[str, Any]:
    """What the preflight reads, from the roles' own defaults and vars under what is `given` as extra variables."""
    files = [f"@{repository}/roles/{role}/{folder}/main.yml" for role in ROLES for folder in ("defaults", "vars")]
    wanted = "{" + ", ".join(f"'{name}': {name}" for name in (*_fleet_images.NAMES, OF_A_HOST)) + "}"
    command = [
        "ansible",
        "localhost",
        "-i",
        "localhost,",
        "-m",
        "ansible.builtin.debug",
        "-a",
        json.dumps({"msg": "{{ " + wanted + " }}"}),
    ]
    extra = [argument for item in (*files, *given) for argument in ("-e", item)]
    environment = {**os.environ, "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1", "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
    done = subprocess.run(
        [*command, *extra], cwd=repository, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])["plays"][0]["tasks"][0]["hosts"][
        "localhost"
    ]["msg"]
    return found


def own_images(values: dict[str, Any]) -> set[str]:
    """All but the charts'."""
    images = _fleet_images.kubeadm_images(values, _fleet_images.kubernetes_version(values), True)
    images += (
        _fleet_images.network_images(values) + _fleet_images.engine_images(values) + _fleet_images.runner_images(values)
    )
    return {image.reference for image in images} | {values[OF_A_HOST]}


@pytest.fixture(scope="module")
def lab_values(repository: Path) -> dict[str, Any]:
    """The lab's fleet, as its inventory describes it."""
    return of_the_lab(repository, "legacy")


@pytest.fixture(scope="module")
def with_sets(repository: Path) -> dict[str, Any]:
    """The same with scale sets."""
    return of_the_lab(repository, "scale_set")


def of_the_lab(repository: Path, flavour: str) -> dict[str, Any]:
    """What the preflight reads of the lab's fleet, with this flavour of the runner controller."""
    mirror = {"url": "http://192.0.2.9", "registry": "192.0.2.9:5000", "registry_plain_http": True}
    source = Source(upstream=False, why="", engine_image="")
    lab = {
        "addresses": {"cp-1": "192.0.2.11"},
        "cgroup": "v2",
        "cgroup_driver": "systemd",
        "github_token": "x",
        "github_url": "http://192.0.2.3",
        "helm": "helm",
        "image_mirror": mirror,
        "kubeconfig": "/nowhere/kubeconfig",
        "mirror": mirror,
        "mirrored_registries": source.mirrored_registries,
        "pins": source.pins,
        "restrict_oom_score_adj": False,
        "source": source.name,
    }
    files = ["inventories/lab/group_vars/all/fleet.yml"]
    files += ["molecule/scale_sets/inventory/group_vars/all/scale_sets.yml"] if flavour == "scale_set" else []
    inventory = [f"@{repository}/{name}" for name in files]
    return fleet_values(repository, [*inventory, json.dumps({"lab": lab, "lab_fleet": "lab"})])


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """What the lab's mirror holds for a fleet that has no upstream, by what it is of; nothing is built for it."""
    nothing, stand_ins = LabImage("", (), {}, labels={}), ("engine", "runner", "set-runner")
    monkeypatch.setattr(lab_images, "_program", lambda *_names: Path("/nowhere"))
    monkeypatch.setattr(lab_images, "pause", lambda: Path("/nowhere"))
    monkeypatch.setattr(lab_images, "busybox", lambda: Path("/nowhere"))
    monkeypatch.setattr(lab_images, "standin_images", lambda *_arguments: dict.fromkeys(stand_ins, nothing))
    monkeypatch.setattr(lab_images.Served, "key", lambda _served: "")
    packed = {f"{registry}/{name}:{lab_charts.version(name)}" for name, registry in lab_charts.IN_REGISTRY.items()}
    everything = {push.reference for push in lab_mirror.wanted("", False, dict.fromkeys(packed, Path("chart.tgz")))}
    of_charts = {one.reference for one in lab_images._platform()}
    of_other_scenarios = {lab_images.ENGINE_BEFORE}
    return {"charts": packed, "of charts": of_charts, "others": everything - of_charts - packed - of_other_scenarios}


def test_the_lab_s_fleet_pulls_what_the_lab_s_mirror_serves(
    lab_values: dict[str, Any], with_sets: dict[str, Any], served: dict[str, set[str]]
) -> None:
    """The lab runs on nothing else, so its list is whole. Images of charts are held against a running fleet in
    molecule/default.
    """
    assert own_images(lab_values) | own_images(with_sets) == served["others"]


def test_the_charts_are_those_that_the_lab_s_mirror_serves(
    lab_values: dict[str, Any], with_sets: dict[str, Any], served: dict[str, set[str]]
) -> None:
    charts = [*_fleet_images.charts(lab_values), *_fleet_images.charts(with_sets)]
    assert {chart.address for chart in charts if not chart.address.startswith("oci://")} == set(
        mirror_artifacts.chart_urls().values()
    )
    in_a_registry = {
        f"{chart.address.removeprefix('oci://')}:{helm_charts.tag(chart.address, chart.version)}"
        for chart in charts
        if chart.address.startswith("oci://")
    }
    assert in_a_registry == served["charts"]
    assert all(chart.mirror == lab_values["pod_network_mirror"] and chart.values for chart in charts)


def images_in(item: Any) -> Iterator[str]:
    """Whatever is called an image, wherever it stands."""
    if isinstance(item, dict):
        yield from (value for key, value in item.items() if key == "image" and isinstance(value, str))
        for value in item.values():
            yield from images_in(value)
    elif isinstance(item, list):
        for value in item:
            yield from images_in(value)


LISTS = {"dagger_engine": "engine_images", "pod_network": "network_images", "runner_pools": "runner_images"}
POOLS = [
    {"name": "support", "group": "support_nodes"},
    {"name": "small", "group": "small_nodes", "engine": True},
    {"name": "large", "group": "large_nodes", "engine": {"versions": ["0.21.10", "0.21.11"]}},
]
GIVEN = {
    "runner_controller_flavour": "legacy",
    "fleet_pools": POOLS,
    "fleet_engine_versions": ["0.21.9"],
    "runner_pools_pools": [
        {"name": "a", "organization": "acme"},
        {
            "name": "b",
            "organization": "acme",
            "pool": "large",
            "engine_version": "0.21.11",
            "image": "example.org/runner:1",
        },
    ],
    "dagger_engine_memory": "1Gi",
    "__dagger_engine_cluster": {"memory": {}, "namespaces": [], "monitoring_kinds": []},
    "__dagger_engine_addresses": {"api_servers": [], "api_endpoints": [], "nodes": []},
    "__runner_pools_addresses": {"nodes": []},
}


@pytest.mark.parametrize(
    ("role", "variable"),
    [
        ("dagger_engine", "__dagger_engine_objects"),
        ("pod_network", "__pod_network_policies_objects"),
        ("runner_pools", "__runner_pools_objects"),
    ],
    ids=lambda item: item,
)
def test_what_a_role_renders_is_what_is_asked_for(repository: Path, role: str, variable: str) -> None:
    objects = rendered(repository, role, variable, {**GIVEN, "role_path": str(repository / "roles" / role)})
    values = fleet_values(repository, [json.dumps({**GIVEN, "control_plane_api_endpoint": "192.0.2.1:6443"})])
    listed: list[Image] = getattr(_fleet_images, LISTS[role])(values)
    assert set(images_in(objects)) == {image.reference for image in listed} != set()


DIGESTS = {
    f"{name}": f"sha256:{number:064x}"
    for number, name in enumerate(
        [
            *(f"registry.dagger.io/engine:v0.21.{patch}" for patch in (9, 10, 11)),
            f"registry.k8s.io/networking/kube-network-policies:v{PINS['network_policies']}",
            f"summerwind/actions-runner:v{PINS['runner_legacy']}-ubuntu-22.04",
            "example.org/runner:1",
            f"registry.k8s.io/pause:{PINS['pause']}",
            f"ghcr.io/flannel-io/flannel:v{PINS['flannel']}",
            f"ghcr.io/flannel-io/flannel-cni-plugin:v{PINS['flannel_cni_plugin']}",
            *(
                f"quay.io/jetstack/cert-manager-{part}:v{PINS['cert_manager']}"
                for part in ("controller", "webhook", "cainjector")
            ),
            f"summerwind/actions-runner-controller:v{PINS['arc_legacy']}",
        ]
    )
}


@pytest.mark.parametrize(
    ("role", "variable"),
    [
        ("dagger_engine", "__dagger_engine_objects"),
        ("pod_network", "__pod_network_policies_objects"),
        ("runner_pools", "__runner_pools_objects"),
    ],
    ids=lambda item: item,
)
def test_what_a_role_renders_is_named_by_its_content(repository: Path, role: str, variable: str) -> None:
    """As the preflight asks for it."""
    given = {**GIVEN, "fleet_image_digests": DIGESTS}
    objects = rendered(repository, role, variable, {**given, "role_path": str(repository / "roles" / role)})
    values = fleet_values(repository, [json.dumps({**given, "control_plane_api_endpoint": "192.0.2.1:6443"})])
    listed: list[Image] = getattr(_fleet_images, LISTS[role])(values)
    found = set(images_in(objects))
    assert found == {image.reference for image in listed} != set()
    assert all(
        DIGESTS[name.removeprefix("docker.io/")] == digest
        for name, _at, digest in (image.partition("@") for image in found)
    )


def test_the_images_of_charts_are_named_by_their_content(repository: Path) -> None:
    """By values of the role, under those of the user."""
    given: dict[str, Any] = {"fleet_image_digests": DIGESTS, "control_plane_api_endpoint": "192.0.2.1:6443"}
    given["runner_controller_flavour"] = "legacy"
    given["runner_controller_values"] = {"image": {"tag": "x"}}
    for chart in _fleet_images.charts(fleet_values(repository, [json.dumps(given)])):
        images, whole = _fleet_images.default_images(chart)
        by_tag = [image.reference for image in images if "@" not in image.reference]
        assert whole and by_tag == (
            ["docker.io/summerwind/actions-runner-controller:x"] if chart.role == "runner_controller" else []
        )
        assert chart.role != "pod_network" or chart.values["flannel"]["backend"] == "vxlan", (
            "beside what the role says of the same"
        )
    del given["runner_controller_values"]
    found = {chart.role: chart.values for chart in _fleet_images.charts(fleet_values(repository, [json.dumps(given)]))}
    assert re.fullmatch(r"v[\d.]+@sha256:0+c", found["runner_controller"]["image"]["tag"])


def test_the_pause_image_is_named_as_containerd_names_it(repository: Path) -> None:
    """Or it would not know it for the one that is not to be collected as garbage."""
    objects = rendered(
        repository,
        "container_runtime",
        "__container_runtime_files",
        {"fleet_image_digests": DIGESTS, "role_path": str(repository / "roles/container_runtime")},
    )
    digest = DIGESTS[f"registry.k8s.io/pause:{PINS['pause']}"]
    assert f'sandbox = "registry.k8s.io/pause@{digest}"' in json.dumps(objects).replace('\\"', '"')


def test_a_digest_that_is_none_is_refused_by_the_role(repository: Path) -> None:
    given = {**GIVEN, "fleet_image_digests": {"registry.dagger.io/engine:v0.21.9": "abc"}}
    given["role_path"] = str(repository / "roles/dagger_engine")
    with pytest.raises(
        AssertionError, match=r"fleet_image_digests\['registry.dagger.io/engine:v0.21.9'\]: found 'abc'"
    ):
        rendered(repository, "dagger_engine", "__dagger_engine_objects", given)


def test_no_role_has_an_image_or_a_chart_that_is_not_in_the_list(repository: Path) -> None:
    """A role that gets one is to tell the preflight of it."""
    named = set()
    for path in sorted(repository.glob("roles/*/defaults/main.yml")):
        named |= {
            name for name in yaml.safe_load(path.read_text()) if re.search(r"(_image|_chart|_image_repository)$", name)
        }
    # Internal: each role gives it the chart that is in the list.
    named -= {"helm_release_chart"}
    assert named == {name for name in _fleet_images.NAMES if name.endswith(("_image", "_chart"))} | {
        OF_A_HOST,
        OF_KUBEADM,
    }
    writing = [
        path for folder in ("templates", "tasks", "vars", "files") for path in repository.glob(f"roles/*/{folder}/*")
    ]
    with_image = {path.parts[-3] for path in writing if re.search(r"(?m)^\s*-?\s*image:\s", path.read_text())}
    assert with_image == LISTS.keys()
