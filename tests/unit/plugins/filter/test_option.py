"""What a playbook's option means, however it arrived."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.runnerfleet.baremetal.plugins.filter.option import FilterModule
from hypothesis import given
from hypothesis import strategies as st

option = FilterModule().filters()["option"]


@pytest.mark.parametrize("default", [True, False, 3, "x", [1], {"a": 1}], ids=repr)
@pytest.mark.parametrize("nothing", [None, "", "  "], ids=repr)
def test_nothing_is_the_default(nothing: Any, default: Any) -> None:
    assert option(nothing, "o", default) == default


@pytest.mark.parametrize(
    ("value", "default", "meant"),
    [
        *[(text, True, False) for text in ("false", "False", "no", "0", "off", False, 0)],
        *[(text, False, True) for text in ("true", "TRUE", "yes", "1", "on", True, 1)],
        ("42", 1, 42),
        (" 7 ", 1, 7),
        (5, 1, 5),
        ("a\nb\n", ["x"], ["a", "b"]),
        ('["a", "b"]', [], ["a", "b"]),
        ("a", [], ["a"]),
        ([], ["x"], []),
        ('{"a": {"vcpus": 4}}', {}, {"a": {"vcpus": 4}}),
        (5, "x", "5"),
    ],
)
def test_it_means_what_it_says(value: Any, default: Any, meant: Any) -> None:
    found = option(value, "o", default)
    assert found == meant and type(found) is type(meant)


@pytest.mark.parametrize(
    ("value", "default", "expected"),
    [
        ("maybe", True, "expected true or false"),
        (2, True, "expected true or false"),
        ("1.5", 1, "expected a whole number"),
        (True, 1, "expected a whole number"),
        ("text", {}, "expected a mapping"),
        ("{", {}, "expected a mapping"),
        (3, [], "expected a list"),
    ],
)
def test_what_it_cannot_mean_is_named(value: Any, default: Any, expected: str) -> None:
    with pytest.raises(AnsibleFilterError, match=f"^replace_x: found .*{expected}"):
        option(value, "replace_x", default)


def test_choices() -> None:
    assert option("take", "o", "list", ["list", "take"]) == "take"
    with pytest.raises(AnsibleFilterError, match="found 'tak', expected one of list, take"):
        option("tak", "o", "list", ["list", "take"])


VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.lists(st.text(max_size=5), max_size=3)
)


@given(VALUES, st.sampled_from([True, 1, "x", [1], {"a": 1}]))
def test_it_has_the_defaults_type_or_is_refused(value: Any, default: Any) -> None:
    try:
        assert type(option(value, "o", default)) is type(default)
    except AnsibleFilterError as error:
        assert str(error).startswith("o: found ")
