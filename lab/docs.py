"""docs/playbook-variables.md, made of the argument specs of playbooks and roles, and the items in docs/cis.md: python
-m lab.docs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils import _cis
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet import variables as _variables
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet.variables import ROLES, SHARED

from lab.playbooks import NAMESPACE, ROOT, Playbook, playbooks

PAGE = ROOT / "docs/playbook-variables.md"
CIS_PAGE, CIS_MARK = ROOT / "docs/cis.md", "<!-- items: made by `make docs` of plugins/plugin_utils/_cis.py -->\n"
SPECS = ROOT / "meta/play_variables.yml"
HEADER = """\
# Variables of the playbooks

<!-- Made by `make docs` of meta/play_variables.yml and the roles' meta/argument_specs.yml. Change those. -->

Every variable that a playbook reads, with its type and default: by playbook, then the [fleet-wide](#fleet-wide) ones,
then the options of [each role](#roles). A playbook of the collection is called `runnerfleet.baremetal.<name>`.
Variables stand in the inventory, in a file (`-e @file.yml`), in a survey, or in the call: `-e name=value`, and lists
and mappings as JSON, `-e '{"name": ["value"]}'`. A dash as the default means that there is none, or that the
description says it. What lists and mappings hold is told by `ansible-doc -t role runnerfleet.baremetal.<role>`, for
fleet-wide ones by `ansible-doc -t role -e fleet runnerfleet.baremetal.preflight`.
"""
TABLE = "| variable | type | default | what it does |\n|---|---|---|---|\n"

Options = Mapping[str, Mapping[str, Any]]


def playbook_specs() -> dict[str, dict[str, Any]]:
    """What each playbook reads of its own, by its name, as entries of argument specs."""
    specs: dict[str, dict[str, Any]] = yaml.safe_load(SPECS.read_text(encoding="utf-8"))["argument_specs"]
    return specs


def role_specs() -> dict[str, dict[str, Any]]:
    """The entries of the roles by their names, without internal ones, and the fleet-wide variables under `fleet`."""
    specs = {}
    for role, entries in _variables.role_specs():
        specs[role] = entries["main"]
        specs |= {SHARED: entries[SHARED]} if SHARED in entries else {}
    return specs


def page() -> str:
    """The whole page."""
    roles, own, found = role_specs(), playbook_specs(), playbooks()
    shared = roles.pop(SHARED)
    parts = [HEADER, "## Playbooks"]
    parts += [_playbook(found[name], spec, roles, shared["options"]) for name, spec in own.items()]
    parts += [
        "## Fleet-wide",
        f"{_text([shared['short_description']])}. {_text(shared['description'])}",
        _table(shared["options"]),
    ]
    parts += ["## Roles"]
    for name, spec in roles.items():
        parts += [f"### Role {name}", f"{_text([spec['short_description']])}.", _table(spec["options"])]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def cis_page() -> str:
    """The page of the benchmark, its table made anew."""
    written, mark, _old = CIS_PAGE.read_text(encoding="utf-8").partition(CIS_MARK)
    rows = ["| number | what | read from | expected | accepted |", "|---|---|---|---|---|"]
    for item in (*_cis.CONTROL_PLANE, *_cis.NODE):
        where = (
            item.key
            if item.key == _cis.PROVIDERS
            else f"`{item.key}`"
            if item.component == _cis.FILES
            else f"{item.component} `{item.key}`"
        )
        rows.append(f"| {item.number} | {item.title} | {where} | {item.expected} | {'yes' if item.accepted else ''} |")
    return written + mark + "\n".join(rows) + "\n"


def _playbook(
    playbook: Playbook, spec: Mapping[str, Any], roles: Mapping[str, Mapping[str, Any]], shared: Options
) -> str:
    parts = [f"### {playbook.name}", f"{_text([spec['short_description']])}. {_text(spec['description'])}"]
    if spec.get("options"):
        parts.append(_table(spec["options"]))
    used = list(dict.fromkeys(playbook.roles))
    reads = playbook.reads.union(*(_shared_of(role, shared) for role in used)) - set(spec.get("options", ()))
    fleet = [name for name in shared if name in reads]
    others = {
        role: [name for name in spec["options"] if name in reads] for role, spec in roles.items() if role not in used
    }
    lines = [
        ("All that is read by", [_link(name, name) for name in playbook.imports]),
        ("All options of roles", [_link(name, f"role-{name}") for name in used]),
        ("Sets by itself", [f"`{name}`" for name in sorted(playbook.given)]),
        ("[Fleet-wide](#fleet-wide)", [f"`{name}`" for name in fleet]),
        *(
            (f"Of role {_link(role, f'role-{role}')}", [f"`{name}`" for name in names])
            for role, names in others.items()
        ),
    ]
    parts.append("\n".join(f"- {label}: {', '.join(names)}." for label, names in lines if names))
    return "\n\n".join(parts)


def _shared_of(role: str, shared: Options) -> set[str]:
    """Fleet-wide variables that a role's files name; the role in whose spec they stand checks them all."""
    folder = ROLES / role
    files = [
        path
        for part in ("defaults", "tasks", "templates", "vars", "meta")
        for path in (folder / part).rglob("*")
        if path.is_file()
    ]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    named = set(re.findall(r"\bfleet_\w+", text)) | (
        {"fleet_kubeconfig"} if f"{NAMESPACE}kubeconfig" in text else set()
    )
    return named & shared.keys()


def _link(name: str, anchor: str) -> str:
    return f"[`{name}`](#{anchor})"


def _table(options: Options) -> str:
    return TABLE + "\n".join(f"| {' | '.join(_cells(name, option))} |" for name, option in options.items())


def _cells(name: str, option: Mapping[str, Any]) -> Iterator[str]:
    yield f"`{name}`"
    kind = f"list of {option['elements']}" if option["type"] == "list" else str(option["type"])
    yield f"{kind}: {', '.join(f'`{choice}`' for choice in option['choices'])}" if option.get("choices") else kind
    yield "**required**" if option.get("required") else _value(option["default"]) if "default" in option else "-"
    yield _escaped(_text(option["description"]))


def _value(value: Any) -> str:
    """A default as one would write it in YAML."""
    if value == "":
        return "empty"
    written = (
        value
        if isinstance(value, str)
        else yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6)
    )
    return f"`{_escaped(written.removesuffix('...' + chr(10)).strip())}`"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _text(description: str | Iterable[str]) -> str:
    """Sentences of a spec as Markdown: its markup becomes code, the name of a page a link."""
    text = description if isinstance(description, str) else " ".join(description)
    text = re.sub(r"\b[CIOVM]\(([^()]*)\)", r"`\1`", text)
    return re.sub(r"\bdocs/([\w-]+\.md)", r"[\1](\1)", text)


if __name__ == "__main__":
    for path, text in ((PAGE, page()), (CIS_PAGE, cis_page())):
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
