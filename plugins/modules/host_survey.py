#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_survey
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: Look at a host that is about to become a node
description:
  - Reads what M(runnerfleet.baremetal.preflight_report) judges, in one call. It changes nothing and judges nothing.
  - Kernel files are read directly, so a host needs Python and nothing else.
extends_documentation_fragment:
  - runnerfleet.baremetal.attributes
  - runnerfleet.baremetal.attributes.info_module
options:
  drives:
    description: Drives to look for, each by a path below C(/dev/disk/by-id), by its wwid or by its serial.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Look at the host and at one of its drives
  runnerfleet.baremetal.host_survey:
    drives:
      - /dev/disk/by-id/nvme-EXAMPLE_MODEL_SERIAL0001
"""

RETURN = r"""
survey:
  description: What was seen.
  returned: always
  type: dict
  sample:
    addresses: [192.0.2.31]
    arch: x86_64
    cgroup_version: 2
    cluster_ca: ""
    drives: [{name: /dev/disk/by-id/nvme-A, device: /dev/nvme0n1, problem: ""}]
    epoch: 1790000000
    hostname: runner-1
    kernel: 6.12.0
    listening: [22]
    machine_id: 5f0c7d8e9b1a4c2d8e7f6a5b4c3d2e1f
    member: false
    memory_bytes: 8589934592
    os: debian
    os_version: "13"
    product_uuid: 12345678-9abc-def0-1234-56789abcdef0
    swap_bytes: 0
    vcpus: 4
"""

import hashlib
import os
import platform
import socket
import ssl
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils import _survey
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme_drives import Drives

KUBERNETES = "/etc/kubernetes"


def read(path: str) -> str:
    """A small file's text, or nothing where there is no such file."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def vcpus() -> int:
    """CPUs that are online and that this process may use."""
    online = _survey.parse_cpu_list(read("/sys/devices/system/cpu/online"))
    usable = os.sched_getaffinity(0)
    return len(online & usable if online else usable)


def addresses() -> list[str]:
    """The host's address toward elsewhere, of each family. Connecting a datagram socket chooses it and sends nothing."""
    found = []
    for family, elsewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((elsewhere, 9))
                found.append(probe.getsockname()[0])
        except OSError:
            continue
    return found


def cluster_ca() -> str:
    """The sha256 of the cluster's CA certificate that the host holds; empty for none."""
    text = read(KUBERNETES + "/pki/ca.crt")
    try:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(text.strip())).hexdigest() if text.strip() else ""
    except ValueError:
        return "not-a-certificate"


def member() -> bool:
    """Whether a cluster was begun or joined here, even by a run that was interrupted: its ports are then its own."""
    names = ("kubelet.conf", "bootstrap-kubelet.conf", "admin.conf", "pki/ca.crt", "manifests/etcd.yaml", "manifests/kube-apiserver.yaml")
    return any(os.path.exists(os.path.join(KUBERNETES, name)) for name in names)


def drive(name: str, module: AnsibleModule) -> dict[str, str]:
    """Which device a name means, by the rules of the storage role, or why none."""
    try:
        return {"name": name, "device": f"/dev/{Drives(module.run_command).resolve(name).name}", "problem": ""}
    except ValueError as error:
        return {"name": name, "device": "", "problem": str(error)}


def survey(module: AnsibleModule) -> dict[str, Any]:
    """Everything at once."""
    system = _survey.parse_key_values(read("/etc/os-release"))
    memory = _survey.parse_meminfo(read("/proc/meminfo"))
    listening = _survey.parse_listening(read("/proc/net/tcp")) | _survey.parse_listening(read("/proc/net/tcp6"))
    return {
        "addresses": addresses(),
        "arch": platform.machine(),
        "cgroup_version": 2 if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else 1,
        "cluster_ca": cluster_ca(),
        "drives": [drive(name, module) for name in module.params["drives"]],
        "epoch": int(time.time()),
        "hostname": platform.node(),
        "kernel": platform.release(),
        "listening": sorted(listening),
        "machine_id": read("/etc/machine-id").strip(),
        "member": member(),
        "memory_bytes": memory.get("MemTotal", 0),
        "os": system.get("ID", ""),
        "os_version": system.get("VERSION_ID", ""),
        "product_uuid": read("/sys/class/dmi/id/product_uuid").strip().lower(),
        "swap_bytes": memory.get("SwapTotal", 0),
        "vcpus": vcpus(),
    }


def main() -> None:
    """Gather and return."""
    spec = {"drives": {"type": "list", "elements": "str", "default": []}}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    module.exit_json(changed=False, survey=survey(module))


if __name__ == "__main__":
    main()
