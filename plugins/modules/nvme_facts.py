#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nvme_facts
short_description: List NVMe namespaces, and why each can or cannot be used
version_added: 0.1.0
description:
  - Lists every NVMe namespace of a host with what identifies it, its size, sector formats and health, and judges it by
    the same rules as M(runnerfleet.baremetal.nvme_layout). It writes nothing.
extends_documentation_fragment:
  - runnerfleet.baremetal.attributes
  - runnerfleet.baremetal.attributes.info_module
options:
  drives:
    description: Drives that must be there, listed even if they are not NVMe, by a path below C(/dev/disk/by-id), wwid
      or serial.
    type: list
    elements: str
    default: []
  consent:
    description: Drives whose content may be given up, named like O(drives). Only told apart, as C(consented).
    type: list
    elements: str
    default: []
author:
  - runnerfleet contributors (@runnerfleet)
"""

EXAMPLES = r"""
- name: Look at the drives
  runnerfleet.baremetal.nvme_facts:
  register: looked

- name: Show the free ones
  ansible.builtin.debug:
    msg: "{{ looked.drives | selectattr('state', 'equalto', 'free') | map(attribute='identity') }}"
"""

RETURN = r"""
drives:
  description:
    - The drives in the order of their identity.
    - C(state) is V(free) for a drive that is proven empty, V(ours) for one that carries volumes of ours, and V(taken)
      for any other. C(usable) is true for the first two.
    - Each entry of C(reasons) begins with V(boot), V(mounted), V(swap), V(holder), V(partitions), V(signature),
      V(opened exclusively), V(multipath path), V(unknown bytes), V(read-only), V(no usable size), V(no name of its
      own), V(cannot be opened) or V(cannot be read), the details follow a colon.
    - A namespace that shows as several devices is one drive; the devices that are not used are listed as V(multipath
      path).
    - C(asked_as) has the names in O(drives) that mean this drive, C(consented) is true where O(consent) names it.
    - C(health) and C(formats) are null where nvme-cli cannot tell, C(note) says why.
  returned: success
  type: list
  elements: dict
  sample:
    - identity: eui.0025388b710116a3
      node: /dev/nvme1n1
      size: 1920383410176
      sector: 512
      asked_as: []
      consented: false
      links: [/dev/disk/by-id/nvme-EXAMPLE_MODEL_SERIAL0001, /dev/disk/by-id/nvme-eui.0025388b710116a3]
      wwid: eui.0025388b710116a3
      serial: SERIAL0001
      subsystem_nqn: nqn.2014-08.org.nvmexpress:144d144dSERIAL0001
      nsid: 1
      model: EXAMPLE MODEL
      firmware: EDA7602Q
      state: taken
      usable: false
      reasons: ["mounted: /data", "signature: xfs"]
      ours: []
      health:
        critical_warnings: []
        wear_percent: 2
        spare_percent: 100
        spare_threshold_percent: 10
        media_errors: 0
        power_on_hours: 4012
      formats:
        - {lbaf: 0, data_bytes: 512, metadata_bytes: 0, performance: 0, in_use: true}
        - {lbaf: 1, data_bytes: 4096, metadata_bytes: 0, performance: 0, in_use: false}
      note: ""
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme import probe_controller
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.model import (
    MARK,
    Drive,
    Kind,
    Reason,
    ours,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.plan_selection import reasons
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.probe_drives import BAD_ANSWER, Drives
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.probe_stripe import Stripes


def shown(drive: Drive, carried: list[str]) -> dict[str, Any]:
    """What the drive's content and use mean."""
    state = "ours" if ours(drive) else "taken" if drive.found or drive.blocked else "free"
    return {
        "identity": drive.identity,
        "node": drive.node,
        "size": drive.size,
        "sector": drive.sector,
        "state": state,
        "usable": state != "taken",
        "reasons": list(map(str, reasons(drive))),
        "ours": carried,
    }


def carried_by(host: Stripes, drive: Drive) -> list[str]:
    """Names of our volumes that lie on a drive, alone or together with others."""
    parts = list(drive.partitions)
    if drive.member:
        group = host.group([drive], drive.member.partition(":")[0])
        parts = list(group.volumes) + list(group.array.partitions if group.array else [])
    return [p.name[len(MARK) :] for p in parts if p.name.startswith(MARK)]


def carried_or_reason(host: Stripes, drive: Drive) -> tuple[list[str], list[Reason]]:
    """Names of our volumes on a drive, or why they are not known."""
    try:
        return carried_by(host, drive), []
    except BAD_ANSWER as error:
        return [], [Reason(Kind.UNREAD, str(error))]


def drive_facts(host: Stripes, sysfs: Path, name: str = "") -> dict[str, Any]:
    """One drive. One that cannot be read is taken."""
    drive = host.drives.inspect(sysfs, name)
    carried, problems = carried_or_reason(host, drive)
    told = shown(replace(drive, blocked=(*drive.blocked, *problems)), carried)
    more = probe_controller.ask(host.drives.run, told["node"]) if sysfs.name.startswith("nvme") else {}
    links = host.drives.drive_of(sysfs.name).links
    return {
        "links": links,
        "health": None,
        "formats": None,
        "note": "",
        **probe_controller.identity(sysfs),
        **more,
        **told,
    }


def other_way(name: str) -> dict[str, Any]:
    """A device that is one more way to a drive."""
    drive = Drive(name, f"/dev/{name}", 0, blocked=(Reason(Kind.OTHER_PATH),))
    who = probe_controller.identity(Path("/sys/class/block", name))
    return {"links": [], "health": None, "formats": None, "note": "", **who, **shown(drive, [])}


def resolved(drives: Drives, names: list[str]) -> tuple[list[tuple[Path, str]], list[str]]:
    """The drives that names mean, and what is wrong with the other names."""
    found, problems = [], []
    for name in names:
        try:
            found.append((drives.resolve(name), name))
        except ValueError as error:
            problems.append(str(error))
    return found, problems


def main() -> None:
    """Look and tell."""
    names = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(argument_spec={"drives": names, "consent": names}, supports_check_mode=True)
    host = Stripes(Drives(module.run_command))
    named, problems = resolved(host.drives, module.params["drives"])
    consented, unmeant = resolved(host.drives, module.params["consent"])
    if problems or unmeant:
        module.fail_json(msg="\n".join([*problems, *(f"consent: {problem}" for problem in unmeant)]))
    namespaces, ways = host.drives.namespaces()
    seen = [drive_facts(host, sysfs) for sysfs in namespaces]
    seen += [
        drive_facts(host, sysfs, name)
        for sysfs, name in dict(named).items()
        if sysfs.name not in {n.name for n in namespaces}
    ]
    seen += [other_way(name) for name in ways]
    for told in seen:
        told["asked_as"] = [name for sysfs, name in named if f"/dev/{sysfs.name}" == told["node"]]
        told["consented"] = any(f"/dev/{sysfs.name}" == told["node"] for sysfs, _name in consented)
    module.exit_json(changed=False, drives=sorted(seen, key=lambda drive: str(drive["identity"])))


if __name__ == "__main__":
    main()
