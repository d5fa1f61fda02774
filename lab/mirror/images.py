"""The images that the lab's mirror serves, made from the programs that the lab builds."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from lab.machines import rootfs
from lab.machines.rootfs import TOOLS, Rootfs
from lab.mirror.charts import SCALE_SET_CHARTS
from lab.process import alone, run
from lab.programs import CACHE, PROGRAMS, build, module_directory
from lab.standins import PATH, Image
from lab.standins import images as standin_images

ENGINE = "registry.dagger.io/engine:v0.21.11"
ENGINE_BEFORE = "registry.dagger.io/engine:v0.21.10"  # beside it in a pool of molecule/two_pools
SET_RUNNER = "ghcr.io/actions/actions-runner:2.338.1"
RUNNER = "docker.io/summerwind/actions-runner:v2.335.1-ubuntu-22.04"
PAUSE_VERSION = "3.10.2"
FLANNEL_CNI_TAG = "v1.9.1-flannel3"  # What flannel's chart asks for.


@dataclass(frozen=True)
class Served:
    """An image by the name that the fleet pulls it by."""

    reference: str
    image: Image
    base: Rootfs | None = None
    stand_in: bool = False

    def key(self) -> str:
        """Changes with the content, by size and time of the files rather than by reading them."""

        def known(content: Path | str) -> object:
            return (
                content
                if isinstance(content, str)
                else [str(content), content.stat().st_size, content.stat().st_mtime_ns]
            )

        files = {name: known(content) for name, content in self.image.files.items()}
        parts = [repr(replace(self.image, files={})), files, self.base.key if self.base else ""]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _program(name: str, binary: str) -> Path:
    return build(PROGRAMS[name]) / binary


def _version(name: str) -> str:
    return PROGRAMS[name].version


def _plain(path: str, program: Path, user: str = "0:0") -> Image:
    """An image of one program, started as its own entry point."""
    directories = {"/tmp": (0, 0, 0o1777)}
    return Image(
        "", (path,), {path: program}, directories=directories, environment={"PATH": PATH}, user=user, labels={}
    )


def _kubernetes() -> Iterator[Served]:
    for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"):
        image = _plain(f"/usr/local/bin/{name}", _program("kubernetes", name))
        base = None
        if name == "kube-proxy":
            image, base = replace(image, directories={}), TOOLS
        yield Served(f"registry.k8s.io/{name}:{_version('kubernetes')}", image, base)
    kubectl = _plain("/bin/kubectl", _program("kubectl", "kubectl"))
    yield Served(f"registry.k8s.io/kubectl:{_version('kubectl')}", kubectl)
    etcd = _plain("/usr/local/bin/etcd", _program("etcd", "etcd"))
    etcd = replace(etcd, files={**etcd.files, "/usr/local/bin/etcdctl": _program("etcdctl", "etcdctl")})
    yield Served(f"registry.k8s.io/etcd:{_version('etcd').removeprefix('v')}-0", etcd)
    yield Served(
        f"registry.k8s.io/coredns/coredns:{_version('coredns')}", _plain("/coredns", _program("coredns", "coredns"))
    )
    yield Served(
        f"registry.k8s.io/pause:{PAUSE_VERSION}", replace(_plain("/pause", pause(), "65535:65535"), directories={})
    )


def _platform() -> Iterator[Served]:
    flannel = Image(
        "",
        ("/opt/bin/flanneld",),
        {
            "/opt/bin/flanneld": _program("flanneld", "flanneld"),
            "/opt/bin/install-conf": _program("install-conf", "install_conf"),
        },
        environment={"PATH": PATH},
        labels={},
    )
    yield Served(f"ghcr.io/flannel-io/flannel:{_version('flanneld')}", flannel, TOOLS)
    plugin = Image(
        "", ("/flannel",), {"/flannel": _program("flannel-cni", "flannel")}, environment={"PATH": PATH}, labels={}
    )
    yield Served(f"ghcr.io/flannel-io/flannel-cni-plugin:{FLANNEL_CNI_TAG}", plugin, TOOLS)
    for name in ("controller", "webhook", "cainjector", "ctl"):
        image = _plain(f"/app/cmd/{name}/{name}", _program("cert-manager", name), "1000:1000")
        yield Served(f"quay.io/jetstack/cert-manager-{name}:{_version('cert-manager')}", image)
    controller = "actions-runner-controller"
    manager = _plain("/manager", _program(controller, controller), "65532:65532")
    yield Served(f"docker.io/summerwind/{controller}:{_version(controller)}", manager)
    sets_controller = "scale-set-controller"
    sets = _plain("/manager", _program(sets_controller, sets_controller), "65532:65532")
    listener = _program(sets_controller, "githubrunnerscalesetlistener")
    sets = replace(sets, files={**sets.files, "/github-runnerscaleset-listener": listener})
    yield Served(f"ghcr.io/actions/gha-runner-scale-set-controller:{SCALE_SET_CHARTS}", sets)


def _policies() -> Iterator[Served]:
    """What holds network policies beside flannel, which has no chart of its own."""
    program = _plain("/bin/netpol", _program("kube-network-policies", "standard"))
    yield Served(f"registry.k8s.io/networking/kube-network-policies:{_version('kube-network-policies')}", program)


def stand_ins() -> list[Served]:
    """The images of the engine's and the runner's stand-ins."""
    made = standin_images(busybox())
    before = standin_images(busybox(), ENGINE_BEFORE.rpartition(":")[2])
    return [
        Served(ENGINE, made["engine"], stand_in=True),
        Served(ENGINE_BEFORE, before["engine"], stand_in=True),
        Served(RUNNER, made["runner"], stand_in=True),
        Served(SET_RUNNER, made["set-runner"], stand_in=True),
    ]


def real_parts() -> list[Served]:
    """The images of real programs, built from upstream's own sources."""
    return [*_kubernetes(), *_policies(), *_platform()]


def _kept(path: Path, make: Callable[[Path], None]) -> Path:
    """A file of the cache, made unless it is there."""
    with alone(path):
        if not path.exists():
            unfinished = path.with_suffix(".new")
            make(unfinished)
            unfinished.rename(path)
    return path


def pause() -> Path:
    """The program that holds a pod together, compiled from Kubernetes' source."""
    kubernetes = PROGRAMS["kubernetes"]

    def compile_it(target: Path) -> None:
        source = module_directory(kubernetes.module, kubernetes.version) / "build" / "pause" / "linux" / "pause.c"
        run("gcc", "-Os", "-Wall", "-static", f"-DVERSION=v{PAUSE_VERSION}", "-o", str(target), str(source))

    return _kept(CACHE / "programs" / f"pause-{PAUSE_VERSION}" / "pause", compile_it)


def busybox() -> Path:
    """Debian's static busybox, taken out of the tools' root file system."""

    def extract(target: Path) -> None:
        with tarfile.open(rootfs.build(TOOLS)) as tar:
            member = next(entry for entry in tar if entry.isfile() and entry.name.endswith("bin/busybox"))
            content = tar.extractfile(member)
            target.write_bytes(content.read() if content else b"")
        target.chmod(0o755)

    return _kept(CACHE / "rootfs" / f"busybox-{TOOLS.key}", extract)
