"""Charts and images behind a mirror: what is asked of whom, and what is told. The mirror and its registry are on
loopback.
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._pins import PINS
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.findings import Finding
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet import images as _fleet_images
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._mirrors import chart_check as _chart_check
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._mirrors import image_check as _image_check
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._mirrors.image_check import Cluster
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._mirrors.registry_check import Host

from tests.unit.plugins.registries import Registry, chart, serving

REGISTRIES = ("docker.io", "quay.io", "registry.k8s.io", "registry.dagger.io")
OCI = "oci://quay.io/jetstack/charts/cert-manager"
HTTP = "https://example.org/flannel.tgz"
CERTS, NETWORK = "quay.io/jetstack/cert-manager-controller:v1", "docker.io/flannel/flannel:v1"
PAUSE = "registry.k8s.io/pause:3"
NOBODY = Cluster("", False)


class Site:
    """A mirror with its files and its registry, and a helm that notes what it is told."""

    def __init__(self, folder: Path, registry: Registry) -> None:
        self.folder, self.registry, self.url = folder, registry, ""
        self.asked: list[str] = []
        self.file = folder / "served/example.org/flannel.tgz"
        self.file.parent.mkdir(parents=True)
        self.file.write_bytes(chart("flannel", "v1.0.0"))
        (folder / "cert-manager.tgz").write_bytes(chart("cert-manager", "v1.0.0"))
        self.helm = folder / "helm"
        self.helm.write_text(
            "#!/bin/sh\n"
            f'echo "$*" >> {folder}/commands\n'
            'case "$1" in\n'
            f"pull) [ -e {folder}/no-pull ] && {{ cat {folder}/no-pull >&2; exit 1; }}; cp {folder}/cert-manager.tgz "
            '"$6" ;;\n'
            f'template) cat > "{folder}/values-$2"; cat "{folder}/manifest-$2" ;;\n'
            "esac\n"
        )
        self.helm.chmod(0o755)
        self.manifest("flannel", NETWORK)
        self.manifest("cert-manager", CERTS)
        registry.holds(f"{OCI.removeprefix('oci://')}:v1.0.0", CERTS, NETWORK, PAUSE)

    def manifest(self, release: str, image: str) -> None:
        """What helm makes of a chart."""
        (self.folder / f"manifest-{release}").write_text(f"kind: Pod\nspec:\n  containers:\n    - image: {image}\n")

    @property
    def mirror(self) -> dict[str, Any]:
        sums = {HTTP: chart("flannel", "v1.0.0"), f"{OCI}:v1.0.0": chart("cert-manager", "v1.0.0")}
        checksums = {name: hashlib.sha256(content).hexdigest() for name, content in sums.items()}
        return {"url": self.url, **self.registry.mirror, "checksums": checksums}

    def values(self, **change: Any) -> dict[str, Any]:
        """What the preflight reads of a fleet that has these two charts and nothing else."""
        return {
            "pod_network_provider": "flannel",
            "pod_network_chart": HTTP,
            "pod_network_version": "1.0.0",
            "pod_network_values": {"password": "c4n4ry"},
            "__pod_network_release": {
                "name": "flannel",
                "namespace": "kube-flannel",
                "chart": "flannel",
                "values": {"a": 1},
            },
            "cert_manager_needed": True,
            "cert_manager_chart": OCI,
            "cert_manager_version": "1.0.0",
            "cert_manager_values": {},
            "__cert_manager_release": {
                "name": "cert-manager",
                "namespace": "certs",
                "chart": "cert-manager",
                "values": {},
            },
            **{f"{role}_{name}": value for role in _fleet_images.CHARTS for name, value in self.given().items()},
            "dagger_engine_pools": [{"name": "runner", "group": "runner_nodes"}],
            "runner_pools_engine_pools": [{"name": "runner", "group": "runner_nodes"}],
            **change,
        }

    def given(self) -> dict[str, Any]:
        return {"mirror": self.mirror, "helm_binary": str(self.helm)}

    def look(self, cluster: Cluster = NOBODY, host: Host | None = None, **change: Any) -> list[Finding]:
        """What is told of the fleet."""
        host = host or Host("runner", self.mirror, REGISTRIES, PAUSE)
        return _image_check.check_images([host], self.values(**change), cluster, self.mirror, {}, ask=True).findings

    def commands(self) -> list[str]:
        path = self.folder / "commands"
        return sorted(path.read_text().splitlines()) if path.exists() else []


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with serving(Registry()) as registry:
        made = Site(tmp_path, registry)

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *_arguments: Any) -> None:
                made.asked.append(self.requestline)

        handler = functools.partial(Handler, directory=str(tmp_path / "served"))
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
            made.url = f"http://127.0.0.1:{server.server_port}"
            yield made
            server.shutdown()


def codes(findings: list[Finding]) -> list[str]:
    return sorted(finding.code for finding in findings)


def test_all_is_there(site: Site) -> None:
    assert (
        site.look(
            Cluster("1.36.1", False),
            **{_fleet_images.CLUSTER: {"proxy": {"disabled": True}, "dns": {"disabled": True}}},
        )
        == []
    )
    assert sorted(site.registry.images()) == sorted(site.registry.manifests)
    pull, template, other = site.commands()
    assert pull.startswith(
        f"pull oci://{site.registry.address}/quay.io/jetstack/charts/cert-manager --version v1.0.0 --destination "
    )
    assert (
        template.startswith("template cert-manager /")
        and "--namespace certs" in template
        and "--kube-version v1.36.1" in template
    )
    assert other.startswith("template flannel /") and "c4n4ry" not in other, (
        "values are not to be seen among the processes"
    )
    assert json.loads((site.folder / "values-flannel").read_text()) == {"a": 1, "password": "c4n4ry"}


def test_images_that_values_name_are_asked_for(site: Site) -> None:
    site.manifest("cert-manager", "quay.io/site/controller:own")
    (finding,) = site.look()
    assert finding.code == "mirror_image_missing"
    assert finding.subject == "quay.io/site/controller:own (cert_manager_chart, cert_manager_values)"


def test_charts_that_are_missing(site: Site) -> None:
    site.file.unlink()
    site.registry.manifests.discard("quay.io/jetstack/charts/cert-manager/manifests/v1.0.0")
    told = {finding.subject: finding for finding in site.look()}
    assert {finding.code for finding in told.values()} == {"mirror_chart_missing"} and len(told) == 2
    network = told[f"{HTTP} (pod_network_chart, pod_network_version)"]
    assert network.found == f"HTTP 404 File not found at {site.url}/example.org/flannel.tgz"
    assert network.hint.endswith("pod_network_chart, pod_network_version or fleet_mirror.url")
    certs = told[f"{OCI}:v1.0.0 (cert_manager_chart, cert_manager_version)"]
    assert certs.found == f"HTTP 404 at {site.registry.url}/v2/quay.io/jetstack/charts/cert-manager/manifests/v1.0.0"
    assert certs.hint.startswith(
        f"copy the chart to {site.registry.address}/quay.io/jetstack/charts/cert-manager:v1.0.0, or correct cert_"
    )
    assert site.commands() == []


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (chart("flannel", "v1.0.1"), "found the chart flannel v1.0.1, expected flannel 1.0.0"),
        (b"<html>", "it is no archive of a chart (ReadError: not a gzip file)"),
    ],
    ids=["another version", "a web page"],
)
def test_what_is_not_the_chart(site: Site, content: bytes, found: str) -> None:
    site.file.write_bytes(content)
    (finding,) = site.look()
    assert (finding.code, finding.found) == ("mirror_chart_missing", found)
    assert finding.expected == f"the chart flannel 1.0.0 at {site.url}/example.org/flannel.tgz"


def test_the_sum_of_a_chart(site: Site) -> None:
    """By what the mirror's own check would say, so that it is told once."""
    right = hashlib.sha256(site.file.read_bytes()).hexdigest()
    assert site.look(pod_network_mirror={**site.mirror, "checksums": {HTTP: f"sha256:{right}"}}) == []
    wrong = {**site.mirror, "checksums": {HTTP: "a" * 64}}
    (finding,) = site.look(pod_network_mirror=wrong)
    assert (finding.code, finding.subject) == ("mirror_checksum_wrong", f"{site.url}/example.org/flannel.tgz")
    assert (finding.found, finding.expected) == (f"sha256 {right}", f"sha256 {'a' * 64}")
    assert not [command for command in site.commands() if command.startswith("template flannel")][1:], (
        "nothing is made of a wrong one"
    )
    (finding,) = site.look(pod_network_mirror={**site.mirror, "checksums": {HTTP: "abc"}})
    assert finding.code == "mirror_chart_missing" and "64 hexadecimal digits" in finding.found


def test_a_chart_without_a_sum_behind_plain_http(site: Site) -> None:
    """The role would refuse it, so it is told before, and not fetched."""
    told = site.look(
        pod_network_mirror={**site.mirror, "checksums": {}}, cert_manager_mirror={**site.mirror, "checksums": {}}
    )
    assert codes(told) == ["mirror_checksum_unknown"] * 2
    assert sorted(finding.hint.partition(" to ")[0] for finding in told) == [
        f"set fleet_mirror.checksums['{HTTP}']",
        f"set fleet_mirror.checksums['{OCI}:v1.0.0']",
    ]
    assert site.asked == [] and site.commands() == []


def test_a_chart_in_a_file(site: Site) -> None:
    path = site.folder / "cert-manager.tgz"
    assert site.look(cert_manager_chart=str(path)) == []
    assert not [command for command in site.commands() if command.startswith("pull")]
    path.unlink()
    (finding,) = site.look(cert_manager_chart=str(path))
    assert finding.code == "mirror_chart_missing" and "No such file" in finding.found
    assert finding.hint == "put the chart there, or correct cert_manager_chart or cert_manager_version"


def test_upstream_is_not_asked(site: Site) -> None:
    """Of a chart from there the images are not known, which is said and is no error."""
    (finding,) = site.look(pod_network_mirror=site.registry.mirror)
    assert (finding.code, finding.severity) == ("images_unknown", "info")
    assert finding.subject == f"{HTTP} (pod_network_chart, pod_network_version)"
    assert site.asked == [] and "docker.io/flannel/flannel/manifests/v1" not in site.registry.images()


def test_without_a_mirror_nobody_is_asked(site: Site) -> None:
    none = {f"{role}_mirror": {} for role in _fleet_images.CHARTS}
    values = site.values(**none)
    assert (
        _image_check.check_images(
            [Host("runner", {}, REGISTRIES, PAUSE)], values, Cluster("1.30.0", True), {}, {}, ask=True
        ).findings
        == []
    )
    assert (site.asked, site.registry.asked, site.commands()) == ([], [], [])


def test_files_alone_behind_the_mirror(site: Site) -> None:
    """Charts are asked for; which images they deploy does not matter."""
    files = {"url": site.url, "checksums": site.mirror["checksums"]}
    only = {f"{role}_mirror": files for role in _fleet_images.CHARTS}
    host = Host("runner", {"url": site.url}, REGISTRIES, PAUSE)
    assert (
        _image_check.check_images([host], site.values(**only), NOBODY, {"url": site.url}, {}, ask=True).findings == []
    )
    assert (
        [line for line in site.asked if "flannel.tgz" in line] and site.registry.asked == [] and site.commands() == []
    )


def test_one_finding_for_a_registry_that_is_down(site: Site) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        site.registry.address = f"127.0.0.1:{unused.getsockname()[1]}"
    (finding,) = site.look(Cluster("1.30.0", True))[:1]
    told = site.look(
        Cluster(PINS["kubernetes"], True), **{_fleet_images.CLUSTER: {"imageRepository": "registry.k8s.io"}}
    )
    assert codes(told) == ["registry_unreachable"]
    assert told[0].subject == f"fleet_mirror.registry {site.registry.address}" and "Connection refused" in told[0].found
    assert finding.hint.endswith("if only the nodes reach it, set preflight_mirror_check: none")


def test_a_mirror_of_files_that_is_down_is_told_as_its_own_check_tells_it(site: Site) -> None:
    from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._mirrors import mirror_check as _mirror_check

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        site.url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    assert site.look() == _mirror_check.mirror_findings(site.mirror, ["runc"], {}, ["amd64"], True) != []


def test_a_registry_that_wants_a_login(site: Site) -> None:
    """helm may have one: the chart is fetched. Where it has none, the role would fail as well."""
    site.registry.login = "Basic"
    assert codes(site.look()) == ["registry_access_denied"]
    (site.folder / "no-pull").write_text("Error: unauthorized at http://me:c4n4ry@registry/v2/\n")
    told = site.look()
    assert codes(told) == ["mirror_chart_missing", "registry_access_denied"]
    assert "unauthorized" in told[0].found and "c4n4ry" not in repr(told)


def test_a_chart_that_helm_cannot_render(site: Site) -> None:
    (site.folder / "manifest-flannel").unlink()
    (finding,) = site.look()
    assert (finding.code, finding.severity) == ("chart_not_rendered", "warning")
    assert finding.found.startswith("helm template ended with 1: ") and "correct pod_network_values" in finding.hint
    assert "c4n4ry" not in repr(finding)
    (site.folder / "manifest-flannel").write_text("kind: Pod\nspec: {containers: [}\n")
    assert [item.code for item in site.look()] == ["chart_not_rendered"]


def test_a_helm_that_does_not_end(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_chart_check, "HELM_TIMEOUT", 0.2)
    site.helm.write_text("#!/bin/sh\nexec sleep 5\n")
    assert codes(site.look()) == ["chart_not_rendered", "mirror_chart_missing"]


def test_without_helm_what_it_does_not_need_is_asked(site: Site) -> None:
    """That it is missing is another finding."""
    site.helm.unlink()
    site.file.write_bytes(b"other")
    site.registry.manifests.discard("registry.k8s.io/pause/manifests/3")
    assert codes(site.look()) == ["mirror_chart_missing", "mirror_image_missing"]


def test_a_password_in_the_address_of_a_chart_is_sent_to_nobody(site: Site) -> None:
    told = site.look(
        cert_manager_chart="oci://me:c4n4ry@quay.io/jetstack/charts/cert-manager",
        pod_network_chart="https://me:c4n4ry@example.org/f.tgz",
    )
    assert told == [] and site.asked == [] and site.commands() == []


def test_another_minor_of_kubernetes(site: Site) -> None:
    told = site.look(Cluster("1.35.4", False), **{_fleet_images.CLUSTER: {"proxy": {"disabled": True}}})
    assert [(finding.code, finding.severity) for finding in told] == [("images_unknown", "info")]
    assert "kubeadm config images list --kubernetes-version v1.35.4" in told[0].hint
