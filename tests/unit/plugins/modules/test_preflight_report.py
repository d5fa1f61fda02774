"""The report's documentation and its action plugin agree. What it reports is tried in tests/refusals."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from ansible_collections.runnerfleet.baremetal.plugins.action import preflight_report as action
from ansible_collections.runnerfleet.baremetal.plugins.modules import preflight_report as module


def test_documented_options_are_those_of_the_action() -> None:
    documented = yaml.safe_load(module.DOCUMENTATION)["options"]
    stated = {
        name: {
            key: value for key, value in option.items() if key in ("type", "elements", "choices", "default", "required")
        }
        for name, option in documented.items()
    }
    assert stated == action.OPTIONS


def test_every_shared_variable_that_a_role_reads_is_known(repository: Path) -> None:
    """Or the preflight would refuse it as a typo."""
    spec = yaml.safe_load((repository / "roles/preflight/meta/argument_specs.yml").read_text())["argument_specs"][
        "fleet"
    ]["options"]
    for folder in ("roles", "playbooks", "inventories"):
        for path in (repository / folder).rglob("*.yml"):
            used = set(re.findall(r"\bfleet_(?!report|plan)[a-z_]+\b", path.read_text()))
            assert used <= set(spec), path
