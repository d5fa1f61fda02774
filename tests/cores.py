"""Run stages of tests/run.py on every ansible-core that this machine has a Python for, each in an environment of its
own: make test-cores.

  python tests/cores.py                  unit, sanity and refusals
  python tests/cores.py unit default     these stages

A core without its Python is said not to have been run, and counts as nothing. Logs are in tests/output/core-<version>/.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from lab.cores import CORES, Core, find, python_for, requirements  # noqa: E402

OUTPUT = ROOT / "tests/output"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "runnerfleet"
STAGES = ("unit", "sanity", "refusals")


def missing(core: Core, pythons: Mapping[int, str]) -> str:
    """Why a core is not run here, empty where it is."""
    if python_for(core, pythons):
        return ""
    there = ", ".join(f"3.{minor}" for minor in sorted(pythons)) or "none"
    return f"not run: it needs {core.pythons}; found {there}"


def counted(output: str) -> tuple[int, int]:
    """Passed and failed, from the last line of tests/run.py; a run that did not get there has failed."""
    found = re.findall(r"^(\d+) passed, (\d+) failed$", output, re.MULTILINE)
    return (int(found[-1][0]), int(found[-1][1])) if found else (0, 1)


def environment(core: Core, python: str) -> Path:
    """The programs of an environment with this core, made unless it is there."""
    wanted = requirements((ROOT / "requirements.txt").read_text(), core)
    tools = "\n".join(
        line for line in (ROOT / "requirements-dev.txt").read_text().splitlines() if not line.startswith("-r ")
    )
    key = hashlib.sha256("\n".join([python, wanted, tools]).encode()).hexdigest()[:12]
    directory = CACHE / f"venv-core-{core.version}-{key}"
    if not (directory / ".compiled").exists():
        subprocess.run([python, "-m", "venv", "--clear", str(directory)], check=True)
        listed = directory / "requirements.txt"
        listed.write_text(f"{wanted}\n{tools}\n")
        pip = [str(directory / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
        subprocess.run([*pip, "-r", str(listed)], check=True)
        compiled = [str(directory / "bin/python"), "-m", "compileall", "-q", "-j", "0", "-x", "ansible_collections"]
        subprocess.run([*compiled, str(directory / "lib")], check=True)
        (directory / ".compiled").touch()
    return directory / "bin"


def run(core: Core, python: str, stages: Sequence[str]) -> tuple[int, int]:
    """Run the stages on one core, and put their logs aside."""
    try:
        programs = environment(core, python)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"ansible-core {core.version}: no environment with {python}: {error}", flush=True)
        return 0, 1
    path = os.pathsep.join([str(programs), os.environ.get("PATH", os.defpath)])
    command = [str(programs / "python"), str(ROOT / "tests/run.py"), *stages]
    lines = []
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "PATH": path}, stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout or ():
            print(f"  {line}", end="", flush=True)
            lines.append(line)
    aside = OUTPUT / f"core-{core.version}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    for stage in stages:
        for log in OUTPUT.glob(f"{stage}.*"):
            shutil.move(log, aside / log.name)
    return counted("".join(lines))


def main() -> int:
    """Run what can be run, the oldest core first; say what was not."""
    parser = argparse.ArgumentParser(description="Run stages on every ansible-core that there is a Python for.")
    parser.add_argument("stages", nargs="*", default=STAGES, metavar="stage", help=f"default: {' '.join(STAGES)}")
    stages = parser.parse_args().stages
    pythons, told, sums = find(), [], [0, 0]
    for core in reversed(CORES):
        why = missing(core, pythons)
        if not why:
            python = python_for(core, pythons)
            print(f"ansible-core {core.version} (ansible {core.ansible}) on {python}", flush=True)
            passed, failed = run(core, python, stages)
            sums = [sums[0] + passed, sums[1] + failed]
            why = f"{', '.join(stages)} on {python}: {passed} passed, {failed} failed"
        told.append(f"ansible-core {core.version}: {why}")
    print("\n".join([*told, f"{sums[0]} passed, {sums[1]} failed"]), flush=True)
    return int(sums[1] > 0 or sums[0] == 0)


if __name__ == "__main__":
    sys.exit(main())
