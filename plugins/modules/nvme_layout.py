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
  - Brings drives, by name or by a rule, to a wished set of volumes, each a filesystem with a mount unit and bind mounts, on GPT
    partitions, in a striped volume group or on an md array.
  - A drive is written only when it is proven empty, by a low-level probe, its first and last MiB and samples between them, its
    partitions, holders, mounts and swap, and an exclusive open, in the same process right before the first write.
    What is not understood counts as data.
  - Every partition it makes carries a name that begins with C(runnerfleet-), its volume group the tag C(runnerfleet), its array that
    name. On a later run only these are adopted, wherever they lie.
  - Volumes are mounted by UUID before containerd and kubelet start. Mount points cannot be written to while they are not mounted.
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

- name: Stripe the only four drives of at least 900 GB, with a cache that can be snapshotted
  runnerfleet.baremetal.nvme_layout:
    select: {count: 4, min_size: 900GB}
    layout: stripe
    volumes:
      - name: engine
        size: 60%
        thin: true
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
  description: Drives that hold something and would be overwritten, what was found on them, and whether O(wipe) names them.
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

from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils import _nvme_health
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme import (
    Bind,
    Drive,
    Layout,
    Step,
    Volume,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme_diff import describe
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme_drives import TOOLS, Drives
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme_gpt import plan_layout
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme_host import Host
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme_sectors import other_sectors, plan_sectors
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme_select import Rule, choose
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme_stripe import plan_stripe
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme_units import plan_mounts


@dataclass
class Plan:
    """Drives as they are, where the volumes go, and all steps."""

    drives: list[Drive]
    layout: Layout
    steps: list[Step]
    refusals: list[str]


def find(host: Host, params: dict[str, Any]) -> tuple[list[Drive], list[str]]:
    """The drives that are meant. Refusals of all drives are collected, so that one run shows them all."""
    if params["select"]:
        return choose([host.drives.inspect(sysfs) for sysfs in host.drives.namespaces()[0]], Rule(**params["select"]))
    drives, refusals = [], []
    for identity in params["drives"]:
        try:
            drives.append(host.drives.read(identity))
        except ValueError as error:
            refusals.append(str(error))
    return drives, refusals


def make_plan(host: Host, params: dict[str, Any], volumes: list[Volume]) -> Plan:
    """Gather and plan."""
    drives, refusals = find(host, params)
    if refusals:
        return Plan(drives, Layout(), [], refusals)
    if params["layout"] == "stripe":
        group = host.group(drives, params["stripe_with"])
        layout = plan_stripe(drives, group, volumes, params["stripe_with"], params["wipe"])
    else:
        layout = plan_layout(drives, volumes, params["layout"], params["wipe"])
    sector_size = params["sector_size"]
    offers = {d.identity: _nvme_health.offer(host.drives.run, d.node) for d in other_sectors(layout.steps, sector_size)}
    plan_sectors(layout, sector_size, offers)
    if layout.refusals:
        return Plan(drives, layout, layout.steps, layout.refusals)
    steps, refusals = plan_mounts(layout.placed, params["services"], host.system(layout.placed, params["services"]))
    return Plan(drives, layout, layout.steps + steps + layout.grow, refusals)


def missing_tools(module: AnsibleModule, volumes: list[Volume]) -> list[str]:
    """What the host lacks, with the package that has it."""
    needed = ["blkid", "wipefs", "partx", "sfdisk", *sorted({f"mkfs.{v.filesystem}" for v in volumes})]
    if module.params["layout"] == "stripe":
        lvm = ["vgcreate", *(["thin_check"] if any(v.thin for v in volumes) else [])]
        needed += lvm if module.params["stripe_with"] == "lvm" else ["mdadm"]
    return [f"{tool} is not installed: install package {TOOLS[tool]}" for tool in needed if not module.get_bin_path(tool)]


def main() -> None:
    """Gather, plan, and unless this is a check, apply."""
    bind = {"source": {"type": "str", "required": True}, "target": {"type": "path", "required": True}}
    volume = {
        "name": {"type": "str", "required": True},
        "size": {"type": "str", "default": "rest"},
        "filesystem": {"type": "str", "choices": ["xfs", "ext4", "btrfs"], "default": "xfs"},
        "thin": {"type": "bool", "default": False},
        "mount": {"type": "path"},
        "options": {"type": "str", "default": "noatime"},
        "owner": {"type": "str", "default": ""},
        "group": {"type": "str", "default": ""},
        "mode": {"type": "str", "default": ""},
        "binds": {"type": "list", "elements": "dict", "default": [], "options": bind},
    }
    select = {
        "count": {"type": "int", "required": True},
        **{name: {"type": "str", "default": ""} for name in ("min_size", "max_size", "model")},
    }
    module = AnsibleModule(
        argument_spec={
            "drives": {"type": "list", "elements": "str"},
            "select": {"type": "dict", "options": select},
            "layout": {"type": "str", "choices": ["auto", "single", "spread", "stripe"], "default": "auto"},
            "stripe_with": {"type": "str", "choices": ["lvm", "raid0", "raid10"], "default": "lvm"},
            "volumes": {"type": "list", "elements": "dict", "required": True, "options": volume},
            "sector_size": {"type": "int", "choices": [0, 512, 4096], "default": 0},
            "wipe": {"type": "list", "elements": "str", "default": []},
            "services": {"type": "list", "elements": "str", "default": ["containerd.service", "kubelet.service"]},
        },
        mutually_exclusive=[("drives", "select")],
        required_one_of=[("drives", "select")],
        supports_check_mode=True,
    )
    params = module.params
    volumes = [Volume(**{**v, "mount": v["mount"] or "", "binds": tuple(Bind(**b) for b in v["binds"])}) for v in params["volumes"]]
    lacking = missing_tools(module, volumes)
    if lacking:
        module.fail_json(msg="; ".join(lacking), plan=[], destructive=[])
    host = Host(Drives(module.run_command))
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
                done = host.apply(plan.steps)
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
