"""The preflight's report alone, on hosts whose answers stand in the inventory."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from lab.simulated import REPORT

from .test_refusals import PLAYBOOK, ROOT

Findings = list[dict[str, str]]


def report_on(inventory: dict[str, Any], tmp_path: Path) -> tuple[subprocess.CompletedProcess[str], Findings]:
    """How the play ended, and what it found."""
    hosts, findings = tmp_path / "hosts.json", tmp_path / "findings.json"
    hosts.write_text(json.dumps(inventory))
    done = subprocess.run(
        [str(PLAYBOOK), "-i", str(hosts), str(REPORT), "-e", f"findings={findings}"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        check=False,
    )
    return done, json.loads(findings.read_text())
