"""The filter is a wrapper; its errors are Ansible's."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.runnerfleet.baremetal.plugins.filter.registry_hosts import FilterModule


def test_registry_hosts() -> None:
    registry_hosts = FilterModule().filters()["registry_hosts"]
    assert len(registry_hosts(["docker.io", "quay.io"], {"registry": "m"})) == 2
    with pytest.raises(AnsibleFilterError, match="without a scheme"):
        registry_hosts(["docker.io"], {"registry": "http://m"})
