# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


from __future__ import annotations


class ModuleDocFragment:
    """Where the runner pools are and, with GITHUB, who is asked about them, for the modules that look after them."""

    DOCUMENTATION = r"""
options:
  namespace:
    description: Namespace of the runners.
    type: str
    default: arc-runners
  controller_namespace:
    description: Namespace of the runner controller and of the listeners.
    type: str
    default: arc-systems
requirements:
  - kubernetes (Python client) >= 24.2.0
"""

    GITHUB = r"""
options:
  ask_github:
    description:
      - Whether GitHub is asked too, with the credential that lies in the Secret of each scale set, or in
        O(legacy_secret). It is read in the module, and never leaves it but for GitHub.
      - To be told of a scale set the module registers, as the controller does, which makes a token good for an hour.
    type: bool
    default: true
  github_url:
    description: Address of GitHub, or of a GitHub Enterprise Server, for RunnerDeployments. Scale sets state theirs.
    type: str
    default: https://github.com
  legacy_secret:
    description: Secret in O(controller_namespace) that the legacy controller proves itself with.
    type: str
    default: controller-manager
  grace:
    description: Seconds that anything may take to start or to go. What takes longer is a problem.
    type: int
    default: 300
  patience:
    description: Seconds that the oldest queued job of a pool may wait before that is a problem.
    type: int
    default: 900
requirements:
  - cryptography, where the credential is an App
"""
