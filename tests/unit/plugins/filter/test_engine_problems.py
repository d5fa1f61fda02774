"""What engines may not be given in plain text."""

from __future__ import annotations

from ansible_collections.runnerfleet.baremetal.plugins.filter import engine_problems, pools


def test_what_is_said_for_all_pools_is_found_in_each() -> None:
    """As the role calls it: the pools with what their engines have in common."""
    stated = [
        {"name": "support", "group": "s"},
        {"name": "a", "group": "a", "engine": True},
        {"name": "b", "group": "b", "engine": True},
    ]
    common = {"versions": [], "environment": {"A_TOKEN": "s3cret"}, "environment_secret": ""}
    told = engine_problems.FilterModule().filters()["engine_problems"](
        pools.FilterModule().filters()["pools"](stated, common)
    )
    assert [text.partition(":")[0] for text in told] == [
        f"pool {name}, engine.environment.A_TOKEN" for name in ("a", "b")
    ]
    assert "s3cret" not in "".join(told)
