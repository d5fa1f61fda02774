"""The filter is its module util, with Ansible's error."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.runnerfleet.baremetal.plugins.filter.engine_config import FilterModule

engine_config = FilterModule().filters()["engine_config"]


def test_content() -> None:
    assert engine_config("0.21.8", "engine", {"logLevel": "debug"}) == {"logLevel": "debug"}


def test_refusal() -> None:
    with pytest.raises(AnsibleFilterError, match="has no key colour"):
        engine_config("0.21.8", "engine", {"colour": "red"})
