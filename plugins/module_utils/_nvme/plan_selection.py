# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Selects drives by a rule and explains why each was or was not chosen. No I/O. Private to the collection."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.model import (
    MARK,
    NEW,
    Drive,
    Kind,
    Reason,
    ours,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._quantity import show_bytes, to_bytes


@dataclass(frozen=True)
class Rule:
    """Which drives are meant."""

    count: int
    min_size: str = ""
    max_size: str = ""
    model: str = ""


def used(drive: Drive) -> bool:
    """Whether files may lie on what carries our mark. One that is claimed has not got that far."""
    marked = [p for p in drive.partitions if p.name.startswith(MARK)]
    return not drive.claimed and (bool(drive.member) or any(not p.name.endswith(NEW) for p in marked))


def reasons(drive: Drive) -> list[Reason]:
    """Why a drive is not free, each beginning with a word of a fixed vocabulary."""
    marked = [p.name for p in drive.partitions if p.name.startswith(MARK)]
    return [*drive.blocked, *drive.found, *([Reason(Kind.PARTITIONS, ", ".join(marked))] if marked else [])]


def rule_errors(rule: Rule) -> list[str]:
    """What is wrong with a rule, whatever drives there are."""
    errors = [] if rule.count > 0 else [f"select: count {rule.count} is no number of drives: expected 1 or more"]
    for name, text in (("min_size", rule.min_size), ("max_size", rule.max_size)):
        try:
            to_bytes(text or 1)
        except ValueError as error:
            errors.append(f"select: {name} {error}")
    try:
        re.compile(rule.model)
    except re.error as error:
        errors.append(f"select: model {rule.model!r} is not a regular expression: {error}")
    return errors


def mismatch(drive: Drive, rule: Rule) -> str:
    """Why a drive is not meant by the rule."""
    if rule.min_size and drive.size < to_bytes(rule.min_size):
        return f"smaller than {rule.min_size}"
    if rule.max_size and drive.size > to_bytes(rule.max_size):
        return f"larger than {rule.max_size}"
    return "" if re.search(rule.model, drive.model) else f"model {drive.model or 'unknown'} does not match {rule.model}"


def choose(drives: Sequence[Drive], rule: Rule) -> tuple[list[Drive], list[str]]:
    """The drives that the rule means, which must be as many as it says. What was adopted once stays, and is never
    quietly replaced.
    """
    errors = rule_errors(rule)
    if errors:
        return [], errors
    adopted = [d for d in drives if ours(d)]
    free = [d for d in drives if not ours(d) and not reasons(d) and not mismatch(d, rule)]
    settled = any(used(d) for d in adopted)
    chosen = adopted if settled else adopted + free
    if len(chosen) == rule.count:
        return sorted(chosen, key=lambda d: d.seed), []
    lines = [
        f"  {d.identity} ({d.node}, {show_bytes(d.size)}, {d.model or 'model unknown'}): "
        + (
            "carries our volumes"
            if ours(d)
            else "; ".join(filter(None, [mismatch(d, rule), *map(str, reasons(d))])) or "free"
        )
        for d in sorted(drives, key=lambda d: d.seed)
    ]
    if settled:
        verb = "missing: one has failed or was taken out" if len(chosen) < rule.count else "too many"
        text = (
            f"select wants {rule.count} drives, and the volumes of this host lie on {len(chosen)}: "
            f"{abs(rule.count - len(chosen))} {verb}. None is taken or left out on its own: correct count, or name the "
            "drives one by one in drives"
        )
    else:
        text = (
            f"select wants exactly {rule.count} drives, {len(chosen)} of {len(drives)} are free and match: correct "
            "the rule or the drives"
        )
    return [], ["\n".join([text, *(lines or ["  no NVMe namespace was found"])])]
