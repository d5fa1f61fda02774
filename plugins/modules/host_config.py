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
  - Everything is compared with what is effective on the host, not with what an earlier task reported. A unit is restarted when it was
    started before one of its files changed, so that a run that was killed between the two is made good by the next one.
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
      - Patterns of paths. A file that matches, that the collection wrote (by its first line) and that is not in O(files) is removed.
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
    description: Kernel parameters to set now and at boot.
    type: dict
    default: {}
  swap_off:
    description: Turn swap off, now and at boot.
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

import glob
import os
import time
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils import _host_config as pure
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host import Host, HostError, read

UNIT_PROPERTIES = "Id,LoadState,ActiveState,UnitFileState,NeedDaemonReload,ExecMainStartTimestampMonotonic"
UNIT_DIRECTORY = "/etc/systemd/system"


class HostConfig(Host):
    """The host's kernel settings, swap and units."""

    def loadable(self, name: str) -> bool:
        """Whether modprobe knows a module."""
        modprobe = self.module.get_bin_path("modprobe", opt_dirs=["/sbin", "/usr/sbin"])
        return bool(modprobe) and self.module.run_command([modprobe, "--dry-run", "--quiet", name])[0] == 0

    def present(self, name: str) -> bool:
        """Whether the running kernel already has what a module brings."""
        plain = name.replace("-", "_")
        if os.path.exists(f"/sys/module/{plain}"):
            return True
        if plain in pure.builtin_modules(read(f"/lib/modules/{os.uname().release}/modules.builtin") or ""):
            return True
        return plain in pure.MODULE_EVIDENCE and pure.evident(plain, read(pure.MODULE_EVIDENCE[plain][0]))

    def kernel_modules(self, stem: str, required: list[str], optional: list[str]) -> None:
        """Load modules now and at boot."""
        loadable = {name for name in required + optional if self.loadable(name)}
        absent = [name for name in required + optional if not self.present(name)]
        missing = [name for name in required if name in absent and name not in loadable]
        if missing:
            raise HostError(
                f"this kernel ({os.uname().release}) has no {', '.join(missing)}: neither loaded, built in, nor known to modprobe. "
                f"Install the kernel's full module package (for example linux-modules-extra or kernel-modules), or boot another kernel"
            )
        if required or optional:
            self.file(f"/etc/modules-load.d/{stem}.conf", pure.modules_text([name for name in required + optional if name in loadable]))
        for name in absent:
            if name in loadable:
                self.note(f"kernel module {name}", "not loaded\n", "loaded\n")
                if self.real:
                    self.command("modprobe", name)

    def sysctls(self, stem: str, values: Mapping[str, Any]) -> None:
        """Set kernel parameters now and at boot, and look whether they took."""
        paths = {key: pure.sysctl_path(key) for key in values}
        if values:  # behind the distribution's own 99-sysctl.conf, as later files win
            self.file(f"/etc/sysctl.d/99-zz-{stem}.conf", pure.sysctls_text(values))
        for key, value in sorted(values.items()):
            wanted = pure.sysctl_value(value)
            found = read(paths[key])
            if found is not None and pure.sysctl_value(found) == wanted:
                continue
            self.note(f"sysctl {key}", f"{pure.sysctl_value(found or 'absent')}\n", f"{wanted}\n")
            if self.real:
                self.set_sysctl(key, paths[key], wanted)

    @staticmethod
    def set_sysctl(key: str, path: str, wanted: str) -> None:
        """Write one parameter and read it back."""
        try:
            with open(path, "r+", encoding="utf-8") as parameter:
                parameter.write(wanted)
        except OSError as error:
            raise HostError(
                f"cannot set {key} to {wanted}: {error.strerror} ({path}). "
                f"The kernel lacks it, its module is not loaded, or /proc/sys is read-only"
            ) from error
        found = pure.sysctl_value(read(path) or "")
        if found != wanted:
            raise HostError(f"set {key} to {wanted}, and the kernel says {found}: the value is not one that it takes")

    def swap_off(self) -> None:
        """No swap, now and at boot."""
        swaps = (read("/proc/swaps") or "").splitlines()[1:]
        if swaps:
            self.note("swap", "\n".join(swaps) + "\n", "off\n")
            if self.real:
                self.command("swapoff", "--all")
        fstab = read("/etc/fstab") or ""
        if pure.without_swap(fstab) != fstab:
            self.file("/etc/fstab", pure.without_swap(fstab), f"{os.stat('/etc/fstab').st_mode & 0o7777:04o}")
        target = f"{UNIT_DIRECTORY}/swap.target"  # masked: systemd also finds swap by partition type and by zram-generator
        if os.path.realpath(target) != "/dev/null":
            self.note("swap.target", "not masked\n", "masked\n")
            self.touched.add(target)
            if self.real:
                os.makedirs(UNIT_DIRECTORY, exist_ok=True)
                if os.path.lexists(target):
                    os.unlink(target)
                os.symlink("/dev/null", target)

    def show(self, names: list[str]) -> dict[str, pure.Unit]:
        """What systemd says of units."""
        units = pure.parse_units(self.command("systemctl", "show", f"--property={UNIT_PROPERTIES}", *names))
        return {name: pure.Unit.of(units.get(name, {}), time.clock_gettime(time.CLOCK_MONOTONIC)) for name in names}

    def units(self, wanted: list[dict[str, Any]]) -> None:
        """Enable, start and restart units."""
        names = [want["name"] for want in wanted]
        units = self.show(names) if names else {}
        written = any(path.startswith(UNIT_DIRECTORY) for path in self.touched)
        if self.real and (written or any(unit.stale or not unit.known for unit in units.values())):
            self.command("systemctl", "daemon-reload")
            units = self.show(names) if names else {}
        for want in wanted:
            self.unit(want, units[want["name"]])

    def unit(self, want: dict[str, Any], unit: pure.Unit) -> None:
        """Enable, start or restart one unit."""
        paths = {path for pattern in want["restart_on"] for path in (glob.glob(pattern) or [pattern])}
        ages = [time.time() - os.stat(path).st_ctime for path in paths if os.path.exists(path)]
        # In a real run the files are written by now, and their age tells.
        planned = not self.real and bool(paths & self.touched)
        for action in pure.unit_actions(want, unit, min(ages, default=None), planned):
            if self.real and (unit.masked or not unit.known):
                raise HostError(f"{want['name']} is {'masked' if unit.masked else 'not known to systemd'}; expected a unit to {action}")
            self.note(f"{action} {want['name']}", "", f"{action}\n")
            if self.real:
                try:
                    self.command("systemctl", action, want["name"])
                except HostError as error:
                    journal = self.module.run_command(["journalctl", "--no-pager", "--lines=20", f"--unit={want['name']}"])[1]
                    raise HostError(f"{error}. Its last lines:\n{journal.strip()}") from error


def run(module: AnsibleModule) -> dict[str, Any]:
    """Apply each part in the order in which they depend on each other. A kernel that lacks a module is refused first."""
    host, params = HostConfig(module), module.params
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
    path, text, flag = {"type": "path", "required": True}, {"type": "str", "required": True}, {"type": "bool", "default": False}
    file = {"path": path, "content": text, "mode": {"type": "str", "default": "0644"}, "secret": {**flag, "no_log": False}}
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
