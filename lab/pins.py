"""Every pin of the project beside the newest version that can be asked for: make pins.

Package registries are asked by their own clients, pip and go, which know where those are. What no registry has is asked
at upstream. A pin that nobody answers for is told as such, with the reason, and never counts as current.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import yaml
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._pins import PINS
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet import version_matrix as _version_matrix
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from lab import golang
from lab.cores import CORES
from lab.process import LabError
from lab.programs import PROGRAMS, BuildError, module_directory
from lab.versions import Answer, Row, judge, judge_ranges, stale, summary, table

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT = 10
THREADS = 8
# What a program deploys by itself stands in its sources; those of the lab's own are had anyway.
DEPLOYED = {
    "etcd": ("kubernetes", "cmd/kubeadm/app/constants/constants.go", r'DefaultEtcdVersion = "(.+)"'),
    "coredns": ("kubernetes", "cmd/kubeadm/app/constants/constants.go", r'CoreDNSVersion = "(.+)"'),
    "pause": ("kubernetes", "cmd/kubeadm/app/constants/constants.go", r'PauseVersion = "(.+)"'),
    "flannel's CNI image": ("flanneld", "chart/kube-flannel/values.yaml", r"tag: (v\S+-flannel\d+)"),
}


@dataclass(frozen=True)
class Source:
    """Who is asked. `names`: modules, packages, repositories, files. What is told between `prefix` and `suffix` is put
    behind `stem`.
    """

    kind: str
    names: tuple[str, ...]
    prefix: str = ""
    suffix: str = ""
    stem: str = ""

    @property
    def told(self) -> str:
        """As it stands in the table."""
        if self.kind == "deployed":
            program = PROGRAMS[DEPLOYED[self.names[0]][0]]
            return f"sources of {program.module} {program.version}"
        return f"{self.kind} {', '.join(self.names)}"

    def version(self, text: str) -> str:
        """The version in what was told, empty where it is of something else."""
        if not text.startswith(self.prefix) or not text.endswith(self.suffix):
            return ""
        return self.stem + text.removeprefix(self.prefix).removesuffix(self.suffix)


@dataclass(frozen=True)
class Pin:
    """One version that is set somewhere. `parts`: how many of its numbers name its line."""

    name: str
    ours: str
    source: Source
    parts: int = 2


@dataclass(frozen=True)
class Range:
    """Versions that are named somewhere as a floor or as lines."""

    name: str
    ranges: tuple[SpecifierSet, ...]
    source: Source | None


def go(*modules: str, prefix: str = "", suffix: str = "", stem: str = "") -> Source:
    """Go modules."""
    return Source("go", modules, prefix, suffix, stem)


ARC = "actions/actions-runner-controller"
OF_PINS: dict[str, Source] = {
    # Its siblings are served whole, with 0 for the 1; of the module itself many a version is not.
    "kubernetes": go("k8s.io/api", prefix="v0.", stem="1."),
    "etcd": Source("deployed", ("etcd",)),
    "coredns": Source("deployed", ("coredns",)),
    "pause": Source("deployed", ("pause",)),
    "containerd": go("github.com/containerd/containerd/v2"),
    "runc": go("github.com/opencontainers/runc"),
    "cni_plugins": go("github.com/containernetworking/plugins"),
    "flannel": go("github.com/flannel-io/flannel"),
    "flannel_cni_plugin": Source("deployed", ("flannel's CNI image",)),
    "network_policies": go("sigs.k8s.io/kube-network-policies"),
    "helm": go("helm.sh/helm/v3", "helm.sh/helm/v4"),
    "cert_manager": go("github.com/cert-manager/cert-manager"),
    "arc_legacy_chart": Source("releases", (ARC,), "actions-runner-controller-"),
    "arc_legacy": go(f"github.com/{ARC}"),
    "arc_scale_set": Source("releases", (ARC,), "gha-runner-scale-set-"),
    "engine": Source("pip", ("dagger-io",)),
    "runner": Source("releases", ("actions/runner",)),
    "runner_legacy": Source("file", (f"{ARC}/master/runner/VERSION",), "RUNNER_VERSION="),
}
COLLECTIONS = {"kubernetes.core": Source("releases", ("ansible-collections/kubernetes.core",))}
OF_MATRIX = {**OF_PINS, "python_client": Source("pip", ("kubernetes",))}
# Programs of the lab that are what kubeadm deploys: their pins tell.
OF_KUBEADM = ("etcd", "etcdctl", "coredns")
# Packages whose line is their first number.
BY_MAJOR = ("ansible", "kubernetes")


class NotAskedError(RuntimeError):
    """Nobody answered; the text says why."""


def required(text: str) -> list[Requirement]:
    """The packages of a requirements file."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


def pinned_packages(file: str, text: str) -> list[Pin]:
    """The packages of a requirements file that have one version."""
    found = []
    for package in required(text):
        exact = [str(one.version) for one in package.specifier if one.operator == "=="]
        where = f" ({package.marker})" if package.marker else ""
        parts = 1 if package.name in BY_MAJOR else 2
        found += [
            Pin(f"{file}: {package.name}{where}", version, Source("pip", (package.name,)), parts) for version in exact
        ]
    return found


def unpinned(text: str) -> list[str]:
    """The packages of a requirements file that take whatever is newest."""
    return [package.name for package in required(text) if not package.specifier]


def floors(galaxy: Mapping[str, object], runtime: Mapping[str, object], packages: str) -> list[Range]:
    """The oldest collections, ansible-core and packages of an execution environment that are said to do."""
    needed = galaxy.get("dependencies")
    named = needed.items() if isinstance(needed, Mapping) else ()
    found = [
        Range(f"galaxy.yml: {name}", (SpecifierSet(str(spec)),), COLLECTIONS.get(str(name))) for name, spec in named
    ]
    found.append(
        Range(
            "runtime.yml: ansible-core",
            (SpecifierSet(str(runtime["requires_ansible"])),),
            Source("pip", ("ansible-core",)),
        )
    )
    ranges = [package for package in required(packages) if package.specifier]
    return found + [
        Range(f"ee-requirements.txt: {one.name}", (one.specifier,), Source("pip", (one.name,))) for one in ranges
    ]


def lines_of_the_matrix(pairs: tuple[_version_matrix.Pair, ...], components: Mapping[str, str]) -> list[Range]:
    """The lines of each component that something is said to work with; where it has no rows of its own, those that
    others work with.
    """
    found = []
    for component in components:
        own = [pair.versions for pair in pairs if pair.component == component and pair.works]
        others = [pair.works for pair in pairs if pair.against == component and pair.works]
        ranges = tuple(range_ for ranges in own or others for range_ in ranges)
        if ranges:
            found.append(Range(f"matrix: {component}", ranges, OF_MATRIX.get(component)))
    return found


def lab_pins(collection: Mapping[str, str]) -> list[Pin]:
    """What the lab builds from at a version of its own; what it has in common with the collection is told once."""
    said = {(name, version) for pin, version in collection.items() for name in OF_PINS[pin].names}
    found: dict[tuple[str, str], Pin] = {}
    for program in PROGRAMS.values():
        key = (program.module, program.version.removeprefix("v"))
        if key not in said and program.name not in OF_KUBEADM:
            found.setdefault(key, Pin(f"lab: {program.name}", key[1], go(program.module)))
    toolchain = go("golang.org/toolchain", prefix="v0.0.1-go", suffix=".linux-amd64")
    modules = re.findall(
        r"^require (\S+) v(\S+)$", (ROOT / "lab/standins/go.mod").read_text(encoding="utf-8"), re.MULTILINE
    )
    return [
        *found.values(),
        Pin("lab: go", golang.TOOLCHAIN.removeprefix("go"), toolchain),
        *(Pin(f"lab: {module}", version, go(module)) for module, version in modules),
    ]


def everything() -> list[Pin | Range]:
    """Each pin of the project, in the order of the table."""
    read = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("requirements.txt", "requirements-dev.txt")}
    galaxy, runtime = (
        yaml.safe_load((ROOT / name).read_text(encoding="utf-8")) for name in ("galaxy.yml", "meta/runtime.yml")
    )
    matrix = _version_matrix.matrix()
    return [
        *(Pin(name, version, OF_PINS[name]) for name, version in PINS.items()),
        *(pin for file, text in read.items() for pin in pinned_packages(file, text)),
        *(Pin(f"test-cores {core.version}: ansible", core.ansible, Source("pip", ("ansible",)), 1) for core in CORES),
        *floors(galaxy, runtime, (ROOT / "meta/ee-requirements.txt").read_text(encoding="utf-8")),
        *lines_of_the_matrix(matrix.pairs, matrix.components),
        *lab_pins(PINS),
    ]


def _run(*command: str) -> str:
    # Outside of the checkout, whose own modules are none of it.
    with tempfile.TemporaryDirectory() as outside:
        try:
            done = subprocess.run(command, capture_output=True, text=True, cwd=outside, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotAskedError(f"{command[0]}: {type(error).__name__}") from error
    if done.returncode:
        told = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("WARNING")] or [
            "no answer"
        ]
        raise NotAskedError(_short(told[0]))
    return done.stdout


def _short(error: str) -> str:
    """The first line without the address that was read."""
    return re.sub(r"(reading )?https?://\S+: ", "", error.splitlines()[0])[:160]


def _go(source: Source) -> list[str]:
    return [
        version
        for module in source.names
        for version in json.loads(_run("go", "list", "-m", "-versions", "-json", module))["Versions"]
    ]


def _pip(source: Source) -> list[str]:
    # Also what asks for a newer Python than this one.
    options = ("--ignore-requires-python", "--disable-pip-version-check")
    told = _run(sys.executable, "-m", "pip", "index", "versions", *options, *source.names)
    found = re.search(r"^Available versions: (.*)$", told, re.MULTILINE)
    return found[1].split(", ") if found else []


def _deployed(source: Source) -> list[str]:
    found: list[str] = []
    for name in source.names:
        program, file, pattern = DEPLOYED[name]
        try:
            text = (module_directory(PROGRAMS[program].module, PROGRAMS[program].version) / file).read_text(
                encoding="utf-8"
            )
        except (BuildError, OSError) as error:
            raise NotAskedError(_short(str(error))) from error
        found += re.findall(pattern, text)
    return found


def _upstream(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            return str(answer.read().decode())
    except (OSError, ValueError) as error:
        raise NotAskedError(f"upstream does not answer: {getattr(error, 'reason', None) or error}") from error


def _releases(source: Source) -> list[str]:
    told = [
        json.loads(_upstream(f"https://api.github.com/repos/{name}/releases?per_page=100")) for name in source.names
    ]
    return [
        str(release["tag_name"])
        for releases in told
        for release in releases
        if not release["prerelease"] and not release["draft"]
    ]


def _file(source: Source) -> list[str]:
    return [
        line for name in source.names for line in _upstream(f"https://raw.githubusercontent.com/{name}").splitlines()
    ]


KINDS: dict[str, Callable[[Source], list[str]]] = {
    "go": _go,
    "pip": _pip,
    "deployed": _deployed,
    "releases": _releases,
    "file": _file,
}


def ask(source: Source) -> Answer:
    """What there is, or why that is not known."""
    told = source.told
    try:
        versions = [source.version(text) for text in KINDS[source.kind](source)]
    except NotAskedError as error:
        return Answer(told, problem=str(error))
    except (KeyError, TypeError, ValueError) as error:
        return Answer(told, problem=f"an answer that cannot be read: {type(error).__name__}")
    return Answer(told, tuple(version for version in versions if version))


def rows(pins: list[Pin | Range], answers: Mapping[Source, Answer]) -> Iterator[Row]:
    """Each pin with what was told of it."""
    nobody = Answer("nobody", problem="no source is known: add one to lab/pins.py")
    for pin in pins:
        answer = answers[pin.source] if pin.source else nobody
        yield (
            judge_ranges(pin.name, pin.ranges, answer)
            if isinstance(pin, Range)
            else judge(pin.name, pin.ours, answer, pin.parts)
        )


def main() -> int:
    """Ask, and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m lab.pins", description="Every pin beside the newest version that can be asked for."
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit 1 if a line has a newer patch, or a pin could not be asked for"
    )
    strict = parser.parse_args().strict
    try:
        golang.ensure()
    except LabError as error:
        print(f"Go modules cannot be asked for: {error}", file=sys.stderr)
    pins = everything()
    sources = list({pin.source: None for pin in pins if pin.source})
    with ThreadPoolExecutor(THREADS) as threads:
        answers = dict(zip(sources, threads.map(ask, sources), strict=True))
    judged = list(rows(pins, answers))
    free = [
        name
        for file in ("requirements.txt", "requirements-dev.txt")
        for name in unpinned((ROOT / file).read_text(encoding="utf-8"))
    ]
    print(table(judged))
    print(f"\nnot pinned: {', '.join(free)}")
    print(summary(judged))
    return int(strict and stale(judged))


if __name__ == "__main__":
    sys.exit(main())
