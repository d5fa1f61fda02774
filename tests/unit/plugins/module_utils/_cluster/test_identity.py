"""Which cluster is this fleet's, and what of an environment would lead past it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.identity import (
    Identity,
    mismatch,
    overriding,
)

OURS = Identity("ci", "a" * 64)


def config_map(fleet: str = "ci", ca: str = "a" * 64) -> dict[str, Any]:
    return {"data": {"fleet": fleet, "ca": ca}}


@pytest.mark.parametrize(
    ("found", "adopt", "told"),
    [
        pytest.param(config_map(), False, "", id="ours"),
        pytest.param(OURS.to_object(), False, "", id="as it is written"),
        pytest.param(None, True, "", id="new"),
        pytest.param(None, False, "found no ConfigMap kube-system/runnerfleet", id="no fleet"),
        pytest.param(config_map("prod"), False, "belongs to another fleet: found 'prod'", id="another fleet"),
        pytest.param(
            config_map("prod"), True, "belongs to another fleet: found 'prod'", id="another fleet, at a first run"
        ),
        pytest.param(config_map(ca="b" * 64), True, "found sha256:aaaaaaaaaaaaaaaa in the kubeconfig", id="another CA"),
        pytest.param({}, True, "belongs to another fleet", id="empty"),
        pytest.param({"data": None}, True, "belongs to another fleet", id="null"),
        pytest.param(config_map("x" * 5000), True, "'xxx", id="long"),
    ],
)
def test_mismatch(found: dict[str, Any] | None, adopt: bool, told: str) -> None:
    text = mismatch(found, OURS, adopt)
    assert told in text and bool(text) == bool(told) and len(text) < 600


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ({"HOME": "/root", "KUBECONFIG": "/other"}, []),
        ({"K8S_AUTH_KUBECONFIG": "/k"}, []),
        ({"HELM_KUBEAPISERVER": "https://x", "HELM_CACHE_HOME": "/c"}, ["HELM_KUBEAPISERVER"]),
        (
            {"K8S_AUTH_KUBECONFIG": "/other", "K8S_AUTH_HOST": "https://x", "K8S_AUTH_API_KEY": ""},
            ["K8S_AUTH_HOST", "K8S_AUTH_KUBECONFIG"],
        ),
    ],
)
def test_overriding(environment: dict[str, str], names: list[str]) -> None:
    assert overriding(environment, "/k") == names
