"""The planner's documentation and its action plugin agree, and the playbook works for machines that are not there
yet.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.runnerfleet.baremetal.plugins.action import fleet_plan as action
from ansible_collections.runnerfleet.baremetal.plugins.modules import fleet_plan as module

PURCHASE = {"offer-a": {"vcpus": 64, "memory_bytes": "256GB", "drives": [{"name": "nvme0n1", "size_bytes": "3.84TB"}]}}


def test_documented_options_are_those_of_the_action() -> None:
    documented = yaml.safe_load(module.DOCUMENTATION)["options"]
    assert {
        name: {key: option[key] for key in ("type", "default")} for name, option in documented.items()
    } == action.OPTIONS


def plan(repository: Path, hardware: Any) -> subprocess.CompletedProcess[str]:
    """Run the playbook as a user would, with machines typed by hand."""
    return subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"),
            "playbooks/plan.yml",
            "--inventory=localhost,",
            "-e",
            json.dumps({"plan_hardware": hardware, "runner_pools_pools": [{"name": "medium", "organization": "o"}]}),
        ],
        capture_output=True,
        text=True,
        cwd=repository,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCALHOST_WARNING": "false"},
        check=False,
    )


def test_a_purchase(repository: Path) -> None:
    done = plan(repository, PURCHASE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "offer-a  64" in done.stdout and "medium: 58 (memory)" in done.stdout and "1 machine planned." in done.stdout


@pytest.mark.parametrize(
    ("hardware", "told"),
    [
        ({"x": {"vcpus": 4}}, "x: hardware.memory_bytes: found nothing"),
        ({"x": {"vcpus": 4, "memory_bytes": "lots"}}, "x: hardware.memory_bytes: found 'lots'"),
        ({"x": {"vcpus": 4, "memory_bytes": 1, "drive": []}}, "x: hardware.drive: found an unknown key"),
    ],
)
def test_nonsense_is_told(repository: Path, hardware: dict[str, Any], told: str) -> None:
    done = plan(repository, hardware)
    assert done.returncode != 0 and told in done.stdout + done.stderr


@pytest.mark.parametrize("hardware", ["{}", "", {}], ids=repr)
def test_no_hardware_is_a_look_at_the_inventory(repository: Path, hardware: Any) -> None:
    """However it arrives: here the inventory has none of the groups, so it is refused, and no host is asked, nor the
    controller.
    """
    done = plan(repository, hardware)
    assert done.returncode != 0 and "found no host in any of the groups" in done.stdout + done.stderr
    assert "Look at every machine" not in done.stdout


def test_hardware_as_a_text(repository: Path) -> None:
    """As a survey hands it over."""
    assert "1 machine planned." in plan(repository, json.dumps(PURCHASE)).stdout
    done = plan(repository, "offer-a")
    assert done.returncode != 0 and "plan_hardware: found 'offer-a', expected a mapping" in done.stdout + done.stderr
