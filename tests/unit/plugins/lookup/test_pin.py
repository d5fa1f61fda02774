"""The lookup is a wrapper; its errors are Ansible's."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleLookupError
from ansible_collections.runnerfleet.baremetal.plugins.lookup.pin import LookupModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._pins import PINS


def test_pin() -> None:
    lookup = LookupModule()
    assert lookup.run(["kubernetes", "runc"]) == [PINS["kubernetes"], PINS["runc"]]
    with pytest.raises(AnsibleLookupError, match="no version is pinned"):
        lookup.run(["kubernets"])
