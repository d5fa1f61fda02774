"""Which ansible-core runs on which Python, and which Pythons this machine has. It needs no packages: what it tells
makes the environment.

python3 -m lab.cores      the Python for the environment: one that the newest ansible-core runs on
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# What an environment and its tools need of a Python, and what a Debian package may leave out.
NEEDED = "ensurepip, sqlite3, ssl, venv"


@dataclass(frozen=True)
class Core:
    """A line of ansible-core.

    ansible: version of the package that has it with its collections. minors: the first and the last Python 3 of
    controllers. pip: the version that its ansible-test puts into its environments.
    """

    version: str
    ansible: str
    minors: tuple[int, int]
    pip: str

    @property
    def pythons(self) -> str:
        """For people."""
        return f"Python 3.{self.minors[0]} to 3.{self.minors[1]}"


# The newest first.
CORES = (
    Core("2.21", "14.5.0", (12, 14), "25.2"),
    Core("2.20", "13.8.0", (12, 14), "25.2"),
    Core("2.19", "12.3.0", (11, 13), "24.2"),
)


def python_for(core: Core, pythons: Mapping[int, str]) -> str:
    """The newest Python here that it runs on, empty where there is none. `pythons`: programs by the minor of their
    Python 3.
    """
    fitting = [minor for minor in pythons if core.minors[0] <= minor <= core.minors[1]]
    return pythons[max(fitting)] if fitting else ""


def best_python(pythons: Mapping[int, str], otherwise: str) -> str:
    """The Python for the newest ansible-core that can run here; `otherwise` where none can, for pip to say why not."""
    return next((found for core in CORES if (found := python_for(core, pythons))), otherwise)


def requirements(text: str, core: Core) -> str:
    """A requirements file with the package of one ansible-core in the place of the usual ones."""
    kept = [line for line in text.splitlines() if not re.match(r"ansible==", line)]
    return "\n".join([*kept, f"ansible=={core.ansible}", ""])


def find() -> dict[int, str]:
    """The Pythons of this machine that an environment can be made with: those on PATH, and those that pyenv keeps."""
    kept = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    found = {}
    for minor in range(min(core.minors[0] for core in CORES), max(core.minors[1] for core in CORES) + 1):
        named = shutil.which(f"python3.{minor}")
        versions = sorted(
            kept.glob(f"3.{minor}.*/bin/python3.{minor}") if os.access(kept, os.R_OK | os.X_OK) else (),
            key=lambda path: [int(part) for part in re.findall(r"\d+", str(path))],
        )
        candidates = [*([named] if named else []), *map(str, reversed(versions)), sys.executable]
        usable = next((program for program in candidates if _works(program, minor)), "")
        # As it is called outside of an environment: one that this program itself runs in has it by another path.
        found.update({minor: os.path.realpath(usable)} if usable else {})
    return found


def _works(program: str, minor: int) -> bool:
    """Whether it is that Python, and a whole one. A shim of pyenv for a version that is not switched on is none."""
    try:
        told = subprocess.run(
            [program, "-c", f"import sys, {NEEDED}; print(sys.version_info.minor)"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return told.returncode == 0 and told.stdout.strip() == str(minor)


if __name__ == "__main__":
    print(best_python(find(), os.path.realpath(sys.executable)))
