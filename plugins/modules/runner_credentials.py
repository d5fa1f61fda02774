#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What runs is the action plugin of the same name, on the controller. This file is its documentation.

from __future__ import annotations

DOCUMENTATION = r"""
module: runner_credentials
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: Try the credentials of scale sets at GitHub
description:
  - Asks GitHub about the owner of each scale set, with the credential that the set is to have. It fails where one is
    refused, with GitHub's own reason. It is what the preflight asks, by the same code.
  - The credentials are those of the variables C(runner_pools_pools) and C(runner_pools_github_auth), and the address is
    C(runner_pools_github_url). They leave the controller's process for GitHub alone. What stands in a Secret of the
    cluster is not known here, and not asked for.
  - Runs on the controller, and changes nothing.
extends_documentation_fragment:
  - runnerfleet.baremetal.attributes
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
  idempotent: {support: full}
options:
  ask:
    description: Whether GitHub is asked. What cannot be a credential at all is refused in any case.
    type: bool
    default: true
  require_access:
    description: Whether a credential is refused too that GitHub takes and that sees no such owner or may not ask for
      its runners, and one that nobody could be asked about. By default that is a warning.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Try the credentials of scale sets
  runnerfleet.baremetal.runner_credentials:
    require_access: true
"""

RETURN = r"""
findings:
  description: What GitHub said of them, as the preflight tells it.
  returned: always
  type: list
  elements: dict
  sample:
    - severity: error
      code: github_credential_refused
      subject: "runner_pools_pools: small.credential"
      found: "a credential that GitHub does not take (HTTP 401: Bad credentials)"
      expected: a token that is valid
      hint: "correct it, in its vault: the runner controller would be refused as well"
"""
