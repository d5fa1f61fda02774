#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nvme_erase
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: Erases drives that leave
description:
  - On a drive that leaves lie layers, source code, and what jobs left in the cache; on that of the kubelet's directory
    also its key.
  - Erases the drives that are named, and no others. One that is in use in any way is refused, and then none is erased.
  - An NVMe drive is erased by itself, by its cryptographic erase where it has one. Any other is written with zeros from
    end to end, which leaves what its controller keeps in reserve.
  - What the planner sees is compared once more, while nobody else can open the drive. It is read again after that.
options:
  drives:
    description: The drives, each by a name that means it alone (a link in C(/dev/disk/by-id), wwid or serial). Naming
      it is the consent.
    type: list
    elements: str
    required: true
  keep:
    description: Names of drives that stay in use. A drive that is among them as well is refused.
    type: list
    elements: str
    default: []
extends_documentation_fragment: runnerfleet.baremetal.attributes
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
  idempotent:
    support: full
    details: A drive on which nothing is found is left alone.
"""

EXAMPLES = r"""
- name: Erase a drive that goes back to its maker
  runnerfleet.baremetal.nvme_erase:
    drives: [/dev/disk/by-id/nvme-SAMSUNG_MZQL21T9_S64GNE0T000001_1]
"""

RETURN = r"""
erased:
  description: What was, or in check mode would be, erased, and how.
  type: list
  elements: str
  returned: always
  sample: ["/dev/disk/by-id/nvme-... (/dev/nvme1n1, SAMSUNG MZQL21T9): its own cryptographic erase"]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.apply_erase import Eraser
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.probe_drives import BAD_ANSWER, Drives


def main() -> None:
    """Run the module."""
    names = {"type": "list", "elements": "str"}
    module = AnsibleModule(
        argument_spec={"drives": {**names, "required": True}, "keep": {**names, "default": []}},
        supports_check_mode=True,
    )
    eraser, erased = Eraser(Drives(module.run_command)), []
    planned, refusals = eraser.plan(module.params["drives"], module.params["keep"])
    if refusals:
        module.fail_json(msg="\n".join([*refusals, "Nothing was erased."]))
    try:
        for erasure in planned:
            if not module.check_mode:
                eraser.erase(erasure)
            erased.append(erasure.text)
    except BAD_ANSWER as error:
        module.fail_json(
            msg=f"{error}. Erased before that: {', '.join(erased) or 'nothing'}", changed=bool(erased), erased=erased
        )
    diff = {"before": {"drives": [erasure.text for erasure in planned]}, "after": {"drives": []}}
    module.exit_json(changed=bool(planned), erased=erased, diff=diff)


if __name__ == "__main__":
    main()
