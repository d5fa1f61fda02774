"""The documentation and the action plugin agree, and what cannot be is refused before anybody is asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.runnerfleet.baremetal.plugins.action import self_test_workflow as action
from ansible_collections.runnerfleet.baremetal.plugins.modules import self_test_workflow as module

CANARY = "ghp_ThisIsNoTokenButWouldBeSecret"


def test_documented_options_are_those_of_the_action() -> None:
    documented = yaml.safe_load(module.DOCUMENTATION)["options"]
    for option in documented.values():
        del option["description"]
    assert documented == action.OPTIONS


def play(folder: Path, arguments: dict[str, Any], auth: Any, *more: str) -> subprocess.CompletedProcess[str]:
    task = {"name": "Run it", "runnerfleet.baremetal.self_test_workflow": arguments}
    variables = {"runner_controller_github_auth": auth}
    (folder / "play.yml").write_text(
        json.dumps([{"name": "x", "hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": [task]}])
    )
    command = [
        Path(sys.executable).with_name("ansible-playbook"),
        "-i",
        "localhost,",
        folder / "play.yml",
        "-vvv",
        *more,
    ]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, check=False
    )


GOOD: dict[str, Any] = {"repository": "example-org/app", "runner": "small", "url": "http://127.0.0.1:9"}


@pytest.mark.parametrize(
    ("change", "auth", "told"),
    [
        ({"repository": "app"}, {"token": CANARY}, "self_test_repository: found 'app', expected owner/name"),
        ({"runner": ""}, {"token": CANARY}, "self_test_runner: found nothing"),
        ({"url": "ssh://x"}, {"token": CANARY}, "url: found 'ssh://x'"),
        ({}, {"secret": "github"}, "found the name of a Secret, which the controller cannot use"),
        ({}, {"token": ""}, "runner_controller_github_auth: found nothing"),
        ({}, {"token": "{{ 'CANARY' }}"}, "refused"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, change: dict[str, Any], auth: Any, told: str) -> None:
    done = play(tmp_path, {**GOOD, **change}, auth)
    assert done.returncode == 2 and told in done.stdout, done.stdout
    assert CANARY not in done.stdout + done.stderr


def test_a_dry_run_starts_nothing(tmp_path: Path) -> None:
    done = play(tmp_path, GOOD, {"token": CANARY}, "--check")
    assert done.returncode == 0 and "Would run runnerfleet-self-test.yml of example-org/app" in done.stdout
    assert CANARY not in done.stdout
