"""A node that answers whatever it likes makes the controller run nothing: what it answers is data."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .test_refusals import GOOD, ROOT, Inventory, Run

FILES = Path(__file__).with_name("files")
PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """What is there once the controller has run the node's program."""
    return tmp_path / "owned"


@pytest.fixture
def stolen(tmp_path: Path, marker: Path) -> Inventory:
    """An inventory in which a node's Python is somebody else's."""
    python = tmp_path / "python3"
    python.write_text(f"#!{sys.executable}\n" + (FILES / "stolen_node.py").read_text().replace("@marker@", str(marker)))
    python.chmod(0o755)
    (tmp_path / "kubeconfig").write_text("{clusters: [{name: c, cluster: {server: 'https://127.0.0.1:9'}}]}")
    inventory = copy.deepcopy(GOOD)
    inventory["all"]["children"]["runner_nodes"]["hosts"]["runner-1"] = {"ansible_python_interpreter": str(python)}
    return inventory


def test_a_role_that_speaks_to_the_api_with_its_variables_runs_nothing(
    play: Callable[..., Run],
    stolen: Inventory,
    marker: Path,
) -> None:
    run = play(stolen, "../tests/refusals/files/asked")
    assert not marker.exists(), run.output


def test_nor_where_answers_become_variables(
    monkeypatch: pytest.MonkeyPatch,
    play: Callable[..., Run],
    stolen: Inventory,
    marker: Path,
) -> None:
    """A kubeconfig that is no path is refused by what hands it over, whoever set it."""
    monkeypatch.setenv("ANSIBLE_INJECT_FACT_VARS", "true")
    run = play(stolen, "../tests/refusals/files/asked")
    run.refused()
    assert not marker.exists() and "found a dictionary, expected the path of a kubeconfig" in run.output, run.output


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_its_answers_to_a_playbook_run_nothing(
    play: Callable[..., Run], stolen: Inventory, marker: Path, playbook: str
) -> None:
    run = play(stolen, playbook, "--limit", "runner-1", "-e", "engine_checkpoint=take", "-e", "engine_retire=0.1.0")
    assert not marker.exists() and "Traceback" not in run.output, run.output


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_where_answers_become_variables_no_playbook_does_anything(
    monkeypatch: pytest.MonkeyPatch,
    play: Callable[..., Run],
    playbook: str,
) -> None:
    monkeypatch.setenv("ANSIBLE_INJECT_FACT_VARS", "true")
    run = play(copy.deepcopy(GOOD), playbook)
    run.refused()
    assert "inject_facts_as_vars is true, expected false" in run.output
