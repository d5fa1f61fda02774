# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the fleet's images are named by their content, and what is behind their tags. Private to the collection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import yaml
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._image_digests import digest_of, has_digest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._mirror import qualified_image
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.findings import Finding, named
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._text import clean
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet.images import Image, merged
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._mirrors import registry as _registry
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._mirrors import registry_check as registries
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._mirrors.registry import Reply
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._mirrors.registry_check import Host, Question

VARIABLE, FILE = "fleet_image_digests", "preflight_image_digests_file"
_HEAD = """\
---
# What was behind the tags of this fleet's images when the registries that its hosts pull from were asked. It says what
# is there, not that it is right: compare it with what upstream publishes, then put it where the variables of all hosts
# are.
"""


# What registries have behind the tag of each image.
Behind = dict[str, list[tuple[Question, Reply | None]]]


def compared(
    hosts: Iterable[Host], images: Iterable[Image], fleet_mirror: Mapping[str, Any], digests: Mapping[str, str]
) -> list[Question]:
    """The images that are pulled by tag, whatever the fleet's digests say of them: their registries are asked what is
    behind it.
    """
    wanted = [image for image in images if image.by_tag and digest_of(image.reference, digests)]
    names = {image.reference for image in wanted}
    return [
        question
        for question in registries.image_questions(hosts, wanted, fleet_mirror, upstream=True)
        if question.name in names
    ]


def differing(told: Mapping[Question, Reply | None], digests: Mapping[str, str]) -> list[Finding]:
    """Images whose tag has another digest behind it than the fleet's, or none. A registry that does not answer is told
    once.
    """
    findings = []
    for question, reply in told.items():
        expected = digest_of(question.name, digests)
        if reply and not registries.is_silent(reply) and reply.digest != expected:
            hint = (
                f"see who moved the tag, and put the image of {VARIABLE} there; where upstream moved it and you looked "
                f"at what is new, correct {VARIABLE}. kubeadm pulls by tag, so this is compared before it does"
            )
            found = _behind(question, reply)
            findings.append(
                Finding("image_digest_differs", f"{question.name} ({question.variable})", found, expected, hint)
            )
    return findings


def _behind(question: Question, reply: Reply | None) -> str:
    """What was found behind a tag, and where."""
    if reply and reply.digest:
        return f"{reply.digest} at {question.registry.address}"
    if reply and reply.status:
        return (
            f"HTTP {reply.status} at {_registry.manifest_url(question.registry.api, question.repository, question.tag)}"
        )
    return f"no answer of {question.registry.address}" + (f" ({reply.problem})" if reply and reply.problem else "")


def by_tag(images: Iterable[Image], digests: Mapping[str, str], asked: bool, unknown: Sequence[str]) -> list[Finding]:
    """How many of the fleet's images nobody compares.

    `asked`: whether those that are pulled by tag are; `unknown`: charts of which not all images are known.
    """
    every = merged(images)
    known = [
        image
        for image in every
        if has_digest(image.reference) or (image.by_tag and digest_of(image.reference, digests))
    ]
    open_ = [image.reference for image in every if image not in known or (image.by_tag and not asked)]
    if not open_ and not unknown:
        return []
    found = f"{len(open_)} of {len(every)} images are whatever their registry has behind the tag"
    found += f": {named(open_, 3)}" * bool(open_)
    found += f"; of {', '.join(unknown)} it is not known which there are" * bool(unknown)
    hint = (
        f"let {FILE} name a file, compare it with what upstream publishes, and put it into the inventory; see "
        "docs/mirror.md"
    )
    return [Finding("images_by_tag", VARIABLE, found, "a digest for each", hint)]


def behind_tags(hosts: Sequence[Host], images: Iterable[Image], fleet_mirror: Mapping[str, Any]) -> Behind:
    """What each registry has behind the tag of each image, by image. One without a tag is not asked for."""
    tagged = [replace(image, reference=_by_tag(image.reference)) for image in images]
    wanted = [image for image in merged(tagged) if ":" in image.reference.rpartition("/")[2]]
    bare = [replace(host, sandbox=_by_tag(host.sandbox)) for host in hosts]
    found: Behind = {image.reference: [] for image in wanted}
    for question, reply in registries.answers(
        registries.image_questions(bare, wanted, fleet_mirror, upstream=True), digests=True
    ).items():
        found.setdefault(question.name, []).append((question, reply))
    return found


def _by_tag(reference: str) -> str:
    return reference.partition("@")[0]


def mapping(told: Behind) -> tuple[str, dict[str, str]]:
    """The file, and the images that it has no digest of, each with the reason. Registries that differ are one."""
    digests, problems = {}, {}
    for image, answers in told.items():
        found = {reply.digest for _question, reply in answers if reply and reply.digest}
        if len(found) == 1 and all(reply and reply.digest for _question, reply in answers):
            digests[qualified_image(image)] = found.pop()
        else:
            problems[image] = clean("; ".join(_behind(*answer) for answer in answers) or "no host pulls it")
    text = _HEAD + yaml.safe_dump({VARIABLE: dict(sorted(digests.items()))}, width=1000, allow_unicode=True)
    text += "".join(f"# without a digest: {clean(image)}: {why}\n" for image, why in sorted(problems.items()))
    return text, problems


def missing(path: str, problems: Mapping[str, str]) -> list[Finding]:
    """Images whose digest is not in the file."""
    if not problems:
        return []
    image, why = next(iter(problems.items()))
    hint = (
        "see that the registry has them and gives them to the controller without a login; they stand in the file "
        "as comments"
    )
    found = f"none of {named(problems)}. {image}: {why}"
    return [Finding("image_digest_unknown", f"{FILE} {path}", found, "a digest for each image", hint)]
