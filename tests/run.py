"""Run everything that CI runs, and end with one line: `N passed, N failed`.

Two lanes keep two cores busy: the scenarios of the roles, which share one fleet and follow the order in which site.yml
applies them, and beside them the checks, and then site.yml on a fleet of its own. Each stage's output goes to
tests/output/<stage>.log; a failed stage's end is printed. A molecule scenario and a linter count one each, pytest and
go test count their tests. What is skipped is named and counts as nothing.

  python tests/run.py                     everything
  python tests/run.py --without-fleet     what needs no fleet
  python tests/run.py mypy unit default   these stages
  python tests/run.py nvme_vm vm replace_drive engine_faults runner_faults     what runs only when it is asked for
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import ansible
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from lab.cores import CORES  # noqa: E402
from tests.callback.leaked_secrets import secrets_in  # noqa: E402

OUTPUT = ROOT / "tests/output"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "runnerfleet"
COLLECTION = ".ansible/collections/ansible_collections/runnerfleet/baremetal"
# Scenarios that begin with site.yml; those of the roles share one fleet more.
FLEETS = dict.fromkeys(("default", "replace_drive", "engine_faults", "runner_faults"), "moleculesite")

# The roles as site.yml applies them: each scenario starts from what the ones before it left.
PIPELINE: list[str] = yaml.safe_load((ROOT / "molecule/shared/vars/pipeline.yml").read_text(encoding="utf-8"))[
    "pipeline"
]

# What follows them on their fleet.
AFTER = ["hostile", "scale_sets", "two_pools"]

# ansible-test makes an environment a test, and bootstraps pip with a script that it downloads, unless it finds one.
PIP_BOOTSTRAP = '''"""pip for ansible-test's environments, from the wheels that Python itself carries."""
import ensurepip

ensurepip.bootstrap()
'''


@dataclass
class Counts:
    """What a stage adds to the sum."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    notes: list[str] = field(default_factory=list)


def say(text: str) -> None:
    """One line, at once, from any thread."""
    print(text, flush=True)


def files() -> list[str]:
    """The files of the checkout, committed or not."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def run(stage: str, argv: list[str], *, cwd: Path = ROOT, **environment: str) -> int:
    """Run a command into the stage's log."""
    with open(OUTPUT / f"{stage}.log", "a", encoding="utf-8") as log:
        log.write(f"$ {' '.join(argv)}\n")
        log.flush()
        done = subprocess.run(
            argv,
            cwd=cwd,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    return done.returncode


def command(*argv: str, cwd: Path = ROOT) -> Callable[[str], Counts]:
    """A stage that is one command and counts one."""

    def check(stage: str) -> Counts:
        failed = run(stage, list(argv), cwd=cwd) != 0
        return Counts(passed=int(not failed), failed=int(failed))

    return check


def pytest(*argv: str) -> Callable[[str], Counts]:
    """A stage that counts its tests. A crash, or no tests at all, is one failure."""

    def check(stage: str) -> Counts:
        report = OUTPUT / f"{stage}.xml"
        code = run(stage, ["pytest", "-q", f"--junitxml={report}", *argv])
        counts = Counts()
        if report.exists():
            suites = list(ElementTree.parse(report).getroot().iter("testsuite"))
            counts.failed = sum(int(suite.get(key, 0)) for suite in suites for key in ("failures", "errors"))
            counts.skipped = sum(int(suite.get("skipped", 0)) for suite in suites)
            counts.passed = sum(int(suite.get("tests", 0)) for suite in suites) - counts.failed - counts.skipped
        if code and not counts.failed:
            counts.failed = 1
        return counts

    return check


def shellcheck(stage: str) -> Counts:
    """Every shell script."""
    scripts = [name for name in files() if name.endswith(".sh") or name.startswith(".ci/")]
    return command("shellcheck", *scripts)(stage)


def go(stage: str) -> Counts:
    """The stand-ins' own tests."""
    counts = Counts()
    for module in sorted({Path(name).parent for name in files() if name.endswith("go.mod")}):
        code = run(stage, ["go", "vet", "./..."], cwd=ROOT / module) or run(
            stage, ["go", "test", "-v", "./..."], cwd=ROOT / module
        )
        log = (OUTPUT / f"{stage}.log").read_text(encoding="utf-8")
        counts.passed = len(re.findall(r"^--- PASS: ", log, re.MULTILINE))
        counts.skipped = len(re.findall(r"^--- SKIP: ", log, re.MULTILINE))
        counts.failed = max(len(re.findall(r"^--- FAIL: ", log, re.MULTILINE)), counts.failed, int(code != 0))
    return counts


@contextmanager
def collection_tree(parent: Path | None = None) -> Iterator[Path]:
    """A copy of the checkout in a directory of the collection's name, as Galaxy lays it out."""
    with tempfile.TemporaryDirectory(dir=parent) as directory:
        tree = Path(directory, "ansible_collections/runnerfleet/baremetal")
        for name in files():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
        # Beside ours, the collection that our roles and some tests use.
        others = Path(ansible.__file__).parents[1] / "ansible_collections"
        (tree.parents[1] / "kubernetes").symlink_to(others / "kubernetes")
        yield tree


def integration(stage: str) -> Counts:
    """What needs no fleet, in ansible-test's own form. A target counts one."""
    with collection_tree() as tree:
        targets = [path.name for path in sorted((tree / "tests/integration/targets").iterdir())]
        code = run(stage, ["ansible-test", "integration", "--color", "no", "--local"], cwd=tree)
    log = (OUTPUT / f"{stage}.log").read_text(encoding="utf-8")
    ran = [name for name in targets if f"Running {name} integration test role" in log]
    passed = len(ran) - int(code != 0)
    return Counts(passed=passed, failed=len(targets) - passed)


def sanity(stage: str) -> Counts:
    """ansible-test wants a directory of the collection's name outside any repository, and gets a home of its own for
    its environments.
    """
    home = CACHE / "ansible-test"
    for pip in {core.pip for core in CORES}:
        bootstrap = home / f".ansible/test/cache/get_pip_{pip.replace('.', '_')}.py"
        bootstrap.parent.mkdir(parents=True, exist_ok=True)
        bootstrap.write_text(PIP_BOOTSTRAP, encoding="utf-8")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    with collection_tree(home) as tree:
        code = run(
            stage,
            ["ansible-test", "sanity", "--requirements", "--color", "no", "--python", python],
            cwd=tree,
            HOME=str(home),
        )
    log = (OUTPUT / f"{stage}.log").read_text(encoding="utf-8")
    ran = re.findall(r'^Running sanity test "([^"]+)"', log, re.MULTILINE)
    broken = re.search(r"^FATAL: The (\d+) sanity test", log, re.MULTILINE)
    failed = int(broken.group(1)) if broken else int(code != 0)
    return Counts(passed=len(ran) - failed, failed=failed)


def docs(stage: str) -> Counts:
    """What a documentation site makes of the plugins and roles. It wants a tree of the collection's name, as Galaxy has
    it.
    """
    with collection_tree() as tree:
        code = run(stage, ["antsibull-docs", "lint-collection-docs", "--plugin-docs", "."], cwd=tree)
    return Counts(passed=int(code == 0), failed=int(code != 0))


def take_down(fleet: str) -> None:
    """Remove a fleet of the scenarios, if it is there."""
    run("fleet", [sys.executable, "-m", "lab", "down"], LAB_FLEET=fleet)


def scenario(name: str, *options: str) -> Callable[[str], Counts]:
    """One molecule scenario; its second dry run must change nothing, and no result or line of any of its runs may have
    a secret.
    """

    def check(stage: str) -> Counts:
        # What molecule remembers of a run that did not destroy anything would let the next one skip its create step.
        with tempfile.TemporaryDirectory() as memory:
            code = run(
                stage,
                ["molecule", "test", *options, "--scenario-name", name],
                LAB_KEEP="1",
                MOLECULE_EPHEMERAL_DIRECTORY=memory,
                MOLECULE_GLOB="molecule/*/molecule.yml",
                NO_COLOR="1",
                ANSIBLE_NOCOLOR="1",
            )
        untrue = [
            f"the dry run after converge would change {host}"
            for host in _changed_by_second_check(OUTPUT / f"{stage}.jsonl")
        ]
        leaked = [*leaks(OUTPUT / f"{stage}.secrets.jsonl"), *leaks_of_log(OUTPUT / f"{stage}.log")]
        failed = int(bool(code or untrue or leaked))
        return Counts(passed=1 - failed, failed=failed, notes=untrue + leaked)

    return check


def leaks(searched: Path) -> list[str]:
    """What the callback leaked_secrets found in the runs of a scenario; that it searched none is told as well."""
    lines = (
        [json.loads(line) for line in searched.read_text(encoding="utf-8").splitlines()] if searched.exists() else []
    )
    if not sum(line["searched"] for line in lines):
        return ["no result was searched for secrets"]
    return [
        "a secret ({secret}) is in {where} of task '{task}'{on}, {playbook}".format(
            **leak, on=leak["host"] and f" on {leak['host']}"
        )
        for line in lines
        for leak in line["leaks"]
    ]


def leaks_of_log(log: Path) -> list[str]:
    """The same for what was printed, tables and errors that are no result among it."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return [
        f"a secret ({secret}) is in line {number} of {log.name}"
        for number, line in enumerate(lines, 1)
        for secret in secrets_in(line)
    ]


def _changed_by_second_check(costs: Path) -> list[str]:
    lines = [json.loads(line) for line in costs.read_text(encoding="utf-8").splitlines()] if costs.exists() else []
    dry_runs = [line for line in lines if line["check"] and line["playbook"] == "converge.yml"]
    return [host for line in dry_runs[1:] for host, counts in line["hosts"].items() if counts["changed"]]


TOOLS = ("tests/run.py", "tests/cores.py", "tests/callback/leaked_secrets.py")
CHECKS: dict[str, Callable[[str], Counts]] = {
    "ruff": command("ruff", "check", "."),
    "ruff-format": command("ruff", "format", "--check", "."),
    "mypy": command("mypy", f"{COLLECTION}/plugins", "lab", *TOOLS, *map(str, (ROOT / "roles").glob("*/files/*.py"))),
    "yamllint": command("yamllint", "--strict", "."),
    "shellcheck": shellcheck,
    "changelog": command("antsibull-changelog", "lint"),
    "unit": pytest("-n", "2", "tests/unit"),
    "refusals": pytest("tests/refusals"),
    "monitoring": pytest("tests/monitoring"),
    "facts": pytest("tests/facts"),
    "devices": pytest("tests/devices"),
    "go": go,
    "ansible-lint": command("ansible-lint"),
    "docs": docs,
    "integration": integration,
    "sanity": sanity,
}
# Their fleets are taken down here, where the last scenario of each is known.
SCENARIOS = {name: scenario(name, "--destroy=never") for name in (*FLEETS, *PIPELINE, *AFTER)}
# Without KVM these take long: `make test-nvme`, not `make test`. One after the other, since each boots a machine.
MACHINES = {"nvme_vm": scenario("nvme_vm"), "vm": pytest("tests/vm")}
ASKED_FOR = (*MACHINES, "replace_drive", "engine_faults", "runner_faults")


def perform(stage: str, check: Callable[[str], Counts]) -> Counts:
    """Run one stage and say how it went."""
    for old in OUTPUT.glob(f"{stage}.*"):
        old.unlink()
    start = time.monotonic()
    try:
        counts = check(stage)
    except Exception as error:  # a broken stage is a failed stage, and the others still run
        counts = Counts(failed=1, notes=[f"{type(error).__name__}: {error}"])
    if not counts.passed and not counts.failed:
        counts.failed, counts.notes = 1, ["nothing ran"]
    skipped = f", {counts.skipped} skipped" if counts.skipped else ""
    say(f"{stage:18} {time.monotonic() - start:6.0f} s   {counts.passed} passed, {counts.failed} failed{skipped}")
    if counts.failed:
        log = OUTPUT / f"{stage}.log"
        ending = log.read_text(encoding="utf-8", errors="replace").splitlines()[-40:] if log.exists() else []
        say("\n".join(f"    {line}" for line in [*ending, *counts.notes, f"(all of it: {log.relative_to(ROOT)})"]))
    return counts


def checks(names: list[str]) -> Iterator[Counts]:
    """Stages that stand alone, one after another."""
    for name in names:
        yield perform(name, {**CHECKS, **MACHINES}[name])


def scenarios(names: list[str]) -> Iterator[Counts]:
    """The scenarios of one fleet, in their order. What cannot run because of an earlier failure has failed."""
    fleet = FLEETS.get(names[0], "molecule")
    converged = CACHE / "fleets" / fleet / "converged"
    broken = ""
    for name in names:
        if broken:
            say(f"{name:18} not run: {broken} did not converge")
            yield Counts(failed=1)
            continue
        if name in FLEETS or name == names[0]:
            take_down(fleet)
        yield perform(name, SCENARIOS[name])
        if name in PIPELINE and not (converged / name).exists():
            broken = name
    take_down(fleet)


def main() -> int:
    """Run the stages in lanes and print the sum."""
    parser = argparse.ArgumentParser(description="Run the tests.")
    parser.add_argument(
        "stages",
        nargs="*",
        choices=[[], *CHECKS, *SCENARIOS, *MACHINES],
        metavar="stage",
        help=f"default: all but {', '.join(ASKED_FOR)}",
    )
    parser.add_argument("--without-fleet", action="store_true", help="no molecule scenarios")
    arguments = parser.parse_args()
    everything = [*CHECKS, *(SCENARIOS if not arguments.without_fleet else ())]
    wanted = arguments.stages or [name for name in everything if name not in ASKED_FOR]
    OUTPUT.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    results: list[Counts] = []
    chosen = [
        [
            (checks, [name for name in CHECKS if name in wanted]),
            (scenarios, [name for name in FLEETS if name in wanted]),
        ],
        [(scenarios, [name for name in (*PIPELINE, *AFTER) if name in wanted])],
        [(checks, [name for name in MACHINES if name in wanted])],
    ]

    def follow(lane: Sequence[tuple[Callable[[list[str]], Iterator[Counts]], list[str]]]) -> None:
        for perform_all, names in lane:
            results.extend(perform_all(names) if names else ())

    lanes = [threading.Thread(target=follow, args=(lane,)) for lane in chosen]
    for thread in lanes:
        thread.start()
    for thread in lanes:
        thread.join()
    passed, failed = (sum(getattr(counts, key) for counts in results) for key in ("passed", "failed"))
    say(f"{len(wanted)} stages in {time.monotonic() - start:.0f} s")
    say(f"{passed} passed, {failed} failed")
    return int(failed > 0 or passed == 0)


if __name__ == "__main__":
    sys.exit(main())
