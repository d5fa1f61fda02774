"""The Helm charts that the lab's mirror serves, packaged from upstream's own sources as upstream's releases do."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from lab.process import LabError, run
from lab.programs import PROGRAMS, build, module_directory

RUNNER_CONTROLLER_CHART = "0.23.7"
SCALE_SET_CHARTS = "0.6.1"  # the last of which the controller is served as a module
# Charts that upstream keeps in a registry, and where.
IN_REGISTRY = {
    "cert-manager": "quay.io/jetstack/charts",
    "gha-runner-scale-set-controller": "ghcr.io/actions/actions-runner-controller-charts",
    "gha-runner-scale-set": "ghcr.io/actions/actions-runner-controller-charts",
}


def helm() -> Path:
    """The helm that packages charts, and that the controller uses."""
    return build(PROGRAMS["helm"]) / "helm"


def with_versions(chart: str, version: str, app_version: str) -> str:
    """A Chart.yaml with the versions of a release."""
    chart = re.sub(r"(?m)^version:.*$", f"version: {version}", chart)
    return re.sub(r"(?m)^appVersion:.*$", f"appVersion: {app_version}", chart)


def _copy(source: Path, target: Path) -> None:
    # Go's module cache is read-only, its copy must not be.
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    for path in (target, *target.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _source(program: str, path: str) -> Path:
    found = module_directory(PROGRAMS[program].module, PROGRAMS[program].version) / path
    if not found.is_dir():
        raise LabError(f"{program} {PROGRAMS[program].version} has no {path} in its module")
    return found


def _stage_cert_manager(directory: Path) -> Path:
    """Upstream keeps a source tree: the chart's versions, its README and the CRDs are put in when it is released."""
    version, chart = PROGRAMS["cert-manager"].version, directory / "cert-manager"
    _copy(_source("cert-manager", "deploy/charts/cert-manager"), chart)
    template = (chart / "Chart.template.yaml").read_text().replace("{{IS_PRERELEASE}}", "false")
    (chart / "Chart.yaml").write_text(with_versions(template, version, version))
    for leftover in ("Chart.template.yaml", "README.template.md", "signkey_annotation.txt"):
        (chart / leftover).unlink(missing_ok=True)
    crds = sorted(_source("cert-manager", "deploy/crds").glob("crd-*.yaml"))
    parts = [
        "{{- if .Values.installCRDs }}\n",
        "---\n".join(path.read_text().rstrip() + "\n" for path in crds),
        "{{- end }}\n",
    ]
    (chart / "templates" / "crds.yaml").write_text("".join(parts))
    return chart


def _stage_runner_controller(directory: Path) -> Path:
    name = "actions-runner-controller"
    chart = directory / name
    _copy(_source(name, f"charts/{name}"), chart)
    (chart / "Chart.yaml").write_text(
        with_versions(
            (chart / "Chart.yaml").read_text(), RUNNER_CONTROLLER_CHART, PROGRAMS[name].version.removeprefix("v")
        )
    )
    return chart


def _stage_flannel(directory: Path) -> Path:
    chart = directory / "flannel"
    _copy(_source("flanneld", "chart/kube-flannel"), chart)
    return chart


def _scale_set_chart(name: str) -> Callable[[Path], Path]:
    def stage(directory: Path) -> Path:
        chart = directory / name
        _copy(_source("scale-set-controller", f"charts/{name}"), chart)
        text = (chart / "Chart.yaml").read_text()
        (chart / "Chart.yaml").write_text(with_versions(text, SCALE_SET_CHARTS, SCALE_SET_CHARTS))
        return chart

    return stage


def version(name: str) -> str:
    """The version of a chart that upstream keeps in a registry."""
    return PROGRAMS[name].version if name in PROGRAMS else SCALE_SET_CHARTS


def package(directory: Path) -> dict[str, Path]:
    """Package the charts into a directory; returns the file of each."""
    packages = {}
    for name, stage in (
        ("cert-manager", _stage_cert_manager),
        ("actions-runner-controller", _stage_runner_controller),
        ("flannel", _stage_flannel),
        ("gha-runner-scale-set-controller", _scale_set_chart("gha-runner-scale-set-controller")),
        ("gha-runner-scale-set", _scale_set_chart("gha-runner-scale-set")),
    ):
        output = directory / f"{name}-package"
        run(str(helm()), "package", str(stage(directory / "charts")), "--destination", str(output))
        packages[name] = next(output.glob("*.tgz"))
    return packages
