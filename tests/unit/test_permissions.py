"""A file's name says what it may touch: a plan_* decides, a probe_* reads, an apply* writes. Held here for every
package of module_utils, and shown on a planted violation of each kind.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UTILS = ROOT / "plugins/module_utils"
PACKAGE = "ansible_collections.runnerfleet.baremetal.plugins.module_utils."
FILES = sorted(path for path in UTILS.rglob("*.py") if path.name != "__init__.py")
MACHINE = {"os", "subprocess", "socket", "shutil", "tempfile", "fcntl", "pathlib", "glob"}
# Methods of a path, and functions of modules, that write.
PATH_WRITES = {"write_text", "write_bytes", "mkdir", "touch", "unlink", "rmdir", "symlink_to", "hardlink_to", "chmod"}
MODULE_WRITES = {
    "os": {"chmod", "chown", "fchmod", "fchown", "ftruncate", "lchown", "link", "makedirs", "mkdir", "mkfifo", "mknod"}
    | {"pwrite", "remove", "removedirs", "rename", "renames", "replace", "rmdir", "symlink", "truncate", "unlink"}
    | {"utime", "write"},
    "shutil": {"chown", "copy", "copy2", "copyfile", "copytree", "move", "rmtree"},
    "fcntl": {"ioctl"},
}
WRITING_FLAGS = {"O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND"}
# What a probe may run: the program, and the argument that makes it one that reads.
READING = {
    "blkid": {"-p"},
    "mdadm": {"--examine"},
    "modprobe": {"--dry-run"},
    "nvme": {"id-ctrl", "id-ns", "list-ns", "smart-log"},
    "sfdisk": {"--json"},
    "systemctl": {"is-active", "show"},
    "wipefs": {"--no-act"},
}


def imports(tree: ast.AST) -> Iterator[str]:
    """Dotted names of what a file imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _opens_for_writing(call: ast.Call) -> bool:
    """open(path, mode) and os.open(path, flags)."""
    if isinstance(call.func, ast.Name) and call.func.id == "open":
        given = [*call.args[1:2], *(word.value for word in call.keywords if word.arg == "mode")]
        return any(not isinstance(mode, ast.Constant) or set("wax+") & set(str(mode.value)) for mode in given)
    named = {node.attr for argument in call.args for node in ast.walk(argument) if isinstance(node, ast.Attribute)}
    return isinstance(call.func, ast.Attribute) and call.func.attr == "open" and bool(named & WRITING_FLAGS)


def writes(tree: ast.AST) -> Iterator[str]:
    """Calls that write a file, or may."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        owner = getattr(call.func.value, "id", "") if isinstance(call.func, ast.Attribute) else ""
        if _opens_for_writing(call) or name in MODULE_WRITES.get(owner, ()) or name in PATH_WRITES:
            yield f"line {call.lineno}: {owner}.{name}".replace(": .", ": ")


def commands(tree: ast.AST) -> Iterator[tuple[int, list[str]]]:
    """The words that are known of each command line: a list whose first item names a program."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        lists = [argument for argument in call.args if isinstance(argument, ast.List)]
        if name in ("run", "call", "run_command", "command") and lists:
            yield call.lineno, [word.value if isinstance(word, ast.Constant) else "" for word in lists[0].elts]


def runs_a_writer(tree: ast.AST) -> Iterator[str]:
    """Command lines that are not known to read only. Where a program is in a variable, another word has to tell."""
    known = {word for words in READING.values() for word in words} | {"--reportformat", "--output-format=json"}
    for line, words in commands(tree):
        allowed = READING.get(words[0], known) if words[0] else known
        if not allowed & set(words) and not (words[0] == "nvme" and words[1] == ""):
            yield f"line {line}: {' '.join(words)}"


def violations(path: Path, text: str) -> list[str]:
    """What a file does that its name does not allow."""
    tree = ast.parse(text)
    name, found = path.stem, []
    if not name.startswith("apply"):
        found += [f"writes: {call}" for call in writes(tree)]
        found += [f"imports {other}" for other in imports(tree) if other.rpartition(".")[2].startswith("apply")]
    if name.startswith("plan_"):
        found += [f"imports {other}" for other in imports(tree) if other.partition(".")[0] in MACHINE]
        found += [f"imports {other}" for other in imports(tree) if ".probe_" in other and other.startswith(PACKAGE)]
    if name.startswith("probe_"):
        found += [f"runs {command}" for command in runs_a_writer(tree)]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(UTILS)))
def test_a_file_does_what_its_name_allows(path: Path) -> None:
    assert violations(path, path.read_text()) == []


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("plan_a.py", "import os", "imports os"),
        ("plan_a.py", "from subprocess import run", "imports subprocess"),
        ("plan_a.py", "import socket", "imports socket"),
        ("plan_a.py", f"from {PACKAGE}_nvme import probe_drives", "probe_drives"),
        ("plan_a.py", f"from {PACKAGE}_nvme.apply_drives import Writer", "apply_drives"),
        ("probe_a.py", "open('/etc/fstab', 'a')", "writes: line 1: open"),
        ("probe_a.py", "open(path, mode=how)", "writes: line 1: open"),
        ("probe_a.py", "Path(path).write_text('')", "write_text"),
        ("probe_a.py", "import os\nos.open(node, os.O_RDWR | os.O_EXCL)", "line 2: os.open"),
        ("probe_a.py", "import shutil\nshutil.rmtree(path)", "shutil.rmtree"),
        ("probe_a.py", "drives.run(['mkfs.xfs', '-q', node])", "runs line 1: mkfs.xfs"),
        ("probe_a.py", "drives.call(['wipefs', '--all', node])", "runs line 1: wipefs --all"),
        ("probe_a.py", "run(['systemctl', 'stop', unit])", "runs line 1: systemctl stop"),
        ("diff.py", "import os\nos.unlink(path)", "os.unlink"),
        ("layout.py", f"from {PACKAGE}_nvme import apply_mounts", "apply_mounts"),
    ],
)
def test_a_planted_violation_is_found(name: str, text: str, told: str) -> None:
    assert any(told in found for found in violations(Path(name), text)), violations(Path(name), text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plan_a.py", "import re\nfrom dataclasses import replace"),
        ("probe_a.py", "import os\nopen(path)\nos.open(node, os.O_RDONLY | os.O_EXCL)\ntext.replace('a', 'b')"),
        ("probe_a.py", "drives.run(['wipefs', '--no-act', '--json', node])"),
        ("apply_a.py", f"import os\nfrom {PACKAGE}_nvme.apply_drives import Writer\nos.unlink(path)"),
    ],
)
def test_what_is_allowed(name: str, text: str) -> None:
    assert violations(Path(name), text) == []


def reached(name: str, tree_of: Callable[[Path], ast.AST]) -> set[str]:
    """Every file of module_utils that a module brings along."""
    seen: set[str] = set()
    waiting = [ROOT / f"plugins/modules/{name}.py"]
    while waiting:
        for other in imports(tree_of(waiting.pop())):
            parts = other.removeprefix(PACKAGE).split(".")
            path = UTILS / "/".join(parts[:-1]) if other.startswith(PACKAGE) else UTILS / "none"
            for found in (path.with_suffix(".py"), path / f"{parts[-1]}.py"):
                if other.startswith(PACKAGE) and found.is_file() and str(found) not in seen:
                    seen.add(str(found))
                    waiting.append(found)
    return {str(Path(path).relative_to(UTILS)) for path in seen}


@pytest.mark.parametrize("module", ["nvme_facts", "host_survey", "node_sizing", "cis_facts"])
def test_a_module_that_reads_brings_no_writer_along(module: str) -> None:
    """So it cannot write, whoever changes it."""
    found = reached(module, lambda path: ast.parse(path.read_text()))
    assert found, "it imports something"
    assert [path for path in found if Path(path).stem.startswith("apply")] == []


def test_only_modules_and_appliers_import_an_applier() -> None:
    """What runs on the controller, and what decides, cannot even name one."""
    others = [path for path in (ROOT / "plugins").rglob("*.py") if path.parent.name != "modules"]
    importing = [path for path in others if any("apply" in name for name in imports(ast.parse(path.read_text())))]
    assert importing and [path for path in importing if not path.stem.startswith("apply")] == []


def test_a_module_that_writes_does_bring_one() -> None:
    """The walk above finds what there is."""
    found = reached("nvme_layout", lambda path: ast.parse(path.read_text()))
    assert {"_nvme/apply.py", "_nvme/apply_drives.py", "_nvme/plan_partitions.py"} <= found
