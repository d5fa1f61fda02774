# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._text import clean
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._cis import verdicts

ORDER = ("fail", "not read", "accepted", "pass")


def cis_verdicts(
    hosts: Mapping[str, Any], control_planes: Sequence[str], accepted: Mapping[str, str] | None = None
) -> list[dict[str, str]]:
    """See cis_verdicts.yml."""
    try:
        return [verdict.as_dict() for verdict in verdicts(hosts, control_planes, accepted or {})]
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


def cis_lines(told: Sequence[Mapping[str, str]]) -> list[str]:
    """See cis_lines.yml."""
    alike: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for item in told:
        alike[item["verdict"], item["number"], item["title"], item["found"], item["expected"], item["reason"]].append(
            item["host"]
        )
    lines = []
    for (verdict, number, title, found, expected, reason), hosts in sorted(
        alike.items(), key=lambda entry: ORDER.index(entry[0][0])
    ):
        if verdict == "pass":
            continue
        why = f". {reason}" if reason else ""
        lines.append(
            clean(f"{verdict}: {number} {title}, on {', '.join(hosts)}: found {found}, expected {expected}{why}")
        )
    counts = [f"{sum(item['verdict'] == word for item in told)} {word}" for word in reversed(ORDER)]
    return [*lines, ", ".join(counts)]


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"cis_verdicts": cis_verdicts, "cis_lines": cis_lines}
