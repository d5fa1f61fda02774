"""A workflow run that is started and followed, against a GitHub of a few canned answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._github import requests
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._github import workflow_run
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._github.workflow_run import (
    Workflow,
    WorkflowError,
    run_workflow,
)

from tests.unit.plugins.answers import serving

CANARY = "ghp_ThisIsNoTokenButWouldBeSecret"
WORKFLOW = Workflow("example-org/app", "runnerfleet-self-test.yml", "main", "small")
JOB = {"name": "self-test", "status": "completed", "conclusion": "success", "runner_name": "small-abc"}


class GitHub:
    """What it is asked, and what becomes of the run: its states, one a look."""

    def __init__(self) -> None:
        self.url = ""
        self.dispatch = 204
        self.title = "runnerfleet self-test {id}"
        self.states: list[tuple[str, str | None]] = [("queued", None), ("in_progress", None), ("completed", "success")]
        self.asked: list[tuple[str, str, str]] = []
        self.started: dict[str, Any] = {}

    def answer(self, method: str, path: str, content: Any) -> tuple[int, Any]:
        if path.endswith("/dispatches"):
            self.started = content
            return self.dispatch, {"message": f"no {CANARY}"} if self.dispatch >= 400 else None
        if "/workflows/" in path:
            title = self.title.format(id=self.started["inputs"]["id"])
            other = {"id": 1, "display_title": "runnerfleet self-test other", "status": "completed"}
            return 200, {"workflow_runs": [other, {"id": 7, "display_title": title, "status": "queued"}]}
        if path.endswith("/jobs"):
            return 200, {"jobs": [JOB]}
        if path.endswith("/cancel"):
            return 202, {}
        state, conclusion = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if state == "broken":
            return 502, {}
        return 200, {"id": 7, "status": state, "conclusion": conclusion, "html_url": f"{self.url}/run/7"}


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHub]:
    found = GitHub()
    monkeypatch.setattr(workflow_run, "INTERVAL", 0)

    def answer(method: str, path: str, authorization: str, sent: bytes) -> tuple[int, Any, dict[str, str]]:
        found.asked.append((method, path, authorization))
        return *found.answer(method, path, json.loads(sent or b"null")), {}

    with serving(answer) as found.url:
        yield found


def run(github: GitHub, seconds: float = 30) -> Any:
    return run_workflow(github.url, {"token": CANARY}, WORKFLOW, seconds)


def test_a_run_is_followed_to_its_end(github: GitHub) -> None:
    github.states.insert(1, ("broken", None))
    found = run(github)
    assert (found["run"], found["conclusion"], found["jobs"][0]["runner"]) == (7, "success", "small-abc")
    assert github.started["ref"] == "main" and github.started["inputs"]["runner"] == "small"
    assert re.fullmatch("[0-9a-f]{12}", github.started["inputs"]["id"])
    assert {token for _method, _path, token in github.asked} == {f"Bearer {CANARY}"}
    assert github.asked[0][:2] == (
        "POST",
        "/repos/example-org/app/actions/workflows/runnerfleet-self-test.yml/dispatches",
    )


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (404, "no such repository or workflow, or a credential that may not see it"),
        (403, "found a credential that may not start it (HTTP 403), expected runner_controller_github_auth with"),
        (401, "may not start it (HTTP 401)"),
        (422, "expected self_test_ref to name a branch or tag with that workflow"),
        (500, "found HTTP 500"),
    ],
)
def test_a_run_that_cannot_be_started(github: GitHub, status: int, told: str) -> None:
    github.dispatch = status
    with pytest.raises(WorkflowError) as error:
        run(github)
    assert told in str(error.value) and str(error.value).startswith("example-org/app, workflow runnerfleet-self-test")
    assert CANARY not in str(error.value) and len(github.asked) == 1


def test_a_run_that_fails(github: GitHub) -> None:
    github.states = [("completed", "failure")]
    with pytest.raises(
        WorkflowError, match=r"run 7 of runnerfleet-self-test\.yml ended with failure, expected success"
    ) as error:
        run(github)
    assert "job self-test: success on small-abc" in str(error.value) and "/run/7" in str(error.value)


def test_a_run_that_does_not_end_is_cancelled(github: GitHub) -> None:
    github.states = [("queued", None)]
    with pytest.raises(WorkflowError, match=r"run 7 is queued after 0 seconds.*It was cancelled.*label small"):
        run(github, 0.3)
    assert github.asked[-1][:2] == ("POST", "/repos/example-org/app/actions/runs/7/cancel")


def test_a_run_without_the_word_in_its_title(github: GitHub) -> None:
    github.title = "self-test"
    with pytest.raises(WorkflowError, match="found no run with its id in the title"):
        run(github, 0.3)


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "TIMEOUT", 0.5)
    with pytest.raises(WorkflowError, match="refused") as error:
        run_workflow("http://127.0.0.1:9", {"token": CANARY}, WORKFLOW, 1)
    assert CANARY not in str(error.value)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"token": f"{CANARY}\n"}, r"runner_controller_github_auth.token: found a token with white space"),
        (
            {"app_id": "1", "installation_id": "2", "private_key": CANARY},
            r"runner_controller_github_auth.private_key: ",
        ),
    ],
)
def test_a_credential_that_is_none_asks_nobody(github: GitHub, given: dict[str, str], told: str) -> None:
    with pytest.raises(WorkflowError, match=told) as error:
        run_workflow(github.url, given, WORKFLOW, 1)
    assert CANARY not in str(error.value) and github.asked == []
