#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What runs is the action plugin of the same name, on the controller. This file is its documentation.

from __future__ import annotations

DOCUMENTATION = r"""
module: self_test_workflow
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: Run one workflow through GitHub and wait for its end
description:
  - Starts a workflow by C(workflow_dispatch) with the inputs C(id), a word that no other run has, and C(runner), and
    follows its run, found by that word in its title, until it has completed. It fails unless the run ended with
    success.
  - A run that has not ended in time is cancelled.
  - The credential is that of the variable C(runner_controller_github_auth), which may not name a Secret here. It leaves
    the controller's process for GitHub alone.
  - Runs on the controller. In check mode it starts nothing.
extends_documentation_fragment:
  - runnerfleet.baremetal.attributes
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
  idempotent: {support: full}
options:
  url:
    description: Address of GitHub, or of a GitHub Enterprise Server.
    type: str
    default: https://github.com
  repository:
    description: Repository with the workflow, as owner/name.
    type: str
    required: true
  workflow:
    description: Name of the workflow's file below C(.github/workflows).
    type: str
    default: runnerfleet-self-test.yml
  ref:
    description: Branch or tag that has the workflow.
    type: str
    default: main
  runner:
    description: Label that the job asks for.
    type: str
    required: true
  timeout:
    description: Seconds that the run may take.
    type: int
    default: 600
"""

EXAMPLES = r"""
- name: Run one workflow on the runners named small
  runnerfleet.baremetal.self_test_workflow:
    repository: example-org/self-test
    runner: small
"""

RETURN = r"""
run:
  description: Number of the run.
  returned: success
  type: int
  sample: 17294467712
url:
  description: Page of the run.
  returned: success
  type: str
  sample: https://github.com/example-org/self-test/actions/runs/17294467712
conclusion:
  description: How it ended.
  returned: success
  type: str
  sample: success
jobs:
  description: Its jobs.
  returned: success
  type: list
  elements: dict
  sample: [{name: self-test, status: completed, conclusion: success, runner: small-8zvx2-runner-b7k4q}]
"""
