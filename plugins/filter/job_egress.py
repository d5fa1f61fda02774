# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet import job_egress as _job_egress


def job_egress(
    denied: Sequence[str], services: Sequence[str] = (), named: Sequence[Mapping[str, Any]] = ()
) -> list[dict[str, Any]]:
    """See job_egress.yml."""
    try:
        return _job_egress.job_egress(denied, services, named)
    except ValueError as error:
        raise AnsibleFilterError(
            f"networks that jobs may not reach: {error}, expected networks such as 10.0.0.0/8"
        ) from error


class FilterModule:
    """Where jobs may connect to."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names of the filters."""
        return {"job_egress": job_egress}
