"""What a namespace of scale sets may request, and what its containers get that state nothing."""

from __future__ import annotations

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.runner_quota import REQUESTS, quota
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.runner_size import parse
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._quantity import to_bytes, to_millicpu

LIMITS = {"memory": "4Gi", "ephemeral-storage": "20Gi", "cpu": "2"}
SIZES = {"small": parse("2c-8g"), "large": parse({"cpu": "500m", "memory": "32Gi", "disk": "100Gi"})}
MOST = {"small": 3, "large": 2}
GI = 1 << 30


def test_all_runners_with_headroom_and_a_self_test() -> None:
    hard = quota(SIZES, MOST, LIMITS, 50, 4).hard
    assert to_millicpu(hard["requests.cpu"]) == (3 * 2000 + 2 * 500) * 3 // 2 + 4 * 20
    assert to_bytes(hard["requests.memory"]) == (3 * 8 + 2 * 32) * GI * 3 // 2 + 4 * (64 << 20)
    assert to_bytes(hard["requests.ephemeral-storage"]) == (3 * 20 + 2 * 100) * GI * 3 // 2 + 4 * (64 << 20)
    assert hard["pods"] == str(8 + 4)  # seven and a half


def test_no_runners_leave_room_for_the_self_test() -> None:
    assert quota({}, {}, LIMITS, 100, 2).hard["pods"] == "2"


def test_a_default_is_never_below_what_a_runner_has_and_cpus_have_none() -> None:
    """The API refuses a container that requests more than the limit that it gets."""
    found = quota(SIZES, MOST, LIMITS, 0, 0)
    assert found.default == {"memory": "32Gi", "ephemeral-storage": "100Gi"}
    assert quota({}, {}, {"memory": "1Mi"}, 0, 0).default == {"memory": REQUESTS["memory"]}


@pytest.mark.parametrize("limits", [{}, {"cpu": "1"}])
def test_no_limits_give_no_default(limits: dict[str, str]) -> None:
    found = quota(SIZES, MOST, limits, 0, 0)
    assert found.default == {} and found.default_request == REQUESTS
