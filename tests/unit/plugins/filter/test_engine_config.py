"""The filter is its module util, with Ansible's error."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.runnerfleet.baremetal.plugins.filter.engine_config import FilterModule

engine_config = FilterModule().filters()["engine_config"]
engine_config_changes = FilterModule().filters()["engine_config_changes"]


def test_content() -> None:
    overrides = {"logLevel": "debug", "security": {"insecureRootCapabilities": True}}
    assert engine_config("0.21.8", "engine", overrides) == overrides


def test_refusal() -> None:
    with pytest.raises(AnsibleFilterError, match="has no key colour"):
        engine_config("0.21.8", "engine", {"colour": "red"})


def test_changes() -> None:
    after = engine_config("0.21.8", "engine", {"logLevel": "debug"})
    assert engine_config_changes({**engine_config("0.21.8", "engine"), "logLevel": "info"}, after) == [
        "logLevel: info -> debug"
    ]


def test_changes_of_text_are_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="found str, expected the dictionary"):
        engine_config_changes("{}", {})
