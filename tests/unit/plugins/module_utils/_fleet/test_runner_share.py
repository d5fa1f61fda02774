"""Requests and limits of a runner."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.runner_share import (
    limited,
    runner,
    takes_what_is_left,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._quantity import kubernetes
from hypothesis import given
from hypothesis import strategies as st

LIMITS = {"memory": "4Gi", "ephemeral-storage": "20Gi"}
AMOUNTS = st.dictionaries(
    st.sampled_from(["cpu", "memory", "ephemeral-storage"]), st.sampled_from(["0", "1500m", "4G", "4Gi", "1Ti"])
)


@pytest.mark.parametrize(
    ("stated", "requests", "limits"),
    [
        pytest.param({}, {"memory": "0", "ephemeral-storage": "0"}, LIMITS, id="nothing is stated"),
        pytest.param(
            {"requests": {"cpu": "2", "memory": "8Gi"}},
            {"cpu": "2", "memory": "8Gi", "ephemeral-storage": "0"},
            {"memory": "8Gi", "ephemeral-storage": "20Gi"},
            id="more is requested",
        ),
        pytest.param(
            {"limits": {"memory": "1Gi"}},
            {"ephemeral-storage": "0"},
            {"memory": "1Gi", "ephemeral-storage": "20Gi"},
            id="a limit of its own is a request too",
        ),
    ],
)
def test_limits_where_none_are_stated(stated: dict[str, Any], requests: dict[str, str], limits: dict[str, str]) -> None:
    assert limited(stated, LIMITS) == {"requests": requests, "limits": limits}


@given(AMOUNTS, AMOUNTS, AMOUNTS)
def test_what_is_stated_stays_and_counts_as_before(
    requests: dict[str, str], own: dict[str, str], limits: dict[str, str]
) -> None:
    stated = {"requests": requests, "limits": own}
    found = limited(stated, limits)
    assert requests.items() <= found["requests"].items() and own.items() <= found["limits"].items()
    assert found["limits"].keys() == own.keys() | limits.keys()
    for name in limits.keys() - own.keys():
        assert kubernetes(found["requests"][name]) <= kubernetes(found["limits"][name])
    before, after = (runner({"resources": item}, {}, 1) for item in (stated, found))
    assert {key: kubernetes(str(before[key])) for key in ("cpu", "memory")} == {
        key: kubernetes(str(after[key])) for key in ("cpu", "memory")
    }


def test_an_amount_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match="4GB"):
        limited({"requests": {"memory": "4GB"}}, LIMITS)


@pytest.mark.parametrize(
    ("entry", "share"),
    [
        ({"size": "2c-8g"}, 1),
        ({"size": "2c-8g", "max": "auto", "min": 5}, 3),
        ({"size": "2c-8g", "max": 5}, 3),
        ({"size": "2c-8g", "max": 0}, 0),
    ],
)
def test_a_scale_set_s_share_of_a_node(entry: dict[str, Any], share: int) -> None:
    assert runner({"name": "a", **entry}, {}, 2) == {"name": "a", "cpu": "2", "memory": "8Gi", "max": share}
    assert takes_what_is_left(entry) == (entry.get("max") in (None, "auto"))
