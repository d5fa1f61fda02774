# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Labels and taints that the collection's parts agree on. Private to the collection."""

from __future__ import annotations

POOL_LABEL = "node-restriction.kubernetes.io/runnerfleet-pool"  # no kubelet may set a label with this prefix for itself
ROLE_LABEL = "node-role.kubernetes.io/"
POOL_TAINT = "runnerfleet.dev/pool"
ENGINE_TAINT = "runnerfleet.dev/engine-not-ready"  # from a node's join until its engine answers
