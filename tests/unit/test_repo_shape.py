"""What holds for every role, module and task of the collection, so that a reader can count on it."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.runnerfleet.baremetal.plugins.module_utils import _names
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet.variables import INTERNAL

ROOT = Path(__file__).resolve().parents[2]
ROLES = (
    "preflight",
    "nvme_storage",
    "container_runtime",
    "kubernetes_host",
    "control_plane",
    "node_join",
    "node_pools",
    "pod_network",
    "cert_manager",
    "dagger_engine",
    "runner_controller",
    "runner_pools",
    "fleet_report",
)
TASK_FILES = sorted(path.relative_to(ROOT) for path in ROOT.glob("roles/*/tasks/*.yml"))
PLAY_FILES = sorted(
    path.relative_to(ROOT) for folder in ("playbooks", "molecule") for path in (ROOT / folder).rglob("*.yml")
)
MODULES = sorted((ROOT / "plugins/modules").glob("[!_]*.py"))
PLUGINS = [
    path
    for path in sorted((ROOT / "plugins").rglob("[!_]*.py"))
    if path.parent.name not in ("doc_fragments", "module_utils")
]
# Commands that only look: the only ones that may say `changed_when: false`.
READERS = {"blkid", "findmnt", "lsblk", "systemctl", "stat", "cat", "test", "ss", "crictl", "ctr", "nft", "ip", "mount"}


def load(path: Path) -> Any:
    """A YAML file, with Ansible's own tags read as text."""
    loader = type("Loader", (yaml.SafeLoader,), {})
    loader.add_multi_constructor("!", lambda _loader, _suffix, node: getattr(node, "value", None))
    return yaml.load((ROOT / path).read_text(), Loader=loader)


def mappings(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a document, however deep: plays, blocks, tasks."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from mappings(item)


def lines(path: Path) -> int:
    """How long a file is."""
    return len(path.read_text().splitlines())


def lines_of_code(path: Path) -> int:
    """How long a module is without its documentation, comments and empty lines."""
    text = path.read_text()
    documented: set[int] = set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in (
            "DOCUMENTATION",
            "EXAMPLES",
            "RETURN",
        ):
            documented |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    code = [line for number, line in enumerate(text.splitlines(), 1) if number not in documented]
    return sum(1 for line in code if line.strip() and not line.lstrip().startswith("#"))


def test_the_roles_are_those_of_the_design() -> None:
    """Their names are the collection's interface."""
    assert sorted(path.name for path in (ROOT / "roles").iterdir()) == sorted([*ROLES, *INTERNAL])


@pytest.mark.parametrize("role", [*ROLES, *INTERNAL])
def test_a_role_is_whole(role: str) -> None:
    """Contract, page, defaults and scenario. An internal role says that it is one, and only roles use it."""
    wanted = [
        f"roles/{role}/{name}"
        for name in ("README.md", "defaults/main.yml", "meta/argument_specs.yml", "meta/main.yml", "tasks/main.yml")
    ]
    if role in ROLES:
        wanted += [f"molecule/{role}/{name}" for name in ("molecule.yml", "verify.yml")]
    else:
        assert "Internal" in (ROOT / f"roles/{role}/README.md").read_text()
        assert [path for path in PLAY_FILES if f"baremetal.{role}" in (ROOT / path).read_text()] == []
    assert [name for name in wanted if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize("role", ROLES)
def test_a_role_s_page_has_the_one_shape(role: str) -> None:
    """What it does, how to call it, its options, what it will not do, and what it leaves behind."""
    text = (ROOT / f"roles/{role}/README.md").read_text()
    assert text.startswith(f"# {role}\n\n")
    wanted = ["## Example", "## Options", "## It will not", "## Files and units"]
    assert [line for line in text.splitlines() if line in wanted] == wanted
    example, options, refused, files = (text.partition(f"{title}\n\n")[2].partition("\n## ")[0] for title in wanted)
    assert "```yaml" in example and f"`ansible-doc -t role runnerfleet.baremetal.{role}`" in options
    assert refused.startswith("- ") and files.startswith("| what | where, or whose |")


@pytest.mark.parametrize("role", [*ROLES, *INTERNAL])
def test_a_role_says_who_made_it_and_since_when(role: str) -> None:
    """Where it was run is told below."""
    told = load(Path(f"roles/{role}/meta/main.yml"))["galaxy_info"]
    assert told["author"] and told["license"] == "GPL-3.0-or-later" and told["min_ansible_version"] == "2.19"
    for spec in load(Path(f"roles/{role}/meta/argument_specs.yml"))["argument_specs"].values():
        assert spec["author"] and re.fullmatch(r"\d+\.\d+\.\d+", spec["version_added"])


@pytest.mark.parametrize("path", TASK_FILES, ids=str)
def test_a_task_file_fits_on_a_page(path: Path) -> None:
    """main.yml is a table of contents, a step is a page."""
    assert lines(ROOT / path) <= (40 if path.name == "main.yml" else 80)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_a_module_is_thin_and_tested(module: Path) -> None:
    """Its logic is in module_utils."""
    assert lines_of_code(module) <= 150
    assert (ROOT / f"tests/unit/plugins/modules/test_{module.stem}.py").is_file()


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_plugin_says_its_licence(plugin: Path) -> None:
    """And defers the evaluation of its annotations, for old Pythons on managed hosts."""
    text = plugin.read_text()
    assert "SPDX-License-Identifier: GPL-3.0-or-later" in text
    assert "from __future__ import annotations" in text


@pytest.mark.parametrize("path", [*TASK_FILES, *PLAY_FILES], ids=str)
def test_tasks_are_honest(path: Path) -> None:
    """No shell, no ignored errors, and no writer that claims to change nothing."""
    for mapping in mappings(load(path)):
        name = mapping.get("name", mapping)
        assert "ignore_errors" not in mapping, name
        assert not {"shell", "ansible.builtin.shell", "ansible.builtin.raw"} & set(mapping), name
        command = mapping.get("ansible.builtin.command")
        if command is not None:
            assert isinstance(command, dict) and "argv" in command, f"{name}: a command has an argv"
            if mapping.get("changed_when") is False and path.parts[0] != "molecule":
                program = str(command["argv"][0]) if isinstance(command["argv"], list) else str(command["argv"])
                assert Path(program).name in READERS, f"{name}: {program} is not known to only look"


def test_lint_skips_nothing() -> None:
    """An exception stands beside the line it excuses."""
    assert load(Path(".ansible-lint"))["skip_list"] == []
    assert [path.name for path in (ROOT / "tests/sanity").glob("ignore*") if path.read_text().strip()] == []


def test_every_module_that_speaks_to_the_cluster_is_in_the_action_group() -> None:
    """One `module_defaults` has to give all of them their kubeconfig."""
    speaking = [module.stem for module in MODULES if "runnerfleet.baremetal.cluster\n" in module.read_text()]
    assert speaking and sorted(load(Path("meta/runtime.yml"))["action_groups"]["cluster"]) == sorted(speaking)


def test_no_state_is_kept_in_globals() -> None:
    """A plan is what a pure function returns."""
    for path in sorted((ROOT / "plugins").rglob("*.py")):
        assert not [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Global)], path


def test_production_knows_nothing_of_the_lab() -> None:
    """What a lab needs is an ordinary variable."""
    for folder in ("roles", "plugins", "playbooks"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".yml", ".py", ".j2"):
                text = path.read_text()
                assert not re.search(r"\bmolecule\b|10\.89\.|\bLAB_|runnerfleet-lab", text), f"{path} knows of the lab"


def test_every_name_that_is_written_out_is_one_of_the_list() -> None:
    """Manifests write labels, taints and annotations out; a typo would be a label that nobody has."""
    known = {value for key, value in vars(_names).items() if key.isupper()}
    name = re.compile(r"(?<![.\w])runnerfleet\.dev/[a-z-]+|node-restriction\.kubernetes\.io/runnerfleet-[a-z]+")
    written: dict[str, str] = {}
    for folder in ("roles", "playbooks", "plugins"):
        for path in (path for path in sorted((ROOT / folder).rglob("*")) if path.suffix in (".yml", ".j2", ".py")):
            written.update(dict.fromkeys(name.findall(path.read_text()), str(path.relative_to(ROOT))))
    assert len(written) > 8
    assert {name: path for name, path in written.items() if name not in known} == {}


def test_the_lab_knows_nothing_of_the_tests() -> None:
    """It runs without them: what both need is the lab's."""
    for path in sorted((ROOT / "lab").rglob("*.py")):
        assert not re.search(r"^\s*(from|import) tests\b", path.read_text(), re.MULTILINE), f"{path} imports a test"


# Modules that wait by what they are, for the cluster and for a machine.
WAITING_FOR_CLUSTER = {"kubernetes.core.k8s_drain"}
WAITING_FOR_MACHINE = {
    f"ansible.builtin.{name}" for name in ("reboot", "wait_for", "wait_for_connection", "async_status")
}
WAITING_OPTIONS = {"wait", "atomic", "wait_timeout", "timeout", "wait_for"}
# Files of ours that wait, and what their error begins with: a test of theirs reads it. What waits for less than a
# minute needs none.
DEADLINES = {
    "modules/node_certificates.py": "have not asked for a certificate to serve with within",
    "modules/engine_ready.py": "engine nodes did not answer within",
    "modules/network_policy_proof.py": "did not answer the API server within 0 seconds",
    "modules/self_test.py": "it had not ended after 0 seconds",
    "plugin_utils/_github/workflow_run.py": "is queued after 0 seconds",
    "modules/secrets_rewritten.py": "did not read its keys again within 0 s",
    "module_utils/_runners/heal_run.py": "not healed after 0 seconds, waited for:",
    "module_utils/_runners/listener_run.py": "do not listen after 0 seconds: small",
    "module_utils/_engine/drain_run.py": "still in use after 0 seconds",
    "module_utils/_engine/rollout_run.py": "does not answer 0 seconds after it was started anew",
    "module_utils/_host/apply_membership.py": "has registered no node within",
    "module_utils/_nodes/requests.py": "the cluster approves every certificate",
}
SHORT_WAITS = {"module_utils/_nvme/apply_drives.py": 10}  # seconds


def _waits_for(task: dict[str, Any]) -> str:
    """What a task waits for: `cluster`, `machine` or nothing."""
    for name, given in task.items():
        options = given if isinstance(given, dict) else {}
        if name == "kubernetes.core.k8s_drain" and options.get("state") == "uncordon":
            continue
        told = any(options.get(option) not in (None, False) for option in WAITING_OPTIONS)
        if name in WAITING_FOR_CLUSTER or (
            name.startswith("kubernetes.core.") and (told or "until" in task or "retries" in task)
        ):
            return "cluster"
        if name in WAITING_FOR_MACHINE and options.get("mode") != "cleanup":
            return "machine"
    begun = {"async"} if task.get("poll") != 0 else set()  # what runs beside the play is waited for elsewhere
    return "machine" if ({"until", "retries"} | begun) & task.keys() else ""


def _explained(task: dict[str, Any]) -> set[str]:
    """For which waits a block says at the deadline what it waited for. Our explaining step says it for both."""
    steps = list(mappings(task.get("rescue", [])))
    if any("runnerfleet.baremetal.cluster_problems" in step for step in steps):
        return {"cluster", "machine"}
    told = [str(step.get("ansible.builtin.fail", {}).get("msg", "")) for step in steps]
    return {"machine"} if any("ansible_failed_result" in text for text in told) else set()


def _unexplained(value: Any, explained: frozenset[str] = frozenset()) -> Iterator[str]:
    """Names of the waits below a list of plays or tasks that no block around them explains."""
    for task in value if isinstance(value, list) else ():
        waited = _waits_for(task)
        if waited and waited not in explained:
            yield task["name"]
        for part in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers"):
            yield from _unexplained(task.get(part), explained | _explained(task) if part == "block" else frozenset())


HANDLER_FILES = sorted(path.relative_to(ROOT) for path in ROOT.glob("roles/*/handlers/*.yml"))
WAITING_FILES = [path for path in [*TASK_FILES, *HANDLER_FILES, *PLAY_FILES] if path.parts[0] != "molecule"]


@pytest.mark.parametrize("path", WAITING_FILES, ids=str)
def test_what_waits_says_what_it_waited_for(path: Path) -> None:
    """An error that says `context deadline exceeded` and no more sends its reader to look for what the cluster already
    knows.
    """
    assert list(_unexplained(load(path))) == []


def test_that_test_finds_a_wait() -> None:
    """In a play and in a block; and a rescue that says something else is none."""
    wait = {"name": "w", "kubernetes.core.helm": {"wait": True}}
    again = {"name": "u", "kubernetes.core.k8s_info": {}, "until": "x"}
    says = {"name": "s", "runnerfleet.baremetal.cluster_problems": {}}
    fails = {"name": "f", "ansible.builtin.fail": {"msg": "no {{ ansible_failed_result.msg }}"}}
    assert list(_unexplained([{"tasks": [wait, {"block": [again], "rescue": [fails]}]}])) == ["w", "u"]
    assert list(_unexplained([{"block": [wait, {"block": [again]}], "rescue": [says]}])) == []
    assert list(_unexplained([{"block": [], "rescue": [wait, says]}])) == ["w"]
    for number, task in enumerate(
        (
            {"kubernetes.core.k8s_drain": {"state": "drain"}},
            {"kubernetes.core.helm": {"atomic": True}},
            {"kubernetes.core.k8s": {"wait": "{{ x }}"}},
            {"ansible.builtin.reboot": {}},
            {"ansible.builtin.wait_for_connection": None},
            {"ansible.builtin.uri": {}, "retries": 3},
            {"ansible.builtin.command": {}, "async": 60},
        )
    ):
        named = {"name": "n", **task}
        assert list(_unexplained([named])) == ["n"]
        assert list(_unexplained([{"block": [named], "rescue": [fails]}])) == (["n"] if number < 3 else [])
    assert list(_unexplained([{"name": "n", "kubernetes.core.k8s_drain": {"state": "uncordon"}}])) == []
    assert list(_unexplained([{"name": "n", "ansible.builtin.command": {}, "async": 60, "poll": 0}])) == []
    assert list(_unexplained([{"name": "n", "ansible.builtin.async_status": {"mode": "cleanup"}}])) == []
    assert list(_unexplained([{"name": "n", "ansible.builtin.async_status": {"jid": "x"}}])) == ["n"]


def test_our_own_waits_are_tested_at_their_deadline() -> None:
    """A module that sleeps has an error that a test has read."""
    sleeping = {
        str(path.relative_to(ROOT / "plugins"))
        for path in (ROOT / "plugins").rglob("*.py")
        if "time.sleep(" in path.read_text()
    }
    assert sleeping == DEADLINES.keys() | SHORT_WAITS.keys()
    tests = "".join(path.read_text() for path in (ROOT / "tests/unit/plugins").rglob("test_*.py"))
    assert [file for file, text in DEADLINES.items() if text not in tests] == []


def test_a_platform_that_a_role_names_is_one_that_the_lab_runs() -> None:
    """The lab's nodes and machines are Debian 12; what else the preflight lets pass is known by its documentation
    alone.
    """
    named = [
        load(path.relative_to(ROOT))["galaxy_info"].get("platforms", [])
        for path in sorted(ROOT.glob("roles/*/meta/main.yml"))
    ]
    assert {json.dumps(platform) for platforms in named for platform in platforms} == {
        '{"name": "Debian", "versions": ["bookworm"]}'
    }


@pytest.mark.parametrize("path", sorted(ROOT.glob("playbooks/*.yml")), ids=lambda path: str(path.name))
def test_a_play_begins_by_taking_answers_as_data(path: Path) -> None:
    """Before any node is asked, where facts are not gathered, and before anything is done with an answer where they
    are.
    """
    for play in load(path.relative_to(ROOT)):
        if "hosts" in play:
            first = (play.get("pre_tasks") or play["tasks"])[0]
            assert first.get("ansible.builtin.import_tasks") == "tasks/facts_are_data.yml", play["name"]


@pytest.mark.parametrize(
    "path",
    sorted([*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("playbooks/**/*.yml")]),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_what_is_included_stands_in_the_file(path: Path) -> None:
    """A template may choose between names that stand there, and may not be one: a node's answer could name a file of
    the controller.
    """
    one_of_two, one_of_some = r"'\w+' if [^{}]+ else '\w+'", r"{('\w+': '\w+'(, )?)+}\.get\([\w.]+, '\w+'\)"
    choice = re.compile(rf"{{{{ ({one_of_two}|{one_of_some}) }}}}\.yml")
    for mapping in mappings(load(path.relative_to(ROOT))):
        for action in ("include_tasks", "import_tasks", "include_role", "import_role", "include_vars"):
            given = mapping.get(f"ansible.builtin.{action}")
            named = (
                [given]
                if isinstance(given, str)
                else [(given or {}).get(key) for key in ("file", "name", "tasks_from")]
            )
            for name in filter(None, named):
                assert "{{" not in str(name) or choice.fullmatch(str(name)), name
