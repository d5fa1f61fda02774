"""The filter is a wrapper; its errors are Ansible's."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.runnerfleet.baremetal.plugins.filter.artifacts import FilterModule


def test_artifacts() -> None:
    artifacts = FilterModule().filters()["artifacts"]
    assert [found["name"] for found in artifacts(["runc", "kubelet"], {})] == ["runc", "kubelet"]
    with pytest.raises(AnsibleFilterError, match=r"must begin with a digit"):
        artifacts(["runc"], {}, {"runc": "v0.1"})
