#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nvme_layout
short_description: Partition, format and mount NVMe drives without touching what they hold
version_added: 0.1.0
description:
  - Creates the desired volumes on drives given by name or selected by a rule, each a filesystem with a mount unit and
    bind mounts, on GPT partitions, in a striped volume group or on an md array.
  - A drive is written only when it is proven empty, by a low-level probe, its first and last MiB and samples between
    them, its partitions, holders, mounts and swap, and an exclusive open, in the same process right before the first
    write. What is not understood counts as data.
  - Every partition it makes carries a name that begins with C(runnerfleet-), its volume group the tag C(runnerfleet),
    its array that name. On a later run only these are adopted, wherever they lie.
  - Volumes are mounted by UUID before containerd and kubelet start. Mount points cannot be written to while they are
    not mounted.
extends_documentation_fragment:
  - runnerfleet.baremetal.attributes
  - runnerfleet.baremetal.nvme
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
author:
  - runnerfleet contributors (@runnerfleet)
"""

EXAMPLES = r"""
- name: Give the engine and the containers a drive each
  runnerfleet.baremetal.nvme_layout:
    drives:
      - /dev/disk/by-id/nvme-EXAMPLE_MODEL_SERIAL0001
      - eui.0025388b710116a3
    volumes:
      - name: engine
        mount: /var/lib/runnerfleet/engine
      - name: containers
        mount: /var/lib/runnerfleet/containers
        binds:
          - source: containerd
            target: /var/lib/containerd

- name: Stripe the only four drives of at least 900 GB, with a cache whose checkpoints cost nothing
  runnerfleet.baremetal.nvme_layout:
    select: {count: 4, min_size: 900GB}
    layout: stripe
    volumes:
      - name: engine
        size: 60%
        filesystem: btrfs
        mount: /var/lib/runnerfleet/engine
      - name: containers
        mount: /var/lib/runnerfleet/containers
"""

RETURN = r"""
plan:
  description: Every step, in its order, that was or would be done.
  returned: always
  type: list
  elements: dict
  sample:
    - {action: partition, target: eui.0025388b710116a3, text: "partition as GPT: runnerfleet-engine 1788.0 GiB"}
destructive:
  description: Drives that hold something and would be overwritten, what was found on them, and whether O(wipe) names
    them.
  returned: always
  type: list
  elements: dict
  sample: []
volumes:
  description: Where each volume lies.
  returned: success
  type: list
  elements: dict
  sample:
    - name: engine
      drives: [eui.0025388b710116a3]
      node: /dev/nvme0n1p1
      uuid: 6f1f2c0e-6f0b-5a52-8c5e-0f3c6a1c9b11
      filesystem: xfs
      size: 1919849791488
      mount: /var/lib/runnerfleet/engine
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.apply import apply
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.diff import describe
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.layout import (
    OPTIONS,
    RULES,
    make_plan,
    missing_tools,
    volumes_of,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.probe_drives import Drives


def main() -> None:
    """Gather, plan, and unless this is a check, apply."""
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True, **RULES)
    params = module.params
    volumes = volumes_of(params)
    lacking = missing_tools(params, module.get_bin_path)
    if lacking:
        module.fail_json(msg="; ".join(lacking), plan=[], destructive=[])
    host = Drives(module.run_command)
    try:
        plan = make_plan(host, params, volumes)
        shown = [{"action": s.action, "target": s.target, "text": s.text} for s in plan.steps]
        if plan.refusals:
            module.fail_json(msg="\n".join(plan.refusals), plan=shown, destructive=plan.layout.destructive)
        result: dict[str, Any] = {
            "changed": bool(plan.steps),
            "plan": shown,
            "destructive": plan.layout.destructive,
            "diff": describe(plan.drives, plan.layout.placed, plan.steps) if plan.steps else [],
        }
        if plan.steps and not module.check_mode:
            # A stripe that has to be started first is planned on in a second round, as is a drive that was formatted.
            for _round in range(4):
                done = apply(host, plan.steps, plan.consented)
                plan = make_plan(host, params, volumes)
                if done or plan.refusals:
                    break
            if plan.steps or plan.refusals:
                left = "; ".join([*plan.refusals, *(f"{s.text}: {s.target}" for s in plan.steps)])
                module.fail_json(msg=f"applied, but the host is not as planned: {left}", **result)
    except (ValueError, OSError) as error:
        module.fail_json(msg=str(error))
    result["volumes"] = [
        {
            "name": p.volume.name,
            "drives": [d.identity for d in plan.drives] if params["layout"] == "stripe" else [p.drive.identity],
            "node": p.partition.node,
            "uuid": p.partition.uuid,
            "filesystem": p.partition.filesystem,
            "size": p.partition.size,
            "mount": p.volume.mount,
        }
        for p in plan.layout.placed
    ]
    module.exit_json(**result)


if __name__ == "__main__":
    main()
