"""What is shown of a release that changes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._helm.diff import (
    AFTER,
    BEFORE,
    MAX_CHARS,
    manifest_diff,
)


def manifest(*items: dict[str, Any]) -> str:
    """As helm writes it."""
    return "".join(f"---\n# Source: chart/templates/x.yaml\n{json.dumps(item)}\n" for item in items)


def item(kind: str, name: str, **rest: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "x"}, **rest}


def test_only_what_differs_is_shown() -> None:
    same = item("Service", "same", spec={"ports": [1]})
    found = manifest_diff(
        manifest(same, item("Deployment", "d", spec={"replicas": 1})),
        manifest(item("Deployment", "d", spec={"replicas": 2}), same),
    )
    assert "replicas: 1" in found["before"] and "replicas: 2" in found["after"] and "same" not in str(found)


def test_the_same_is_nothing() -> None:
    text = manifest(item("Service", "s"), item("Secret", "t", data={"a": "b"}))
    assert manifest_diff(text, "---\n" + text + "---\n") == {"before": "", "after": ""}


def test_a_first_release_is_shown_whole() -> None:
    found = manifest_diff("", manifest(item("Service", "s"), item("Role", "r")))
    assert found["before"] == "" and "# Service x/s" in found["after"] and "# Role x/r" in found["after"]


@pytest.mark.parametrize("part", ["data", "stringData"])
def test_secrets_are_not_shown_and_their_change_is(part: str) -> None:
    old = item("Secret", "s", **{part: {"same": "hidden-1", "other": "hidden-2", "gone": "hidden-3"}})
    new = item("Secret", "s", **{part: {"same": "hidden-1", "other": "hidden-4", "new": "hidden-5"}})
    found = manifest_diff(manifest(old), manifest(new))
    assert "hidden" not in str(found)
    assert "same: '***'" in found["before"] and "same: '***'" in found["after"]
    assert f"other: '{BEFORE}'" in found["before"] and f"other: '{AFTER}'" in found["after"]
    assert "gone" in found["before"] and "new:" in found["after"]


def test_a_secret_that_comes_or_goes() -> None:
    secret = manifest(item("Secret", "s", data={"a": "hidden"}))
    assert "hidden" not in str(manifest_diff("", secret)) + str(manifest_diff(secret, ""))


@pytest.mark.parametrize("name", ["GITHUB_TOKEN", "DB_PASSWORD", "client-secret", "GITHUB_APP_PRIVATE_KEY", "apiKey"])
def test_variables_that_are_called_a_secret(name: str) -> None:
    def pod(value: str) -> dict[str, Any]:
        env = [{"name": name, "value": value}, {"name": "PLAIN", "value": "shown"}]
        return item("Deployment", "d", spec={"template": {"spec": {"containers": [{"name": "c", "env": env}]}}})

    found = manifest_diff(manifest(pod("hidden-1")), manifest(pod("hidden-2")))
    assert (
        "hidden" not in str(found)
        and BEFORE in found["before"]
        and AFTER in found["after"]
        and "shown" in found["after"]
    )


def test_passwords_in_addresses() -> None:
    found = manifest_diff(
        "", manifest(item("ConfigMap", "c", data={"proxy": "http://robot:hidden@proxy.example.org:3128"}))
    )
    assert "hidden" not in str(found) and "http://***@proxy.example.org:3128" in found["after"]


def test_kinds_are_shown_by_their_sum() -> None:
    def kind(text: str) -> str:
        return manifest({"kind": "CustomResourceDefinition", "metadata": {"name": "k"}, "spec": {"x": text * 100}})

    found = manifest_diff(kind("a"), kind("b"))
    assert found["before"] != found["after"] and len(str(found)) < 600 and "sha256:" in found["after"]


def test_it_is_bounded() -> None:
    found = manifest_diff(
        "", manifest(*(item("ConfigMap", f"c{number}", data={"x": "y" * 1000}) for number in range(200)))
    )
    assert len(found["after"]) < MAX_CHARS + 100 and "more lines" in found["after"].splitlines()[-1]
