"""What the playbooks read: variables, roles, and the defaults in their templates. Taken from their files; nothing is
run.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet import sizing as _fleet_sizing
from jinja2 import Environment, TemplateError, meta, nodes

ROOT = Path(__file__).resolve().parents[1]
NAMESPACE = "runnerfleet.baremetal."
# Keys whose texts are expressions without braces.
BARE = {"when", "that", "until", "failed_when", "changed_when"}
TASKS = {"ansible.builtin.import_tasks", "ansible.builtin.include_tasks"}
ROLES = {"ansible.builtin.import_role", "ansible.builtin.include_role"}
# What Ansible defines itself, beside ansible_*.
MAGIC = {"groups", "hostvars", "inventory_hostname", "item", "lookup", "now", "omit", "playbook_dir", "query"}
# What plugins read of the variables by themselves.
PLUGINS = {
    f"{NAMESPACE}kubeconfig": {"fleet_kubeconfig"},
    f"{NAMESPACE}fleet_plan": {
        "fleet_pools",
        "nvme_storage_drives",
        "preflight_minimum",
        "preflight_recommended",
        *_fleet_sizing.NAMES,
    },
    f"{NAMESPACE}self_test_workflow": {"runner_controller_github_auth"},
}


class _Any(dict[str, Any]):
    """Knows a filter or a test of every name: templates are parsed here, not rendered."""

    def get(self, *_name: Any) -> Any:
        return lambda value: value

    def __contains__(self, key: object) -> bool:
        return True


JINJA = Environment()
JINJA.filters, JINJA.tests = _Any(), _Any()


@dataclass
class Playbook:
    """One playbook with the files that it reads. `reads`: names that somebody else has to define. `given`: what it
    tells its roles.
    """

    name: str
    imports: list[str] = field(default_factory=list)
    roles: list[str] = field(default_factory=list)
    given: set[str] = field(default_factory=set)
    handed: set[str] = field(default_factory=set)  # variables that it hands to a file of tasks
    texts: list[str] = field(default_factory=list)  # every template, without those that define a variable
    defined: defaultdict[str, list[str]] = field(
        default_factory=lambda: defaultdict(list)
    )  # templates by the variable that they define

    @property
    def reads(self) -> set[str]:
        """Through the play's own variables too, as far as something reads those."""
        found: set[str] = set()
        waiting = list(self.texts)
        while waiting:
            for name in _names(waiting.pop()) - found:
                found.add(name)
                waiting += self.defined.get(name, [])
        # What begins with two underscores is a role's own, which it has shown.
        return {name for name in found - self.defined.keys() - MAGIC if not name.startswith(("ansible_", "__"))}

    @property
    def templates(self) -> list[nodes.Template]:
        """All of them, parsed."""
        return [_parsed(text) for text in [*self.texts, *(text for texts in self.defined.values() for text in texts)]]


def playbooks(folder: Path = ROOT / "playbooks") -> dict[str, Playbook]:
    """All by name. A value that a playbook hands to a file of tasks is that file's argument wherever it is imported."""
    found = {path.stem: _playbook(path) for path in sorted(folder.glob("*.yml"))}
    for name in {name for playbook in found.values() for name in playbook.handed}:
        for playbook in found.values():
            playbook.defined[name] += []
    return found


def _playbook(path: Path) -> Playbook:
    playbook = Playbook(path.stem)
    for play in yaml.safe_load(path.read_text(encoding="utf-8")):
        for name in play.get("vars_files", ()):
            _define(playbook, yaml.safe_load((path.parent / name).read_text(encoding="utf-8")))
        if "import_playbook" in play:
            playbook.imports.append(Path(play["import_playbook"]).stem)
        else:
            _walk(playbook, play, path.parent)
    return playbook


def _walk(playbook: Playbook, value: Any, folder: Path, bare: bool = False) -> None:
    """Note what a play, a task or a part of one reads and defines."""
    if isinstance(value, list):
        for item in value:
            _walk(playbook, item, folder, bare)
    elif isinstance(value, str):
        playbook.texts += _templates(value, bare)
    elif isinstance(value, dict):
        if TASKS & value.keys():
            playbook.handed |= set(value.get("vars", ()))
        if ROLES & value.keys():  # what it hands to a role is read there
            _walk(playbook, value.get("vars", {}), folder)
        for key, inner in value.items():
            READERS.get(key, _keyword)(playbook, key, inner, folder)


def _variables(playbook: Playbook, _key: str, given: Any, _folder: Path) -> None:
    _define(playbook, given)


def _register(playbook: Playbook, _key: str, name: str, _folder: Path) -> None:
    playbook.defined[name] += []


def _set_fact(playbook: Playbook, _key: str, given: Any, folder: Path) -> None:
    _define(playbook, given)
    _walk(playbook, given, folder)


def _tasks(playbook: Playbook, _key: str, given: Any, folder: Path) -> None:
    _walk(playbook, given, folder)
    name = given["file"] if isinstance(given, dict) else given
    path = folder / name
    _walk(playbook, yaml.safe_load(path.read_text(encoding="utf-8")), path.parent)


def _role(playbook: Playbook, _key: str, given: Any, _folder: Path) -> None:
    playbook.roles.append(given["name"].removeprefix(NAMESPACE))


def _roles(playbook: Playbook, _key: str, given: Any, folder: Path) -> None:
    for role in given:
        name = role["role"].removeprefix(NAMESPACE)
        playbook.roles.append(name)
        playbook.given |= {option for option in role if option.startswith(f"{name}_")}
        _walk(playbook, role, folder)


def _keyword(playbook: Playbook, key: str, given: Any, folder: Path) -> None:
    playbook.texts += [f"{{{{ {name} }}}}" for name in PLUGINS.get(key, ())]
    _walk(playbook, given, folder, key in BARE)


READERS: dict[str, Callable[[Playbook, str, Any, Path], None]] = {
    "vars": _variables,
    **dict.fromkeys(("register", "loop_var", "index_var"), _register),
    "ansible.builtin.set_fact": _set_fact,
    **dict.fromkeys(TASKS, _tasks),
    **dict.fromkeys(ROLES, _role),
    "roles": _roles,
}


def _define(playbook: Playbook, given: dict[str, Any]) -> None:
    for name, value in given.items():
        playbook.defined[name] += _strings(value)


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return _templates(value, False)
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in items for text in _strings(item)]


def _templates(text: str, bare: bool) -> list[str]:
    if "{{" in text or "{%" in text:
        return [text]
    return [f"{{{{ {text} }}}}"] if bare else []


@functools.cache
def _parsed(text: str) -> nodes.Template:
    try:
        return JINJA.parse(text)
    except TemplateError as error:
        raise ValueError(f"{text!r} is no template: {error}") from error


def _names(text: str) -> set[str]:
    """What a template reads, and what the plugins that it calls read."""
    tree = _parsed(text)
    called = {str(node.value) for node in tree.find_all(nodes.Const)}
    return meta.find_undeclared_variables(tree).union(*(names for plugin, names in PLUGINS.items() if plugin in called))


@dataclass(frozen=True)
class Default:
    """A default that stands in a template: of the filter `option` with its choices, or of the filter `default` on a
    variable.

    `constant` is false where the default is an expression; then there is no `value`.
    """

    variable: str
    filter: str
    constant: bool
    value: Any = None
    choices: tuple[Any, ...] = ()


def defaults(playbook: Playbook) -> Iterator[Default]:
    """All of them."""
    for tree in playbook.templates:
        for node in tree.find_all(nodes.Filter):
            if node.name == f"{NAMESPACE}option":
                name, given, *choices = node.args
                yield Default(
                    name.as_const(), "option", *_constant(given), tuple(choices[0].as_const()) if choices else ()
                )
            elif node.name in ("default", "d") and isinstance(node.node, nodes.Name) and node.args:
                yield Default(node.node.name, "default", *_constant(node.args[0]))


def _constant(node: nodes.Expr) -> tuple[bool, Any]:
    try:
        return True, node.as_const()
    except nodes.Impossible:
        return False, None
