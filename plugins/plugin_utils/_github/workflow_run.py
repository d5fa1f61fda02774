# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starts one workflow run through GitHub's API and follows it to its end. Private to the collection."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._github.requests import send
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._text import clean
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._github import client
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._github import runners as github

INTERVAL = 5
PERMISSION = "the permission Actions: read and write for this repository (scope repo of a classic token)"


class WorkflowError(Exception):
    """Why there is no run that ended well: the text is the whole message."""


@dataclass(frozen=True)
class Workflow:
    """What to run: `repository` is owner/name, `file` the name of the workflow's file, `ref` a branch or a tag that has
    it, `runner` the label that the job asks for.
    """

    repository: str
    file: str
    ref: str
    runner: str

    @property
    def path(self) -> str:
        """Below the API's base."""
        return f"/repos/{quote(self.repository)}/actions"


def run_workflow(base: str, given: Mapping[str, str], workflow: Workflow, seconds: float) -> Any:
    """Start a run and wait for its end. Returns what is known of it; WorkflowError where it did not end well.

    `given`: the credential, whose values are never told.
    """
    signed, findings = client.credential(given)
    bearer, trouble = ("", None) if findings else client.token(base, given, signed)
    for finding in [*findings, *([trouble] if trouble else [])]:
        raise WorkflowError(f"{finding.subject}: found {finding.found}, expected {finding.expected}; {finding.hint}")
    word = secrets.token_hex(6)
    deadline = time.monotonic() + seconds
    _start(base, bearer, workflow, word)
    run = _wait(base, bearer, workflow, word, deadline)
    if run.get("status") != "completed":
        raise WorkflowError(_late(base, bearer, workflow, run, seconds))
    jobs = _jobs(base, bearer, workflow, run)
    result = {
        "run": run.get("id"),
        "url": clean(run.get("html_url") or "", 300),
        "conclusion": clean(run.get("conclusion") or ""),
        "jobs": jobs,
    }
    if run.get("conclusion") != "success":
        raise WorkflowError(
            f"{workflow.repository}: run {run.get('id')} of {workflow.file} ended with {result['conclusion']}, "
            f"expected success. {told_jobs(jobs)} Read the log of the run {result['url']}".rstrip()
        )
    return result


def told_jobs(jobs: list[dict[str, Any]]) -> str:
    """Each job with its runner, as a sentence."""
    told = [
        f"job {job['name']}: {job['conclusion'] or job['status']} on {job['runner'] or 'no runner so far'}"
        for job in jobs
    ]
    return f"{'; '.join(told)}." if told else "It has no job."


def _start(base: str, bearer: str, workflow: Workflow, word: str) -> None:
    inputs = {"id": word, "runner": workflow.runner}
    path = f"{base}{workflow.path}/workflows/{quote(workflow.file, safe='')}/dispatches"
    reply = send(path, bearer, "POST", content={"ref": workflow.ref, "inputs": inputs})
    if reply.status in (HTTPStatus.OK, HTTPStatus.NO_CONTENT):
        return
    where = f"{workflow.repository}, workflow {workflow.file}"
    if reply.status == HTTPStatus.NOT_FOUND:
        found = "no such repository or workflow, or a credential that may not see it (HTTP 404)"
        expected = (
            f".github/workflows/{workflow.file} on its default branch, as in docs/self-test.md, and "
            f"{github.CREDENTIAL} with {PERMISSION}"
        )
    elif reply.status in (HTTPStatus.FORBIDDEN, HTTPStatus.UNAUTHORIZED) and not reply.limited:
        found, expected = (
            f"a credential that may not start it (HTTP {reply.status})",
            f"{github.CREDENTIAL} with {PERMISSION}",
        )
    elif reply.status == HTTPStatus.UNPROCESSABLE_ENTITY:
        found = f"a request that GitHub does not take (HTTP 422) for ref {workflow.ref}"
        expected = "self_test_ref to name a branch or tag with that workflow, which takes the inputs id and runner"
    else:
        found = (
            "too many requests for now" if reply.limited else f"HTTP {reply.status}" if reply.status else reply.problem
        )
        expected = "GitHub to start it. Run again"
    raise WorkflowError(f"{where}: found {clean(found)}, expected {expected}")


def _wait(base: str, bearer: str, workflow: Workflow, word: str, deadline: float) -> Mapping[str, Any]:
    """The run that carries this word in its title, as it is when it has ended or the time is over; empty where there is
    none. An answer that says nothing is asked for again.
    """
    listed = f"{base}{workflow.path}/workflows/{quote(workflow.file, safe='')}/runs?event=workflow_dispatch&per_page=30"
    run: Mapping[str, Any] = {}
    while True:
        if run:
            run = send(f"{base}{workflow.path}/runs/{run['id']}", bearer).body or run
        else:
            runs = send(listed, bearer).body.get("workflow_runs")
            named = [one for one in runs or [] if isinstance(one, dict) and word in str(one.get("display_title"))]
            run = next((one for one in named if isinstance(one.get("id"), int)), {})
        if run.get("status") == "completed" or time.monotonic() > deadline:
            return run
        time.sleep(INTERVAL)


def _jobs(base: str, bearer: str, workflow: Workflow, run: Mapping[str, Any]) -> list[dict[str, Any]]:
    jobs = send(f"{base}{workflow.path}/runs/{run['id']}/jobs", bearer).body.get("jobs")
    names = (("name", "name"), ("status", "status"), ("conclusion", "conclusion"), ("runner", "runner_name"))
    return [
        {own: clean(job.get(theirs) or "", 200) for own, theirs in names} for job in jobs or [] if isinstance(job, dict)
    ]


def _late(base: str, bearer: str, workflow: Workflow, run: Mapping[str, Any], seconds: float) -> str:
    """A run that did not end in time, which is cancelled: nobody waits for it any more."""
    where = f"{workflow.repository}, workflow {workflow.file}"
    if not run:
        return (
            f"{where}: found no run with its id in the title within {seconds:.0f} seconds of its start, expected one. "
            "Its run-name has to hold inputs.id, as in docs/self-test.md"
        )
    jobs = _jobs(base, bearer, workflow, run)
    send(f"{base}{workflow.path}/runs/{run['id']}/cancel", bearer, "POST")
    return (
        f"{where}: run {run['id']} is {clean(run.get('status'))} after {seconds:.0f} seconds, expected its end. "
        f"{told_jobs(jobs)} It was cancelled. See whether runners take the label {workflow.runner} of that repository"
    )
