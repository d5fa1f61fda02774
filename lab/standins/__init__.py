"""Programs that stand in for what the lab cannot have: the Dagger engine's image, GitHub, and the official runner's
image.

They are Go programs; the engine's alone needs a library, for the database that it leaves.
`docs/stand-ins.md` says what each does and where it is weaker than the real thing.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from lab.process import alone
from lab.programs import CACHE, BuildError

SOURCE = Path(__file__).parent
PROGRAMS = ("engine", "dagger", "github", "runner")
DEFAULT_ENGINE_VERSION = "v0.21.11"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
RUNNER_ID = 1001


@dataclass(frozen=True)
class Image:
    """What goes into an image of one layer and a config.

    files: path in the image to a file of this machine (copied, mode 0755) or to a text (mode 0644).
    links: path in the image to what the symbolic link says.
    directories: path in the image to (uid, gid, mode), for those that are not just parents owned by root, mode 0755.
    Everything else is owned by root. `user` is numeric, so that runAsNonRoot can be checked.
    """

    repository: str
    entrypoint: tuple[str, ...]
    files: Mapping[str, Path | str]
    links: Mapping[str, str] = field(default_factory=dict)
    directories: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = "0:0"
    working_directory: str = "/"
    labels: Mapping[str, str] = field(default_factory=lambda: {"dev.runnerfleet.stand-in": "true"})


def _sources() -> list[Path]:
    return sorted(
        path
        for path in SOURCE.rglob("*")
        if path.name in ("go.mod", "go.sum")
        or (path.suffix == ".go" and "testdata" not in path.parts and not path.name.endswith("_test.go"))
    )


def _fingerprint(engine_version: str) -> str:
    digest = hashlib.sha256(engine_version.encode())
    for path in _sources():
        digest.update(f"{path.relative_to(SOURCE)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def build(engine_version: str = DEFAULT_ENGINE_VERSION) -> dict[str, Path]:
    """Build the programs unless they are cached; returns the file of each. Safe to kill and to call from several
    processes.
    """
    base = CACHE / "standins"
    target = base / _fingerprint(engine_version)
    with alone(target):
        if not target.exists():
            print("building the stand-ins", flush=True)
            with tempfile.TemporaryDirectory(dir=base, prefix=".new-") as scratch:
                output = Path(scratch) / "programs"
                _compile(output, engine_version)
                output.rename(target)
    return {name: target / name for name in PROGRAMS}


def _compile(output: Path, engine_version: str) -> None:
    output.mkdir()
    environment = dict(os.environ, CGO_ENABLED="0", GOWORK="off", GOFLAGS="-mod=mod -trimpath -buildvcs=false")
    flags = f"-s -w -X main.version={engine_version}"
    for name in PROGRAMS:
        command = ["go", "build", "-ldflags", flags, "-o", str(output / name), f"./{name}"]
        done = subprocess.run(command, cwd=SOURCE, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BuildError(f"stand-in {name}:\n{done.stderr[-4000:]}")


def _applets(busybox: Path) -> list[str]:
    done = subprocess.run([str(busybox), "--list"], capture_output=True, text=True, check=True)
    return [name for name in done.stdout.split() if name != "busybox"]


def images(busybox: Path, engine_version: str = DEFAULT_ENGINE_VERSION) -> dict[str, Image]:
    """The images by stand-in: engine, runner, set-runner and github.

    `busybox` is the static one of Debian's busybox-static.
    """
    programs = build(engine_version)
    applets = _applets(busybox)
    shell: dict[str, Path | str] = {"/bin/busybox": busybox}
    shell_links = {f"/bin/{name}": "busybox" for name in applets}
    accounts = f"root:x:0:0:root:/root:/bin/sh\nrunner:x:{RUNNER_ID}:{RUNNER_ID}:runner:/home/runner:/bin/sh\n"
    groups = f"root:x:0:\nrunner:x:{RUNNER_ID}:\n"
    common = {"/etc/passwd": accounts, "/etc/group": groups, **shell}
    temporary = {"/tmp": (0, 0, 0o1777)}
    # /bb is the root filesystem of the proof's pipeline: it has to be found by its parts, so its links are relative as
    # well.
    runner = Image(
        "docker.io/summerwind/actions-runner",
        ("/usr/local/bin/runner",),
        {**common, "/usr/local/bin/runner": programs["runner"], "/bb/bin/busybox": busybox},
        {**shell_links, **{f"/bb/bin/{name}": "busybox" for name in applets}},
        {**temporary, "/runner": (RUNNER_ID, RUNNER_ID, 0o755), "/home/runner": (RUNNER_ID, RUNNER_ID, 0o755)},
        {"PATH": PATH, "HOME": "/home/runner"},
        user=f"{RUNNER_ID}:{RUNNER_ID}",
        working_directory="/home/runner",
    )
    return {
        "engine": Image(
            "registry.dagger.io/engine",
            ("/usr/local/bin/dagger-entrypoint.sh",),
            {**common, "/usr/local/bin/dagger-engine": programs["engine"], "/usr/local/bin/dagger": programs["dagger"]},
            # The real one is a script that makes room for cgroups and becomes the engine.
            {**shell_links, "/usr/local/bin/dagger-entrypoint.sh": "dagger-engine"},
            {**temporary, "/var/lib/dagger": (0, 0, 0o711), "/run/dagger": (0, 0, 0o711), "/etc/dagger": (0, 0, 0o755)},
            {"PATH": PATH, "_EXPERIMENTAL_DAGGER_RUNNER_HOST": "unix:///run/dagger/engine.sock"},
        ),
        "runner": runner,
        # The official image has no entry point of its own: the controller's charts name its program.
        "set-runner": replace(
            runner,
            repository="ghcr.io/actions/actions-runner",
            links={**runner.links, "/home/runner/run.sh": "/usr/local/bin/runner"},
        ),
        # A process in the lab's network, not a part of the fleet: `--token`, `--state` and `--repositories` are its
        # options.
        "github": Image(
            "localhost/runnerfleet/github",
            ("/usr/local/bin/github",),
            {**common, "/usr/local/bin/github": programs["github"]},
            shell_links,
            temporary,
        ),
    }
