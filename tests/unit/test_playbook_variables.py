"""What the playbooks read is specified, what is specified they read, and defaults and the page say the same."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import docs
from lab.playbooks import Default, defaults, playbooks

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOKS = playbooks()
SPECS = docs.playbook_specs()
ROLES = {name: option for spec in docs.role_specs().values() for name, option in spec.get("options", {}).items()}
# What site.yml tells its parts, and no user.
FROM_SITE = {
    name
    for part in yaml.safe_load((ROOT / "playbooks/site.yml").read_text(encoding="utf-8"))
    for name in part.get("vars", {})
}
UNSET = (None, "", "not set")  # what a template says where there is nothing, without being a default
TYPES = {str: "str", bool: "bool", int: "int", list: "list", dict: "dict"}


def own(name: str) -> dict[str, Any]:
    """The variables that a playbook alone reads."""
    options: dict[str, Any] = SPECS[name].get("options", {})
    return options


def test_every_playbook_has_an_entry() -> None:
    assert sorted(SPECS) == sorted(PLAYBOOKS)
    assert [
        name for name, spec in SPECS.items() if not spec.get("short_description") or not spec.get("description")
    ] == []


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_what_a_playbook_reads_is_specified(name: str) -> None:
    """By itself or by a role; what nothing defines and no spec knows is a slip, or a variable that nobody is told
    of.
    """
    assert sorted(PLAYBOOKS[name].reads - own(name).keys() - ROLES.keys() - FROM_SITE) == []


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_what_is_specified_is_read(name: str) -> None:
    assert sorted(own(name).keys() - PLAYBOOKS[name].reads) == []


def test_a_variable_is_specified_once() -> None:
    """One that two playbooks read says the same in both, and none is a role's."""
    told: dict[str, Any] = {}
    for name in SPECS:
        assert own(name).keys() & ROLES.keys() == set()
        for variable, option in own(name).items():
            assert told.setdefault(variable, option) == option, variable


def disagreement(default: Default, option: dict[str, Any]) -> str:
    """What is wrong with a default in a template, by the spec of its variable; empty if nothing."""
    specified, described = option.get("default"), "default" in str(option["description"]) and "default" not in option
    template = isinstance(specified, str) and "{{" in specified
    if not default.constant:
        return "" if described or template else f"an expression, the spec says {specified!r} and does not describe it"
    if default.filter == "default":
        return (
            ""
            if default.value in UNSET or (default.value == specified and not template)
            else f"{default.value!r}, not {specified!r}"
        )
    if (default.value, TYPES[type(default.value)], list(default.choices)) != (
        specified,
        option["type"],
        option.get("choices", []),
    ):
        return (
            f"{default.value!r} of {list(default.choices)}, not {specified!r} of {option.get('choices', [])}, a "
            f"{option['type']}"
        )
    return ""


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_defaults_are_those_of_the_spec(name: str) -> None:
    """Those of fleet-wide variables and of roles' options too."""
    known = {**ROLES, **own(name)}
    found = [default for default in defaults(PLAYBOOKS[name]) if default.variable in known]
    wrong = [(default.variable, disagreement(default, known[default.variable])) for default in found]
    assert [(variable, told) for variable, told in wrong if told] == []


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_what_has_a_default_has_it_in_the_playbook(name: str) -> None:
    """Through filter `option`, unless it is a text: a survey hands over texts, of which the filter makes what the type
    says.
    """
    stated = {(default.variable, default.filter) for default in defaults(PLAYBOOKS[name]) if default.value not in UNSET}
    for variable, option in own(name).items():
        if "default" in option:
            assert (variable, "option") in stated or (option["type"] == "str" and (variable, "default") in stated), (
                variable
            )
        elif not option.get("required"):
            assert option["type"] == "str", f"{variable}: only a text may have no default"


@pytest.mark.parametrize(
    "path",
    sorted([*ROOT.glob("playbooks/*.yml"), *ROOT.glob("docs/*.md"), ROOT / "README.md"]),
    ids=lambda path: path.name,
)
def test_what_is_shown_with_e_exists(path: Path) -> None:
    """In comments and pages: `-e name=value`, and the keys of `-e '{"name": ...}'`."""
    known = ROLES.keys() | {variable for name in SPECS for variable in own(name)} | {"name"}
    text = path.read_text()
    shown = set(re.findall(r"-e ([a-z]\w*)=", text)) | {
        name for keys in re.findall(r"-e '(\{.*?\})'", text) for name in re.findall(r'^\{"(\w+)"', keys)
    }
    assert sorted(shown - known) == []


def test_the_page_is_made_of_the_specs() -> None:
    assert docs.PAGE.read_text() == docs.page(), "run `make docs`"
    assert docs.CIS_PAGE.read_text() == docs.cis_page(), "run `make docs`"


def test_every_variable_is_on_the_page() -> None:
    """In a row of its own, with its type and no markup of Ansible left."""
    rows = [line for line in docs.page().splitlines() if line.startswith("| `")]
    names = [row.split("`")[1] for row in rows]
    assert sorted(names) == sorted([*ROLES, *(variable for name in SPECS for variable in own(name))])
    assert [row for row in rows if len(re.split(r"(?<!\\)\|", row)) != 6 or re.search(r"\b[A-Z]\(", row)] == []


def test_a_default_as_it_is_shown() -> None:
    cells = {
        name: list(docs._cells(name, {"type": "raw", "description": "Is C(a|b).", **given}))[2:]
        for name, given in DEFAULTS.items()
    }
    assert cells == {name: [shown, "Is `a\\|b`."] for name, shown in SHOWN.items()}


DEFAULTS: dict[str, dict[str, Any]] = {
    "text": {"default": "x"},
    "switch": {"default": False},
    "nothing": {},
    "empty": {"default": ""},
    "list": {"default": ["a", {"b": 1}]},
    "needed": {"required": True},
    "template": {"default": "{{ a | b }}"},
}
SHOWN = {
    "text": "`x`",
    "switch": "`false`",
    "nothing": "-",
    "empty": "empty",
    "list": "`[a, {b: 1}]`",
    "needed": "**required**",
    "template": "`{{ a \\| b }}`",
}


# The reader itself: a variable is found wherever it stands.

TASK = {"ansible.builtin.debug": {"msg": "x"}}


@pytest.mark.parametrize(
    ("play", "reads"),
    [
        pytest.param({"hosts": "{{ a }}"}, {"a"}, id="keyword of the play"),
        pytest.param({"tasks": [{**TASK, "when": "a"}]}, {"a"}, id="when"),
        pytest.param({"tasks": [{**TASK, "when": ["a", "not b | bool"]}]}, {"a", "b"}, id="list of conditions"),
        pytest.param({"tasks": [{"ansible.builtin.assert": {"that": ["a > 1"], "fail_msg": "b"}}]}, {"a"}, id="assert"),
        pytest.param({"tasks": [{"block": [{"block": [{"x.y.z": {"k": ["{{ a.b }}"]}}]}]}]}, {"a"}, id="blocks, lists"),
        pytest.param(
            {"tasks": [{**TASK, "loop": "{{ a }}", "loop_control": {"loop_var": "b", "label": "{{ b }}{{ c }}"}}]},
            {"a", "c"},
            id="loop",
        ),
        pytest.param({"tasks": [{**TASK, "register": "b"}, {**TASK, "when": "b.failed and a"}]}, {"a"}, id="register"),
        pytest.param(
            {"vars": {"b": "{{ a }}", "c": "{{ d }}"}, "tasks": [{**TASK, "when": "b"}]},
            {"a"},
            id="vars, as far as they are read",
        ),
        pytest.param(
            {"tasks": [{"ansible.builtin.set_fact": {"b": "{{ a }}"}}, {**TASK, "when": "b"}]}, {"a"}, id="set_fact"
        ),
        pytest.param({"module_defaults": {"x.y.z": {"k": "{{ a }}"}}}, {"a"}, id="module_defaults"),
        pytest.param(
            {"tasks": [{**TASK, "when": "ansible_check_mode and inventory_hostname in groups['a']"}]},
            set(),
            id="Ansible's own",
        ),
        pytest.param(
            {"tasks": [{"x": {"k": "{{ lookup('runnerfleet.baremetal.kubeconfig') }}"}}]},
            {"fleet_kubeconfig"},
            id="lookup",
        ),
        pytest.param(
            {"tasks": [{"ansible.builtin.import_tasks": "tasks/t.yml"}]}, {"in_file", "argument"}, id="imported tasks"
        ),
        pytest.param(
            {"tasks": [{"ansible.builtin.include_tasks": {"file": "tasks/t.yml"}, "vars": {"argument": "{{ a }}"}}]},
            {"in_file", "a"},
            id="included tasks with an argument",
        ),
        pytest.param(
            {"vars_files": ["vars/v.yml"], "tasks": [{**TASK, "when": "stated"}]}, {"in_vars"}, id="vars_files"
        ),
        pytest.param(
            {"roles": [{"role": "runnerfleet.baremetal.r", "r_option": "{{ a }}"}]}, {"a"}, id="what a role is given"
        ),
        pytest.param(
            {"tasks": [{**TASK, "when": "x is y.z.test and (a | y.z.filter(b))"}]},
            {"x", "a", "b"},
            id="unknown filters and tests",
        ),
    ],
)
def test_reads(tmp_path: Path, play: dict[str, Any], reads: set[str]) -> None:
    write(tmp_path, play)
    assert playbooks(tmp_path)["p"].reads == reads


def write(folder: Path, play: dict[str, Any]) -> None:
    """A folder of playbooks with that one, p.yml."""
    files: dict[str, Any] = {
        "p.yml": [play],
        "tasks/t.yml": [{**TASK, "when": "in_file and argument"}],
        "vars/v.yml": {"stated": "{{ in_vars }}"},
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))


def test_an_argument_of_a_file_of_tasks_is_no_variable_of_another_playbook(tmp_path: Path) -> None:
    write(tmp_path, {"tasks": [{"ansible.builtin.import_tasks": "tasks/t.yml"}]})
    (tmp_path / "q.yml").write_text(
        json.dumps([{"tasks": [{"ansible.builtin.import_tasks": "tasks/t.yml", "vars": {"argument": 1}}]}])
    )
    assert [playbook.reads for playbook in playbooks(tmp_path).values()] == [{"in_file"}, {"in_file"}]


@pytest.mark.parametrize(
    ("template", "option", "agrees"),
    [
        ("{{ a | default('x', true) }}", {"type": "str", "default": "x"}, True),
        ("{{ a | default('y', true) }}", {"type": "str", "default": "x"}, False),
        ("{{ a | default('', true) }}", {"type": "str"}, True),
        ("{{ a | default('x') }}", {"type": "str"}, False),
        ("{{ a | default([]) }}", {"type": "list", "default": [1]}, False),
        ("{{ a | default(now()) }}", {"type": "str", "default": "x"}, False),
        ("{{ a | default(now()) }}", {"type": "str"}, False),
        ("{{ a | default(now()) }}", {"type": "str", "description": "The default is now."}, True),
        ("{{ a | runnerfleet.baremetal.option('a', 5) }}", {"type": "int", "default": 5}, True),
        ("{{ a | runnerfleet.baremetal.option('a', 5) }}", {"type": "str", "default": 5}, False),
        ("{{ a | runnerfleet.baremetal.option('a', 6) }}", {"type": "int", "default": 5}, False),
        (
            "{{ a | runnerfleet.baremetal.option('a', 'b', ['b', 'c']) }}",
            {"type": "str", "default": "b", "choices": ["b", "c"]},
            True,
        ),
        (
            "{{ a | runnerfleet.baremetal.option('a', 'b', ['b']) }}",
            {"type": "str", "default": "b", "choices": ["b", "c"]},
            False,
        ),
        (
            "{{ a | runnerfleet.baremetal.option('a', 'b') }}",
            {"type": "str", "default": "b", "choices": ["b", "c"]},
            False,
        ),
    ],
)
def test_a_default_that_differs_is_found(tmp_path: Path, template: str, option: dict[str, Any], agrees: bool) -> None:
    write(tmp_path, {"vars": {"b": template}})
    (found,) = defaults(playbooks(tmp_path)["p"])
    assert (found.variable, not disagreement(found, {"description": "Something.", **option})) == ("a", agrees)
