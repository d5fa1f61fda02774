#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_config
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: Bring files, kernel settings, swap and systemd units of a host into one state
description:
  - Does in one call what a loop of file, sysctl, modprobe and systemd tasks does in many.
  - Everything is compared with what is effective on the host, not with what an earlier task reported. A unit is
    restarted when it was started before one of its files changed, so that a run that was killed between the two is made
    good by the next one.
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
  directories:
    description: Directories that must exist.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      mode: {description: Mode., type: str, default: "0755"}
  files:
    description: Files with their whole content. Directories above them are made.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      content: {description: The whole content., type: str, required: true}
      mode: {description: Mode., type: str, default: "0644"}
      secret: {description: Keep the content out of the diff., type: bool, default: false}
  prune:
    description:
      - Patterns of paths. A file that matches, that the collection wrote (by its first line) and that is not in
        O(files) is removed.
    type: list
    elements: path
    default: []
  name:
    description: Stem of the files in C(modules-load.d) and C(sysctl.d).
    type: str
    default: runnerfleet
  kernel_modules:
    description: Kernel modules to load now and at boot. A feature that is built into the kernel counts as loaded.
    type: list
    elements: str
    default: []
  kernel_modules_optional:
    description: Kernel modules to load where this kernel has them.
    type: list
    elements: str
    default: []
  sysctls:
    description: Kernel parameters to set now and at boot, in either notation of sysctl.d, such as
      C(net.ipv4.ip_forward), C(net/ipv4/conf/bond0.101/rp_filter) or C(net.ipv4.conf.bond0/101.rp_filter).
    type: dict
    default: {}
  swap_off:
    description:
      - Turn swap off, now and at boot. Entries of fstab are commented out, C(swap.target) is masked, and services,
        timers, swap units and init scripts that turn swap on are stopped and disabled.
      - What calls swapon from C(rc.local), cron or a udev rule is refused, since a person has to take it out.
    type: bool
    default: false
  units:
    description: Systemd units.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Full name of the unit., type: str, required: true}
      enabled: {description: Enable it., type: bool, default: false}
      state: {description: Start it when V(started)., type: str, choices: [started, none], default: none}
      restart_on:
        description: Paths or patterns. A running unit is restarted when one of them changed after it was started.
        type: list
        elements: path
        default: []
"""

EXAMPLES = r"""
- name: Let the kernel forward packets
  runnerfleet.baremetal.host_config:
    kernel_modules: [br_netfilter]
    sysctls: {net.ipv4.ip_forward: 1}

- name: Configure a service and restart it only when it runs with an older file
  runnerfleet.baremetal.host_config:
    files:
      - {path: /etc/example/config.toml, content: "debug = false\n"}
    units:
      - {name: example.service, enabled: true, state: started, restart_on: [/etc/example/config.toml]}
"""

RETURN = r"""
changes:
  description: What was, or in check mode would be, changed.
  returned: always
  type: list
  elements: str
  sample: [/etc/example/config.toml, sysctl net.ipv4.ip_forward, restart example.service]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host.apply_files import HostError
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host.apply_settings import HostConfig


def run(module: AnsibleModule) -> dict[str, Any]:
    """Apply each part in the order in which they depend on each other. What cannot be done is refused first."""
    host, params = HostConfig(module), module.params
    if params["swap_off"]:
        host.refuse_swap()
    host.check_sysctls(params["sysctls"])
    host.kernel_modules(params["name"], params["kernel_modules"], params["kernel_modules_optional"])
    for entry in params["directories"]:
        host.directory(entry["path"], entry["mode"])
    for entry in params["files"]:
        host.file(entry["path"], entry["content"], entry["mode"], entry["secret"])
    host.prune(params["prune"], {entry["path"] for entry in params["files"]})
    host.sysctls(params["name"], params["sysctls"])
    if params["swap_off"]:
        host.swap_off()
    host.units(params["units"])
    return {"changed": bool(host.changes), "changes": host.changes, "diff": host.diffs}


def main() -> None:
    """Entry point."""
    path, text, flag = (
        {"type": "path", "required": True},
        {"type": "str", "required": True},
        {"type": "bool", "default": False},
    )
    file = {
        "path": path,
        "content": text,
        "mode": {"type": "str", "default": "0644"},
        "secret": {**flag, "no_log": False},
    }
    unit = {
        "name": text,
        "enabled": flag,
        "state": {"type": "str", "choices": ["started", "none"], "default": "none"},
        "restart_on": {"type": "list", "elements": "path", "default": []},
    }
    strings = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            "directories": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {"path": path, "mode": {"type": "str", "default": "0755"}},
            },
            "files": {"type": "list", "elements": "dict", "default": [], "options": file},
            "prune": {"type": "list", "elements": "path", "default": []},
            "name": {"type": "str", "default": "runnerfleet"},
            "kernel_modules": strings,
            "kernel_modules_optional": strings,
            "sysctls": {"type": "dict", "default": {}},
            "swap_off": flag,
            "units": {"type": "list", "elements": "dict", "default": [], "options": unit},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module))
    except (HostError, ValueError, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
