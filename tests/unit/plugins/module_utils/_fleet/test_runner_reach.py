"""Through which proxy a scale set reaches GitHub, and whose certificates it trusts."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils import _api_values
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.runner_reach import reach

PEM = "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n"
PROXY = {"https": "http://proxy.example.org:3128", "no_proxy": ["example.org", ".svc"], "secret": "proxy-login"}
CHART = {
    "https": {"url": "http://proxy.example.org:3128", "credentialSecretRef": "proxy-login"},
    "noProxy": [".svc", "10.96.0.0/12", "example.org"],
}
DIRECT = [".svc", "10.96.0.0/12"]


@pytest.mark.parametrize(
    ("entry", "common", "expected"),
    [
        pytest.param({}, PROXY, CHART, id="the common one"),
        pytest.param({"proxy": PROXY}, {}, CHART, id="its own"),
        pytest.param({"proxy": {}}, PROXY, None, id="none of its own"),
        pytest.param(
            {"proxy": {"http": "http://p:1"}}, PROXY, {"http": {"url": "http://p:1"}, "noProxy": DIRECT}, id="another"
        ),
        pytest.param({}, {}, None, id="none"),
    ],
)
def test_the_proxy_of_an_entry(entry: dict[str, Any], common: Any, expected: Any) -> None:
    assert reach([{"name": "small", **entry}], common, "", DIRECT).proxy.get("small") == expected


def test_certificates_as_a_text_are_a_config_map_named_after_them() -> None:
    entries = [
        {"name": "a"},
        {"name": "b", "ca": PEM.replace("\n", "\r\n")},
        {"name": "c", "ca": PEM.replace("b", "x")},
    ]
    found = reach(entries, {}, PEM, [])
    assert found.ca["a"] == found.ca["b"] != found.ca["c"]
    assert found.made[found.ca["a"]["name"]] == PEM and len(found.made) == 2


def test_certificates_in_a_config_map_that_exists_are_made_by_nobody() -> None:
    entries = [{"name": "a"}, {"name": "b", "ca": {"config_map": "theirs", "key": "root.pem"}}, {"name": "c", "ca": ""}]
    found = reach(entries, {}, {"config_map": "site"}, [])
    assert found.ca == {"a": {"name": "site", "key": "ca.crt"}, "b": {"name": "theirs", "key": "root.pem"}}
    assert not found.made


@pytest.mark.parametrize(
    ("entry", "path"),
    [
        ({"proxy": PROXY}, ""),
        ({"proxy": {}}, ""),
        ({"proxy": {"http": "http://leak-canary:password@proxy:3128"}}, "proxy.http"),
        ({"proxy": {"http": "proxy:3128"}}, "proxy.http"),
        ({"proxy": {"https": "socks5://proxy:3128"}}, "proxy.https"),
        ({"proxy": {"https": "http://proxy:port"}}, "proxy.https"),
        ({"proxy": {"no_proxy": ["a"]}}, "proxy"),
        ({"proxy": {"http": "http://p:1", "no_proxy": ["a,b"]}}, "proxy.no_proxy[0]"),
        ({"proxy": {"http": "http://p:1", "no_proxy": ["10.0.0.0/8", "[::1]"]}}, ""),
        ({"proxy": {"http": "http://p:1", "secret": "No Name"}}, "proxy.secret"),
        ({"ca": PEM}, ""),
        ({"ca": PEM + PEM}, ""),
        ({"ca": PEM.replace("\n", "\\n")}, "ca"),
        ({"ca": "ca.crt"}, "ca"),
        ({"ca": PEM.replace("CERTIFICATE", "PRIVATE KEY")}, "ca"),
        ({"ca": {"config_map": "site"}}, ""),
        ({"ca": {"config_map": "no name"}}, "ca.config_map"),
        ({"ca": {"name": "site"}}, "ca"),
    ],
)
def test_what_an_entry_may_state(entry: dict[str, Any], path: str) -> None:
    engines = {"runner": ["1.2.3"]}
    found = _api_values.runner_pool_problems([{"name": "a", "organization": "b", **entry}], engines)
    assert [problem.path for problem in found] == ([f"runner_pools_pools[0].{path}"] if path else [])
    assert "leak-canary" not in str(found)


def test_what_holds_for_all_entries_is_looked_at_too() -> None:
    common = {
        "runner_pools_proxy": {"http": "http://user:leak-canary@proxy:1"},
        "runner_pools_ca": "none",
        "runner_pools_github_auth": {"token": "leak-canary", "secret": "x"},
    }
    found = _api_values.runner_pool_problems([], {}, common=common)
    assert [problem.path for problem in found] == [
        "runner_pools_ca",
        "runner_pools_github_auth",
        "runner_pools_proxy.http",
    ]
    assert "leak-canary" not in str(found)
