"""What an inventory means: names, types, groups, credential, networks, kubeconfig."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight import inventory
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.findings import Finding

SPECS: dict[str, Any] = {
    "disk_layout_cache": {
        "type": "list",
        "elements": "dict",
        "options": {"on": {"type": "raw", "options": {"size": {"type": "int"}}}},
    },
    "disk_layout_drives": {"type": "list", "elements": "str"},
    "disk_layout_mode": {"type": "str", "choices": ["auto", "single"]},
    "disk_layout_volumes": {
        "type": "list",
        "elements": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "size": {"type": "str"},
            "count": {"type": "int", "default": "{{ x }}"},
        },
    },
    "auth_login": {"type": "dict", "options": {"token": {"type": "str"}, "tries": {"type": "int"}}},
    "pools": {"type": "list", "elements": "dict"},
}
POOLS: list[dict[str, Any]] = [{"name": "support", "group": "s"}, {"name": "runner", "group": "r", "engine": True}]
GROUPS = {"all": ["c1", "s1", "r1"], "ungrouped": [], "c": ["c1"], "s": ["s1"], "r": ["r1"]}


def codes(findings: list[Finding]) -> list[str]:
    return [finding.code for finding in findings]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("disk_layout_drive", "disk_layout_drives"),
        ("disk_layout_mod", "disk_layout_mode"),
        ("pool", ""),
        ("disk_layout_zzzzzzzz", None),
    ],
)
def test_unknown_variables(name: str, meant: str | None) -> None:
    findings = inventory.unknown_variables([name], SPECS, ["disk_layout", "auth"], [])
    if meant == "":
        assert findings == []
        return
    assert codes(findings) == ["variable_unknown"]
    assert not meant or f"did you mean {meant}?" in findings[0].hint


@pytest.mark.parametrize(
    "name", ["disk_layout_drives", "my_own", "ansible_disk_layout_x", "__disk_layout_seen", "disk_layout_mine"]
)
def test_variables_that_are_left_alone(name: str) -> None:
    assert inventory.unknown_variables([name], SPECS, ["disk_layout"], ["disk_layout_mine"]) == []


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("disk_layout_drives", ["a"], []),
        ("disk_layout_drives", None, [("variable_empty", "disk_layout_drives")]),
        ("disk_layout_drives", {"a": 1}, [("variable_invalid", "disk_layout_drives")]),
        ("disk_layout_mode", "both", [("variable_invalid", "disk_layout_mode")]),
        ("disk_layout_volumes", [{"name": "a"}], []),
        ("disk_layout_volumes", [{"size": "1G"}], [("variable_invalid", "disk_layout_volumes")]),
        (
            "disk_layout_volumes",
            [{"name": "a"}, {"name": "b", "siez": 1}],
            [("variable_key_unknown", "disk_layout_volumes[1].siez")],
        ),
        ("disk_layout_volumes", [{"name": "a", "count": "many"}], [("variable_invalid", "disk_layout_volumes")]),
        ("auth_login", {"tokn": "x"}, [("variable_key_unknown", "auth_login.tokn")]),
        ("disk_layout_cache", [{"on": True}, {"on": {"size": 3}}, {"on": "yes"}, {}], []),
        ("disk_layout_cache", [{"on": {"siez": 3}}], [("variable_key_unknown", "disk_layout_cache[0].on.siez")]),
        ("disk_layout_cache", [{}, {"on": {"size": "big"}}], [("variable_invalid", "disk_layout_cache[1].on")]),
    ],
)
def test_values(name: str, value: Any, expected: list[tuple[str, str]]) -> None:
    findings = inventory.value_findings(name, value, SPECS[name], "disk_layout")
    assert [(finding.code, finding.subject) for finding in findings] == expected
    assert all("ansible-doc -t role runnerfleet.baremetal.disk_layout" in finding.hint for finding in findings)


@pytest.mark.parametrize(
    ("name", "values", "found"),
    [
        ("x", {"a": 1, "b": 1}, []),
        ("x", {"a": 1, "b": 2, "c": 1}, ["1 on a, c; 2 on b"]),
        ("x", {"a": "1", "b": 1}, ["'1' on a; 1 on b"]),
        ("x_token", {"a": "s3cret", "b": "s3cret2"}, ["******** on a; ******** on b"]),
        ("x", {"a": {"password": "s3cret"}, "b": {}}, ["******** on a; ******** on b"]),
        ("x", {}, []),
    ],
)
def test_differences(name: str, values: dict[str, Any], found: list[str]) -> None:
    findings = inventory.difference_findings(name, values, {"type": "raw"})
    assert [finding.found for finding in findings] == found and codes(findings) == ["variable_differs"] * len(found)


def test_values_of_secrets_are_never_told() -> None:
    findings = inventory.value_findings(
        "auth_login", {"token": "fine", "tries": "hunter2-hunter2"}, SPECS["auth_login"], "auth"
    )
    assert codes(findings) == ["variable_invalid"] and "hunter2" not in str(findings)


def test_the_same_fault_on_many_hosts_is_told_once() -> None:
    finding = Finding("variable_unknown", "x", "f", "e", "h")
    assert [item.subject for item in inventory.for_hosts({"a": [finding, finding], "b": [finding], "c": []})] == [
        "x (a, b)"
    ]


@pytest.mark.parametrize(
    ("groups", "external", "expected"),
    [
        (GROUPS, False, []),
        ({**GROUPS, "c": []}, False, [("group_empty", "group c")]),
        ({**GROUPS, "c": []}, True, []),
        ({name: hosts for name, hosts in GROUPS.items() if name != "r"}, False, [("group_missing", "group r")]),
        ({**GROUPS, "s": ["s1", "r1"]}, False, [("host_in_two_pools", "r1")]),
        ({**GROUPS, "r": ["r1", "c1"]}, False, [("host_in_two_pools", "c1")]),
    ],
)
def test_groups(groups: dict[str, list[str]], external: bool, expected: list[tuple[str, str]]) -> None:
    findings = inventory.pool_findings(groups, POOLS, "c", external)
    assert [(finding.code, finding.subject) for finding in findings] == expected


def test_a_pool_defined_twice() -> None:
    pools = [*POOLS, {"name": "runner", "group": "all"}]
    assert "pool_defined_twice" in codes(inventory.pool_findings(GROUPS, pools, "c", False))


@pytest.mark.parametrize(
    ("played", "limited", "expected"),
    [
        (["c1", "s1", "r1"], False, []),
        (["r1"], True, []),
        (["c1", "s1"], False, [("host_not_in_play", "r1")]),
        (["c1", "s1", "r1", "x1"], False, [("host_without_pool", "x1")]),
    ],
)
def test_places(played: list[str], limited: bool, expected: list[tuple[str, str]]) -> None:
    findings = inventory.place_findings(played, GROUPS, POOLS, "c", limited)
    assert [(finding.code, finding.subject) for finding in findings] == expected


def test_kinds() -> None:
    assert [inventory.kind_of(host, GROUPS, POOLS, "c") for host in ("c1", "s1", "r1")] == [
        "control_plane",
        "support",
        "runner",
    ]


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        ({"secret": "a"}, []),
        ({"token": "t", "secret": ""}, []),
        ({"app_id": 1, "installation_id": 2, "private_key": "k"}, []),
        (None, ["github_credential_missing"]),
        ({}, ["github_credential_missing"]),
        ("a string", ["github_credential_missing"]),
        ({"app_id": 1}, ["github_credential_missing"]),
        ({"secret": "a", "token": "t"}, ["github_credential_ambiguous"]),
        ({"token": "t", "app_id": 1}, ["github_credential_ambiguous"]),
    ],
)
def test_credentials(auth: Any, expected: list[str]) -> None:
    assert codes(inventory.credential_findings(auth)) == expected


ONE = {"a": "192.0.2.11"}
TWO = {**ONE, "b": "192.0.2.12"}


@pytest.mark.parametrize(
    ("endpoint", "addresses", "expected"),
    [
        ("192.0.2.1:6443", TWO, []),
        ("api.example.org:443", {"a": "127.0.0.1"}, []),
        (None, ONE, []),
        (None, {"a": "fd00:10::11"}, []),
        (None, {"a": "127.0.0.1"}, ["api_endpoint_missing"]),
        (None, {"a": "bastion_alias"}, ["api_endpoint_missing"]),
        (None, {}, ["api_endpoint_missing"]),
        ("", TWO, ["api_endpoint_missing"]),
        ("192.0.2.1", ONE, ["api_endpoint_invalid"]),
        ("127.0.0.1:6443", ONE, ["api_endpoint_invalid"]),
    ],
)
def test_endpoints(endpoint: Any, addresses: dict[str, str], expected: list[str]) -> None:
    assert codes(inventory.endpoint_findings(endpoint, addresses)) == expected


@pytest.mark.parametrize(
    ("hosts", "expected"), [(0, []), (1, []), (2, ["control_planes_unsupported"]), (3, ["control_planes_unsupported"])]
)
def test_more_control_planes_than_one(hosts: int, expected: list[str]) -> None:
    assert codes(inventory.control_plane_findings([f"cp-{number}" for number in range(hosts)])) == expected


def test_required_options() -> None:
    specs: dict[str, Any] = {"a": {"type": "str", "required": True}, "b": {"type": "str"}}
    assert [finding.subject for finding in inventory.required_findings({"b"}, specs, "x")] == ["a"]
