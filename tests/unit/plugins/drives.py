"""Drives as tests write them down."""

from __future__ import annotations

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.model import Reason

reason = Reason.of
