# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The variables of the collection's roles, as the plays will see them on each host. Private to the collection."""

from __future__ import annotations

import functools
import re
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError, AnsibleUndefinedVariable
from ansible.template import Templar
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.findings import Finding

ROLES = Path(__file__).resolve().parents[3] / "roles"
SHARED = "fleet"
INTERNAL = ("helm_release",)  # roles that only roles call, which give them every variable: nobody sets those for a host
_NAME = re.compile(r"[A-Za-z_]\w*")
_SHAPES = {"list": "a list", "dict": "a mapping"}
_JSON = {"list": '["...", "..."]', "dict": '{"...": "..."}'}


class Variables:
    """One host's variables over the roles' defaults; only what is asked for is templated.

    Most values are the same on hundreds of hosts. `shared` keeps each by all that it is made of, so that it is
    templated once. `specs`: what is known of a variable, by its name.
    """

    def __init__(
        self,
        raw: dict[str, Any],
        defaults: dict[str, Any],
        loader: Any,
        shared: dict[Any, Any],
        specs: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.raw = raw
        self._specs = specs or {}
        self._all = ChainMap(raw, defaults)
        self._loader = loader
        self._shared = shared

    @property
    def known(self) -> Mapping[str, Any]:
        """Every name that has a value, if only a role's default."""
        return self._all

    @functools.cached_property
    def _templar(self) -> Templar:
        return Templar(loader=self._loader, variables=dict(self._all))

    def get(self, name: str) -> Any:
        """The effective value, or None where nothing defines it."""
        if name not in self._all:
            return None
        made_of = tuple(self._made_of(name, set()))
        if made_of not in self._shared:
            self._shared[made_of] = self._templar.template(self._all[name])
        return self._shared[made_of]

    def _made_of(self, name: str, seen: set[str]) -> Iterator[tuple[str, str]]:
        """A variable's text, and that of every variable that its template may name."""
        seen.add(name)
        text = repr(self._all[name])
        yield name, text
        if "{{" in text or "{%" in text:
            for other in sorted(set(_NAME.findall(text)) - seen):
                if other in self._all and other not in seen:
                    yield from self._made_of(other, seen)

    def value(self, name: str) -> tuple[Any, list[Finding]]:
        """The effective value, or None and why there is none."""
        try:
            value = self.get(name)
            kind = self._specs.get(name, {}).get("type")
            return (
                (None, [_text_finding(name, value, kind)])
                if isinstance(value, str) and kind in _SHAPES
                else (value, [])
            )
        except AnsibleError as error:
            # Facts are gathered after the preflight, so what needs them cannot be known yet.
            if isinstance(error, AnsibleUndefinedVariable) and "ansible_" in f"{error} {self.raw.get(name)}":
                return None, []
            hint = "define what it refers to, or correct the template, the vault password or the lookup"
            return None, [Finding("variable_unresolved", name, str(error).splitlines()[0][:300], "a value", hint)]


def _text_finding(name: str, value: str, kind: str) -> Finding:
    """A text where a list or a mapping is expected: whoever reads it would take each letter of it, or its lines, for an
    entry.
    """
    lines = len(value.splitlines())
    found = f"a text of {lines} lines" if lines > 1 else "a text"
    hint = (
        f'write it as {_SHAPES[kind]} in the inventory; with -e, or in a survey, as JSON: {{"{name}": {_JSON[kind]}}}'
    )
    return Finding("variable_invalid", name, found, _SHAPES[kind], hint)


def role_values(loader: Any, roles: Sequence[str], folder: str = "defaults") -> dict[str, Any]:
    """The defaults of some roles, or with `vars` what they make of them, as templates; a role without any adds none."""
    found: dict[str, Any] = {}
    for role in roles:
        path = ROLES / role / folder / "main.yml"
        if path.exists():
            found.update(loader.load_from_file(str(path), trusted_as_template=True) or {})
    return found


def role_specs() -> Iterator[tuple[str, dict[str, dict[str, Any]]]]:
    """Roles that users call, with the entries of their argument specs."""
    for path in sorted(ROLES.glob("*/meta/argument_specs.yml")):
        role = path.parents[1].name
        if role not in INTERNAL:
            yield (
                role,
                yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))[
                    "argument_specs"
                ],
            )


def role_variables(loader: Any) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Options by role (shared ones under `fleet`), and every role's defaults as templates."""
    specs: dict[str, dict[str, Any]] = {}
    roles = []
    for role, entries in role_specs():
        for entry, spec in entries.items():
            specs.setdefault(SHARED if entry == SHARED else role, {}).update(spec.get("options") or {})
        roles.append(role)
    return specs, role_values(loader, roles)


def host_variables(
    hosts: list[str],
    specs: Mapping[str, Mapping[str, Any]],
    defaults: Mapping[str, Any],
    loader: Any,
    task_vars: Mapping[str, Any],
) -> dict[str, Variables]:
    """Every host's variables. What the play or the call of the role sets for all hosts is in no host's own: it is added
    to each.
    """
    raw = {name: dict(task_vars["hostvars"].raw_get(name)) for name in hosts}
    speaker = task_vars["inventory_hostname"]  # whose variables the task has, whether it is one of these hosts or not
    own = raw[speaker] if speaker in raw else dict(task_vars["hostvars"].raw_get(speaker))
    # What the task alone sees, such as the loop variable of the include, may stand in those templates.
    around = {name: value for name, value in task_vars.items() if name not in own and name not in ("hostvars", "vars")}
    names = [name for options in specs.values() for name in options if name in task_vars]
    given = {name: task_vars[name] for name in names if task_vars[name] != own.get(name, defaults.get(name))}
    everywhere: dict[str, Any] = {**around, **defaults}
    shared: dict[Any, Any] = {}
    known = {name: spec for options in specs.values() for name, spec in options.items()}
    return {
        name: Variables({**variables, **given}, everywhere, loader, shared, known) for name, variables in raw.items()
    }
