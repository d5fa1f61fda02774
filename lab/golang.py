"""A Go that is new enough for what the lab builds: an older one of the machine fetches it as the Go module that it
is.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from pathlib import Path

from lab.process import LabError, alone, run
from lab.programs import CACHE

MINIMUM = (1, 26)  # Kubernetes' own.
TOOLCHAIN = "go1.26.0"
HOME = CACHE / "go"
CURRENT = HOME / "current"
PROGRAMS = ("bin/*", "pkg/tool/*/*")  # A module's files are not executable.


def version(text: str) -> tuple[int, int]:
    """Major and minor of what `go version` prints."""
    found = re.search(r"\bgo(\d+)\.(\d+)", text)
    return (int(found.group(1)), int(found.group(2))) if found else (0, 0)


def use() -> None:
    """Find the toolchain of the cache before the machine's own Go, where there is one."""
    directories = os.environ.get("PATH", os.defpath).split(os.pathsep)
    if CURRENT.exists() and str(CURRENT / "bin") not in directories:
        os.environ["PATH"] = os.pathsep.join([str(CURRENT / "bin"), *directories])


def ensure() -> None:
    """Have a Go that is new enough on PATH."""
    use()
    if version(run("go", "version").stdout) >= MINIMUM:
        return
    fetched = fetch()
    CURRENT.unlink(missing_ok=True)
    CURRENT.symlink_to(fetched.name)
    use()


def fetch() -> Path:
    """The toolchain, taken out of the module cache unless it was before."""
    target = HOME / TOOLCHAIN
    with alone(target):
        if not target.exists():
            architecture = run("go", "env", "GOARCH").stdout.strip()
            module = f"golang.org/toolchain@v0.0.1-{TOOLCHAIN}.linux-{architecture}"
            print(f"fetching {TOOLCHAIN}: the machine's Go is older than {'.'.join(map(str, MINIMUM))}", flush=True)
            answer = json.loads(run("go", "mod", "download", "-json", module, check=False).stdout or "{}")
            if "Dir" not in answer:
                raise LabError(
                    f"cannot fetch {module}: {answer.get('Error', 'no answer')}; install Go {MINIMUM[0]}.{MINIMUM[1]} "
                    "(https://go.dev/dl/)"
                )
            with tempfile.TemporaryDirectory(dir=HOME, prefix=".new-") as scratch:
                copy = Path(scratch, "go")
                shutil.copytree(answer["Dir"], copy, copy_function=shutil.copyfile, symlinks=True)
                for path in copy.rglob("*"):
                    path.chmod(
                        0o755
                        if path.is_dir() or any(path.match(f"{copy}/{pattern}") for pattern in PROGRAMS)
                        else 0o644
                    )
                copy.chmod(0o755)
                copy.rename(target)
    return target
