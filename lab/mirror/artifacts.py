"""The files that the lab's mirror serves: release files and charts, each where its upstream address says."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.mirror import charts
from lab.process import alone
from lab.programs import CACHE, PROGRAMS, build

MIRROR = CACHE / "mirror"
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


@dataclass(frozen=True)
class File:
    """A release file. `members`: what is packed into it, by name in the archive; a bare program has one."""

    url: str
    program: str
    members: dict[str, str]
    packed: bool


def files(architecture: str = ARCHITECTURE) -> list[File]:
    """The release files of programs, by the addresses that upstream has them at."""
    version = {name: program.version for name, program in PROGRAMS.items()}
    kubernetes = f"https://dl.k8s.io/release/{version['kubernetes']}/bin/linux/{architecture}"
    github = "https://github.com"
    containerd = version["containerd"].removeprefix("v")
    cni = version["cni-plugins"]
    plugins = [package.rsplit("/", 1)[-1] for package in PROGRAMS["cni-plugins"].packages]
    commands = [package.rsplit("/", 1)[-1] for package in PROGRAMS["containerd"].packages]
    return [
        File(f"{kubernetes}/kubelet", "kubernetes", {"kubelet": "kubelet"}, False),
        File(f"{kubernetes}/kubeadm", "kubernetes", {"kubeadm": "kubeadm"}, False),
        File(
            f"{github}/containerd/containerd/releases/download/v{containerd}/containerd-static-{containerd}-linux-{architecture}.tar.gz",
            "containerd",
            {f"bin/{command}": command for command in commands},
            True,
        ),
        File(
            f"{github}/opencontainers/runc/releases/download/{version['runc']}/runc.{architecture}",
            "runc",
            {"runc": "runc"},
            False,
        ),
        File(
            f"{github}/containernetworking/plugins/releases/download/{cni}/cni-plugins-linux-{architecture}-{cni}.tgz",
            "cni-plugins",
            {f"./{plugin}": plugin for plugin in plugins},
            True,
        ),
    ]


def chart_urls() -> dict[str, str]:
    """Charts that upstream publishes as files; cert-manager's is in a registry."""
    github, chart = "https://github.com", charts.RUNNER_CONTROLLER_CHART
    name = f"actions-runner-controller-{chart}"
    return {
        "flannel": f"{github}/flannel-io/flannel/releases/download/{PROGRAMS['flanneld'].version}/flannel.tgz",
        "actions-runner-controller": f"{github}/actions/actions-runner-controller/releases/download/{name}/{name}.tgz",
    }


def mirror_path(root: Path, url: str) -> Path:
    """Where the mirror keeps a file: the upstream address without its scheme."""
    return root / url.partition("://")[2]


@dataclass(frozen=True)
class Tree:
    """What the mirror serves as files."""

    root: Path
    charts: Mapping[str, Path]  # those of the registry, by their reference

    def checksums(self) -> dict[str, str]:
        """sha256 by upstream address; of a chart in the registry by its version too."""
        found: dict[str, str] = json.loads((self.root.parent / "checksums.json").read_text())
        return {**found, **{f"oci://{reference}": sha256(path) for reference, path in self.charts.items()}}


def _key(sources: Iterable[Path]) -> str:
    recipe = [Path(module).read_bytes() for module in (__file__, charts.__file__)]
    parts = [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in sources]
    return hashlib.sha256(b"".join([*recipe, json.dumps(parts).encode()])).hexdigest()[:16]


def tree() -> Tree:
    """The mirror's files, made unless they are cached."""
    sources = [build(PROGRAMS[file.program]) / member for file in files() for member in file.members.values()]
    directory = MIRROR / "files" / _key([*sources, charts.helm()])
    with alone(directory):
        if not directory.exists():
            print("laying out the mirror's files", flush=True)
            with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".new-") as scratch:
                _lay_out(Path(scratch, "mirror"), Path(scratch))
                Path(scratch, "mirror").rename(directory)
    packed = {
        f"{registry}/{name}:{version}": directory / "charts" / f"{name}-{version}.tgz"
        for name, registry in charts.IN_REGISTRY.items()
        for version in [charts.version(name)]
    }
    return Tree(directory / "srv", packed)


def _lay_out(directory: Path, scratch: Path) -> None:
    checksums = {}
    for file in files():
        target = mirror_path(directory / "srv", file.url)
        target.parent.mkdir(parents=True, exist_ok=True)
        _pack(file, target)
        checksums[file.url] = sha256(target)
    packages = charts.package(scratch)
    for name, url in chart_urls().items():
        target = mirror_path(directory / "srv", url)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(packages[name], target)
        checksums[url] = sha256(target)
    (directory / "charts").mkdir()
    for name in charts.IN_REGISTRY:
        shutil.move(packages[name], directory / "charts")
    (directory / "checksums.json").write_text(json.dumps(checksums, indent=1, sort_keys=True))


def _pack(file: File, target: Path) -> None:
    directory = build(PROGRAMS[file.program])
    if not file.packed:
        os.link(directory / next(iter(file.members.values())), target)
        return
    with tarfile.open(target, "w:gz", compresslevel=1) as tar:
        for name, member in file.members.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = (directory / member).stat().st_size, 0o755
            with (directory / member).open("rb") as content:
                tar.addfile(entry, content)


def sha256(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
