# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.runnerfleet.baremetal.plugins.module_utils import _image_digests


def with_digest(image: str, digests: Mapping[str, str], tag: bool = True) -> str:
    """An image by its content."""
    try:
        found = _image_digests.with_digest(image, digests)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error
    return found if tag else _image_digests.without_tag(found)


def chart_digests(chart: str, version: str, digests: Mapping[str, str], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values that name a chart's images by their content."""
    try:
        return _image_digests.chart_values(chart, str(version), digests, values)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {"with_digest": with_digest, "chart_digests": chart_digests}
