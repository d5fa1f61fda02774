# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from ansible.errors import AnsibleFilterError
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet import autoscaling

Entries = Sequence[Mapping[str, Any]]


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:
        raise AnsibleFilterError(
            f"runner_pools_timezone: found {name!r}, expected a time zone that this controller knows, such as "
            "Europe/Berlin"
        ) from error


def runner_autoscalers(entries: Entries, carried: Mapping[str, int], zone: str) -> dict[str, dict[str, Any]]:
    """See runner_autoscalers.yml."""
    return autoscaling.autoscalers(entries, carried, _zone(zone), datetime.now(UTC))


def runner_numbers(entries: Entries, carried: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """See runner_numbers.yml."""
    return autoscaling.numbers(entries, carried)


def runner_window_jobs(entries: Entries, carried: Mapping[str, int]) -> list[dict[str, Any]]:
    """See runner_window_jobs.yml."""
    return autoscaling.window_jobs(entries, carried)


def runner_numbers_due(
    entries: Entries, carried: Mapping[str, int], zone: str, observed: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """See runner_numbers_due.yml."""
    return autoscaling.numbers_due(entries, carried, _zone(zone), datetime.now(UTC), observed)


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {
            "runner_autoscalers": runner_autoscalers,
            "runner_numbers": runner_numbers,
            "runner_window_jobs": runner_window_jobs,
            "runner_numbers_due": runner_numbers_due,
        }
