#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What runs is the action plugin of the same name, on the controller. This file is its documentation.

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_report
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: Report everything that is wrong with a fleet, at once
description:
  - Merges what M(runnerfleet.baremetal.host_survey) saw on every host of the play with checks of the inventory itself -
    groups, pools, names and types of variables, credential, networks, kubeconfig and mirror.
  - Compares each machine with what is planned for it, as M(runnerfleet.baremetal.node_sizing) does, and all versions
    with the matrix of docs/versions.md.
  - Prints one table, errors first, and fails if there is an error. It changes nothing and runs on the controller, once
    for all hosts.
  - Only variables of the collection's roles are read, and values of secrets are never told.
extends_documentation_fragment:
  - runnerfleet.baremetal.attributes
  - runnerfleet.baremetal.attributes.info_module
options:
  survey:
    description: Name of the variable in which every host's M(runnerfleet.baremetal.host_survey) result was registered.
    type: str
    required: true
  minimum:
    description: Floors by kind of host (C(control_plane), C(support), C(runner)), each with C(vcpus), C(memory) and
      C(nvme).
    type: dict
    default: {}
  recommended:
    description: What a host should have, by its kind, in the same form as O(minimum).
    type: dict
    default: {}
  control_plane_group:
    description: The inventory group of the control plane's hosts.
    type: str
    default: control_plane
  external_control_plane:
    description: Whether the control plane is not in this inventory.
    type: bool
    default: false
  ignored_variables:
    description: Inventory variables to take no notice of.
    type: list
    elements: str
    default: []
  mirror_check:
    description: Whether files, charts and images of C(fleet_mirror) are verified by content, by presence, or not at
      all.
    type: str
    choices: [content, presence, none]
    default: content
  github_check:
    description: Whether GitHub is asked, with the fleet's credential, whether it takes that and how long it gives jobs
      to the runners.
    type: bool
    default: false
  artifacts:
    description: Names of the pinned release files that hosts fetch.
    type: list
    elements: str
    default: []
  engine_network:
    description: The engine's own network.
    type: str
    default: 10.87.0.0/16
  extra_networks:
    description: Networks of the site, by name, that the cluster's must not overlap with.
    type: dict
    default: {}
  clock_tolerance:
    description: Seconds by which a host's clock may differ from the control plane's.
    type: float
    default: 30
  image_digests_file:
    description: A file on the controller to write C(fleet_image_digests) to, of what is behind the tags of all images.
      Empty asks nobody.
    type: path
    default: ""
  findings_file:
    description: A file on the controller to write the findings to, as JSON. Empty writes none.
    type: path
    default: ""
"""

EXAMPLES = r"""
- name: Look at every host
  runnerfleet.baremetal.host_survey:
  register: __survey
  failed_when: false
  ignore_unreachable: true

- name: Report what was found on all of them
  runnerfleet.baremetal.preflight_report:
    survey: __survey
    minimum:
      runner: {vcpus: 2, memory: 8GB, nvme: 100GB}
  run_once: true
"""

RETURN = r"""
findings:
  description: Everything that was found, errors first. Codes are stable and listed in docs/findings.md.
  returned: always
  type: list
  elements: dict
  sample:
    - code: drive_unusable
      severity: error
      subject: "runner-1 nvme_storage_drives: /dev/disk/by-id/nvme-A"
      found: /dev/disk/by-id/nvme-A is not a block device of this host
      expected: a whole drive of this host
      hint: correct the name, or check the drive's slot and cable
"""
