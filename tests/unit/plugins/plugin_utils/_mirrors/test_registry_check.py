"""What is told of a registry that lacks something, wants a login, or does not answer."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.findings import CODES, Finding
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet.images import Image
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._mirrors import registry as _registry
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._mirrors import registry_check as _registry_check
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._mirrors.registry_check import Host

from tests.unit.plugins.registries import Registry, serving

ALL = ("docker.io", "registry.k8s.io", "registry.dagger.io")
DIGEST = "sha256:" + "b" * 64
PAUSE, ENGINE, RUNNER = "registry.k8s.io/pause:3", "registry.dagger.io/engine:v1", f"example/runner@{DIGEST}"
IMAGES = (
    Image(PAUSE, "container_runtime_sandbox_image"),
    Image(ENGINE, "dagger_engine_versions", frozenset({"runner"})),
    Image(RUNNER, "runner_pools_image", frozenset({"runner"})),
    Image("ghcr.io/flannel-io/flannel:v1", "pod_network_chart"),
)


@pytest.fixture
def registry() -> Iterator[Registry]:
    with serving(Registry()) as there:
        there.holds(PAUSE, ENGINE, f"docker.io/{RUNNER}")
        yield there


def findings(
    mirror: dict[str, Any], hosts: list[Host] | None = None, images: Sequence[Image] = IMAGES
) -> list[Finding]:
    hosts = [Host("runner", mirror, ALL)] if hosts is None else hosts
    return _registry_check.registry_findings(
        _registry_check.answers(_registry_check.image_questions(hosts, images, mirror))
    )


def test_all_is_there(registry: Registry) -> None:
    assert findings(registry.mirror) == []
    assert sorted(registry.images()) == sorted(registry.manifests), "what it does not stand in for is not asked for"


def test_what_is_missing_is_named_with_all_that_a_person_needs(registry: Registry) -> None:
    registry.manifests.clear()
    told = {finding.subject: finding for finding in findings(registry.mirror)}
    assert {finding.code for finding in told.values()} == {"mirror_image_missing"} and CODES[
        "mirror_image_missing"
    ] == "error"
    assert sorted(told) == [
        f"{RUNNER} (runner_pools_image)",
        f"{ENGINE} (dagger_engine_versions)",
        f"{PAUSE} (container_runtime_sandbox_image)",
    ]
    engine = told[f"{ENGINE} (dagger_engine_versions)"]
    assert engine.found == f"HTTP 404 at {registry.url}/v2/registry.dagger.io/engine/manifests/v1"
    assert (
        f"copy the image to {registry.address}/{ENGINE}, or correct dagger_engine_versions or fleet_mirror.registry"
        == engine.hint
    )
    assert f"{registry.address}/docker.io/{RUNNER}," in told[f"{RUNNER} (runner_pools_image)"].hint


def test_a_mirror_below_a_path(registry: Registry) -> None:
    registry.manifests = {f"fleet/ci/{path}" for path in registry.manifests}
    mirror = {**registry.mirror, "registry": f"{registry.address}/fleet/ci/"}
    assert findings(mirror) == []
    registry.manifests.clear()
    assert f"copy the image to {registry.address}/fleet/ci/{PAUSE}," in findings(mirror)[-1].hint


def test_hosts_ask_their_own_mirrors_for_what_they_pull(registry: Registry) -> None:
    """Once for all that are alike; a node without a mirror asks nobody."""
    with serving(Registry()) as other:
        other.holds(PAUSE)
        hosts = [
            *(Host("runner", registry.mirror, ALL, PAUSE) for _number in range(100)),
            Host("support", other.mirror, ("registry.k8s.io",), "registry.k8s.io/pause:own"),
            Host("runner", {}, ALL),
            Host("runner", {"registry": "https://no.such"}, ALL),
        ]
        (missing,) = findings(registry.mirror, hosts)
        assert missing.subject == "registry.k8s.io/pause:own (container_runtime_sandbox_image)"
        assert missing.hint.endswith("or container_runtime_mirror.registry")
        assert len(other.asked) == 2 and len(registry.asked) == 3


def test_one_finding_for_a_registry_that_does_not_answer(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_registry, "TIMEOUT", 0.3)
    many = [Image(f"registry.k8s.io/part:{number}", "x") for number in range(40)]
    registry.slow = {f"/v2/registry.k8s.io/part/manifests/{number}": 3 for number in range(40)}
    began = time.monotonic()
    (finding,) = findings(registry.mirror, images=many)
    assert time.monotonic() - began < 3, "the rest would wait for the same"
    assert (finding.code, finding.subject) == ("registry_unreachable", f"fleet_mirror.registry {registry.address}")
    assert finding.found.startswith("timed out, when asked for registry.k8s.io/part:") and finding.found.endswith(
        " more not asked for"
    )
    assert finding.hint.endswith("if only the nodes reach it, set preflight_mirror_check: none")
    assert len(registry.asked) <= _registry_check.THREADS


@pytest.mark.parametrize("status", [500, 503, 429])
def test_an_answer_that_says_nothing_of_the_image(registry: Registry, status: int) -> None:
    registry.statuses = {f"/v2/{path}": status for path in registry.manifests}
    (finding,) = findings(registry.mirror)
    assert finding.code == "registry_unreachable" and finding.found.startswith(f"HTTP {status}, when asked for ")


def test_one_failure_hides_no_other_image(registry: Registry) -> None:
    registry.statuses = {"/v2/registry.k8s.io/pause/manifests/3": 502}
    registry.manifests.clear()
    assert sorted(finding.code for finding in findings(registry.mirror)) == [
        "mirror_image_missing",
        "mirror_image_missing",
        "registry_unreachable",
    ]


@pytest.mark.parametrize("login", ["Basic", "Bearer"])
def test_a_registry_that_wants_a_login(registry: Registry, login: str) -> None:
    """Nodes may have one that is not known here: no error."""
    registry.login, registry.token = login, (401, {})
    (finding,) = findings(registry.mirror)
    assert (finding.code, finding.severity) == ("registry_access_denied", "warning")
    assert finding.found.startswith("HTTP 401 without a login for ") and all(
        image in finding.found for image in (PAUSE, ENGINE, RUNNER)
    )


def test_a_registry_that_gives_anybody_a_token(registry: Registry) -> None:
    registry.login = "Bearer"
    registry.manifests.discard("registry.k8s.io/pause/manifests/3")
    assert [finding.code for finding in findings(registry.mirror)] == ["mirror_image_missing"]


def test_a_password_in_an_address_is_never_shown(registry: Registry) -> None:
    """Nor is it sent: what has one is no mirror, which its own check tells."""
    registry.manifests.clear()
    mirror = {**registry.mirror, "registry": f"me:c4n4ry@{registry.address}"}
    assert findings(mirror) == [] and registry.asked == []
    told = findings(registry.mirror, images=[Image("me:c4n4ry@registry.k8s.io/pause:3", "x"), *IMAGES])
    assert told and "c4n4ry" not in repr(told)


def test_registries_that_do_not_answer_at_all(registry: Registry) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{unused.getsockname()[1]}"
    gone = {"registry": f"{nobody}/v2/fleet", "registry_plain_http": True}
    both = [
        _registry_check.registry_of(mirror, "cert_manager_mirror", registry.mirror)
        for mirror in (gone, registry.mirror, gone)
    ]
    down = _registry_check.unreachable(item for item in both if item)
    assert [(item.root, finding.subject) for item, finding in down.items()] == [
        (f"http://{nobody}/v2/", f"cert_manager_mirror.registry {nobody}/v2/fleet")
    ]
    assert registry.asked == [("GET", "/v2/")]
