# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What every module takes that speaks to the cluster's API."""

    DOCUMENTATION = r"""
options:
  kubeconfig:
    description:
      - Path of the kubeconfig, on the machine where the module runs.
      - Neither the environment nor C(~/.kube/config) is asked instead.
    type: path
    required: true
  context:
    description: Context of the kubeconfig, its current one when not set.
    type: str
"""
