"""The filter is a wrapper; its errors are Ansible's."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.runnerfleet.baremetal.plugins.filter.mirrored import FilterModule


def test_mirrored() -> None:
    mirrored = FilterModule().filters()["mirrored"]
    assert mirrored("https://a/b", {"url": "http://m"}) == "http://m/a/b"
    with pytest.raises(AnsibleFilterError, match="no key uri"):
        mirrored("https://a/b", {"uri": "http://m"})
