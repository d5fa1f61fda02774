# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the registry of a mirror has what the fleet pulls from it, asked once from the controller. Private to the
collection.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._mirror import registry_api
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.findings import Finding, named
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet.images import Image, merged, pulled_by
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._mirrors import registry as _registry
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._mirrors.mirror_check import FROM_HERE, reach
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._mirrors.registry import Reply

THREADS = 8
IMAGE, CHART = "image", "chart"
MISSING = {IMAGE: "mirror_image_missing", CHART: "mirror_chart_missing"}
DENIED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
BUSY = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)


@dataclass(frozen=True)
class Registry:
    """A registry. `api`: below which address it answers. `address`: as `variable` has it; that is empty for upstream's
    own.
    """

    api: str
    address: str
    variable: str

    @property
    def subject(self) -> str:
        """As findings call it."""
        return f"{self.variable}.registry {self.address}" if self.variable else self.address

    @property
    def root(self) -> str:
        """Where any registry answers, whatever it holds."""
        parts = urlsplit(self.api)
        return f"{parts.scheme}://{parts.netloc}/v2/"


@dataclass(frozen=True)
class Question:
    """Whether a registry has a thing. `name`: upstream's, as a person knows it. `variable`: what chooses it."""

    registry: Registry
    kind: str
    name: str
    repository: str
    tag: str
    variable: str


@dataclass(frozen=True)
class Host:
    """Where a node pulls from: the mirror of its containerd, the registries that this stands in for, and its own pause
    image.
    """

    pool: str
    mirror: Mapping[str, Any] = field(default_factory=dict)
    mirrored: tuple[str, ...] = ()
    sandbox: str = ""


def registry_of(mirror: Any, variable: str, fleet_mirror: Mapping[str, Any]) -> Registry | None:
    """The registry of a mirror; none where there is none, or where it cannot be used, which is told elsewhere."""
    try:
        api = registry_api(mirror)
    except ValueError:
        return None
    address = str(mirror.get("registry") or "").rstrip("/")
    said = "fleet_mirror" if address == str(fleet_mirror.get("registry") or "").rstrip("/") else variable
    return Registry(api, address, said) if api else None


def image_questions(
    hosts: Iterable[Host], images: Iterable[Image], fleet_mirror: Mapping[str, Any], upstream: bool = False
) -> list[Question]:
    """What each registry is to be asked for, once for all hosts: images of registries that it does not stand in for
    come from upstream.

    `upstream`: whether upstream's own registries are asked for those.
    """
    images, wanted = list(images), dict[Registry, list[Image]]()
    # Many hosts are alike.
    for host in {(host.pool, repr(host.mirror), host.mirrored, host.sandbox): host for host in hosts}.values():
        mirror = registry_of(host.mirror, "container_runtime_mirror", fleet_mirror)
        for image in (*pulled_by(images, host.pool), *sandbox_images([host])):
            upstreams = _registry.parse(image.reference).registry
            if mirror and upstreams in host.mirrored:
                wanted.setdefault(mirror, []).append(image)
            elif upstream:
                wanted.setdefault(Registry(_registry.upstream_api(upstreams), upstreams, ""), []).append(image)
    found = []
    for registry, several in wanted.items():
        for image in merged(several):
            name = _registry.parse(image.reference)
            repository = f"{name.registry}/{name.repository}" if registry.variable else name.repository
            found.append(Question(registry, IMAGE, image.reference, repository, name.tag, image.variable))
    return found


def sandbox_images(hosts: Iterable[Host]) -> list[Image]:
    """The images that hosts' containerd pulls by itself."""
    return [Image(host.sandbox, "container_runtime_sandbox_image") for host in hosts if host.sandbox]


def unreachable(registries: Iterable[Registry]) -> dict[Registry, Finding]:
    """The registries that do not answer at all, and what is to be told of each."""
    asked = list(dict.fromkeys(registries))
    with ThreadPoolExecutor(THREADS) as threads:
        told = threads.map(lambda registry: reach(registry.root, "registry_unreachable", registry.subject), asked)
        return {registry: finding for registry, finding in zip(asked, told, strict=True) if finding}


def answers(questions: Iterable[Question], digests: bool = False) -> dict[Question, Reply | None]:
    """What is said to each. Once a registry does not answer, it is not asked for the rest, which would wait for the
    same: None.

    `digests`: whether those of the manifests are wanted.
    """
    questions, silent = list(dict.fromkeys(questions)), set[Registry]()

    def answer(question: Question) -> Reply | None:
        if question.registry in silent:
            return None
        reply = _registry.ask(question.registry.api, question.repository, question.tag, digests)
        if reply.status == 0 or reply.status in BUSY:
            silent.add(question.registry)
        return reply

    with ThreadPoolExecutor(THREADS) as threads:
        return dict(zip(questions, threads.map(answer, questions), strict=True))


def is_there(reply: Reply | None) -> bool:
    """Whether the thing is there, or may be for somebody who logs in."""
    return reply is not None and (reply.status in DENIED or 200 <= reply.status < 300)


def is_silent(reply: Reply | None) -> bool:
    """Whether nothing is known of the thing: no answer, or one that says nothing of it."""
    return reply is None or reply.status == 0 or reply.status in BUSY or reply.status >= 500


def registry_findings(told: Mapping[Question, Reply | None]) -> list[Finding]:
    """A finding for each thing that is not there; one for a registry that does not answer, and one for a registry that
    wants a login.
    """
    findings: list[Finding] = []
    for registry in dict.fromkeys(question.registry for question in told):
        replies = {question: reply for question, reply in told.items() if question.registry == registry}
        findings += registry_not_answering(registry, replies) + _denied(registry, replies)
        findings += [
            _missing(question, reply)
            for question, reply in replies.items()
            if reply and not is_there(reply) and not is_silent(reply)
        ]
    return findings


def registry_not_answering(registry: Registry, replies: Mapping[Question, Reply | None]) -> list[Finding]:
    """One finding for a registry that does not answer."""
    asked = {question.name: reply for question, reply in replies.items() if reply and is_silent(reply)}
    if not asked:
        return []
    reply, unasked = next(iter(asked.values())), sum(item is None for item in replies.values())
    found = f"{reply.problem or f'HTTP {reply.status}'}, when asked for {named(asked)}" + (
        f"; {unasked} more not asked for" * (unasked > 0)
    )
    return [
        Finding(
            "registry_unreachable",
            registry.subject,
            found,
            "a registry that answers",
            f"see the registry's log; {FROM_HERE}",
        )
    ]


def _denied(registry: Registry, replies: Mapping[Question, Reply | None]) -> list[Finding]:
    denied = {question.name: reply for question, reply in replies.items() if reply and reply.status in DENIED}
    if not denied:
        return []
    found = f"HTTP {next(iter(denied.values())).status} without a login for {named(denied)}"
    hint = "let the fleet's network pull without a login; where nodes have one of their own, nothing is to be done here"
    return [Finding("registry_access_denied", registry.subject, found, "what nodes pull without a login", hint)]


def _missing(question: Question, reply: Reply) -> Finding:
    """What to do names where the thing has to be."""
    url = _registry.manifest_url(question.registry.api, question.repository, question.tag)
    mark = "@" if ":" in question.tag else ":"
    place = f"{question.registry.address}/{question.repository}{mark}{question.tag}"
    hint = (
        f"copy the {question.kind} to {place}, or correct {question.variable} or {question.registry.variable}.registry"
    )
    subject, found = f"{question.name} ({question.variable})", f"HTTP {reply.status} at {url}"
    return Finding(MISSING[question.kind], subject, found, f"the {question.kind}", hint)
