"""Build the programs that the lab's mirror serves, from their Go modules.

Where upstream's download sites are out of reach, the same programs come from their modules at the versions that the
collection pins. Each one is built once and kept under the cache directory, keyed by name and version.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lab.process import alone

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "runnerfleet"
PROGRAMS_DIR = CACHE / "programs"


class BuildError(RuntimeError):
    """A program could not be built; the text is the compiler's."""


@dataclass(frozen=True)
class Program:
    """One Go module and the commands of it that the lab wants.

    packages: import paths relative to the module, each becomes a binary named after its last element (the module's
    root: after `name`). own_module: build from a module of our own that requires this one, because its go.mod replaces
    siblings by local directories. staging: version of the module's staging siblings (Kubernetes), which its go.mod
    names as v0.0.0. without: imports for their side effect that main.go does without, since what they need is not
    served as a module. changes: file, text that stands there once or more, text in its place; for what the lab's kernel
    does not have.
    """

    name: str
    module: str
    version: str
    packages: tuple[str, ...] = (".",)
    tags: str = ""
    ldflags: str = ""
    cgo: bool = False
    own_module: bool = False
    staging: str = ""
    without: tuple[str, ...] = ()
    changes: tuple[tuple[str, str, str], ...] = ()

    @property
    def directory(self) -> Path:
        """Where the built commands lie."""
        return PROGRAMS_DIR / f"{self.name}-{self.version}"

    def binary(self, package: str) -> str:
        """File name of the command built from a package."""
        return self.name if package == "." else package.rsplit("/", 1)[-1]


def _kubernetes(name: str, version: str, *commands: str) -> Program:
    major, minor, _patch = version.removeprefix("v").split(".")
    variable = "k8s.io/component-base/version"
    stamps = {
        "gitVersion": version,
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
        "gitCommit": "unknown",
    }
    return Program(
        name,
        "k8s.io/kubernetes",
        version,
        packages=tuple(f"cmd/{command}" for command in commands),
        ldflags=" ".join(f"-X {variable}.{key}={value}" for key, value in stamps.items()),
        own_module=True,
        staging=re.sub(r"^v\d+", "v0", version),
    )


# A kernel may lack nftables' own expression for a queue and yet have the target of iptables, which nftables takes as
# well (nft_compat); and one without CONFIG_NETFILTER_NETLINK_GLUE_CT drops the label by which the program knows what it
# let through, so that its state must do.
_QUEUE = (
    "\n"
    "func queueTarget(number uint16, failOpen bool) *expr.Target {\n"
    "\tinfo := make(xt.Unknown, 8) // struct xt_NFQ_info_v3: number, how many, flags\n"
    "\tbinary.NativeEndian.PutUint16(info[0:], number)\n"
    "\tbinary.NativeEndian.PutUint16(info[2:], 1)\n"
    "\tif failOpen {\n"
    "\t\tbinary.NativeEndian.PutUint16(info[4:], 1)\n"
    "\t}\n"
    '\treturn &expr.Target{Name: "NFQUEUE", Rev: 3, Info: &info}\n'
    "}\n"
    "\n"
    "// verifctString"
)
_LABEL = (
    "\t\t\t&expr.Ct{Register: 0x1, Key: expr.CtKeyLABELS},\n"
    "\t\t\t&expr.Bitwise{SourceRegister: 0x1, DestRegister: 0x1, Len: 16, Mask: "
    "generateLabelMask(c.config.CTLabelAccept), Xor: make([]byte, 16)},\n"
    "\t\t\t&expr.Cmp{Op: expr.CmpOpNeq, Register: 0x1, Data: make([]byte, 16)},\n"
)
_DATAPLANE = "pkg/dataplane/controller.go"
_WITHOUT_QUEUE = (
    (_DATAPLANE, 'import (\n\t"context"\n', 'import (\n\t"context"\n\t"encoding/binary"\n'),
    (
        _DATAPLANE,
        '\t"github.com/google/nftables/expr"\n',
        '\t"github.com/google/nftables/expr"\n\t"github.com/google/nftables/xt"\n',
    ),
    (
        _DATAPLANE,
        "queue := &expr.Queue{Num: uint16(c.config.QueueID)}\n\tif c.config.FailOpen {\n\t\tqueue.Flag = "
        "expr.QueueFlagBypass\n\t}\n",
        "queue := queueTarget(uint16(c.config.QueueID), c.config.FailOpen)\n",
    ),
    (_DATAPLANE, "\n// verifctString", _QUEUE),
    (_DATAPLANE, _LABEL, ""),
)

# The newest of the pinned minor that is served as a module; what kubeadm deploys by itself is the same.
KUBERNETES = "v1.36.5"

PROGRAMS: dict[str, Program] = {
    program.name: program
    for program in (
        _kubernetes(
            "kubernetes",
            KUBERNETES,
            "kubelet",
            "kubeadm",
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "kube-proxy",
        ),
        _kubernetes("kubectl", KUBERNETES, "kubectl"),
        Program(
            "containerd",
            "github.com/containerd/containerd/v2",
            "v2.3.7",
            ("cmd/containerd", "cmd/containerd-shim-runc-v2", "cmd/ctr"),
            tags="osusergo netgo static_build no_btrfs",
            ldflags="-X github.com/containerd/containerd/v2/version.Version=v2.3.7",
        ),
        Program(
            "runc",
            "github.com/opencontainers/runc",
            "v1.4.3",
            tags="seccomp netgo osusergo",
            ldflags="-extldflags -static -X main.version=1.4.3",
            cgo=True,
        ),
        Program(
            "cni-plugins",
            "github.com/containernetworking/plugins",
            "v1.10.0",
            tuple(
                f"plugins/{kind}"
                for kind in (
                    "main/bridge",
                    "main/loopback",
                    "main/ptp",
                    "main/host-device",
                    "ipam/host-local",
                    "meta/portmap",
                    "meta/bandwidth",
                    "meta/tuning",
                    "meta/firewall",
                )
            ),
        ),
        Program("etcd", "go.etcd.io/etcd/server/v3", "v3.6.8", own_module=True),
        Program("etcdctl", "go.etcd.io/etcd/etcdctl/v3", "v3.6.8", own_module=True),
        Program("coredns", "github.com/coredns/coredns", "v1.14.2"),
        Program(
            "flanneld",
            "github.com/flannel-io/flannel",
            "v0.28.10",
            tags="netgo osusergo",
            ldflags="-extldflags -static -X github.com/flannel-io/flannel/pkg/version.Version=v0.28.10",
            cgo=True,
            without=("github.com/flannel-io/flannel/pkg/backend/tencentvpc",),
        ),
        Program("install-conf", "github.com/flannel-io/flannel", "v0.28.10", ("cmd/install_conf",)),
        # The flannel CNI plugin left this module after v0.9.1; its present home is not a Go module that the proxy
        # serves.
        Program("flannel-cni", "github.com/containernetworking/plugins", "v0.9.1", ("plugins/meta/flannel",)),
        Program(
            "kube-network-policies",
            "sigs.k8s.io/kube-network-policies",
            "v1.1.0",
            ("cmd/kube-network-policies/standard",),
            changes=_WITHOUT_QUEUE,
        ),
        Program("helm", "helm.sh/helm/v3", "v3.22.0", ("cmd/helm",)),
        # The last line whose commands are in the root module.
        Program(
            "cert-manager",
            "github.com/cert-manager/cert-manager",
            "v1.11.5",
            ("cmd/controller", "cmd/webhook", "cmd/cainjector", "cmd/ctl"),
        ),
        Program("actions-runner-controller", "github.com/actions/actions-runner-controller", "v0.27.6"),
        # The same module has the controller of scale sets and its listener, of the charts' version 0.6.1. The
        # controller serves sets whose label says exactly what it was built as.
        Program(
            "scale-set-controller",
            "github.com/actions/actions-runner-controller",
            "v0.27.6",
            (".", "cmd/githubrunnerscalesetlistener"),
            ldflags="-X github.com/actions/actions-runner-controller/build.Version=0.6.1",
        ),
    )
}


def _environment(program: Program) -> dict[str, str]:
    flags = "-mod=mod -trimpath -buildvcs=false"
    return dict(os.environ, GOFLAGS=flags, CGO_ENABLED="1" if program.cgo else "0", GOWORK="off")


def module_directory(module: str, version: str) -> Path:
    """The unpacked source of a module in Go's own cache (it also holds the charts and CRDs that lie in the module)."""
    command = ["go", "mod", "download", "-json", f"{module}@{version}"]
    with tempfile.TemporaryDirectory() as outside:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=outside)
    answer = json.loads(done.stdout or "{}")
    if "Dir" not in answer:
        raise BuildError(f"{module} {version}: {answer.get('Error') or done.stderr}")
    return Path(answer["Dir"])


def _source_tree(program: Program, workspace: Path) -> str:
    """Lay out a tree to build in; returns the prefix of the packages to name on the command line."""
    source = module_directory(program.module, program.version)
    if not program.own_module:
        shutil.copytree(source, workspace, dirs_exist_ok=True, copy_function=shutil.copyfile)
        if program.without:
            workspace.chmod(0o755)
            main = workspace / "main.go"
            lines = main.read_text().splitlines(keepends=True)
            main.write_text("".join(line for line in lines if not any(f'"{name}"' in line for name in program.without)))
        for name, there, instead in program.changes:
            change(workspace / name, there, instead)
        return "./"
    requirements = (source / "go.mod").read_text()
    language = re.search(r"^go (\S+)$", requirements, re.MULTILINE)
    lines = ["module runnerfleet.lab/programs", f"go {language.group(1) if language else '1.26'}"]
    lines.append(f"require {program.module} {program.version}")
    if program.staging:
        siblings = sorted(set(re.findall(r"^\s*(k8s\.io/\S+) v0\.0\.0$", requirements, re.MULTILINE)))
        lines += [f"replace {sibling} => {sibling} {program.staging}" for sibling in siblings]
    imports = "\n".join(f'\t_ "{_import_path(program, package)}"' for package in program.packages)
    workspace.mkdir(parents=True, exist_ok=True)
    (workspace / "go.mod").write_text("\n\n".join(lines) + "\n")
    (workspace / "tools.go").write_text(f"//go:build tools\n\npackage tools\n\nimport (\n{imports}\n)\n")
    shutil.copyfile(source / "go.sum", workspace / "go.sum")
    return program.module + "/"


def change(path: Path, there: str, instead: str) -> None:
    """Replace a text of a source file. One that is not there is an error: another version must be looked at anew."""
    text = path.read_text()
    if there not in text:
        raise BuildError(
            f"{path.name} has no {there.strip().splitlines()[0]!r}, expected what was changed in the version before"
        )
    path.chmod(0o644)
    path.write_text(text.replace(there, instead))


def _import_path(program: Program, package: str) -> str:
    return program.module if package == "." else f"{program.module}/{package}"


def build(program: Program) -> Path:
    """Build a program unless it is cached; returns its directory. Safe to kill and to call from several processes."""
    with alone(PROGRAMS_DIR / program.name):
        if not program.directory.exists():
            with tempfile.TemporaryDirectory(dir=PROGRAMS_DIR, prefix=f".{program.name}-") as scratch:
                _compile(program, Path(scratch))
    return program.directory


def _compile(program: Program, scratch: Path) -> None:
    print(f"building {program.name} {program.version} from {program.module}", flush=True)
    prefix = _source_tree(program, scratch / "source")
    output = scratch / "output"
    output.mkdir()
    packages = {program.binary(package): package for package in program.packages}
    for binary, package in packages.items():
        path = (prefix.rstrip("/") or ".") if package == "." else prefix + package
        command = [
            "go",
            "build",
            "-tags",
            program.tags,
            "-ldflags",
            f"-s -w {program.ldflags}",
            "-o",
            str(output / binary),
            path,
        ]
        done = subprocess.run(
            command, cwd=scratch / "source", env=_environment(program), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise BuildError(f"{program.name} {program.version}, {package}:\n{done.stderr[-4000:]}")
    output.rename(program.directory)


def main(names: Iterable[str]) -> int:
    """Build the named programs, or all of them."""
    for name in list(names) or list(PROGRAMS):
        build(PROGRAMS[name])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
