"""An image by its content, alone and as a chart's values have it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils import _image_digests
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._pins import PINS

A, B, C = (f"sha256:{letter * 64}" for letter in "abc")
PAUSE = "registry.k8s.io/pause:3"


@pytest.mark.parametrize(
    ("image", "digests", "named", "without_tag"),
    [
        (PAUSE, {}, PAUSE, PAUSE),
        (PAUSE, {PAUSE: A}, f"{PAUSE}@{A}", f"registry.k8s.io/pause@{A}"),
        (PAUSE, {"registry.k8s.io/pause:4": A}, PAUSE, PAUSE),
        (f"{PAUSE}@{B}", {PAUSE: A}, f"{PAUSE}@{B}", f"registry.k8s.io/pause@{B}"),
        (
            "r.example.org:5000/a/b:1",
            {"r.example.org:5000/a/b:1": A},
            f"r.example.org:5000/a/b:1@{A}",
            f"r.example.org:5000/a/b@{A}",
        ),
        (
            "summerwind/runner:1",
            {"docker.io/summerwind/runner:1": A},
            f"summerwind/runner:1@{A}",
            f"docker.io/summerwind/runner@{A}",
        ),
        (
            "docker.io/library/busybox:1",
            {"busybox:1": A},
            f"docker.io/library/busybox:1@{A}",
            f"docker.io/library/busybox@{A}",
        ),
        ("busybox", {"busybox:latest": A}, "busybox", "busybox"),
    ],
    ids=["none", "known", "another tag", "it has one", "a port", "docker.io", "library", "no tag"],
)
def test_an_image(image: str, digests: dict[str, str], named: str, without_tag: str) -> None:
    assert _image_digests.with_digest(image, digests) == named
    assert _image_digests.without_tag(named) == without_tag


@pytest.mark.parametrize(
    ("digests", "found"),
    [
        ({PAUSE: "a" * 64}, "expected sha256: and 64"),
        ({PAUSE: A.upper()}, "expected sha256: and 64"),
        ({PAUSE: None}, "found None"),
        ({"registry.k8s.io/pause": A}, "expected an image with its tag"),
        ({f"{PAUSE}@{A}": A}, "expected an image with its tag"),
        ({f"https://{PAUSE}": A}, "expected an image with its tag"),
        ({"a b:1": A}, "expected an image with its tag"),
        (["registry.k8s.io/pause:3"], "must be a dictionary"),
    ],
)
def test_a_typo_is_no_by_tag(digests: Any, found: str) -> None:
    with pytest.raises(ValueError, match="fleet_image_digests") as refused:
        _image_digests.with_digest("quay.io/x:1", digests)
    assert found in str(refused.value)
    assert _image_digests.usable(digests) == {}


FLANNEL, PLUGIN = (
    f"ghcr.io/flannel-io/flannel:v{PINS['flannel']}",
    f"ghcr.io/flannel-io/flannel-cni-plugin:v{PINS['flannel_cni_plugin']}",
)


def test_the_images_of_a_chart() -> None:
    told = _image_digests.chart_values(
        "flannel", PINS["flannel"], {FLANNEL: A, PLUGIN: B}, {"flannel": {"cniConf": "x"}}
    )
    plugin = {"image": {"tag": f"v{PINS['flannel_cni_plugin']}@{B}"}}
    assert told == {"flannel": {"image": {"tag": f"v{PINS['flannel']}@{A}"}, "flannel_cni": plugin}}
    controller = {"docker.io/summerwind/actions-runner-controller:v" + PINS["arc_legacy"]: C}
    told = _image_digests.chart_values("actions-runner-controller", PINS["arc_legacy_chart"], controller, {})
    assert told == {"image": {"tag": f"v{PINS['arc_legacy']}@{C}"}}
    certs = {f"quay.io/jetstack/cert-manager-{part}:v1.0.0": A for part in ("controller", "webhook", "cainjector")}
    tag = {"image": {"tag": f"v1.0.0@{A}"}}
    assert _image_digests.chart_values("cert-manager", "1.0.0", certs, {}) == {**tag, "webhook": tag, "cainjector": tag}
    assert _image_digests.chart_values("cert-manager", "1.0.1", certs, {}) == {}


@pytest.mark.parametrize("stated", [{"repository": "r.example.org/flannel"}, {"tag": "own"}, {"digest": C}])
def test_an_image_that_the_user_states_is_left_to_that(stated: dict[str, str]) -> None:
    told = _image_digests.chart_values(
        "flannel", PINS["flannel"], {FLANNEL: A, PLUGIN: B}, {"flannel": {"image": stated}}
    )
    assert list(told["flannel"]) == ["flannel_cni"]


def test_another_version_of_a_chart_deploys_nobody_knows_what() -> None:
    """Its own default must not be held back at the version of our pin."""
    other = {FLANNEL: A, PLUGIN: B, "ghcr.io/flannel-io/flannel:v0.0.1": C}
    assert _image_digests.chart_values("flannel", "0.0.1", other, {}) == {"flannel": {"image": {"tag": f"v0.0.1@{C}"}}}
    assert _image_digests.chart_values("another", "1", other, {}) == {}
