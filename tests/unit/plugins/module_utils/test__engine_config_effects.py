"""What engines do not read beside something else is refused; what they take is not."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.config import SPACES, engine_config
from hypothesis import given
from hypothesis import strategies as st

POLICY = [{"all": True, "maxUsedSpace": "80%"}]


@pytest.mark.parametrize(
    ("profile", "gc", "told"),
    [
        pytest.param(
            "ci", {"maxUsedSpace": "20GB"}, "found maxUsedSpace beside policies", id="the profile has policies"
        ),
        pytest.param(
            "engine",
            {"minFreeSpace": "10GB", "policies": POLICY},
            "found minFreeSpace beside policies",
            id="both by hand",
        ),
        pytest.param("engine", {"maxUsedSpace": "20GB"}, "", id="the engine's own policies follow it"),
        pytest.param("ci", {"maxUsedSpace": "20GB", "policies": []}, "", id="the profile's are given up"),
        pytest.param("ci", {"enabled": False}, "", id="no collection at all"),
        pytest.param(
            "ci",
            {"enabled": False, "policies": POLICY},
            "found policies beside enabled: false",
            id="policies of nothing",
        ),
    ],
)
def test_what_has_no_effect(profile: str, gc: dict[str, Any], told: str) -> None:
    if told:
        with pytest.raises(ValueError, match=told):
            engine_config("0.21.11", profile, {"gc": gc})
    else:
        assert engine_config("0.21.11", profile, {"gc": gc})


@given(st.sets(st.sampled_from(sorted(SPACES))), st.booleans(), st.sampled_from(["ci", "engine"]))
def test_a_space_is_in_the_file_only_where_it_is_read(keys: set[str], policies: bool, profile: str) -> None:
    gc: dict[str, Any] = {**dict.fromkeys(keys, "20GB"), **({"policies": POLICY} if policies else {})}
    try:
        made = engine_config("0.21.11", profile, {"gc": gc})["gc"] if gc or profile == "ci" else {}
    except ValueError:
        assert keys and (policies or profile == "ci")
        return
    assert not (set(made) & set(SPACES) and made.get("policies"))


@pytest.mark.parametrize("size", ["20 GB", "20GB", "1.5 MiB", "512"])
@pytest.mark.parametrize("level", ["INFO", "info", "Debug"])
def test_what_engines_take(size: str, level: str) -> None:
    assert (
        engine_config("0.21.11", "engine", {"logLevel": level, "gc": {"maxUsedSpace": size}})["gc"]["maxUsedSpace"]
        == size
    )
