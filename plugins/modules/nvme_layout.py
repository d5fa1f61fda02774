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
  - Brings named drives to a wished set of volumes, each a filesystem of its own with a GPT partition, a mount unit and bind mounts.
  - A drive is written only when it is proven empty, by a low-level probe, its first and last MiB and samples between them, its
    partitions, holders, mounts and swap, and an exclusive open, in the same process right before the first write.
    What is not understood counts as data.
  - Every partition it makes carries a name that begins with C(runnerfleet-). On a later run only such partitions are adopted,
    wherever they lie.
  - Volumes are mounted by UUID before containerd and kubelet start. Mount points cannot be written to while they are not mounted.
extends_documentation_fragment:
  - runnerfleet.baremetal.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  drives:
    description:
      - The drives to use, each by a path below C(/dev/disk/by-id), by its wwid or by its serial.
      - Kernel names such as C(/dev/nvme0n1) are refused, because they may mean another drive after the next boot.
    type: list
    elements: str
    required: true
  layout:
    description:
      - V(single) puts all volumes on one drive, V(spread) gives each volume a drive of its own.
      - V(auto) is V(single) for one drive and V(spread) for more.
    type: str
    choices: [auto, single, spread]
    default: auto
  volumes:
    description: The filesystems to have.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the volume, at most 12 of a-z, 0-9 and C(-).
        type: str
        required: true
      size:
        description: Size such as V(200GiB), a share of the drive such as V(60%), or V(rest). A volume with a drive of its own takes all
          of it, unless the size is absolute. What exists already is not resized.
        type: str
        default: rest
      filesystem:
        description: Filesystem to make.
        type: str
        choices: [xfs, ext4]
        default: xfs
      mount:
        description: Where to mount it. Without one, the filesystem is made and left alone.
        type: path
      options:
        description: Mount options.
        type: str
        default: noatime
      binds:
        description: Directories of the volume that appear elsewhere, such as C(/var/lib/containerd). Data that lies there already moves
          to the volume once, the old copy stays beside it.
        type: list
        elements: dict
        default: []
        suboptions:
          source:
            description: Name of the directory on the volume.
            type: str
            required: true
          target:
            description: Where it appears.
            type: path
            required: true
  wipe:
    description: Drives, by a name that O(drives) accepts, whose content may be destroyed. Never covers a drive in use, and never one
      that carries the wished volumes already.
    type: list
    elements: str
    default: []
  services:
    description: Units that must not start before the volumes are mounted.
    type: list
    elements: str
    default: [containerd.service, kubelet.service]
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
      drive: eui.0025388b710116a3
      node: /dev/nvme0n1p1
      uuid: 6f1f2c0e-6f0b-5a52-8c5e-0f3c6a1c9b11
      filesystem: xfs
      size: 1919849791488
      mount: /var/lib/runnerfleet/engine
"""

from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme import (
    Bind,
    Drive,
    Layout,
    Step,
    Volume,
    human,
    plan_layout,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme_drives import TOOLS, Drives
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme_host import Host
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme_units import plan_mounts


@dataclass
class Plan:
    """Drives as they are, where the volumes go, and all steps."""

    drives: list[Drive]
    layout: Layout
    steps: list[Step]
    refusals: list[str]


def make_plan(host: Host, params: dict[str, Any], volumes: list[Volume]) -> Plan:
    """Gather and plan. Refusals of all drives are collected, so that one run shows them all."""
    drives, refusals = [], []
    for identity in params["drives"]:
        try:
            drives.append(host.drives.read(identity))
        except ValueError as error:
            refusals.append(str(error))
    if refusals:
        return Plan(drives, Layout(), [], refusals)
    layout = plan_layout(drives, volumes, params["layout"], params["wipe"])
    if layout.refusals:
        return Plan(drives, layout, layout.steps, layout.refusals)
    steps, refusals = plan_mounts(layout.placed, params["services"], host.system(layout.placed, params["services"]))
    return Plan(drives, layout, layout.steps + steps, refusals)


def describe(plan: Plan) -> list[dict[str, str]]:
    """The change as a person reads it: the drives, then every file."""
    before, after = [], []
    for drive in plan.drives:
        title = f"{drive.identity} ({human(drive.size)})"
        have = [f"{p.name} {p.filesystem or 'no filesystem'} {human(p.size)}" for p in drive.partitions] or list(drive.found) or ["empty"]
        before += [title, *(f"  {line}" for line in have)]
        placed = [p for p in plan.layout.placed if p.drive.identity == drive.identity]
        changes = any(s.target == drive.identity for s in plan.steps)
        will = [f"runnerfleet-{p.volume.name} {p.partition.filesystem} {human(p.partition.size)}" for p in placed]
        after += [title, *(f"  {line}" for line in (will if changes else have))]
    other = [f"{step.text}: {step.target}" for step in plan.steps if step.action not in ("partition", "format", "announce", "write")]
    headers = {"before_header": "drives", "after_header": "drives"}
    diff = [{"before": "\n".join(before) + "\n", "after": "\n".join(after + other) + "\n", **headers}]
    for step in plan.steps:
        if step.action == "write":
            content = {"before": step.data["before"], "after": step.data["content"]}
            diff.append({**content, "before_header": step.target, "after_header": step.target})
    return diff


def missing_tools(module: AnsibleModule, volumes: list[Volume]) -> list[str]:
    """What the host lacks, with the package that has it."""
    needed = ["blkid", "wipefs", "partx", "sfdisk", *sorted({f"mkfs.{v.filesystem}" for v in volumes})]
    return [f"{tool} is not installed: install package {TOOLS[tool]}" for tool in needed if not module.get_bin_path(tool)]


def main() -> None:
    """Gather, plan, and unless this is a check, apply."""
    bind = {"source": {"type": "str", "required": True}, "target": {"type": "path", "required": True}}
    volume = {
        "name": {"type": "str", "required": True},
        "size": {"type": "str", "default": "rest"},
        "filesystem": {"type": "str", "choices": ["xfs", "ext4"], "default": "xfs"},
        "mount": {"type": "path"},
        "options": {"type": "str", "default": "noatime"},
        "binds": {"type": "list", "elements": "dict", "default": [], "options": bind},
    }
    module = AnsibleModule(
        argument_spec={
            "drives": {"type": "list", "elements": "str", "required": True},
            "layout": {"type": "str", "choices": ["auto", "single", "spread"], "default": "auto"},
            "volumes": {"type": "list", "elements": "dict", "required": True, "options": volume},
            "wipe": {"type": "list", "elements": "str", "default": []},
            "services": {"type": "list", "elements": "str", "default": ["containerd.service", "kubelet.service"]},
        },
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
            "diff": describe(plan) if plan.steps else [],
        }
        if plan.steps and not module.check_mode:
            host.apply(plan.steps)
            plan = make_plan(host, params, volumes)
            if plan.steps or plan.refusals:
                left = "; ".join([*plan.refusals, *(f"{s.text}: {s.target}" for s in plan.steps)])
                module.fail_json(msg=f"applied, but the host is not as planned: {left}", **result)
    except (ValueError, OSError) as error:
        module.fail_json(msg=str(error))
    result["volumes"] = [
        {
            "name": p.volume.name,
            "drive": p.drive.identity,
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
