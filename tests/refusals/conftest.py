"""What the tests of refusals share."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.callback.leaked_secrets import secrets_in

from .test_refusals import PLAYBOOK, ROOT, Inventory, Run


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., Run]:
    """Run the preflight with an inventory; `play(inventory, "site", "--limit", "x")` runs another playbook."""

    def run(inventory: Inventory, playbook: str = "preflight", *arguments: str) -> Run:
        hosts, searched = tmp_path / "hosts.yml", tmp_path / "searched.jsonl"
        hosts.write_text(yaml.safe_dump(inventory, sort_keys=False))
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "tests/callback"),
            "ANSIBLE_CALLBACKS_ENABLED": "leaked_secrets",
            "ANSIBLE_INJECT_INVOCATION": "true",
            "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
            "LEAKED_SECRETS_FILE": str(searched),
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
        }
        command = [str(PLAYBOOK), "-i", str(hosts), str(ROOT / "playbooks" / f"{playbook}.yml"), *arguments]
        process = subprocess.run(
            command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=120, check=False
        )
        # Refused or not: nothing that callbacks get, AWX's among them, has a secret.
        lines = [json.loads(line) for line in searched.read_text().splitlines()] if searched.exists() else []
        assert [leak for line in lines for leak in line["leaks"]] == [] and not secrets_in(
            process.stdout + process.stderr
        )
        return Run(process)

    return run
