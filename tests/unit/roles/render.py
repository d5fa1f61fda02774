"""A variable of a role, as Ansible renders it from the role's own defaults."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any


def rendered(repository: Path, role: str, variable: str, given: dict[str, Any]) -> Any:
    """The value. A process of its own: here other tests have imported the collection as a plain package."""
    folder = repository / "roles" / role
    files = [argument for name in ("defaults", "vars") for argument in ("-e", f"@{folder}/{name}/main.yml")]
    command = [
        "ansible",
        "localhost",
        "-i",
        "localhost,",
        "--playbook-dir",
        str(folder),
        *files,
        "-e",
        json.dumps(given),
    ]
    task = ["-m", "ansible.builtin.debug", "-a", f"var={variable}"]
    environment = {**os.environ, "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1", "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
    done = subprocess.run(
        [*command, *task], cwd=repository, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout[done.stdout.index("{") :])["plays"][0]["tasks"][0]["hosts"]["localhost"][variable]
