# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the running kernel has, and what its modules could add. Reads only. Private to the collection."""

from __future__ import annotations

import os
import socket
import struct

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils import _host_config as pure
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host import read


def loadable(module: AnsibleModule, name: str) -> bool:
    """Whether modprobe knows a kernel module."""
    modprobe = module.get_bin_path("modprobe", opt_dirs=["/sbin", "/usr/sbin"])
    return bool(modprobe) and module.run_command([modprobe, "--dry-run", "--quiet", name])[0] == 0


def packet_filters(module: AnsibleModule) -> list[str]:
    """Which of nf_tables and ip_tables this kernel has or could load."""
    found = [name for name in ("nf_tables", "ip_tables") if present(name) or loadable(module, name)]
    return found if "nf_tables" in found or not nf_tables_answers() else ["nf_tables", *found]


def nf_tables_answers() -> bool:
    """Whether the kernel answers for the number of its rule set. In a container neither /sys/module nor /lib/modules would tell."""
    subsystem, get_generation, request, error = 10, 16, 1, 2
    family = struct.pack("=BBH", 0, 0, 0)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as netlink:  # 12: NETLINK_NETFILTER
            netlink.settimeout(2)
            netlink.send(struct.pack("=IHHII", 16 + len(family), subsystem << 8 | get_generation, request, 1, 0) + family)
            return bool(struct.unpack_from("=IH", netlink.recv(4096))[1] != error)
    except OSError:
        return False


def present(name: str) -> bool:
    """Whether the running kernel already has what a kernel module brings."""
    plain = name.replace("-", "_")
    if os.path.exists(f"/sys/module/{plain}"):
        return True
    if plain in pure.builtin_modules(read(f"/lib/modules/{os.uname().release}/modules.builtin") or ""):
        return True
    return plain in pure.MODULE_EVIDENCE and pure.evident(plain, read(pure.MODULE_EVIDENCE[plain][0]))
