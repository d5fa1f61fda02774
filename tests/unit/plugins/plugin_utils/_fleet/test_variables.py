"""What a value that cannot be used becomes: nothing, and a finding."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet import variables as _variables

LOADER = DataLoader()
SPECS, DEFAULTS = _variables.role_variables(LOADER)
KNOWN = {name: spec for options in SPECS.values() for name, spec in options.items()}
TEXTS = {"word": "one", "lines": "one\ntwo", "list": '["one"]', "mapping": '{"one": "two"}', "commas": "one,two"}
SHAPED = sorted(name for name, spec in KNOWN.items() if spec.get("type") in ("list", "dict"))


def value(name: str, given: Any) -> tuple[Any, list[Any]]:
    return _variables.Variables({name: given}, DEFAULTS, LOADER, {}, KNOWN).value(name)


@pytest.mark.parametrize("name", SHAPED)
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_text_is_no_list_and_no_mapping(name: str, text: str) -> None:
    found, findings = value(name, text)
    assert found is None
    assert [(finding.code, finding.subject) for finding in findings] == [("variable_invalid", name)]
    assert findings[0].found.startswith("a text") and text not in findings[0].hint
    assert f'{{"{name}": ' in findings[0].hint


@pytest.mark.parametrize("name", SHAPED)
def test_a_list_or_a_mapping_is_taken(name: str) -> None:
    given: Any = ["one"] if KNOWN[name]["type"] == "list" else {"one": "two"}
    assert value(name, given) == (given, [])
