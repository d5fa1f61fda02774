"""The documentation of the module and its arguments agree."""

from __future__ import annotations

import yaml
from ansible_collections.runnerfleet.baremetal.plugins.modules import runner_listeners as module


def test_documented_options_are_those_of_the_module() -> None:
    documented = yaml.safe_load(module.DOCUMENTATION)["options"]
    for option in documented.values():
        del option["description"]
    assert documented == module.ARGS
