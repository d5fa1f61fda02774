"""A role's contract and its defaults say the same, and what a contract holds is typed and described, a playbook's too.

Ansible never applies the `default:` of a role's argument spec: it is documentation. So it has to equal
defaults/main.yml, key by key.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())
PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
TYPES = {"str", "int", "float", "bool", "list", "dict", "path", "raw"}
KEYS = {"choices", "default", "description", "elements", "no_log", "options", "required", "type", "version_added"}
CONSTRAINTS = {"mutually_exclusive", "required_by", "required_if", "required_one_of", "required_together"}


def load(path: Path) -> dict[str, Any]:
    """A YAML file's mapping; an absent or empty file is an empty one."""
    return (yaml.safe_load(path.read_text()) if path.exists() else None) or {}


def options(role: str) -> dict[str, Any]:
    """The options of a role's main entry point."""
    return contract(ROOT / "roles" / role / "meta/argument_specs.yml", "main")


def contract(path: Path, entry: str) -> dict[str, Any]:
    """The options of an entry of argument specs."""
    return load(path)["argument_specs"][entry].get("options", {})


def nested(path: str, given: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each option and suboption with its path."""
    for name, option in given.items():
        yield f"{path}{name}", option
        yield from nested(f"{path}{name}.", option.get("options", {}))


@pytest.mark.parametrize("role", ROLES)
def test_defaults_are_those_of_the_spec(role: str) -> None:
    """Keys and values, templates as they are written. A default that is a template of more than a text is described
    instead.
    """
    documented, given = {name: option["default"] for name, option in options(role).items() if "default" in option}, {}
    for name, value in load(ROOT / "roles" / role / "defaults/main.yml").items():
        option = options(role)[name]
        described = isinstance(value, str) and "{{" in value and option["type"] not in ("str", "path", "raw")
        if described:
            assert "default" not in option, f"{name}: say the default in its description"
            assert "default" in str(option["description"]), f"{name}: its description does not say the default"
        else:
            given[name] = value
    assert given == documented


@pytest.mark.parametrize("role", ROLES)
def test_variables_carry_the_role_s_name(role: str) -> None:
    """Public ones; internal ones begin with two underscores and stand in vars/."""
    assert [name for name in options(role) if not name.startswith(f"{role}_")] == []
    assert [name for name in load(ROOT / "roles" / role / "vars/main.yml") if not name.startswith(f"__{role}_")] == []


@pytest.mark.parametrize(
    ("path", "entry"),
    [
        *((f"roles/{role}/meta/argument_specs.yml", "main") for role in ROLES),
        ("roles/preflight/meta/argument_specs.yml", "fleet"),
        *(("meta/play_variables.yml", playbook) for playbook in PLAYBOOKS),
    ],
)
def test_every_option_is_typed_and_described(path: str, entry: str) -> None:
    """Suboptions too: what is not in the spec is refused by name, so the spec has to be whole."""
    for name, option in nested("", contract(ROOT / path, entry)):
        assert option.get("description"), f"{name} has no description"
        assert option.get("type") in TYPES, f"{name} has the type {option.get('type')}"
        assert ("elements" in option) == (option["type"] == "list"), (
            f"{name}: `elements` belongs to lists, and to all of them"
        )
        assert not (option.get("required") and "default" in option), f"{name} is required and has a default"
        assert set(option) <= KEYS | CONSTRAINTS, f"{name} has unknown keys: {set(option) - KEYS - CONSTRAINTS}"
