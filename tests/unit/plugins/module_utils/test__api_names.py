"""Names by the rules of the API and of GitHub."""

from __future__ import annotations

import re

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils import _api_names as names
from hypothesis import given
from hypothesis import strategies as st

L63, L64 = "x" * 63, "x" * 64
TABLE = {
    "dns_label": (["a", "a-b", "0", L63], ["", "A", "a.b", "a_b", "-a", "a-", L64, "a b", "ä", "a\n"]),
    "dns_subdomain": (
        ["a", "a.b", "arc.runner.large", f"{L63}.{L63}"],
        ["", "A", "a..b", ".a", "a.", L64, "Linux_X64", ".".join([L63] * 5)],
    ),
    "object_and_label": (["a", "a.b", L63, "8"], ["", f"{L63}.a", L64, "Linux_X64", "a b"]),
    "label_key": (
        ["a", "A_b.c", "example.com/a", "x/y", L63, f"a.b/{L63}"],
        ["", "/", "a/", "/a", "Ab/c", "a..b/c", "a/b/c", L64, "example.com/disk type", "-a", "a-"],
    ),
    "label_value": (["", "a", "A_b-c.d", L63], [L64, "a b", "-a", "a.", "a/b", "ci runners", "a\n"]),
    "effect": (["NoSchedule", "NoExecute", "PreferNoSchedule"], ["", "noschedule", None]),
    "environment": (["HTTP_PROXY", "a.b-c", "_"], ["", "1A", "A B", "A=B"]),
    "repository": (
        ["a/b", "example-org/app.js", "a_b/c"],
        ["", "app", "a/", "/b", "a/b/c", "https://github.com/a/b", "a b/c", "git@github.com:a/b"],
    ),
    "organization": (["example-org", "a", "a" * 39], ["", "https://github.com/a", "a/b", "a b", "-a", "a" * 40, "a.b"]),
    "enterprise": (["example-inc", "a.b"], ["", "a/b", "https://github.com/enterprises/a", "a b"]),
    "runner_label": (["linux", "gpu:a100", "größe"], ["", "a b", "a,b", " a", "a\t", "self-hosted,linux", "x" * 257]),
}


@pytest.mark.parametrize(
    ("rule", "value", "good"),
    [
        (rule, value, good)
        for rule, both in TABLE.items()
        for good, values in zip((True, False), both, strict=True)
        for value in values
    ],
)
def test_names(rule: str, value: object, good: bool) -> None:
    assert (getattr(names, rule)(value) == "") is good


@given(st.text(st.sampled_from("aA0-_./ ,\n"), max_size=70))
def test_dns_names_are_what_the_api_takes(text: str) -> None:
    """By the expressions that the API shows in its own errors (apimachinery, validation.go)."""
    label = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
    assert (names.dns_label(text) == "") == bool(len(text) <= 63 and re.fullmatch(label, text))
    value = r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
    assert (names.label_value(text) == "") == bool(len(text) <= 63 and re.fullmatch(value, text))
    if names.dns_label(text) == "":
        assert not any(
            (names.dns_subdomain(text), names.object_and_label(text), names.label_value(text), names.label_key(text))
        )
