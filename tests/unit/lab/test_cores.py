"""Which ansible-core runs on which Python of a machine, and what is said of the others."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from lab import cores, pins
from lab.cores import CORES
from tests import cores as runs

BY_VERSION = {core.version: core for core in CORES}


@pytest.mark.parametrize(
    ("minors", "expected", "default"),
    [
        pytest.param([11], {"2.19": 11}, 11, id="Debian 12"),
        pytest.param([12], {"2.19": 12, "2.20": 12, "2.21": 12}, 12, id="Ubuntu 24.04"),
        pytest.param([11, 13], {"2.19": 13, "2.20": 13, "2.21": 13}, 13, id="an old one beside a new one"),
        pytest.param([11, 14], {"2.19": 11, "2.20": 14, "2.21": 14}, 14, id="one that is too new for the oldest core"),
        pytest.param([10, 15], {}, 0, id="none that fits"),
        pytest.param([], {}, 0, id="none"),
    ],
)
def test_cores_of_a_machine(minors: list[int], expected: dict[str, int], default: int) -> None:
    pythons = {minor: f"/usr/bin/python3.{minor}" for minor in minors}
    chosen = {core.version: cores.python_for(core, pythons) for core in CORES}
    assert {version: python for version, python in chosen.items() if python} == {
        version: f"/usr/bin/python3.{minor}" for version, minor in expected.items()
    }
    assert cores.best_python(pythons, "python3") == (f"/usr/bin/python3.{default}" if default else "python3")


def test_a_core_without_its_python_is_said_not_to_have_been_run() -> None:
    assert runs.missing(BY_VERSION["2.21"], {11: "python3.11"}) == "not run: it needs Python 3.12 to 3.14; found 3.11"
    assert runs.missing(BY_VERSION["2.21"], {}) == "not run: it needs Python 3.12 to 3.14; found none"
    assert runs.missing(BY_VERSION["2.19"], {11: "python3.11"}) == ""


def test_nothing_that_was_run_is_no_success(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runs, "find", lambda: {11: "python3.11"})
    monkeypatch.setattr(runs, "run", lambda core, python, stages: (7, 0))
    monkeypatch.setattr(sys, "argv", ["cores.py", "unit"])
    assert runs.main() == 0
    told = capsys.readouterr().out
    assert "ansible-core 2.19: unit on python3.11: 7 passed, 0 failed" in told
    assert "ansible-core 2.20: not run" in told and "ansible-core 2.21: not run" in told
    assert told.endswith("\n7 passed, 0 failed\n")
    monkeypatch.setattr(runs, "find", dict)
    assert runs.main() == 1


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("unit 3 passed\n12 passed, 0 failed\n", (12, 0)),
        ("1 passed, 0 failed\n9 passed, 2 failed\n", (9, 2)),
        ("Traceback", (0, 1)),
    ],
)
def test_sums_of_a_run(output: str, expected: tuple[int, int]) -> None:
    assert runs.counted(output) == expected


def test_an_environment_of_one_core_has_no_other() -> None:
    text = (
        '# why\nansible==14.5.0; python_version >= "3.12"\nansible==12.3.0; python_version < "3.12"\nnetaddr==1.3.0\n'
    )
    assert cores.requirements(text, BY_VERSION["2.20"]) == "# why\nnetaddr==1.3.0\nansible==13.8.0\n"


def test_a_python_that_does_not_run_or_lacks_something_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    minor = sys.version_info.minor
    programs, kept = tmp_path / "bin", tmp_path / "pyenv/versions"
    broken = [
        programs / f"python3.{minor}",
        kept / f"3.{minor}.9/bin/python3.{minor}",
        kept / f"3.{minor}.10/bin/python3.{minor}",
    ]
    for program in broken:
        program.parent.mkdir(parents=True)
        program.write_text("#!/bin/sh\nexit 127\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    assert cores.find() == {}
    for program in broken[1:]:
        program.write_text(f"#!/bin/sh\necho {minor}\n")
    assert cores.find() == {minor: str(broken[2])}
    broken[0].write_text(f"#!/bin/sh\necho {minor}\n")
    assert cores.find() == {minor: str(broken[0])}


def test_a_python_of_an_environment_is_told_as_the_one_that_it_was_made_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    minor = sys.version_info.minor
    of_system, of_environment = tmp_path / f"usr/python3.{minor}", tmp_path / f"venv/python3.{minor}"
    for program in (of_system, of_environment):
        program.parent.mkdir()
    of_system.write_text(f"#!/bin/sh\necho {minor}\n")
    of_system.chmod(0o755)
    of_environment.symlink_to(of_system)
    monkeypatch.setenv("PATH", str(of_environment.parent))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "none"))
    assert cores.find()[minor] == str(of_system)


def test_the_cores_are_those_that_the_collection_says_it_runs_on(repository: Path) -> None:
    floor = yaml.safe_load((repository / "meta/runtime.yml").read_text())["requires_ansible"]
    assert floor == f">={CORES[-1].version}.0"


@pytest.mark.parametrize(
    ("python", "version"), [("3.11", "2.19"), ("3.12", "2.21"), ("3.13", "2.21"), ("3.14", "2.21")]
)
def test_the_requirements_have_the_newest_core_of_a_python(repository: Path, python: str, version: str) -> None:
    listed = pins.required((repository / "requirements.txt").read_text())
    taken = [
        one
        for one in listed
        if one.name == "ansible" and (not one.marker or one.marker.evaluate({"python_version": python}))
    ]
    assert [str(one.specifier) for one in taken] == [f"=={BY_VERSION[version].ansible}"]
    assert version == next(core.version for core in CORES if core.minors[0] <= int(python[2:]) <= core.minors[1])
