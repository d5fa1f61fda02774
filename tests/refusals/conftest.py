"""What the tests of refusals share."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from .test_refusals import PLAYBOOK, ROOT, Inventory, Run


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., Run]:
    """Run the preflight with an inventory; `play(inventory, "site", "--limit", "x")` runs another playbook."""

    def run(inventory: Inventory, playbook: str = "preflight", *arguments: str) -> Run:
        hosts = tmp_path / "hosts.yml"
        hosts.write_text(yaml.safe_dump(inventory, sort_keys=False))
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
        }
        command = [str(PLAYBOOK), "-i", str(hosts), str(ROOT / "playbooks" / f"{playbook}.yml"), *arguments]
        process = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=120, check=False)
        return Run(process)

    return run
