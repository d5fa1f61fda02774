"""The lab's artifact mirror: a file server and a registry in one container. Its content is made once and kept in the
cache.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.machine import is_reachable
from lab.machines import containers, rootfs
from lab.mirror import artifacts, charts, images, oci
from lab.mirror.artifacts import MIRROR
from lab.mirror.source import ENV_ENGINE
from lab.process import LabError, alone, run
from lab.settings import Fleet

REGISTRY = MIRROR / "registry"
PUSHED = MIRROR / "pushed.json"
REGISTRY_PORT = 5000

_CONFIGURATION = """\
version: 0.1
log: {{level: warn}}
storage:
  filesystem: {{rootdirectory: {directory}}}
  maintenance: {{readonly: {{enabled: {readonly}}}, uploadpurging: {{enabled: false}}}}
http: {{addr: "{address}"}}
"""


@dataclass(frozen=True)
class Push:
    """One thing to have in the registry: a reference, what makes it differ, and what to say about it."""

    reference: str
    key: str
    served: images.Served | None = None
    source: str = ""  # skopeo's name of an image that the user gave, or a chart's file


def engine_source(given: str, variable: str = ENV_ENGINE) -> str:
    """Skopeo's name for the image that a variable names: a reference, an archive of docker or OCI, or an OCI layout."""
    path = Path(given)
    if path.is_dir():
        return f"oci:{path.resolve()}"
    if path.is_file():
        names = run("tar", "--list", "--file", str(path)).stdout.split()
        kind = "docker-archive" if "manifest.json" in names else "oci-archive"
        return f"{kind}:{path.resolve()}"
    if given.startswith(("/", "./", "../")):
        raise LabError(
            f"{variable} names {given}, which is not there; expected an image archive, an OCI layout or a reference"
        )
    transport, colon, _rest = given.partition(":")
    if colon and transport in (
        "docker",
        "docker-archive",
        "docker-daemon",
        "oci",
        "oci-archive",
        "containers-storage",
        "dir",
    ):
        return given
    return f"docker://{given}"


def _source_key(source: str) -> str:
    path = Path(source.partition(":")[2])
    return f"{source} {path.stat().st_size} {path.stat().st_mtime_ns}" if path.is_file() else source


def wanted(engine_image: str, upstream: bool, packed: Mapping[str, Path]) -> list[Push]:
    """What the registry must hold. With upstream within reach, only what upstream does not have, and what shares its
    host name.
    """
    engines = (images.ENGINE, images.ENGINE_BEFORE)
    stand_ins = [
        served for served in images.stand_ins() if served.reference not in engines or not (engine_image or upstream)
    ]
    served = stand_ins if upstream else [*images.real_parts(), *stand_ins]
    pushes = [Push(one.reference, one.key(), served=one) for one in served]
    if upstream:
        controller = (
            f"docker.io/summerwind/actions-runner-controller:{images.PROGRAMS['actions-runner-controller'].version}"
        )
        pushes.append(Push(controller, f"docker://{controller}", source=f"docker://{controller}"))
    if engine_image:
        source = engine_source(engine_image)
        pushes.append(Push(images.ENGINE, _source_key(source), source=source))
    return [*pushes, *(Push(reference, str(path), source=str(path)) for reference, path in packed.items())]


def missing(pushes: Sequence[Push], pushed: dict[str, str]) -> list[Push]:
    """What is not in the registry yet, or is another one."""
    return [push for push in pushes if pushed.get(push.reference) != push.key]


def fill(pushes: Sequence[Push]) -> None:
    """Bring the registry's storage to hold these."""
    with alone(PUSHED):
        pushed: dict[str, str] = json.loads(PUSHED.read_text()) if PUSHED.exists() else {}
        todo = missing(pushes, pushed)
        if not todo:
            return
        started = time.monotonic()
        with _registry() as address:
            for push in todo:
                _push(push, address)
                pushed[push.reference] = push.key
                unfinished = PUSHED.with_suffix(".new")
                unfinished.write_text(json.dumps(pushed, indent=1, sort_keys=True))
                unfinished.rename(PUSHED)
        print(f"mirror: {len(todo)} images and charts put in ({time.monotonic() - started:.0f} s)", flush=True)


def _push(push: Push, address: str) -> None:
    if push.served is None and push.source.endswith(".tgz"):
        folder = push.reference.rpartition("/")[0]
        run(str(charts.helm()), "push", push.source, f"oci://{address}/{folder}", "--plain-http")
        return
    destination = ("--dest-tls-verify=false", f"docker://{address}/{push.reference}")
    if push.served is None:
        run("skopeo", "copy", "--quiet", push.source, *destination)
        return
    with tempfile.TemporaryDirectory(dir=MIRROR, prefix=".image-") as scratch:
        base = rootfs.build(push.served.base) if push.served.base else None
        oci.write_layout(push.served.image, Path(scratch, "image"), artifacts.ARCHITECTURE, base)
        run("skopeo", "copy", "--quiet", "--preserve-digests", f"oci:{scratch}/image", *destination)


@contextmanager
def _registry() -> Iterator[str]:
    """A registry on loopback that writes to the storage, for as long as it takes to fill it."""
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    address = f"127.0.0.1:{port}"
    REGISTRY.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", suffix=".yml", dir=MIRROR) as file:
        file.write(_CONFIGURATION.format(directory=REGISTRY, readonly="false", address=address))
        file.flush()
        environment = dict(os.environ, OTEL_TRACES_EXPORTER="none")
        server = subprocess.Popen(
            ["docker-registry", "serve", file.name],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            deadline = time.monotonic() + 20
            while not is_reachable("127.0.0.1", port):
                if server.poll() is not None or time.monotonic() > deadline:
                    raise LabError(
                        "docker-registry did not start: try `docker-registry serve` "
                        f"with\n{Path(file.name).read_text()}"
                    )
                time.sleep(0.1)
            yield address
        finally:
            server.terminate()
            server.wait()


def start(fleet: Fleet, tree: artifacts.Tree | None) -> bool:
    """Serve files on port 80 and images on port 5000 of the fleet's network; returns whether the container was made."""
    configuration = fleet.directory / "registry.yml"
    configuration.write_text(
        _CONFIGURATION.format(directory="/srv/registry", readonly="true", address=f":{REGISTRY_PORT}")
    )
    arguments = ["--volume", f"{REGISTRY}:/srv/registry:ro", "--volume", f"{configuration}:/etc/registry.yml:ro"]
    if tree is not None:
        arguments += ["--volume", f"{tree.root}:/srv/files:ro"]
    command = "docker-registry serve /etc/registry.yml & exec python3 -m http.server 80 --directory /srv/files"
    image = rootfs.podman_image(rootfs.SERVICES)
    made = containers.service(fleet, "mirror", fleet.mirror_address, image, arguments, "sh", "-c", command)
    deadline = time.monotonic() + 20
    while not all(is_reachable(fleet.mirror_address, port) for port in (80, REGISTRY_PORT)):
        if time.monotonic() > deadline:
            raise LabError(f"the mirror does not answer: see `podman logs {fleet.container('mirror')}`")
        time.sleep(0.1)
    return made


def describe(fleet: Fleet, tree: artifacts.Tree | None) -> dict[str, object]:
    """The fleet's mirror as fleet_mirror names it; without files only the registry."""
    registry = {"registry": f"{fleet.mirror_address}:{REGISTRY_PORT}", "registry_plain_http": True}
    return {"url": f"http://{fleet.mirror_address}", **registry, "checksums": tree.checksums()} if tree else registry
