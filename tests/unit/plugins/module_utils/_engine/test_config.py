"""engine.json, key by key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.config import (
    FIRST_KNOWN,
    PROFILES,
    config_changes,
    engine_config,
    engine_reads,
    jobs_are_root,
    parse_version,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._pins import PINS

GIB = 1024**3
KEYS = yaml.safe_load(Path(__file__).with_name("engine_keys.yml").read_text(encoding="utf-8"))
KNOWN = {
    **{version: set(KEYS["first"]["keys"]) for version in KEYS["first"]["versions"]},
    **{version: {*KEYS["first"]["keys"], *KEYS["later"]["keys"]} for version in KEYS["later"]["versions"]},
    **{version: {key for part in KEYS.values() for key in part["keys"]} for version in KEYS["latest"]["versions"]},
}
VALUES = {
    "logLevel": "info",
    "filters": ["type==exec.cachemount"],
    "keepDuration": "6h",
    "mirrors": ["192.0.2.2:5000/docker.io"],
    "ca": ["/ca.pem"],
    **dict.fromkeys(("insecureRootCapabilities", "http", "insecure", "enabled", "all", "resourceMetrics"), True),
}
CONFINED = {"security": {"insecureRootCapabilities": False}}
MATRIX = Path(__file__).parents[5] / "plugins/plugin_utils/_fleet/version_matrix.yml"
MIRROR = {"url": "http://192.0.2.2", "registry": "192.0.2.2:5000", "registry_plain_http": True}


def test_profile_ci_keeps_cache_volumes_and_fills_the_disk() -> None:
    policies = engine_config("0.21.8")["gc"]["policies"]
    assert policies[0]["keepDuration"] == "336h"
    assert policies[-1] == {
        "all": True,
        "reservedSpace": "60%",
        "maxUsedSpace": "90%",
        "minFreeSpace": "5%",
        "sweepSize": "10%",
    }


def test_profile_engine_ships_nothing_but_that_jobs_are_not_root() -> None:
    assert engine_config("0.21.8", "engine") == CONFINED


@pytest.mark.parametrize("profile", PROFILES)
def test_jobs_are_root_of_their_node_only_where_somebody_said_so(profile: str) -> None:
    assert not jobs_are_root(engine_config("0.21.8", profile))
    assert jobs_are_root(engine_config("0.21.8", profile, {"security": {"insecureRootCapabilities": True}}))
    # An engine without the key gives them all.
    assert jobs_are_root({}) and jobs_are_root({"security": {}})


def test_the_profile_is_not_changed_by_overrides() -> None:
    assert engine_config("0.21.8", "ci", {"gc": {"enabled": False}})["gc"]["enabled"] is False
    assert engine_config("0.21.8")["gc"]["enabled"] is True


def test_lists_are_replaced_and_dictionaries_merged() -> None:
    config = engine_config("0.21.8", "ci", {"gc": {"policies": [{"all": True, "maxUsedSpace": "200GB"}]}})
    assert config["gc"] == {"enabled": True, "policies": [{"all": True, "maxUsedSpace": "200GB"}]}


def test_mirrors_of_a_plain_http_registry() -> None:
    assert engine_config("0.21.8", "engine", {}, MIRROR, ["docker.io", "ghcr.io"]) == {
        **CONFINED,
        "registries": {
            "docker.io": {"mirrors": ["192.0.2.2:5000/docker.io"]},
            "ghcr.io": {"mirrors": ["192.0.2.2:5000/ghcr.io"]},
            "192.0.2.2:5000": {"http": True},
        },
    }


def test_no_registry_no_mirrors() -> None:
    assert engine_config("0.21.8", "engine", {}, {"url": "http://192.0.2.2"}, ["docker.io"]) == CONFINED


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        pytest.param({"loglevel": "info"}, "engine.json has no key loglevel; its keys are: logLevel", id="unknown key"),
        pytest.param({"gc": {"polices": []}}, "engine.json.gc has no key polices", id="unknown nested key"),
        pytest.param(
            {"gc": {"policies": [{"al": True}]}},
            r"engine.json.gc.policies\[0\] has no key al",
            id="unknown key in a list",
        ),
        pytest.param({"logLevel": "loud"}, "engine.json.logLevel: found 'loud', expected one of error", id="log level"),
        pytest.param(
            {"gc": {"maxUsedSpace": "lots"}},
            "engine.json.gc.maxUsedSpace: found 'lots', expected a number of bytes",
            id="size",
        ),
        pytest.param({"gc": {"maxUsedSpace": "120%"}}, "maxUsedSpace: found '120%'", id="percentage above 100"),
        pytest.param({"gc": {"enabled": "yes"}}, "enabled: found 'yes', expected true or false", id="boolean"),
        pytest.param({"gc": {"policies": {"all": True}}}, "policies: found .* expected a list", id="not a list"),
        pytest.param(
            {"gc": {"policies": [{"keepDuration": "2 weeks"}]}}, "keepDuration: found '2 weeks'", id="duration"
        ),
        pytest.param(
            {"registries": {"docker.io": {"mirror": []}}},
            r"registries\[docker.io\] has no key mirror",
            id="registry key",
        ),
        pytest.param(
            {"registries": {"docker.io": {"mirrors": "x"}}},
            "mirrors: found 'x', expected a list of strings",
            id="mirrors",
        ),
        pytest.param({"security": []}, "engine.json.security: found .* expected a dictionary", id="not a dictionary"),
    ],
)
def test_what_the_engine_would_not_start_with(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        engine_config("0.21.8", "ci", overrides)


@pytest.mark.parametrize(
    ("version", "known"),
    [
        ("0.21.0", False),
        ("0.21.8", False),
        ("0.21.9", True),
        ("1.0.0-beta.9", False),
        ("1.0.0-beta.10", True),
        ("1.0.0", True),
    ],
)
def test_dagql_cache_came_late_on_two_lines(version: str, known: bool) -> None:
    overrides = {"gc": {"dagqlCache": {"maxEstimatedBytes": 4 * 2**30}}}
    if known:
        assert engine_config(version, "engine", overrides) == {**CONFINED, **overrides}
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


def nested(path: str) -> dict[str, Any]:
    """An engine.json with this key alone."""
    *above, last = path.replace("<name>", "mirror:5000").split(".")
    value: dict[str, Any] = {last: VALUES.get(last, 1000)}
    for part in reversed(above):
        value = {part.removesuffix("[]"): [value] if part.endswith("[]") else value}
    return value


def paths(value: Any, above: str = "") -> Iterator[str]:
    """The keys of an engine.json, as the list of keys writes them."""
    for key, entry in value.items():
        path = f"{above}{key}" if above != "registries." else "registries.<name>"
        if isinstance(entry, Mapping):
            yield from paths(entry, f"{path}.")
        elif isinstance(entry, list) and entry and isinstance(entry[0], Mapping):
            for item in entry:
                yield from paths(item, f"{path}[].")
        else:
            yield path


@pytest.mark.parametrize("version", KNOWN)
@pytest.mark.parametrize("path", sorted({path for known in KNOWN.values() for path in known}))
def test_a_version_gets_exactly_the_keys_that_it_knows(version: str, path: str) -> None:
    config = nested(path)
    if path in KNOWN[version]:
        assert engine_config(version, "engine", config) == {**CONFINED, **config}
    else:
        with pytest.raises(ValueError, match="would not start"):
            engine_config(version, "engine", config)


@pytest.mark.parametrize("version", KNOWN)
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("filesystem", [None, "1Ti"])
def test_nothing_is_shipped_that_a_version_does_not_know(version: str, profile: str, filesystem: str | None) -> None:
    config = engine_config(version, profile, {}, MIRROR, ["docker.io"], filesystem, "20%")
    assert set(paths(json.loads(json.dumps(config)))) <= KNOWN[version]


def test_every_version_that_the_collection_speaks_of_has_its_keys() -> None:
    text = MATRIX.read_text(encoding="utf-8")
    named = {str(version) for version in re.findall(r"(?:since|until): (\d+\.\d+\.\d+\S*)", text)} | {PINS["engine"]}
    assert {version for version in named if parse_version(version) >= parse_version(FIRST_KNOWN)} <= set(KNOWN)


def test_where_the_disk_is_known_sizes_are_bytes() -> None:
    policies = engine_config("0.21.8", filesystem=1000 * GIB, checkpoints="100Gi")["gc"]["policies"]
    assert policies[0]["maxUsedSpace"] == policies[1]["reservedSpace"] == 540 * GIB
    assert policies[1] == {
        "all": True,
        "reservedSpace": 540 * GIB,
        "maxUsedSpace": 810 * GIB,
        "minFreeSpace": 50 * GIB,
        "sweepSize": 27 * GIB,
    }


def test_without_a_size_checkpoints_are_a_share() -> None:
    policies = engine_config("0.21.8", checkpoints="20%")["gc"]["policies"]
    assert (policies[1]["reservedSpace"], policies[1]["maxUsedSpace"], policies[1]["minFreeSpace"]) == (
        "48%",
        "72%",
        "5%",
    )


@pytest.mark.parametrize(
    ("filesystem", "most", "free"),
    [pytest.param(1000 * GIB, 180 * GIB, 50 * GIB, id="bytes"), pytest.param(None, "18%", "5%", id="shares")],
)
def test_engines_on_one_disk_share_it(filesystem: int | None, most: Any, free: Any) -> None:
    policy = engine_config("0.21.8", filesystem=filesystem, checkpoints="20%", engines=4)["gc"]["policies"][-1]
    assert (policy["maxUsedSpace"], policy["minFreeSpace"]) == (most, free)


def test_no_engine_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="engines on the filesystem: found 0, expected at least 1"):
        engine_config("0.21.8", engines=0)


@pytest.mark.parametrize("size", [8 * GIB, 100 * GIB, 1788 * GIB, 30 * 1024 * GIB])
@pytest.mark.parametrize("checkpoints", [None, "10%", "50%"])
def test_cache_checkpoints_and_free_space_fit_on_the_disk(size: int, checkpoints: str | None) -> None:
    policy = engine_config("0.21.8", filesystem=size, checkpoints=checkpoints)["gc"]["policies"][-1]
    kept = size * int((checkpoints or "0%")[:-1]) // 100
    assert policy["reservedSpace"] < policy["maxUsedSpace"] - policy["sweepSize"]
    assert policy["maxUsedSpace"] + policy["minFreeSpace"] + kept <= size


@pytest.mark.parametrize(
    ("filesystem", "checkpoints", "overrides", "message"),
    [
        pytest.param(
            None,
            "100Gi",
            {},
            "found '100Gi' and no size of the filesystem, expected a share such as 20%",
            id="bytes of what",
        ),
        pytest.param("1Ti", "60%", {}, "found 614.4 GiB of 1024.0 GiB, expected at most 50%", id="most of it"),
        pytest.param(None, "60%", {}, "found 60%, expected at most 50%", id="most of it, as a share"),
        pytest.param("much", None, {}, "size of the cache filesystem: found 'much'", id="no size"),
        pytest.param("1Ti", "much", {}, "space for checkpoints: found 'much'", id="no space"),
        pytest.param(
            "1Ti",
            "20%",
            {"gc": {"policies": [{"all": True, "maxUsedSpace": "900GB"}]}},
            r"policies\[0\]: found 900.0 GiB for the cache and 204.8 GiB for checkpoints, expected no more than the "
            r"1024.0 GiB",
            id="too much",
        ),
        pytest.param(
            "1Ti",
            None,
            {"gc": {"policies": [{"all": True, "maxUsedSpace": "10%", "reservedSpace": "20%"}]}},
            r"policies\[0\]: found reservedSpace 190.9 GiB above maxUsedSpace 95.9 GiB",
            id="reserved above most",
        ),
    ],
)
def test_disks_that_are_refused(filesystem: Any, checkpoints: Any, overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        engine_config("0.21.8", "ci", overrides, filesystem=filesystem, checkpoints=checkpoints)


@pytest.mark.parametrize(
    ("value", "size", "expected"),
    [
        pytest.param(1000, 0, 1000, id="bytes"),
        pytest.param("200GB", 0, 200 * GIB, id="decimal units are read as binary ones"),
        pytest.param("1.5TiB", 0, 1536 * GIB, id="fractions"),
        pytest.param("90%", 1024 * GIB, 922 * 10**9, id="a share loses seven hundredths on a large disk"),
        pytest.param("5%", 8 * GIB, 10**9, id="and doubles on a small one"),
        pytest.param("0%", 8 * GIB, 0, id="nothing"),
    ],
)
def test_what_the_engine_makes_of_a_size(value: Any, size: int, expected: int) -> None:
    assert engine_reads(value, size) == expected


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        pytest.param({"logLevel": "info"}, {"logLevel": "info"}, [], id="nothing"),
        pytest.param({"logLevel": "info"}, {}, ["logLevel: info -> not set"], id="gone"),
        pytest.param({}, {"gc": {"enabled": False}}, ["gc.enabled: not set -> false"], id="new"),
        pytest.param(
            {"gc": {"policies": [{"all": True, "maxUsedSpace": GIB}]}},
            {"gc": {"policies": [{"all": True, "maxUsedSpace": 2 * GIB}, {"all": True}]}},
            [
                "gc.policies[0].maxUsedSpace: 1073741824 (1.0 GiB) -> 2147483648 (2.0 GiB)",
                "gc.policies[1].all: not set -> true",
            ],
            id="sizes",
        ),
        pytest.param(
            {"registries": {"docker.io": {"mirrors": ["a"]}}},
            {"registries": {"docker.io": {"mirrors": ["a", "b"]}}},
            ["registries.docker.io.mirrors: ['a'] -> ['a', 'b']"],
            id="lists of values are one value",
        ),
    ],
)
def test_changes(before: dict[str, Any], after: dict[str, Any], lines: list[str]) -> None:
    assert config_changes(before, after) == lines


def test_what_a_larger_disk_changes() -> None:
    changes = config_changes(engine_config("0.21.8", filesystem="1Ti"), engine_config("0.21.8", filesystem="2Ti"))
    assert changes[1] == "gc.policies[1].maxUsedSpace: 989560045568 (921.6 GiB) -> 1979120091136 (1843.2 GiB)"
    assert len(changes) == 5
