# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the running kernel has, and what its modules could add. Reads only. Private to the collection."""

from __future__ import annotations

import glob
import os
import socket
import struct
from collections.abc import Iterable

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host import plan_modprobe, plan_settings
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host.probe_files import read


def loadable(module: AnsibleModule, name: str) -> bool:
    """Whether modprobe knows a kernel module, and may load it."""
    modprobe = module.get_bin_path("modprobe", opt_dirs=["/sbin", "/usr/sbin"])
    known = bool(modprobe) and module.run_command([modprobe, "--dry-run", "--quiet", name])[0] == 0
    return known and not forbidden(name)


def forbidden(name: str) -> str:
    """What forbids to load a module or one that it needs: a file of modprobe.d with its line, or the kernel. Empty for
    nothing.
    """
    files = {path: read(path) or "" for folder in plan_modprobe.FOLDERS for path in glob.glob(f"{folder}/*.conf")}
    needed = plan_modprobe.dependencies(name, read(f"/lib/modules/{os.uname().release}/modules.dep") or "")
    lacking = [one for one in [*needed, name] if not present(one)]
    locked = (read("/proc/sys/kernel/modules_disabled") or "").strip() == "1"
    return plan_modprobe.forbidden(lacking, files, read("/proc/cmdline") or "", locked)


def missing(module: AnsibleModule, names: Iterable[str]) -> dict[str, str]:
    """The modules that this kernel neither has nor may load, with what forbids it; empty where modprobe does not know
    the module.
    """
    return {name: forbidden(name) for name in names if not present(name) and not loadable(module, name)}


def packet_filters(module: AnsibleModule) -> list[str]:
    """Which of nf_tables and ip_tables this kernel has or could load."""
    found = [name for name in ("nf_tables", "ip_tables") if present(name) or loadable(module, name)]
    return found


def nf_tables_answers() -> bool:
    """Whether the kernel answers for the number of its rule set. In a container neither /sys/module nor /lib/modules
    would tell.
    """
    subsystem, get_generation, request, error = 10, 16, 1, 2
    family = struct.pack("=BBH", 0, 0, 0)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as netlink:  # 12: NETLINK_NETFILTER
            netlink.settimeout(2)
            netlink.send(
                struct.pack("=IHHII", 16 + len(family), subsystem << 8 | get_generation, request, 1, 0) + family
            )
            return bool(struct.unpack_from("=IH", netlink.recv(4096))[1] != error)
    except OSError:
        return False


def present(name: str) -> bool:
    """Whether the running kernel already has what a kernel module brings."""
    plain = name.replace("-", "_")
    if os.path.exists(f"/sys/module/{plain}"):
        return True
    if plain in plan_settings.builtin_modules(read(f"/lib/modules/{os.uname().release}/modules.builtin") or ""):
        return True
    if plain == "nf_tables" and nf_tables_answers():
        return True
    return plain in plan_settings.MODULE_EVIDENCE and plan_settings.evident(
        plain, read(plan_settings.MODULE_EVIDENCE[plain][0])
    )
