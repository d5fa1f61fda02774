"""Addresses are the inventory's."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.runnerfleet.baremetal.plugins.filter.serving_addresses import FilterModule, serving_addresses


def test_what_is_stated_wins_over_the_usual_address_and_that_over_the_name() -> None:
    hostvars = {
        "a": {"node_join_addresses": ["192.0.2.1", "2001:db8::1"], "ansible_host": "192.0.2.9"},
        "b": {"ansible_host": "192.0.2.2", "ansible_facts": {"all_ipv4_addresses": ["192.0.2.8"]}},
        "c": {},
        "d": {"node_join_addresses": [], "ansible_host": "192.0.2.9"},
    }
    assert serving_addresses(list(hostvars), hostvars) == {
        "a": ["192.0.2.1", "2001:db8::1"],
        "b": ["192.0.2.2"],
        "c": ["c"],
        "d": [],
    }
    assert FilterModule().filters()["serving_addresses"] is serving_addresses


@pytest.mark.parametrize("stated", ["192.0.2.1", [1], {}, [""]])
def test_what_is_no_list_is_told(stated: object) -> None:
    with pytest.raises(AnsibleFilterError, match=r"a: found node_join_addresses .*, expected a list of addresses"):
        serving_addresses(["a"], {"a": {"node_join_addresses": stated}})
