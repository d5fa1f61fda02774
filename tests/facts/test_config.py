"""engine.json: what keeps an engine from starting."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.config import engine_config

from tests.facts.engines import Process

NEEDS = ("process",)


@pytest.mark.fact("engine/config/load.go:16", needs=NEEDS)
@pytest.mark.parametrize(
    ("config", "keys"),
    [
        pytest.param({"garbage": {}}, ["garbage"], id="at the top"),
        pytest.param({"gc": {"polices": []}}, ["polices"], id="nested"),
        pytest.param({"gc": {"policies": [{"reserved": 1}]}}, ["reserved"], id="in a list"),
        pytest.param({"registries": {"docker.io": {"mirror": []}}}, ["mirror"], id="below a free name"),
        # An engine before 0.21.9 knows none of it.
        pytest.param(
            {"gc": {"dagqlCache": {"maxBytes": 1}}}, ["maxBytes", "dagqlCache"], id="in what later versions have"
        ),
    ],
)
def test_an_unknown_key_ends_the_engine(engine: Process, config: dict[str, Any], keys: list[str]) -> None:
    engine.start(config=config, answers=False)
    assert any(f'json: unknown field "{key}"' in engine.log for key in keys)


@pytest.mark.fact(
    "internal/buildkit/cmd/buildkitd/config/gcpolicy.go:34 and :66, engine/config/config.go:65", needs=NEEDS
)
@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        pytest.param({"gc": {"maxUsedSpace": "many"}}, "many", id="a size"),
        pytest.param({"gc": {"maxUsedSpace": "1.5%"}}, "1.5", id="part of a percent"),
        pytest.param({"gc": {"policies": [{"keepDuration": "6 weeks"}]}}, "6 weeks", id="a duration"),
        pytest.param({"gc": {"enabled": "yes"}}, "cannot unmarshal", id="a switch"),
        pytest.param({"logLevel": "loud"}, "loud", id="a log level"),
        pytest.param("gc: {}", "invalid character", id="not JSON"),
    ],
)
def test_an_unknown_value_ends_the_engine(engine: Process, config: Any, complaint: str) -> None:
    engine.start(config=config, answers=False)
    assert complaint in engine.log


@pytest.mark.fact(
    "engine/config/config.go:29 and internal/buildkit/cmd/buildkitd/config/gcpolicy.go:18 to :66", needs=NEEDS
)
def test_all_keys_in_all_their_forms_are_taken(engine: Process) -> None:
    spaces = {"reservedSpace": 1000, "maxUsedSpace": "90%", "minFreeSpace": "2GB", "sweepSize": "1.5MiB"}
    policies = [
        {"all": True, "filters": ["type==exec.cachemount"], "keepDuration": kept, **spaces}
        for kept in (21600, "6h", "1h30m", "3600")
    ]
    registry = {"mirrors": ["mirror:5000"], "http": True, "insecure": False, "ca": []}
    engine.start(
        config={
            "logLevel": "info",
            "security": {"insecureRootCapabilities": False},
            "registries": {"docker.io": registry},
            "gc": {"enabled": True, **spaces, "policies": policies},
        }
    )


@pytest.mark.fact("engine/config/load.go:35", needs=NEEDS)
def test_there_need_not_be_one(engine: Process) -> None:
    engine.start()


@pytest.mark.fact("engine/config/load.go:16", needs=NEEDS)
@pytest.mark.parametrize("filesystem", [None, "8Gi"], ids=["shares", "bytes"])
def test_what_the_collection_ships_is_taken(engine: Process, filesystem: str | None) -> None:
    mirror = {"url": "http://192.0.2.2", "registry": "192.0.2.2:5000", "registry_plain_http": True}
    engine.start(
        config=json.loads(json.dumps(engine_config("0.21.8", "ci", {}, mirror, ["docker.io"], filesystem, "20%")))
    )
