"""What is behind the tags of a fleet's images, asked of a registry on loopback, and what is told of it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.findings import CODES, Finding
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet.images import CLUSTER, Image
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._mirrors import digest_check as _digest_check
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._mirrors import image_check as _image_check
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._mirrors import registry_check as registries
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._mirrors.image_check import Cluster, ImageReport
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._mirrors.registry_check import Host

from tests.unit.plugins.registries import Registry, serving

PROXY, PAUSE, ENGINE = "registry.k8s.io/kube-proxy:v1.30.0", "registry.k8s.io/pause:3", "registry.dagger.io/engine:v1"
ALL = ("registry.k8s.io", "registry.dagger.io")
OTHER = f"sha256:{'0' * 64}"


@pytest.fixture
def registry() -> Iterator[Registry]:
    with serving(Registry()) as there:
        for image in (PROXY, PAUSE, ENGINE):
            there.tags(image, f"the manifest of {image}")
        yield there


def values(digests: dict[str, str], repository: str = "registry.k8s.io") -> dict[str, Any]:
    """A fleet that pulls kube-proxy, an engine and a pause image."""
    pool = [{"name": "runner", "group": "runner_nodes", "engine": {"versions": ["1"]}}]
    return {
        CLUSTER: {"dns": {"disabled": True}, "imageRepository": repository},
        "dagger_engine_pools": pool,
        "dagger_engine_image": "registry.dagger.io/engine",
        "dagger_engine_image_digests": digests,
        "pod_network_provider": "none",
        "runner_controller_flavour": "none",
    }


def look(registry: Registry, digests: dict[str, str], ask: bool = True, sandbox: str = PAUSE) -> ImageReport:
    host = Host("runner", registry.mirror, ALL, sandbox)
    return _image_check.check_images([host], values(digests), Cluster("1.30.0", False), registry.mirror, digests, ask)


def wrong(told: ImageReport) -> list[Finding]:
    return [finding for finding in told.findings if finding.code != "images_unknown"]


def test_the_digests_that_are_there(registry: Registry) -> None:
    digests = {image: registry.tags(image, "x") for image in (PROXY, ENGINE)}
    registry.holds(f"registry.dagger.io/engine@{digests[ENGINE]}")
    told = look(registry, digests)
    assert wrong(told) == []
    assert {image.reference for image in told.images} == {PROXY, PAUSE, f"{ENGINE}@{digests[ENGINE]}"}
    assert "registry.dagger.io/engine/manifests/v1" not in registry.images(), (
        "what is pulled by its digest is asked for by that"
    )
    assert registry.images().count("registry.k8s.io/kube-proxy/manifests/v1.30.0") == 1


def test_a_tag_that_points_elsewhere(registry: Registry) -> None:
    digests = {PROXY: registry.tags(PROXY, "what was looked at")}
    found = registry.tags(PROXY, "something else")
    (finding,) = wrong(look(registry, digests))
    assert (finding.code, finding.severity) == ("image_digest_differs", "error")
    assert finding.subject == f"{PROXY} (control_plane_kubernetes_version)"
    assert (finding.found, finding.expected) == (f"{found} at {registry.address}", digests[PROXY])
    assert "correct fleet_image_digests" in finding.hint
    registry.without_digest = True
    assert wrong(look(registry, digests)) == [finding], "what a registry does not tell of is read"


def test_an_engine_that_the_registry_does_not_have_by_its_digest(registry: Registry) -> None:
    (finding,) = wrong(look(registry, {ENGINE: OTHER}))
    assert finding.code == "mirror_image_missing" and finding.subject.startswith(f"{ENGINE}@{OTHER} ")
    assert f"{registry.address}/registry.dagger.io/engine@{OTHER}" in finding.hint


def test_a_digest_that_cannot_be_had_is_not_the_right_one(registry: Registry) -> None:
    registry.login = "Basic"
    told = {finding.code: finding for finding in wrong(look(registry, {PROXY: OTHER}))}
    assert sorted(told) == ["image_digest_differs", "registry_access_denied"]
    assert (
        told["image_digest_differs"].found
        == f"HTTP 401 at {registry.url}/v2/registry.k8s.io/kube-proxy/manifests/v1.30.0"
    )


def test_upstream_is_asked_where_no_mirror_stands_in(registry: Registry) -> None:
    """For the digests of what kubeadm pulls, and for nothing else."""
    proxy = f"{registry.address}/kube-proxy:v1.30.0"
    found = registry.tags("kube-proxy:v1.30.0", "upstream's")

    def ask(digests: dict[str, str]) -> list[Finding]:
        host = Host("runner", {}, ALL, PAUSE)
        return wrong(
            _image_check.check_images(
                [host], values(digests, registry.address), Cluster("1.30.0", False), {}, digests, True
            )
        )

    assert ask({}) == [] and registry.asked == []
    assert ask({proxy: found, ENGINE: OTHER}) == [] and registry.images() == ["kube-proxy/manifests/v1.30.0"]
    (finding,) = ask({proxy: OTHER})
    assert (finding.code, finding.found) == ("image_digest_differs", f"{found} at {registry.address}")
    registry.statuses["/v2/kube-proxy/manifests/v1.30.0"] = 503
    (finding,) = ask({proxy: OTHER})
    assert (finding.code, finding.subject) == ("registry_unreachable", registry.address)
    assert "HTTP 503" in finding.found and "preflight_mirror_check: none" in finding.hint


@pytest.mark.parametrize(
    ("registry", "api"),
    [
        ("docker.io", "https://registry-1.docker.io/v2"),
        ("quay.io", "https://quay.io/v2"),
        ("r.example.org:5000", "https://r.example.org:5000/v2"),
        ("localhost:5000", "http://localhost:5000/v2"),
    ],
)
def test_where_upstream_answers(registry: str, api: str) -> None:
    (question,) = registries.image_questions([Host("", {})], [Image(f"{registry}/a/b:1", "x")], {}, upstream=True)
    assert (question.registry.api, question.repository, question.tag) == (api, "a/b", "1")


def test_images_by_tag(registry: Registry) -> None:
    digests = {image: registry.tags(image, "x") for image in (PROXY, ENGINE)}

    def told(digests: dict[str, str], ask: bool = True, sandbox: str = PAUSE) -> list[Finding]:
        seen = look(registry, digests, ask, sandbox)
        return _digest_check.by_tag(seen.images, digests, ask, seen.unknown)

    (finding,) = told({})
    assert (finding.code, CODES[finding.code], finding.subject) == ("images_by_tag", "info", "fleet_image_digests")
    assert finding.found.startswith("3 of 3 images are ") and "preflight_image_digests_file" in finding.hint
    (finding,) = told(digests)
    assert finding.found == f"1 of 3 images are whatever their registry has behind the tag: {PAUSE}"
    assert told(digests, sandbox=f"{PAUSE}@{OTHER}") == []
    (finding,) = told(digests, ask=False, sandbox=f"{PAUSE}@{OTHER}")
    assert finding.found.startswith("1 of 3 ") and finding.found.endswith(f": {PROXY}"), (
        "its digest is stated, and nobody compares it"
    )


def test_a_chart_whose_images_nobody_knows(registry: Registry) -> None:
    given = {
        **values({}),
        "pod_network_provider": "flannel",
        "pod_network_chart": "https://example.org/flannel.tgz",
        "pod_network_version": "0.0.1",
        "pod_network_values": {},
        "__pod_network_release": {"name": "flannel", "namespace": "kube-flannel", "chart": "flannel", "values": {}},
    }
    told = _image_check.check_images([], given, Cluster("", False), {}, {}, True)
    assert told.unknown == ["pod_network_chart"]
    (finding,) = _digest_check.by_tag(told.images, {}, True, told.unknown)
    assert "2 of 2" in finding.found and finding.found.endswith(
        "; of pod_network_chart it is not known which there are"
    )


def test_the_mapping_of_what_is_there(registry: Registry) -> None:
    """Of what has a digest too: what its tag has now. A second fleet reads what the first wrote."""
    digests = {image: registry.tags(image, f"the manifest of {image}") for image in (PROXY, PAUSE, ENGINE)}
    hosts = [Host("runner", registry.mirror, ALL, f"{PAUSE}@{OTHER}")]
    images = [
        Image(PROXY, "x", by_tag=True),
        Image(f"{ENGINE}@{OTHER}", "x"),
        Image(f"registry.dagger.io/engine@{OTHER}", "no tag"),
    ]
    text, problems = _digest_check.mapping(_digest_check.behind_tags(hosts, images, registry.mirror))
    assert yaml.safe_load(text) == {"fleet_image_digests": digests} and problems == {}
    assert _digest_check.missing("f", problems) == []
    registry.without_digest = True
    assert _digest_check.mapping(_digest_check.behind_tags(hosts, images, registry.mirror)) == (text, {})


def test_what_is_not_in_the_mapping_is_told(registry: Registry) -> None:
    registry.manifests.discard("registry.dagger.io/engine/manifests/v1")
    hosts = [Host("runner", registry.mirror, ALL)]
    elsewhere = Image("registry.k8s.io/coredns:v1", "x", frozenset({"support"}))
    told = _digest_check.behind_tags(hosts, [Image(PROXY, "x"), Image(ENGINE, "x"), elsewhere], registry.mirror)
    text, problems = _digest_check.mapping(told)
    assert list(yaml.safe_load(text)["fleet_image_digests"]) == [PROXY]
    missing = f"HTTP 404 at {registry.url}/v2/registry.dagger.io/engine/manifests/v1"
    assert problems == {ENGINE: missing, elsewhere.reference: "no host pulls it"}
    assert f"# without a digest: {ENGINE}: HTTP 404" in text
    (finding,) = _digest_check.missing("f.yml", problems)
    assert (finding.code, finding.subject) == ("image_digest_unknown", "preflight_image_digests_file f.yml")
    assert ENGINE in finding.found and "HTTP 404" in finding.found


def test_two_registries_that_differ_are_told_of(registry: Registry) -> None:
    with serving(Registry()) as second:
        second.tags(PROXY, "another")
        hosts = [Host("a", registry.mirror, ALL), Host("b", second.mirror, ALL)]
        text, problems = _digest_check.mapping(_digest_check.behind_tags(hosts, [Image(PROXY, "x")], registry.mirror))
    assert yaml.safe_load(text)["fleet_image_digests"] == {}
    assert registry.address in problems[PROXY] and second.address in problems[PROXY]


def test_nobody_answers() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = {"registry": f"127.0.0.1:{unused.getsockname()[1]}", "registry_plain_http": True}
    _text, problems = _digest_check.mapping(
        _digest_check.behind_tags([Host("a", nobody, ALL)], [Image(PROXY, "x")], nobody)
    )
    assert "Connection refused" in problems[PROXY]


def test_a_manifest_without_end(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registries._registry, "LARGEST", 3)
    registry.without_digest = True
    hosts = [Host("a", registry.mirror, ALL)]
    _text, problems = _digest_check.mapping(_digest_check.behind_tags(hosts, [Image(PROXY, "x")], registry.mirror))
    assert "no answer" in problems[PROXY]
