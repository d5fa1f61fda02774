"""The list of what a fleet pulls, against tables. tests/unit/roles/test_fleet_images.py holds it against the roles and
the lab.
"""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._names import POOL_LABEL
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._pins import PINS, of_kubeadm
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet import images as _fleet_images
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet.images import Image

VERSION = PINS["kubernetes"]
OTHER_MINOR = "1.35.4"
STATIC = {f"registry.k8s.io/kube-{part}:v{VERSION}" for part in ("apiserver", "controller-manager", "scheduler")}
PROXY = f"registry.k8s.io/kube-proxy:v{VERSION}"
DNS = f"registry.k8s.io/coredns/coredns:v{PINS['coredns']}"
ETCD = f"registry.k8s.io/etcd:{PINS['etcd']}"
PAUSE = f"registry.k8s.io/pause:{PINS['pause']}"
BASE = {"kubernetesVersion": f"v{VERSION}", "imageRepository": "registry.k8s.io"}


def references(images: list[Image]) -> set[str]:
    return {image.reference for image in images}


def kubeadm(config: dict[str, Any], version: str = VERSION, initialises: bool = True) -> set[str]:
    return references(_fleet_images.kubeadm_images({_fleet_images.CLUSTER: {**BASE, **config}}, version, initialises))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param({}, {*STATIC, PROXY, DNS, ETCD, PAUSE}, id="as it is"),
        pytest.param(
            {"proxy": {"disabled": True}, "dns": {"disabled": True}}, {*STATIC, ETCD, PAUSE}, id="without addons"
        ),
        pytest.param(
            {"etcd": {"external": {"endpoints": ["https://e:2379"]}}}, {*STATIC, PROXY, DNS, PAUSE}, id="etcd elsewhere"
        ),
        pytest.param(
            {
                "etcd": {"local": {"imageRepository": "r.example.org", "imageTag": "3.7"}},
                "dns": {"imageRepository": "r.example.org/d"},
            },
            {*STATIC, PROXY, PAUSE, "r.example.org/etcd:3.7", f"r.example.org/d/coredns:v{PINS['coredns']}"},
            id="parts of a site",
        ),
        pytest.param(
            {"imageRepository": "r.example.org/k", "dns": {"imageTag": "v9"}},
            {item.replace("registry.k8s.io", "r.example.org/k") for item in (*STATIC, PROXY, ETCD, PAUSE)}
            | {"r.example.org/k/coredns:v9"},
            id="all of a site",
        ),
    ],
)
def test_what_kubeadm_pulls(config: dict[str, Any], expected: set[str]) -> None:
    assert kubeadm(config) == expected


def test_a_running_cluster_pulls_what_new_nodes_need() -> None:
    assert kubeadm({}, initialises=False) == {PROXY, DNS}
    assert kubeadm({}, "1.36.1", initialises=False) == {PROXY.replace(VERSION, "1.36.1"), DNS}
    assert kubeadm({}, "") == set(), "a cluster of others"


def test_of_another_minor_only_what_its_version_names() -> None:
    assert of_kubeadm(OTHER_MINOR) == {} and of_kubeadm(VERSION)
    assert kubeadm({}, OTHER_MINOR) == {item.replace(VERSION, OTHER_MINOR) for item in (*STATIC, PROXY)}
    stated = kubeadm({"etcd": {"local": {"imageTag": "3.6"}}, "dns": {"imageTag": "v1"}}, OTHER_MINOR)
    assert {"registry.k8s.io/etcd:3.6", "registry.k8s.io/coredns/coredns:v1"} < stated


@pytest.mark.parametrize(
    ("selector", "pools"),
    [({POOL_LABEL: "support"}, {"", "support"}), ({"zone": "a"}, None), ({}, None)],
    ids=["a pool", "something else", "anywhere"],
)
def test_where_dns_runs(selector: dict[str, str], pools: set[str] | None) -> None:
    values = {_fleet_images.CLUSTER: BASE, "pod_network_dns_node_selector": selector}
    by_name = {image.reference: image.pools for image in _fleet_images.kubeadm_images(values, VERSION, True)}
    assert by_name[DNS] == pools
    assert by_name[ETCD] == {""} and by_name[PROXY] is None


@pytest.mark.parametrize(
    ("stated", "version"),
    [("v1.36.6", "1.36.6"), ("1.36.6", "1.36.6"), ("v1.37.0-rc.0", "1.37.0-rc.0"), ("stable-1", ""), (None, "")],
)
def test_the_version_of_the_control_plane(stated: str | None, version: str) -> None:
    assert _fleet_images.kubernetes_version({_fleet_images.CLUSTER: {"kubernetesVersion": stated}}) == version
    assert _fleet_images.kubernetes_version({}) == ""


ENGINES: dict[str, Any] = {
    "dagger_engine_image": "e",
    "dagger_engine_versions": ["1"],
    "dagger_engine_pools": [
        {"name": "support", "group": "s"},
        {"name": "a", "group": "a", "engine": True},
        {"name": "b", "group": "b", "engine": {"versions": ["2", "3"]}},
    ],
    "runner_pools_engine_image": "e",
    "runner_pools_engine_versions": ["1"],
    "runner_pools_engine_version": "",
    "runner_pools_image": "r:1",
    "runner_pools_pools": [{"name": "first"}, {"name": "second", "pool": "b", "engine_version": "3", "image": "r:own"}],
}
ENGINES["runner_pools_engine_pools"] = ENGINES["dagger_engine_pools"]


def test_engines_of_each_pool_and_version() -> None:
    assert _fleet_images.engine_images(ENGINES) == [
        Image("e:v1", "dagger_engine_versions", frozenset({"a"})),
        Image("e:v2", "fleet_pools: b.engine.versions", frozenset({"b"})),
        Image("e:v3", "fleet_pools: b.engine.versions", frozenset({"b"})),
    ]


def test_runners_of_each_pool_with_the_client_of_their_engine() -> None:
    assert _fleet_images.runner_images(ENGINES) == [
        Image("r:1", "runner_pools_image", frozenset({"a"})),
        Image("e:v1", "runner_pools_engine_image", frozenset({"a"})),
        Image("r:own", "runner_pools_pools: second.image", frozenset({"b"})),
        Image("e:v3", "runner_pools_engine_image", frozenset({"b"})),
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"runner_pools_pools": [{"name": "x", "pool": "nowhere"}, {"name": "y", "engine_version": "9"}, "text"]},
        {"runner_pools_pools": None},
        {"runner_pools_pools": "text"},
        {"runner_pools_engine_pools": [{"name": "a"}]},
    ],
)
def test_what_is_told_elsewhere_is_no_image(change: dict[str, Any]) -> None:
    assert _fleet_images.runner_images({**ENGINES, **change}) == []


def test_each_image_once() -> None:
    images = [*_fleet_images.engine_images(ENGINES), *_fleet_images.runner_images(ENGINES), Image("r:1", "another")]
    found = {image.reference: image for image in _fleet_images.merged(images)}
    assert sorted(found) == ["e:v1", "e:v2", "e:v3", "r:1", "r:own"]
    assert found["e:v1"].variable == "dagger_engine_versions, runner_pools_engine_image"
    assert found["r:1"].pools is None, "who says nothing of pools says any"
    assert references(_fleet_images.pulled_by(found.values(), "a")) == {"e:v1", "r:1"}
    assert references(_fleet_images.pulled_by(found.values(), "")) == {"r:1"}


RELEASE = {"name": "n", "namespace": "ns", "chart": "c", "values": {"image": {"tag": "a", "pullPolicy": "Always"}}}
CHARTS: dict[str, Any] = {
    "pod_network_provider": "flannel",
    "runner_pools_flavour": "legacy",
    "cert_manager_needed": True,
    **{f"__{role}_release": {**RELEASE, "chart": role} for role in _fleet_images.CHARTS},
    **{f"{role}_chart": f"https://example.org/{role}.tgz\n" for role in _fleet_images.CHARTS},
    **{f"{role}_version": "1.2.3" for role in _fleet_images.CHARTS},
    **{f"{role}_values": {"image": {"tag": "b"}} for role in _fleet_images.CHARTS},
    **{f"{role}_mirror": {"url": "http://m"} for role in _fleet_images.CHARTS},
}


def test_charts_with_the_user_s_values_over_the_role_s() -> None:
    found = _fleet_images.charts(CHARTS)
    assert (
        [chart.role for chart in found]
        == [chart.name for chart in found]
        == ["pod_network", "cert_manager", "runner_controller"]
    )
    assert found[0].values == {"image": {"tag": "b", "pullPolicy": "Always"}}
    assert (found[0].address, found[0].mirror, found[0].helm) == (
        "https://example.org/pod_network.tgz",
        {"url": "http://m"},
        "helm",
    )
    assert RELEASE["values"] == {"image": {"tag": "a", "pullPolicy": "Always"}}


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ({"pod_network_provider": "none"}, {"cert_manager", "runner_controller"}),
        ({"runner_pools_flavour": "scale_set"}, {"cert_manager", "pod_network", "runner_controller", "runner_pools"}),
        ({"cert_manager_values": None}, {"pod_network", "runner_controller"}),
        ({"cert_manager_needed": False}, {"pod_network", "runner_controller"}),
        ({"__cert_manager_release": None}, {"pod_network", "runner_controller"}),
    ],
)
def test_charts_that_are_not_deployed_or_not_known(change: dict[str, Any], left: set[str]) -> None:
    assert {chart.role for chart in _fleet_images.charts({**CHARTS, **change})} == left


MANIFEST = """\
---
# Source: a
apiVersion: v1
kind: ConfigMap
metadata: {name: text}
data:
  pod: |
    containers:
      - image: not-a-pod
---
kind: CustomResourceDefinition
spec: {containers: [{image: not-a-pod-either}]}
---
kind: Deployment
spec:
  template:
    spec:
      nodeSelector: {node-restriction.kubernetes.io/runnerfleet-pool: support}
      initContainers: [{name: i, image: "init:1"}]
      containers: [{name: c, image: "main:1", args: ["--image=only-an-argument:1"]}, {name: d}]
---
kind: CronJob
spec: {jobTemplate: {spec: {template: {spec: {initContainers: null, containers: [{image: "job:1"}]}}}}}
---
kind: Job
metadata: {annotations: {helm.sh/hook: "post-install,post-upgrade"}}
spec: {template: {spec: {containers: [{image: "hook:1"}]}}}
---
kind: Job
metadata: {annotations: {helm.sh/hook: pre-delete}}
spec: {template: {spec: {containers: [{image: "when-it-is-removed:1"}]}}}
"""


def test_images_of_a_manifest() -> None:
    assert _fleet_images.manifest_images(MANIFEST, "x") == [
        Image("init:1", "x", frozenset({"support"})),
        Image("main:1", "x", frozenset({"support"})),
        Image("job:1", "x"),
        Image("hook:1", "x"),
    ]
