"""A kubeconfig where the next commit would take it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils import _work_tree

ROOT = Path(__file__).resolve().parents[4]


def git(folder: Path, *arguments: str) -> None:
    """As a user calls it, without the settings of this machine."""
    names = ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL")
    environment = {**os.environ, **dict.fromkeys(names, "x@example.org"), "GIT_CONFIG_GLOBAL": "/dev/null"}
    subprocess.run(["git", "-C", str(folder), *arguments], env=environment, capture_output=True, check=True)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A work tree with an inventory."""
    found = tmp_path / "tree"
    (found / "inventory").mkdir(parents=True)
    git(found, "init", "--quiet")
    return found


Make = Callable[[Path], Path]


def _plain(tree: Path) -> Path:
    return tree / "inventory/kubeconfig"


def _not_there_yet(tree: Path) -> Path:
    return tree / "not/there/kubeconfig"


def _committed(tree: Path) -> Path:
    """Ignored too late."""
    file = _plain(tree)
    file.write_text("secret")
    git(tree, "add", ".")
    (tree / ".gitignore").write_text("kubeconfig\n")
    return file


def _linked_to(tree: Path) -> Path:
    """A link outside leads into it."""
    _plain(tree).write_text("secret")
    (tree.parent / "link").symlink_to(_plain(tree))
    return tree.parent / "link"


def _through_a_link(tree: Path) -> Path:
    (tree.parent / "folder").symlink_to(tree / "inventory")
    return tree.parent / "folder/kubeconfig"


def _second_work_tree(tree: Path) -> Path:
    """Whose .git is a file."""
    git(tree, "commit", "--quiet", "--allow-empty", "--message=x")
    git(tree, "worktree", "add", "--quiet", str(tree.parent / "second"))
    return tree.parent / "second/kubeconfig"


def _ignored(tree: Path) -> Path:
    (tree / ".gitignore").write_text("/inventory/kubeconfig\n")
    return _plain(tree)


def _ignored_folder(tree: Path) -> Path:
    (tree / "inventory/.gitignore").write_text("*\n")
    return tree / "inventory/deep/kubeconfig"


def _outside(tree: Path) -> Path:
    return tree.parent / "kubeconfig"


@pytest.mark.parametrize("make", [_plain, _not_there_yet, _committed, _linked_to, _through_a_link, _second_work_tree])
def test_what_a_commit_would_take_is_found(tree: Path, make: Make) -> None:
    """Whether it is there or will be, and by whatever way it is named."""
    (found,) = _work_tree.kubeconfig_findings(str(make(tree)))
    assert (found.code, found.severity) == ("kubeconfig_in_work_tree", "error")
    assert (
        "which does not ignore it" in found.found
        and ".gitignore" in found.hint
        and "~/.kube/runnerfleet-" in found.hint
    )


@pytest.mark.parametrize("make", [_ignored, _ignored_folder, _outside])
def test_what_no_commit_takes_is_fine(tree: Path, make: Make) -> None:
    """Ignored where it lies, or in no work tree."""
    assert _work_tree.kubeconfig_findings(str(make(tree))) == []
    assert _work_tree.kubeconfig_findings("") == []


def test_a_home_is_written_out(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tree))
    assert len(_work_tree.kubeconfig_findings("~/kubeconfig")) == 1


def test_without_git_it_is_not_known_to_be_ignored(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so it is refused in a work tree, and nowhere else."""
    path, outside = _ignored(tree), _outside(tree)
    monkeypatch.setenv("PATH", "/nowhere")
    (found,) = _work_tree.kubeconfig_findings(str(path))
    assert "no program git" in found.found
    assert _work_tree.kubeconfig_findings(str(outside)) == []


def test_a_git_that_does_not_answer_is_told(tree: Path) -> None:
    """A repository that is none, or one of somebody else whom git does not trust."""
    (tree / ".git/HEAD").unlink()
    (found,) = _work_tree.kubeconfig_findings(str(_ignored(tree)))
    assert "git does not say whether it is ignored (fatal: " in found.found


def test_another_repository_is_not_asked(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which the environment of a hook names."""
    other = tree.parent / "other"
    other.mkdir()
    git(other, "init", "--quiet")
    (other / ".git/info/exclude").write_text("*\n")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert len(_work_tree.kubeconfig_findings(str(_plain(tree)))) == 1


@pytest.mark.parametrize("name", ["kubeconfig", "admin.kubeconfig", "deep/kubeconfig"])
def test_the_example_ignores_what_opens_a_cluster(name: str, tmp_path: Path) -> None:
    """As a user copies it into a repository of theirs."""
    git(tmp_path, "init", "--quiet")
    (tmp_path / ".gitignore").write_text((ROOT / "inventories/example/.gitignore").read_text())
    assert _work_tree.kubeconfig_findings(str(tmp_path / name)) == []
    assert len(_work_tree.kubeconfig_findings(str(tmp_path / "hosts.yml"))) == 1
