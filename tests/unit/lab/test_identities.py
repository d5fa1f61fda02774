"""What lab.identities makes of answers: what lets too much through is told as wrong, and so is what refuses for another
reason.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from lab.identities import FORBIDDEN, Answer, Report, accounts, changed, expect, review


def pod(namespace: str, node: str | None, account: str | None = None) -> dict[str, Any]:
    spec = {key: value for key, value in (("nodeName", node), ("serviceAccountName", account)) if value}
    return {"metadata": {"namespace": namespace}, "spec": spec}


def test_accounts_are_those_of_pods_on_the_nodes() -> None:
    pods = [
        pod("a", "runner-1", "x"),
        pod("a", "runner-2", "x"),
        pod("b", "runner-1"),
        pod("c", "support-1", "y"),
        pod("d", None, "z"),
    ]
    assert accounts(pods, ["runner-1", "runner-2"]) == ["system:serviceaccount:a:x", "system:serviceaccount:b:default"]


@pytest.mark.parametrize(
    ("code", "text", "refused", "wrong"),
    [
        pytest.param(201, "{}", "", 0, id="let through as it must be"),
        pytest.param(403, "forbidden", "", 1, id="refused, though it is right"),
        pytest.param(422, "policy: no way", "no way", 0, id="refused for that"),
        pytest.param(422, "spec is invalid", "no way", 1, id="refused for something else"),
        pytest.param(404, "no way", "no way", 1, id="not there"),
        pytest.param(200, "no way", "no way", 1, id="let through, though it is wrong"),
    ],
)
def test_what_counts_as_wrong(code: int, text: str, refused: str, wrong: int) -> None:
    report = Report()
    expect(report, "it", Answer(code, text), refused)
    assert report.wrong == wrong and report.lines[0].startswith("WRONG" if wrong else "ok")


class Reviews:
    """Says yes to one question, and asks the API's way."""

    def __init__(self, verb: str, resource: str) -> None:
        self.verb, self.resource, self.asked = verb, resource, 0

    def call(self, _method: str, _path: str, body: Any) -> Answer:
        wanted = body["spec"]["resourceAttributes"]
        self.asked += 1
        return Answer(
            200, json.dumps({"status": {"allowed": (wanted["verb"], wanted["resource"]) == (self.verb, self.resource)}})
        )


def test_an_account_that_may_too_much_is_named_with_what_it_may() -> None:
    good, bad = Reviews("none", "none"), Reviews("impersonate", "users")
    report = Report()
    for reviews in (good, bad):
        review(reviews, report, "system:serviceaccount:a:x")  # type: ignore[arg-type]
        assert reviews.asked == len(FORBIDDEN)
    assert report.wrong == 1 and "impersonate users" in report.lines[1]


def test_a_change_leaves_the_model_as_it_was() -> None:
    model = pod("a", "runner-1")
    assert changed(model, lambda spec: spec.pop("nodeName"))["spec"] == {} and model["spec"] == {"nodeName": "runner-1"}
