"""Where a fleet's artifacts come from: upstream's own sites, or a mirror that the lab fills from Go modules and Debian
packages.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lab.machine import probe_upstream
from lab.mirror.charts import SCALE_SET_CHARTS
from lab.programs import PROGRAMS

ENV_SOURCE = "LAB_SOURCE"
ENV_ENGINE = "LAB_ENGINE_IMAGE"

STAND_INS = {
    "github": "GitHub: the lab's stand-in (queues jobs, hands out registrations)",
    "runner": "runner image: the lab's stand-in (takes one job, runs its script)",
    "engine": "Dagger engine: the lab's stand-in (set LAB_ENGINE_IMAGE to run the real one)",
}


@dataclass(frozen=True)
class Source:
    """The choice for one `up`."""

    upstream: bool
    why: str
    engine_image: str

    @property
    def name(self) -> str:
        """As it is printed and kept."""
        return "upstream" if self.upstream else "mirror"

    @property
    def stand_ins(self) -> list[str]:
        """The names of what is not the real thing."""
        real_engine = self.upstream or self.engine_image
        return [name for name in STAND_INS if name != "engine" or not real_engine]

    @property
    def engine(self) -> str:
        """Which engine the fleet runs."""
        if self.engine_image:
            return self.engine_image
        return "upstream's release" if self.upstream else "stand-in"

    @property
    def mirrored_registries(self) -> list[str]:
        """Registries whose images come from the lab: all, or with upstream within reach those that hold a stand-in or a
        given image.
        """
        if not self.upstream:
            return ["docker.io", "ghcr.io", "quay.io", "registry.dagger.io", "registry.k8s.io"]
        return ["docker.io", "registry.dagger.io"] if self.engine_image else ["docker.io"]

    @property
    def pins(self) -> dict[str, str]:
        """Versions that differ from the collection's own, because the mirror cannot have those."""
        if self.upstream:
            return {}
        own = {"cert_manager": "cert-manager", "kubernetes": "kubernetes"}
        versions = {pin: PROGRAMS[program].version.removeprefix("v") for pin, program in own.items()}
        return {**versions, "arc_scale_set": SCALE_SET_CHARTS}

    def announce(self) -> None:
        """Say what the fleet is made of."""
        print(f"artifacts: {self.name} ({self.why})")
        for name in self.stand_ins:
            print(f"stand-in: {STAND_INS[name]}")
        if "engine" not in self.stand_ins:
            print(f"engine: {self.engine}")


def choose(environment: Mapping[str, str] | None = None, probe: Callable[[], bool] = probe_upstream) -> Source:
    """Follow LAB_SOURCE (mirror, upstream or auto), and ask the network where it is auto."""
    environment = os.environ if environment is None else environment
    wanted = environment.get(ENV_SOURCE) or "auto"
    engine_image = environment.get(ENV_ENGINE, "")
    if wanted not in ("auto", "mirror", "upstream"):
        raise ValueError(f"{ENV_SOURCE} must be mirror, upstream or auto, found {wanted!r}")
    if wanted != "auto":
        return Source(wanted == "upstream", f"{ENV_SOURCE}={wanted}", engine_image)
    answers = probe()
    return Source(
        answers, f"upstream's sites {'answer' if answers else 'do not answer'}; {ENV_SOURCE} overrides", engine_image
    )
