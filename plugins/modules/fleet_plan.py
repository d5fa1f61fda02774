#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What runs is the action plugin of the same name, on the controller. This file is its documentation.

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_plan
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: Show which pools and runner sizes fit each machine
description:
  - Compares machines with every pool of C(fleet_pools) and with the control plane, and says how many runners of each
    size of C(runner_pools_pools) fit beside the engine, and what runs out first.
  - The machines are those of the play, as M(runnerfleet.baremetal.host_survey) saw them, or typed by hand, so that a
    purchase can be planned.
  - Prints one table, changes nothing, and runs on the controller, once for all hosts. It fails only where a machine did
    not answer.
extends_documentation_fragment:
  - runnerfleet.baremetal.attributes
  - runnerfleet.baremetal.attributes.info_module
options:
  hardware:
    description: Machines by name, each with C(vcpus), C(memory_bytes) and C(drives), as
      M(runnerfleet.baremetal.node_sizing) takes them.
    type: dict
    default: {}
  survey:
    description: Name of the variable in which every host's M(runnerfleet.baremetal.host_survey) result was registered.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Plan a purchase
  runnerfleet.baremetal.fleet_plan:
    hardware:
      offer-a:
        vcpus: 64
        memory_bytes: 256GB
        drives: [{name: nvme0n1, size_bytes: 3.84TB}, {name: nvme1n1, size_bytes: 3.84TB}]
"""

RETURN = r"""
machines:
  description: Every machine with every place that it may take.
  returned: success
  type: list
  elements: dict
  sample:
    - name: offer-a
      vcpus: "64"
      memory_bytes: 256000000000
      nvme_bytes: 7680000000000
      places:
        - place: runner
          kind: runner
          fits: true
          findings: []
          runners: [{name: medium, fits: 62, limited_by: memory}]
          bottleneck: {of_each: 62, lacking: {memory: 1.2 GiB}}
"""
