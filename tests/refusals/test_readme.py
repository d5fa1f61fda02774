"""The first inventory of the README passes the preflight: whoever copies it has nothing to find out first."""

from __future__ import annotations

import copy
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from lab.simulated import HELM, survey

from .report import Findings, report_on
from .test_refusals import ROOT


def first_inventory() -> dict[str, Any]:
    """The YAML below its heading."""
    text = (ROOT / "README.md").read_text()
    found: dict[str, Any] = yaml.safe_load(
        re.search(r"^## A first inventory\n+```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)[1]
    )  # type: ignore[index]
    return found


def report(tmp_path: Path, inventory: dict[str, Any]) -> tuple[subprocess.CompletedProcess[str], Findings]:
    """The preflight's report on these hosts, each of which answers as a good machine with the drives that it is said to
    have.
    """
    number = 0
    for group in inventory["all"]["children"].values():
        for name, host in group["hosts"].items():
            answer = survey(name, number)
            named = group.get("vars", {}).get("nvme_storage_drives", [])
            template = answer["hardware"]["drives"][0]
            answer["drives"] = [
                {"name": drive, "device": f"/dev/nvme{index}n1", "problem": ""} for index, drive in enumerate(named)
            ]
            answer["hardware"]["drives"] = [{**template, "name": drive} for drive in named]
            answer["addresses"] = [host["ansible_host"]]
            answer["networks"] = [{"cidr": "192.0.2.0/24", "interface": "eth0"}]
            host["simulated_survey"] = {"survey": answer}
            number += 1
    inventory["all"]["vars"] |= {"ansible_connection": "local", "vault_github_token": "ghp_" + "x" * 36}
    inventory["all"]["vars"]["fleet_helm_binary"] = str(HELM)
    return report_on(inventory, tmp_path)


def test_the_first_inventory_passes(tmp_path: Path) -> None:
    done, findings = report(tmp_path, first_inventory())
    assert done.returncode == 0 and [item for item in findings if item["severity"] == "error"] == [], done.stdout


def test_and_a_slip_in_it_would_not(tmp_path: Path) -> None:
    inventory = copy.deepcopy(first_inventory())
    inventory["all"]["vars"]["fleet_api_endpont"] = inventory["all"]["vars"].pop("fleet_api_endpoint")
    done, findings = report(tmp_path, inventory)
    assert done.returncode != 0 and "variable_unknown" in {item["code"] for item in findings}
