"""A value that arrives as a text means what it says: where the declared type matters, it is converted where it is
used.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CONVERTED = ("bool", "int", "float")


@functools.cache
def typed() -> dict[str, str]:
    """Every role variable that is a switch or a number."""
    found = {}
    for path in ROOT.glob("roles/*/meta/argument_specs.yml"):
        for spec in yaml.safe_load(path.read_text())["argument_specs"].values():
            found.update(
                {
                    name: option["type"]
                    for name, option in (spec.get("options") or {}).items()
                    if option.get("type") in CONVERTED
                }
            )
    return found


def sources() -> Iterator[Path]:
    """What reads them."""
    for pattern in ("roles/*/tasks/*.yml", "roles/*/vars/*.yml", "roles/*/templates/*", "playbooks/**/*.yml"):
        yield from sorted(ROOT.glob(pattern))


def test_there_are_such_variables() -> None:
    assert {"dagger_engine_checkpoint_when_idle": "bool", "cert_manager_timeout": "int"}.items() <= typed().items()


@pytest.mark.parametrize("path", list(sources()), ids=lambda path: str(path.relative_to(ROOT)))
def test_switches_and_numbers_are_converted_where_they_are_used(path: Path) -> None:
    """`-e name=false` and a survey's answer are texts, and the text "false" is true."""
    untyped = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        code = "" if line.lstrip().startswith("#") else line.partition(" #")[0]
        for name, kind in typed().items():
            for match in re.finditer(rf"\b{name}\b(?!:| is )", code):
                if not re.match(rf"\s*\|\s*{kind}\b", code[match.end() :]):
                    untyped.append(f"{number}: {name} without | {kind}")
    assert untyped == []


def test_options_of_playbooks_go_through_one_filter() -> None:
    """A playbook's switch or number is read by filter `option`, which knows texts and empty answers."""
    for path in sorted((ROOT / "playbooks").rglob("*.yml")):
        assert not re.findall(r"default\((?:true|false)(?:, true)?\)", path.read_text()), path
