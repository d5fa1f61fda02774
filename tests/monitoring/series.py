"""The series of a small fleet, as Prometheus keeps them after the labels that the PodMonitor sets."""

from __future__ import annotations

import re
from pathlib import Path

RECORDED = Path(__file__).parent / "recorded"
SAMPLE = re.compile(r"^([a-z_]+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
NAME = re.compile(r"\b(?:dagger|runnerfleet|kube|container)_[a-z_]+\b")


def recorded(name: str) -> dict[str, float]:
    """The samples of a recorded page of metrics."""
    return {
        found[0]: float(found[2]) for found in SAMPLE.findall((RECORDED / f"{name}.prom").read_text(encoding="utf-8"))
    }


def labelled(name: str, /, **labels: str) -> str:
    """A series' name."""
    tags = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return f"{name}{{{tags}}}"


def engine(name: str, pod: str = "a", node: str = "runner-1", version: str = "0.21.8") -> str:
    """A series of the engine itself."""
    job = f"dagger-engine-{version.replace('.', '-')}"
    return labelled(
        f"dagger_{name}", node=node, version=version, engine=job, instance="10.0.0.7:9090", pod=f"{job}-{pod}"
    )


def state(name: str, pod: str = "a", node: str = "runner-1", version: str = "0.21.8") -> str:
    """A series of the exporter beside it."""
    job = f"dagger-engine-{version.replace('.', '-')}"
    return labelled(
        f"runnerfleet_engine_{name}", node=node, version=version, engine=job, instance="0", pod=f"{job}-{pod}"
    )


def runner(name: str = "runner-x", node: str = "runner-1", ready: int = 1) -> dict[str, str]:
    """A runner's pod, as kube-state-metrics shows it."""
    pod = {"namespace": "arc-runners", "pod": name}
    return {
        labelled("kube_pod_info", **pod, node=node): "1x60",
        labelled("kube_pod_status_ready", **pod, condition="true"): f"{ready}x60",
        labelled("kube_pod_status_ready", **pod, condition="false"): f"{1 - ready}x60",
    }


def engine_pod(name: str = "dagger-engine-runner-0-21-8-a", node: str = "runner-1", ready: int = 1) -> dict[str, str]:
    """An engine's pod, as kube-state-metrics shows it."""
    pod = {"namespace": "dagger", "pod": name}
    return {
        labelled("kube_pod_info", **pod, node=node): "1x60",
        labelled("kube_pod_container_status_ready", **pod, container="engine"): f"{ready}x60",
    }
