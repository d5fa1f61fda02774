"""engine.json, key by key."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine_config import engine_config, parse_version

MIRROR = {"url": "http://192.0.2.2", "registry": "192.0.2.2:5000", "registry_plain_http": True}


def test_profile_ci_keeps_cache_volumes_and_fills_the_disk() -> None:
    policies = engine_config("0.21.8")["gc"]["policies"]
    assert policies[0]["keepDuration"] == "336h"
    assert policies[-1] == {"all": True, "reservedSpace": "60%", "maxUsedSpace": "90%", "minFreeSpace": "5%", "sweepSize": "10%"}


def test_profile_engine_ships_no_key() -> None:
    assert engine_config("0.21.8", "engine") == {}


def test_the_profile_is_not_changed_by_overrides() -> None:
    assert engine_config("0.21.8", "ci", {"gc": {"enabled": False}})["gc"]["enabled"] is False
    assert engine_config("0.21.8")["gc"]["enabled"] is True


def test_lists_are_replaced_and_dictionaries_merged() -> None:
    config = engine_config("0.21.8", "ci", {"gc": {"policies": [{"all": True, "maxUsedSpace": "200GB"}]}})
    assert config["gc"] == {"enabled": True, "policies": [{"all": True, "maxUsedSpace": "200GB"}]}


def test_mirrors_of_a_plain_http_registry() -> None:
    assert engine_config("0.21.8", "engine", {}, MIRROR, ["docker.io", "ghcr.io"]) == {
        "registries": {
            "docker.io": {"mirrors": ["192.0.2.2:5000/docker.io"]},
            "ghcr.io": {"mirrors": ["192.0.2.2:5000/ghcr.io"]},
            "192.0.2.2:5000": {"http": True},
        }
    }


def test_no_registry_no_mirrors() -> None:
    assert engine_config("0.21.8", "engine", {}, {"url": "http://192.0.2.2"}, ["docker.io"]) == {}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        pytest.param({"loglevel": "info"}, "engine.json has no key loglevel; its keys are: logLevel", id="unknown key"),
        pytest.param({"gc": {"polices": []}}, "engine.json.gc has no key polices", id="unknown nested key"),
        pytest.param({"gc": {"policies": [{"al": True}]}}, r"engine.json.gc.policies\[0\] has no key al", id="unknown key in a list"),
        pytest.param({"logLevel": "loud"}, "engine.json.logLevel: found 'loud', expected one of error", id="log level"),
        pytest.param({"gc": {"maxUsedSpace": "lots"}}, "engine.json.gc.maxUsedSpace: found 'lots', expected a number of bytes", id="size"),
        pytest.param({"gc": {"maxUsedSpace": "120%"}}, "maxUsedSpace: found '120%'", id="percentage above 100"),
        pytest.param({"gc": {"enabled": "yes"}}, "enabled: found 'yes', expected true or false", id="boolean"),
        pytest.param({"gc": {"policies": {"all": True}}}, "policies: found .* expected a list", id="not a list"),
        pytest.param({"gc": {"policies": [{"keepDuration": "2 weeks"}]}}, "keepDuration: found '2 weeks'", id="duration"),
        pytest.param({"registries": {"docker.io": {"mirror": []}}}, r"registries\[docker.io\] has no key mirror", id="registry key"),
        pytest.param({"registries": {"docker.io": {"mirrors": "x"}}}, "mirrors: found 'x', expected a list of strings", id="mirrors"),
        pytest.param({"security": []}, "engine.json.security: found .* expected a dictionary", id="not a dictionary"),
    ],
)
def test_what_the_engine_would_not_start_with(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        engine_config("0.21.8", "ci", overrides)


@pytest.mark.parametrize(
    ("version", "known"),
    [("0.21.0", False), ("0.21.8", False), ("0.21.9", True), ("1.0.0-beta.9", False), ("1.0.0-beta.10", True), ("1.0.0", True)],
)
def test_dagql_cache_came_late_on_two_lines(version: str, known: bool) -> None:
    overrides = {"gc": {"dagqlCache": {"maxEstimatedBytes": 4 * 2**30}}}
    if known:
        assert engine_config(version, "engine", overrides) == overrides
    else:
        with pytest.raises(ValueError, match=r"dagqlCache is known to engines from 0\.21\.9"):
            engine_config(version, "engine", overrides)


@pytest.mark.parametrize("version", ["v0.21.8", "0.21", "latest", ""])
def test_versions_that_are_none(version: str) -> None:
    with pytest.raises(ValueError, match="an engine version must look like"):
        engine_config(version)


def test_older_engines_and_unknown_profiles_are_refused() -> None:
    with pytest.raises(ValueError, match=r"known for 0.21.0 and later; found engine version 0.20.8"):
        engine_config("0.20.8")
    with pytest.raises(ValueError, match="profiles are: ci, engine"):
        engine_config("0.21.8", "huge")


def test_order_of_versions() -> None:
    names = ["0.21.8", "0.21.10", "1.0.0-alpha", "1.0.0-beta.2", "1.0.0-beta.10", "1.0.0", "1.0.1"]
    assert sorted(set(names), key=parse_version) == names
