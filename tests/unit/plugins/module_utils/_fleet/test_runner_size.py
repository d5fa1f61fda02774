"""Sizes of runners, as people write them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.runner_size import Amounts, Size, parse

GIB = 1024**3


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ("4c-16g", Size("4", "16Gi")),
        ({"cpu": 4, "memory": "16Gi"}, Size("4", "16Gi")),
        ({"cpu": "250m", "memory": "256Mi", "disk": "2Gi"}, Size("250m", "256Mi", "2Gi")),
    ],
)
def test_a_size_is_short_or_a_mapping(given: Any, size: Size) -> None:
    assert parse(given) == size


def test_a_runner_has_what_it_was_placed_by() -> None:
    size = parse("4c-16g")
    assert size.amounts == Amounts(4000, 16 * GIB, 20 * GIB, 1)
    assert size.resources == {
        "requests": {"cpu": "4", "memory": "16Gi", "ephemeral-storage": "20Gi"},
        "limits": {"memory": "16Gi", "ephemeral-storage": "20Gi"},
    }


@pytest.mark.parametrize(
    "given",
    [
        "",
        "4c",
        "0c-16g",
        "4c-0g",
        "4C-16G",
        "4c-16g ",
        4,
        None,
        [],
        {},
        {"cpu": 1},
        {"cpu": 1, "memory": "1Gi", "gpu": 1},
    ],
)
def test_what_is_no_size_is_told(given: Any) -> None:
    with pytest.raises(ValueError, match="expected a size such as 4c-16g"):
        parse(given)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"cpu": "2Gi", "memory": "1Gi"}, "^cpu: found '2Gi'"),
        ({"cpu": 1, "memory": "1GB"}, "^memory: found '1GB'"),
        ({"cpu": 1, "memory": "1Gi", "disk": "-1Gi"}, "^disk: found '-1Gi'"),
        ({"cpu": 0, "memory": "1Gi"}, "^cpu: found 0, .*more than 0"),
    ],
)
def test_which_part_is_none_is_told(given: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse(given)
