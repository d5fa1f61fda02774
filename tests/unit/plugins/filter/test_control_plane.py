"""What the role control_plane asks before it makes a cluster."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.runnerfleet.baremetal.plugins.filter.api_endpoint import FilterModule as Endpoint
from ansible_collections.runnerfleet.baremetal.plugins.filter.control_plane_refusals import FilterModule as Refusals


def test_endpoint() -> None:
    made = Endpoint().filters()["api_endpoint"]
    assert made("fd00:10::11") == "[fd00:10::11]:6443" and made("cp-1", "7443") == "cp-1:7443"
    with pytest.raises(AnsibleFilterError, match=r"127\.0\.0\.1 .*Set fleet_api_endpoint"):
        made("127.0.0.1")


@pytest.mark.parametrize(
    ("hosts", "pods", "services", "told"),
    [
        (["a"], "10.244.0.0/16", "10.96.0.0/12", []),
        (["a", "b"], "10.244.0.0/16", "10.96.0.0/12", ["2 hosts (a, b)"]),
        (["a"], "10.244.0.0/16,fd00::/56", "10.0.0.0/8", ["fd00::/56 is IPv6", "10.0.0.0/8 is too large"]),
    ],
)
def test_refusals(hosts: list[str], pods: str, services: str, told: list[str]) -> None:
    refusals = Refusals().filters()["control_plane_refusals"](hosts, pods, services)
    assert len(refusals) == len(told) and all(text in refusal for text, refusal in zip(told, refusals, strict=False))
