# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


from __future__ import annotations


class ModuleDocFragment:
    """Where the engines are, for the modules that look at them over the API."""

    DOCUMENTATION = r"""
options:
  pools:
    description: Names of the pools whose nodes carry an engine.
    type: list
    elements: str
    required: true
  namespace:
    description: Namespace of the engines.
    type: str
    default: dagger
requirements:
  - kubernetes (Python client) >= 24.2.0
"""
