"""Pins beside what there is: verdicts over kinds of versions, and that no pin is forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._pins import PINS
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet import version_matrix as _version_matrix
from packaging.specifiers import SpecifierSet

from lab import pins
from lab.pins import Pin, Range, Source
from lab.programs import PROGRAMS
from lab.versions import CURRENT, LINE, PATCH, UNKNOWN, Answer, judge, judge_ranges, stale, summary, table


def told(*versions: str) -> Answer:
    return Answer("go example.org/module", versions)


@pytest.mark.parametrize(
    ("ours", "versions", "parts", "verdict", "of_line", "newest"),
    [
        pytest.param("1.2.3", ("1.2.2", "1.2.3"), 2, CURRENT, "1.2.3", "1.2.3", id="the same"),
        pytest.param(
            "1.2.3", ("1.2.10", "1.2.9", "1.2.3"), 2, PATCH, "1.2.10", "1.2.10", id="numbers, not texts, in any order"
        ),
        pytest.param("1.2.3", ("v1.2.3",), 2, CURRENT, "1.2.3", "1.2.3", id="a v before one of them"),
        pytest.param("v1.2.3", ("1.2.4",), 2, PATCH, "1.2.4", "1.2.4", id="a v before ours"),
        pytest.param("1.2.3", ("1.2.3", "1.3.0"), 2, LINE, "1.2.3", "1.3.0", id="a newer line"),
        pytest.param(
            "1.2.3", ("1.2.4", "2.0.0"), 2, PATCH, "1.2.4", "2.0.0", id="a patch and a line: the patch, with both told"
        ),
        pytest.param("1.2.3", ("1.2.3", "1.1.9"), 2, CURRENT, "1.2.3", "1.2.3", id="a later patch of an older line"),
        pytest.param(
            "1.2.3", ("1.2.3", "1.2.4-rc.1", "1.3.0-beta.0", "2.0.0b1"), 2, CURRENT, "1.2.3", "1.2.3", id="pre-releases"
        ),
        pytest.param("1.0.0-beta.2", ("1.0.0-beta.3", "1.0.0"), 2, PATCH, "1.0.0", "1.0.0", id="ours is one"),
        pytest.param("26.10.0", ("26.10.1", "26.9.2"), 2, PATCH, "26.10.1", "26.10.1", id="calendar, the same month"),
        pytest.param("26.10.1", ("26.10.1", "26.11.0"), 2, LINE, "26.10.1", "26.11.0", id="calendar, the next month"),
        pytest.param("12.3.0", ("12.3.0", "14.5.0"), 1, LINE, "12.3.0", "14.5.0", id="lines by the first number"),
        pytest.param(
            "12.2.0", ("12.3.0", "14.5.0"), 1, PATCH, "12.3.0", "14.5.0", id="a minor is a patch of such a line"
        ),
        pytest.param("3.6.8-0", ("3.6.8-0",), 2, CURRENT, "3.6.8-0", "3.6.8-0", id="a build behind it"),
        pytest.param("3.6.8-0", ("3.6.8-1",), 2, PATCH, "3.6.8-1", "3.6.8-1", id="a newer build"),
        pytest.param(
            "v1.9.1-flannel3",
            ("v1.9.1-flannel10",),
            2,
            PATCH,
            "1.9.1-flannel10",
            "1.9.1-flannel10",
            id="somebody's build",
        ),
        pytest.param("1.11.5", ("1.21.2",), 2, LINE, "-", "1.21.2", id="a line that is not told of"),
        pytest.param(
            "2.0.0",
            ("2.0.0+incompatible",),
            2,
            CURRENT,
            "2.0.0+incompatible",
            "2.0.0+incompatible",
            id="a module without v2",
        ),
        pytest.param("1.2.3", ("latest", "0f1e2d", "1.2.3"), 2, CURRENT, "1.2.3", "1.2.3", id="what is no version"),
    ],
)
def test_a_version(ours: str, versions: tuple[str, ...], parts: int, verdict: str, of_line: str, newest: str) -> None:
    row = judge("x", ours, told(*versions), parts)
    assert (row.verdict, row.of_line, row.newest, row.why) == (verdict, of_line, newest, "")


@pytest.mark.parametrize(
    ("ours", "answer", "why"),
    [
        pytest.param("1.2.3", Answer("go x", problem="403 Forbidden"), "403 Forbidden", id="refused"),
        pytest.param("1.2.3", told(), "no release was told", id="an empty list"),
        pytest.param("1.2.3", told("1.2.3-rc.1"), "no release was told", id="pre-releases only"),
        pytest.param("1.2.5", told("1.2.3"), "our own is not among what was told", id="a list that ends before ours"),
        pytest.param("newest", told("1.2.3"), "newest is no version", id="ours is none"),
    ],
)
def test_what_is_not_known_is_never_current(ours: str, answer: Answer, why: str) -> None:
    row = judge("x", ours, answer)
    assert (row.verdict, row.why) == (UNKNOWN, why)
    assert stale([row])


@pytest.mark.parametrize(
    ("ranges", "answer", "verdict", "of_line"),
    [
        pytest.param([">=6.2.0"], told("6.1.0", "6.6.0"), CURRENT, "6.6.0", id="a floor"),
        pytest.param(
            ["==1.36.*", "==1.35.*"], told("1.35.9", "1.36.6"), CURRENT, "1.36.6", id="lines that hold the newest"
        ),
        pytest.param(["==1.36.*", "==1.35.*"], told("1.36.6", "1.37.2"), LINE, "1.36.6", id="a line that is not named"),
        pytest.param([">=9"], told("1.37.2"), LINE, "-", id="none of them"),
        pytest.param([">=6.2.0"], Answer("releases x", problem="no internet"), UNKNOWN, "-", id="nobody answers"),
    ],
)
def test_a_range(ranges: list[str], answer: Answer, verdict: str, of_line: str) -> None:
    row = judge_ranges("x", [SpecifierSet(text) for text in ranges], answer)
    assert (row.verdict, row.of_line) == (verdict, of_line)


def test_the_table_has_a_line_each_and_says_why() -> None:
    rows = [
        judge("short", "1.2.3", told("1.2.3")),
        judge("a long name", "1.0.0", Answer("nobody", problem="no internet")),
    ]
    lines = table(rows).splitlines()
    assert [line.split()[0] for line in lines] == ["pin", "short", "a"]
    assert len({line.index(word) for line, word in zip(lines, ("asked", "go example", "nobody"), strict=True)}) == 1
    assert lines[2].endswith("nobody                 not known: no internet")
    assert summary(rows) == "2 pins: 1 current, 0 newer patch, 0 newer line, 1 not known"


@pytest.mark.parametrize(
    ("versions", "expected"), [(("1.2.3",), False), (("1.2.3", "1.3.0"), False), (("1.2.4",), True), ((), True)]
)
def test_strict_asks_for_patches_and_answers_not_for_lines(versions: tuple[str, ...], expected: bool) -> None:
    assert stale([judge("x", "1.2.3", told(*versions))]) is expected


def test_every_pin_of_the_collection_has_a_row_and_somebody_to_ask() -> None:
    assert set(pins.OF_PINS) == set(PINS)
    named = [pin for pin in pins.everything() if isinstance(pin, Pin)]
    assert {pin.name: pin.ours for pin in named if pin.name in PINS} == PINS


def test_every_other_version_of_the_project_has_one(repository: Path) -> None:
    names = [pin.name for pin in pins.everything()]
    assert len(names) == len(set(names))
    for file in ("requirements.txt", "requirements-dev.txt"):
        exact = [line.partition("==")[0] for line in (repository / file).read_text().splitlines() if "==" in line]
        assert [package for package in exact if not any(name.startswith(f"{file}: {package}") for name in names)] == []
    needed = yaml.safe_load((repository / "galaxy.yml").read_text())["dependencies"]
    assert [name for name in needed if name not in pins.COLLECTIONS] == []
    in_pairs = {
        name for pair in _version_matrix.matrix().pairs if pair.works for name in (pair.component, pair.against)
    }
    assert {name.removeprefix("matrix: ") for name in names if name.startswith("matrix: ")} == in_pairs
    assert all(pin.source for pin in pins.everything() if isinstance(pin, Range))


def test_a_program_of_the_lab_has_a_row_unless_a_pin_tells_of_it() -> None:
    here = {pin.name: pin for pin in pins.lab_pins(PINS)}
    assert here["lab: flannel-cni"].ours == PROGRAMS["flannel-cni"].version.removeprefix("v")
    assert "lab: containerd" not in here
    assert pins.lab_pins({**PINS, "containerd": "0.0.1"})[0].name == "lab: kubernetes"
    assert "lab: containerd" in {pin.name for pin in pins.lab_pins({**PINS, "containerd": "0.0.1"})}


def test_requirements_with_and_without_a_version() -> None:
    text = '# of tools\nplain\nexact==1.2.3 # why\nexact==2.0.0; python_version >= "3.12"\nfloor>=1\n-r other.txt\n'
    assert [(pin.name, pin.ours) for pin in pins.pinned_packages("f.txt", text)] == [
        ("f.txt: exact", "1.2.3"),
        ('f.txt: exact (python_version >= "3.12")', "2.0.0"),
    ]
    assert pins.unpinned(text) == ["plain"]


@pytest.mark.parametrize(
    ("source", "text", "version"),
    [
        pytest.param(Source("go", ("k8s.io/api",), "v0.", stem="1."), "v0.36.6", "1.36.6", id="0 for 1"),
        pytest.param(
            Source("go", ("t",), "v0.0.1-go", ".linux-amd64"), "v0.0.1-go1.26.8.linux-amd64", "1.26.8", id="a toolchain"
        ),
        pytest.param(
            Source("go", ("t",), "v0.0.1-go", ".linux-amd64"),
            "v0.0.1-go1.26.8.linux-arm64",
            "",
            id="of another machine",
        ),
        pytest.param(Source("releases", ("o/r",), "chart-"), "chart-1.2.3", "1.2.3", id="a tag of the chart"),
        pytest.param(Source("releases", ("o/r",), "chart-"), "v1.2.3", "", id="a tag of something else"),
    ],
)
def test_what_is_told_becomes_a_version(source: Source, text: str, version: str) -> None:
    assert source.version(text) == version


def test_an_answer_that_cannot_be_had_or_read_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_source: Source) -> list[str]:
        raise pins.NotAskedError("no internet")

    def nonsense(_source: Source) -> list[str]:
        raise KeyError("Versions")

    monkeypatch.setitem(pins.KINDS, "go", refuse)
    monkeypatch.setitem(pins.KINDS, "pip", nonsense)
    assert pins.ask(pins.go("a/b", "c")) == Answer("go a/b, c", problem="no internet")
    assert pins.ask(Source("pip", ("x",))).problem == "an answer that cannot be read: KeyError"


def test_a_refusal_of_a_client_is_told_without_its_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    client = tmp_path / "go"
    client.write_text(
        "#!/bin/sh\necho 'go: module a/b: reading https://host.invalid/a/b/@v/list: 403 Forbidden' >&2\nexit 1\n"
    )
    client.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert pins.ask(pins.go("a/b")).problem == "go: module a/b: 403 Forbidden"
    client.unlink()
    assert pins.ask(pins.go("a/b")).problem == "go: FileNotFoundError"


def test_a_pin_that_nobody_can_be_asked_for_says_so() -> None:
    (row,) = pins.rows([Range("floor", (SpecifierSet(">=1"),), None)], {})
    assert (row.asked, row.verdict, row.why) == ("nobody", UNKNOWN, "no source is known: add one to lab/pins.py")


def test_what_a_program_deploys_is_read_in_its_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    constants = tmp_path / "cmd/kubeadm/app/constants/constants.go"
    constants.parent.mkdir(parents=True)
    constants.write_text(
        '\tMinExternalEtcdVersion = "3.5.24-0"\n\tDefaultEtcdVersion = "3.6.8-0"\n\tPauseVersion = "3.10.2"\n'
    )
    monkeypatch.setattr(pins, "module_directory", lambda _module, _version: tmp_path)
    told = f"sources of k8s.io/kubernetes {PROGRAMS['kubernetes'].version}"
    assert pins.ask(pins.OF_PINS["etcd"]) == Answer(told, ("3.6.8-0",))
    assert pins.ask(pins.OF_PINS["pause"]).versions == ("3.10.2",)
    constants.unlink()
    assert pins.ask(pins.OF_PINS["etcd"]).problem
