"""What the lab's mirror serves, and under which names."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._pins import ARTIFACTS, PINS

from lab.mirror import artifacts as mirror_artifacts
from lab.mirror import charts as mirror_charts
from lab.mirror import oci
from lab.mirror import serve as mirror_serve
from lab.mirror.source import Source
from lab.process import LabError
from lab.programs import PROGRAMS
from lab.standins import Image

PROGRAM_OF_PIN = {
    "kubernetes": "kubernetes",
    "etcd": "etcd",
    "coredns": "coredns",
    "containerd": "containerd",
    "runc": "runc",
    "cni_plugins": "cni-plugins",
    "flannel": "flanneld",
    "network_policies": "kube-network-policies",
    "helm": "helm",
    "cert_manager": "cert-manager",
    "arc_legacy": "actions-runner-controller",
}


@pytest.mark.parametrize("pin", PROGRAM_OF_PIN)
def test_programs_have_the_versions_that_the_collection_pins_or_the_inventory_is_told(pin: str) -> None:
    told = Source(upstream=False, why="", engine_image="").pins
    assert PROGRAMS[PROGRAM_OF_PIN[pin]].version == f"v{told.get(pin, PINS[pin]).removesuffix('-0')}"


def test_versions_that_the_mirror_has_otherwise(repository: Path) -> None:
    inventory = (repository / "inventories/lab/group_vars/all/fleet.yml").read_text(encoding="utf-8")
    assert all(
        f"lab.pins.{pin} | default(" in inventory for pin in Source(upstream=False, why="", engine_image="").pins
    )
    assert Source(upstream=True, why="", engine_image="").pins == {}


def test_another_patch_of_the_same_minor() -> None:
    ours, pinned = PROGRAMS["kubernetes"].version.removeprefix("v"), PINS["kubernetes"]
    assert ours.rpartition(".")[0] == pinned.rpartition(".")[0]


def test_the_chart_has_the_version_that_the_collection_pins() -> None:
    assert PINS["arc_legacy_chart"] == mirror_charts.RUNNER_CONTROLLER_CHART


@pytest.mark.parametrize("name", ["kubelet", "kubeadm", "containerd", "runc", "cni_plugins"])
def test_files_lie_where_the_collection_looks(name: str) -> None:
    artifact = ARTIFACTS[name]
    version = Source(upstream=False, why="", engine_image="").pins.get(artifact.pin, PINS[artifact.pin])
    assert artifact.upstream(version, "amd64") in [file.url for file in mirror_artifacts.files("amd64")]


def test_mirror_path_drops_the_scheme() -> None:
    assert mirror_artifacts.mirror_path(Path("/srv"), "https://dl.k8s.io/release/x") == Path("/srv/dl.k8s.io/release/x")


def test_images_have_the_names_that_the_roles_ask_for(repository: Path) -> None:
    defaults = (repository / "roles/container_runtime/defaults/main.yml").read_text(encoding="utf-8")
    from lab.mirror import images as mirror_images

    assert "registry.k8s.io/pause:" in defaults
    assert PINS["pause"] == mirror_images.PAUSE_VERSION
    assert f"v{PINS['flannel_cni_plugin']}" == mirror_images.FLANNEL_CNI_TAG
    assert f"registry.dagger.io/engine:v{PINS['engine']}" == mirror_images.ENGINE
    assert f"docker.io/summerwind/actions-runner:v{PINS['runner_legacy']}-ubuntu-22.04" == mirror_images.RUNNER


def test_chart_versions_are_put_in_and_nothing_else() -> None:
    chart = "apiVersion: v2\nname: x\n# version: of a comment\nversion: 0.0.1\nappVersion: 0.0.2\n  version: nested\n"
    assert mirror_charts.with_versions(chart, "v1", "v2") == (
        "apiVersion: v2\nname: x\n# version: of a comment\nversion: v1\nappVersion: v2\n  version: nested\n"
    )


def test_only_what_differs_is_pushed() -> None:
    pushes = [mirror_serve.Push("a", "1"), mirror_serve.Push("b", "2"), mirror_serve.Push("c", "3")]
    assert [push.reference for push in mirror_serve.missing(pushes, {"a": "1", "b": "other"})] == ["b", "c"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("registry.dagger.io/engine:v0.21.8", "docker://registry.dagger.io/engine:v0.21.8"),
        ("localhost:5000/engine@sha256:0", "docker://localhost:5000/engine@sha256:0"),
        ("docker-daemon:engine:dev", "docker-daemon:engine:dev"),
        ("containers-storage:localhost/engine", "containers-storage:localhost/engine"),
    ],
    ids=["reference", "port", "daemon", "podman"],
)
def test_engine_source_of_a_name(given: str, expected: str) -> None:
    assert mirror_serve.engine_source(given) == expected


@pytest.mark.parametrize(("member", "kind"), [("manifest.json", "docker-archive"), ("index.json", "oci-archive")])
def test_engine_source_of_an_archive(tmp_path: Path, member: str, kind: str) -> None:
    archive = tmp_path / "engine.tar"
    with tarfile.open(archive, "w") as tar:
        tar.addfile(tarfile.TarInfo(member))
    assert mirror_serve.engine_source(str(archive)) == f"{kind}:{archive}"
    assert mirror_serve.engine_source(str(tmp_path)) == f"oci:{tmp_path}"


def test_engine_source_that_is_not_there() -> None:
    with pytest.raises(LabError, match=r"LAB_ENGINE_IMAGE names /nowhere/engine\.tar, which is not there"):
        mirror_serve.engine_source("/nowhere/engine.tar")


@pytest.fixture
def image(tmp_path: Path) -> Image:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF")
    return Image(
        "example",
        ("/opt/bin/program",),
        {"/opt/bin/program": program, "/etc/passwd": "root:x:0:0::/:/bin/sh\n"},
        {"/bin/sh": "busybox"},
        {"/tmp": (0, 0, 0o1777), "/home/runner": (1001, 1001, 0o755)},
        {"PATH": "/bin"},
        user="1001:1001",
        labels={},
    )


def entries(layer: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        return {entry.name: entry for entry in tar}


def test_layer(image: Image) -> None:
    written = io.BytesIO()
    sha256 = oci.write_layer(image, written, with_parents=True)
    found = entries(written.getvalue())
    assert sha256 == hashlib.sha256(written.getvalue()).hexdigest()
    assert sorted(found) == [
        "bin",
        "bin/sh",
        "etc",
        "etc/passwd",
        "home",
        "home/runner",
        "opt",
        "opt/bin",
        "opt/bin/program",
        "tmp",
    ]
    assert (found["opt/bin/program"].mode, found["etc/passwd"].mode, found["tmp"].mode) == (0o755, 0o644, 0o1777)
    assert (found["home/runner"].uid, found["home"].uid) == (1001, 0)
    assert found["bin/sh"].linkname == "busybox"


def test_a_layer_on_a_base_leaves_its_directories_alone(image: Image) -> None:
    written = io.BytesIO()
    oci.write_layer(image, written, with_parents=False)
    assert {"bin", "etc", "opt"}.isdisjoint(entries(written.getvalue()))


def test_the_same_image_is_the_same_bytes(image: Image, tmp_path: Path) -> None:
    digests = [oci.write_layout(image, tmp_path / name, "amd64") for name in ("one", "two")]
    assert digests[0] == digests[1]


def test_layout_is_consistent(image: Image, tmp_path: Path) -> None:
    base = tmp_path / "base.tar"
    with tarfile.open(base, "w") as tar:
        tar.addfile(tarfile.TarInfo("etc"))
    digest = oci.write_layout(image, tmp_path / "layout", "amd64", base)
    blobs = tmp_path / "layout/blobs/sha256"
    assert all(hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name for blob in blobs.iterdir())
    index = json.loads((tmp_path / "layout/index.json").read_text())
    assert [entry["digest"] for entry in index["manifests"]] == [f"sha256:{digest}"]
    manifest = json.loads((blobs / digest).read_text())
    config = json.loads((blobs / manifest["config"]["digest"].removeprefix("sha256:")).read_text())
    assert [layer["digest"] for layer in manifest["layers"]] == config["rootfs"]["diff_ids"]
    assert len(manifest["layers"]) == 2
    assert config["config"]["User"] == "1001:1001"
    assert all(
        layer["size"] == (blobs / layer["digest"].removeprefix("sha256:")).stat().st_size
        for layer in manifest["layers"]
    )
