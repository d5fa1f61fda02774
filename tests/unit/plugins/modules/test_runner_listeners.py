"""The documentation of the module and its arguments agree."""

from __future__ import annotations

import yaml
from ansible_collections.runnerfleet.baremetal.plugins.doc_fragments.runners import ModuleDocFragment
from ansible_collections.runnerfleet.baremetal.plugins.modules import runner_listeners as module


def test_documented_options_are_those_of_the_module() -> None:
    parts = (ModuleDocFragment.DOCUMENTATION, module.DOCUMENTATION)
    documented = {name: option for part in parts for name, option in yaml.safe_load(part)["options"].items()}
    for option in documented.values():
        del option["description"]
    assert documented == module.ARGS
