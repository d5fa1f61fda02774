# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""GitHub, asked about one owner's runners with the credential that their controller has. Reads only; private to the
collection.

To be told of scale sets one registers, as the controller does: that makes a token good for an hour, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.runner_credentials import KEYS
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._github.requests import (
    Reply,
    api,
    app_token,
    days_until,
    moment,
    send,
    signed_claims,
)

PAGE = 100
MAX_PAGES = 10  # of a list of runners
MAX_RUNS = 30  # whose jobs are asked for, the oldest: the queue's head
_VERSION = "api-version=6.0-preview"


class Silent(Exception):
    """Why GitHub tells nothing. The text never has a credential in it."""


@dataclass(frozen=True)
class QueuedJob:
    """A job that waits, and what a runner has to have for it."""

    labels: frozenset[str]
    since: datetime


def server_and_owner(config_url: str) -> tuple[str, str]:
    """The server of a githubConfigUrl, and `orgs/o`, `repos/o/r` or `enterprises/e`."""
    parts = urlsplit(config_url)
    names = [quote(name) for name in parts.path.strip("/").split("/") if name]
    server = f"{parts.scheme}://{parts.netloc}"
    if len(names) == 1:
        return server, f"orgs/{names[0]}"
    if len(names) != 2:
        raise Silent(f"githubConfigUrl: found {config_url!r}, expected the address of an owner or a repository")
    return server, "/".join(names) if names[0] == "enterprises" else f"repos/{names[0]}/{names[1]}"


class GitHub:
    """One owner, and the token that it is asked with."""

    def __init__(self, server: str, owner: str, secret: Mapping[str, str]) -> None:
        self.server, self.owner, self.base = server, owner, api(server)
        if not self.base:
            raise Silent(f"found {server!r} as the address of GitHub, expected an http or https address")
        self._token = self._login({key: secret[name] for key, name in KEYS.items() if secret.get(name)})
        self._service: tuple[str, str] = ("", "")

    def _login(self, given: Mapping[str, str]) -> str:
        if given.get("token"):
            return given["token"]
        if not {"app_id", "installation_id", "private_key"} <= given.keys():
            raise Silent("its Secret has neither github_token nor an App's id, installation id and private key")
        try:
            signed = signed_claims(given["app_id"], given["private_key"])
        except ImportError:
            raise Silent("no Python package cryptography on the controller to use an App's key with") from None
        except ValueError:
            raise Silent("the App's private key in its Secret is no RSA key in PEM") from None
        reply = app_token(self.base, quote(given["installation_id"]), signed)
        if not reply.body.get("token"):
            raise Silent(f"GitHub gives no token to the App: {_said(reply)}")
        return str(reply.body["token"])

    def register(self) -> None:
        """Learn where the service of scale sets is, and the token that it takes."""
        reply = send(f"{self.base}/{self.owner}/actions/runners/registration-token", self._token, "POST", content={})
        if not reply.body.get("token"):
            raise Silent(f"GitHub gives no registration token for {self.owner}: {_said(reply)}")
        names = self.owner if self.owner.startswith("enterprises/") else self.owner.split("/", 1)[1]
        wanted = {"url": f"{self.server}/{names}", "runner_event": "register"}
        token = str(reply.body["token"])
        reply = send(f"{self.base}/actions/runner-registration", token, "POST", "RemoteAuth", wanted)
        if not (reply.body.get("url") and reply.body.get("token")):
            raise Silent(f"GitHub registers nobody for {self.owner}: {_said(reply)}")
        self._service = str(reply.body["url"]).rstrip("/"), str(reply.body["token"])

    def scale_set(self, number: int) -> Mapping[str, Any] | None:
        """A scale set with its statistics; None where the service knows no such set."""
        return self._ask_service(f"_apis/runtime/runnerscalesets/{number}?{_VERSION}")

    def knows_agent(self, number: int) -> bool:
        """Whether the service knows a runner by this number."""
        return self._ask_service(f"_apis/distributedtask/pools/0/agents/{number}?{_VERSION}") is not None

    def queued_jobs(self) -> list[QueuedJob] | None:
        """Jobs of a repository that wait for a runner; None for other owners, whose repositories are not known."""
        if not self.owner.startswith("repos/"):
            return None
        runs: list[tuple[datetime, Any]] = []
        for status in ("queued", "in_progress"):
            path = f"{self.owner}/actions/runs?status={status}&per_page={PAGE}"
            for run in self._list(self._get(path), "workflow_runs"):
                runs.append((moment(run.get("created_at")), run.get("id")))
        jobs = []
        for created, number in sorted(runs, key=lambda run: run[0])[:MAX_RUNS]:
            for job in self._list(self._get(f"{self.owner}/actions/runs/{int(number)}/jobs?per_page={PAGE}"), "jobs"):
                if job.get("status") == "queued":
                    labels = frozenset(str(label).lower() for label in job.get("labels") or [])
                    jobs.append(QueuedJob(labels, moment(job["created_at"]) if job.get("created_at") else created))
        return jobs

    def runners(self) -> dict[str, tuple[bool, bool]]:
        """The runners that GitHub lists by name: whether each is busy, and online."""
        found: dict[str, tuple[bool, bool]] = {}
        for page in range(1, MAX_PAGES + 1):
            listed = self._list(self._get(f"{self.owner}/actions/runners?per_page={PAGE}&page={page}"), "runners")
            for one in listed:
                found[str(one.get("name"))] = bool(one.get("busy")), one.get("status") == "online"
            if len(listed) < PAGE:
                break
        return found

    def days_left(self, version: str, now: datetime) -> int | None:
        """Days until GitHub gives no job to this version any more; None where it sets no date or does not tell."""
        reply = send(f"{self.base}/{self.owner}/actions/runners/deprecations/{quote(version)}", self._token)
        try:
            dates = [days_until(reply.body.get(f"{what}_deprecates_at"), now) for what in ("runtime", "registration")]
        except (TypeError, ValueError):
            return None
        return min((days for days in dates if days is not None), default=None)

    def _get(self, path: str) -> Reply:
        reply = send(f"{self.base}/{path}", self._token)
        if reply.status != HTTPStatus.OK:
            raise Silent(f"GitHub does not tell of {path.split('?')[0]}: {_said(reply)}")
        return reply

    def _ask_service(self, path: str) -> Mapping[str, Any] | None:
        url, token = self._service
        reply = send(f"{url}/{path}", token)
        if reply.status == HTTPStatus.NOT_FOUND:
            return None
        if reply.status != HTTPStatus.OK:
            raise Silent(f"the service of scale sets does not tell of {path.split('?')[0]}: {_said(reply)}")
        return reply.body

    @staticmethod
    def _list(reply: Reply, key: str) -> Sequence[Mapping[str, Any]]:
        found = reply.body.get(key)
        return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def oldest(jobs: Iterable[QueuedJob] | None, labels: Iterable[str], now: datetime) -> float | None:
    """Seconds that the oldest job waits which a runner with these labels takes; None where the jobs are not known."""
    if jobs is None:
        return None
    own = {label.lower() for label in labels}
    waited = [(now - job.since).total_seconds() for job in jobs if job.labels and job.labels <= own]
    return max([0.0, *waited])


def _said(reply: Reply) -> str:
    if reply.limited:
        return "too many requests for now"
    return reply.refusal if reply.status else reply.problem
