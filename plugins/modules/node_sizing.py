#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_sizing
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: Tell whether a machine is big enough for its role and for what is planned on it
description:
  - Compares what the host has, or what O(hardware) says, with the floors of a role and with a plan. It changes nothing.
  - Sizes are numbers of bytes or quantities such as V(8GB), V(7.5Gi) or V(100Mi), CPUs are such as V(2) or V(1500m).
extends_documentation_fragment:
  - runnerfleet.baremetal.attributes
  - runnerfleet.baremetal.attributes.info_module
options:
  role:
    description: What the machine is for. It chooses the floors.
    type: str
    choices: [runner, support, control_plane]
    required: true
  hardware:
    description: A machine to judge in place of this host, such as one that is not bought yet. Takes RV(hardware) as
      well.
    type: dict
    suboptions:
      vcpus: {description: CPUs that are online., type: int, required: true}
      memory_bytes: {description: All memory that the kernel shows., type: raw, required: true}
      drives:
        description: Its drives.
        type: list
        elements: dict
        suboptions:
          name: {description: How findings and O(drives) call it., type: str, required: true}
          size_bytes: {description: Its size., type: raw, required: true}
          model: {description: Its model., type: str}
          transport: {description: "Bus, such as V(sata). Without it, V(nvme).", type: str}
          in_use: {description: "Whether it is in use, or by what.", type: raw}
          boot: {description: Whether the system starts from it., type: bool}
      vcpus_offline: {description: CPUs that are offline., type: int}
      hugepages_bytes: {description: Memory set aside as huge pages., type: raw}
      cpu_limit_millis: {description: "Limit of a cgroup around the machine, in thousandths of a CPU.", type: int}
      memory_limit_bytes: {description: Limit of a cgroup around the machine., type: raw}
  drives:
    description:
      - The drives that will be used, each by a path below C(/dev/disk/by-id), by its wwid or by its serial. Only these
        count then.
      - Without it every NVMe drive counts that is neither the boot drive nor in use by something else than this
        collection.
    type: list
    elements: str
    default: []
  minimum:
    description:
      - Floors in place of those of the role. Less is an error. Memory may be 8 % less, since firmware and kernel keep
        some of it.
      - For a runner 2 vCPUs and 8 GB (Dagger's documented minimum) and 100 GB of NVMe (what Dagger's RKE2 guide asks of
        a node), for support 1 vCPU and 2 GB, for a control plane 2 vCPUs and 2 GB.
    type: dict
    default: {}
    suboptions: &floor
      {vcpus: {description: vCPUs., type: int}, memory: {description: Memory., type: raw},
      nvme: {description: All NVMe drives., type: raw}}
  recommended:
    description:
      - Floors in place of those of the role. Less is a warning.
      - For a runner 4 vCPUs, 16 GB and 400 GB of NVMe, for support and control plane 2 vCPUs and 4 GB.
    type: dict
    default: {}
    suboptions: *floor
  plan:
    description: What is meant to run on a runner node. All of it has to fit what kubelet can allot to pods.
    type: dict
    suboptions:
      engine:
        description: What the engine asks for.
        type: dict
        default: {}
        suboptions: &pod {cpu: {description: CPUs., type: raw}, memory: {description: Memory., type: raw}}
      runners:
        description: The sizes of runner.
        type: list
        elements: dict
        default: []
        suboptions:
          name: {description: Name of the size., type: str, required: true}
          cpu: {description: CPUs of one runner., type: raw, required: true}
          memory: {description: Memory of one runner., type: raw, required: true}
          max: {description: How many may run on the node at once., type: int, default: 1}
      reserved:
        description: Sum of what is reserved for the system and for Kubernetes. Requests of other pods of every node
          belong here too.
        type: dict
        default: {}
        suboptions: *pod
      eviction:
        description: The threshold at which kubelet evicts pods.
        type: dict
        default: {}
        suboptions:
          memory: {description: Memory that stays free. Bytes or a share such as V(5%)., type: raw, default: 100Mi}
      max_pods: {description: "Pods that kubelet takes. The node's own are 3: kube-proxy, CNI, engine.", type: int,
      default: 110}
  subject: {description: What findings call the machine. Without it the hostname., type: str}
  fail_on:
    description: The least severity that fails the task.
    type: str
    choices: [error, warning, never]
    default: error
"""

EXAMPLES = r"""
- name: Judge this host by the floors of a runner node
  runnerfleet.baremetal.node_sizing:
    role: runner
    fail_on: never

- name: Plan a purchase
  runnerfleet.baremetal.node_sizing:
    role: runner
    subject: the offered model
    hardware:
      vcpus: 32
      memory_bytes: 128GB
      drives:
        - {name: boot, size_bytes: 480GB, boot: true}
        - {name: cache, size_bytes: 1.92TB}
    plan:
      engine: {cpu: 8, memory: 32Gi}
      reserved: {cpu: 500m, memory: 1Gi}
      eviction: {memory: 500Mi}
      runners:
        - {name: small, cpu: 1500m, memory: 3Gi, max: 8}
        - {name: large, cpu: 4, memory: 16Gi, max: 2}

- name: Ask more of a support node
  runnerfleet.baremetal.node_sizing:
    role: support
    minimum: {vcpus: 2, memory: 4GB}
    hardware: {vcpus: 2, memory_bytes: 7.4GiB}
"""

RETURN = r"""
ok:
  description: Whether there is no error, and no warning either where O(fail_on) is V(warning).
  returned: always
  type: bool
  sample: false
findings:
  description: Everything that was found, errors first. Codes are stable and listed in docs/findings.md.
  returned: always
  type: list
  elements: dict
  sample:
    - {code: vcpus_below_minimum, severity: error, subject: runner-1, found: 1 vCPUs online and usable,
      expected: at least 2 for runner,
       hint: "give runner-1 more vCPUs, or lower the minimum if you know better"}
hardware:
  description: The machine that was judged, in the shape of O(hardware).
  returned: always
  type: dict
  sample: {vcpus: 4, memory_bytes: 16777216000, drives: [], vcpus_offline: 0, hugepages_bytes: 0}
allocatable:
  description: What kubelet can allot to pods. Without O(plan) nothing is reserved.
  returned: always
  type: dict
  sample: {cpu_millis: 3500, memory_bytes: 15598616576, pods: 110}
capacity:
  description: How many runners of each size alone fit beside the engine (C(fits)), what is left when the whole plan
    runs, and what runs out first when there is more of the same (C(bottleneck)). Null without O(plan).
  returned: always
  type: dict
  sample:
    engine: {cpu_millis: 2000, memory_bytes: 4294967296}
    runners: [{name: small, cpu_millis: 500, memory_bytes: 2147483648, max: 2, fits: 3, limited_by: cpu}]
    left: {cpu_millis: 500, memory_bytes: 7008681984, pods: 105}
    bottleneck: cpu
"""

import platform
from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight import sizing as preflight_sizing
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.findings import findings_table, in_order
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.hardware import hardware_from
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.probe_hardware import gather

NAME = {"type": "str", "required": True}
NEEDED = {"type": "raw", "required": True}
RAW = {"type": "raw"}
COUNT = {"type": "int"}
TEXT = {"type": "str"}
FLOOR = {"vcpus": COUNT, "memory": RAW, "nvme": RAW}
POD = {"cpu": RAW, "memory": RAW}
DRIVE = {"name": NAME, "size_bytes": NEEDED, "model": TEXT, "transport": TEXT, "in_use": RAW, "boot": {"type": "bool"}}
HARDWARE = {
    "vcpus": {"type": "int", "required": True},
    "memory_bytes": NEEDED,
    "drives": {"type": "list", "elements": "dict", "options": DRIVE},
    "vcpus_offline": COUNT,
    "hugepages_bytes": RAW,
    "cpu_limit_millis": COUNT,
    "memory_limit_bytes": RAW,
}
RUNNER = {"name": NAME, "cpu": NEEDED, "memory": NEEDED, "max": {"type": "int", "default": 1}}
PLAN = {
    "engine": {"type": "dict", "default": {}, "options": POD},
    "runners": {"type": "list", "elements": "dict", "default": [], "options": RUNNER},
    "reserved": {"type": "dict", "default": {}, "options": POD},
    "eviction": {"type": "dict", "default": {}, "options": {"memory": {"type": "raw", "default": "100Mi"}}},
    "max_pods": {"type": "int", "default": 110},
}
SPEC = {
    "role": {"type": "str", "choices": ["runner", "support", "control_plane"], "required": True},
    "hardware": {"type": "dict", "options": HARDWARE},
    "drives": {"type": "list", "elements": "str", "default": []},
    "minimum": {"type": "dict", "default": {}, "options": FLOOR},
    "recommended": {"type": "dict", "default": {}, "options": FLOOR},
    "plan": {"type": "dict", "options": PLAN},
    "subject": TEXT,
    "fail_on": {"type": "str", "choices": ["error", "warning", "never"], "default": "error"},
}


def main() -> None:
    """Gather or take what is given, judge and return."""
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    params, role = module.params, module.params["role"]
    try:
        minimum = preflight_sizing.floor_from(preflight_sizing.MINIMUM[role], params["minimum"], "minimum")
        recommended = preflight_sizing.floor_from(
            preflight_sizing.RECOMMENDED[role], params["recommended"], "recommended"
        )
        plan = preflight_sizing.plan_from(params["plan"]) if params["plan"] is not None else None
        hardware = (
            hardware_from(params["hardware"]) if params["hardware"] else gather(module.run_command, params["drives"])
        )
    except ValueError as error:
        module.fail_json(msg=str(error))
    subject = params["subject"] or platform.node()
    findings = in_order(
        preflight_sizing.sizing_findings(subject, role, hardware, minimum, recommended, plan, params["drives"])
    )
    bad = ("error", "warning") if params["fail_on"] == "warning" else ("error",)
    result = {
        "changed": False,
        "ok": not any(finding.severity in bad for finding in findings),
        "findings": [finding.as_dict() for finding in findings],
        "hardware": hardware.as_dict(),
        "allocatable": asdict(preflight_sizing.allocatable(hardware, plan)),
        "capacity": preflight_sizing.capacity(hardware, plan) if plan else None,
    }
    if not result["ok"] and params["fail_on"] != "never":
        module.fail_json(msg=findings_table(findings), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
