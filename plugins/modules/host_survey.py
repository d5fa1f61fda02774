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
  - On the controller an action plugin of the same name adds when it asked and when the answer was there, so that clocks
    can be compared.
extends_documentation_fragment:
  - runnerfleet.baremetal.attributes
  - runnerfleet.baremetal.attributes.info_module
options:
  drives:
    description: Drives to look for, each by a path below C(/dev/disk/by-id), by its wwid or by its serial.
    type: list
    elements: str
    default: []
  kernel_modules:
    description: Kernel modules to look for; a feature that is built in counts as there.
    type: list
    elements: str
    default: []
  paths:
    description: Places whose filesystems are measured. Of one that does not exist yet, the nearest directory above it
      is.
    type: list
    elements: path
    default: []
  storage:
    description: Options of M(runnerfleet.baremetal.nvme_layout). What it would refuse on this host is in the result, by
      the same code.
    type: dict
  control_plane_group:
    description:
      - The inventory group of the control plane's hosts. Where it is given, the action plugin fills in O(paths),
        O(storage) and what the chosen filesystems, layout, proxy and pod network add to O(kernel_modules), from the
        host's variables and the roles' defaults.
    type: str
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
    api_server: 1.36.6
    arch: x86_64
    asked: [1790000000.1, 1790000000.6]
    cgroup_version: 2
    cluster_ca: ""
    cni_files: []
    drives: [{name: /dev/disk/by-id/nvme-A, device: /dev/nvme0n1, problem: ""}]
    engines: [0.21.11]
    epoch: 1790000000.3
    etcd_data: false
    hardware: {vcpus: 4, memory_bytes: 16589934592, drives: []}
    hostname: runner-1
    inhibit_delays: {/etc/systemd/logind.conf.d/unattended-upgrades-logind-maxdelay.conf: "30"}
    kernel: 6.12.0
    filesystems: [{path: /var/lib/kubelet, device: "8:1", size: 53687091200, available: 41875931136, inodes: 3276800,
    inodes_free: 3011003}]
    kernel_modules_missing: []
    kernel_modules_forbidden: {sctp: "/etc/modprobe.d/hardening.conf: install sctp /bin/true"}
    kubelet: 1.36.6
    listening: [22]
    machine_id: 5f0c7d8e9b1a4c2d8e7f6a5b4c3d2e1f
    member: false
    networks: [{cidr: 192.0.2.0/24, interface: eth0}]
    os: debian
    os_family: Debian
    os_version: "13"
    packet_filters: [nf_tables]
    product_uuid: 12345678-9abc-def0-1234-56789abcdef0
    storage: ["/dev/disk/by-id/nvme-A (/dev/nvme0n1, 1.7 TiB) is not empty: signature: ext4. Nothing was written. ..."]
    swap_bytes: 0
    swap_sources: [{name: zramswap.service, why: "runs /usr/sbin/zramswap, which calls swapon", fixed: false}]
"""

import glob
import os
import platform
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.facts.system.distribution import Distribution
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host import probe_kernel, probe_swap
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme import layout as nvme_layout
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.probe_drives import Drives
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight import survey as preflight_survey
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.probe_hardware import gather
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.probe_host import (
    KUBERNETES,
    addresses,
    cluster_ca,
    filesystem,
    inhibit_delays,
    member,
    text,
)

KUBELET = "/usr/local/bin/kubelet"
ENGINES = "/var/lib/runnerfleet/engine"


def drive(name: str, module: AnsibleModule) -> dict[str, str]:
    """Which device a name means, by the rules of the storage role, or why none."""
    try:
        return {"name": name, "device": f"/dev/{Drives(module.run_command).resolve(name).name}", "problem": ""}
    except ValueError as error:
        return {"name": name, "device": "", "problem": str(error)}


def storage(module: AnsibleModule) -> list[str] | None:
    """Why nvme_layout would refuse; None where it was not asked."""
    given = module.params.get("storage")
    return None if given is None else nvme_layout.refusals(module.run_command, module.get_bin_path, given)


def kubelet(module: AnsibleModule) -> str:
    """Version of the kubelet that the collection installed; empty for none."""
    if not os.path.exists(KUBELET):
        return ""
    status, out, _error = module.run_command([KUBELET, "--version"])
    return out.strip().rpartition(" v")[2] if not status else ""


def survey(module: AnsibleModule) -> dict[str, Any]:
    """Everything at once."""
    epoch = time.time()
    system = preflight_survey.parse_key_values(text("/etc/os-release"))
    listening = preflight_survey.parse_listening(text("/proc/net/tcp")) | preflight_survey.parse_listening(
        text("/proc/net/tcp6")
    )
    modules_missing = probe_kernel.missing(module, module.params["kernel_modules"])
    return {
        "addresses": addresses(),
        "api_server": preflight_survey.parse_image_version(
            text(KUBERNETES + "/manifests/kube-apiserver.yaml"), "kube-apiserver"
        ),
        "arch": platform.machine(),
        "cgroup_version": 2 if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else 1,
        "cluster_ca": cluster_ca(),
        "cni_files": sorted(map(os.path.basename, glob.glob("/etc/cni/net.d/*.conf*"))),
        "drives": [drive(name, module) for name in module.params["drives"]],
        "engines": sorted(os.path.basename(os.path.dirname(path)) for path in glob.glob(f"{ENGINES}/*/state")),
        "epoch": epoch,
        "filesystems": [filesystem(path) for path in module.params.get("paths") or ()],
        "etcd_data": bool(glob.glob("/var/lib/etcd/*")),
        "hardware": gather(module.run_command, module.params["drives"]).as_dict(),
        "hostname": platform.node(),
        "inhibit_delays": inhibit_delays(),
        "kernel": platform.release(),
        "kernel_modules_forbidden": {name: why for name, why in modules_missing.items() if why},
        "kernel_modules_missing": list(modules_missing),
        "kubelet": kubelet(module),
        "listening": sorted(listening),
        "machine_id": text("/etc/machine-id").strip(),
        "member": member(),
        "networks": preflight_survey.parse_routes(text("/proc/net/route"))
        + preflight_survey.parse_inet6(text("/proc/net/if_inet6")),
        "os": system.get("ID", ""),
        "os_family": Distribution(module).get_distribution_facts().get("os_family", ""),
        "os_version": system.get("VERSION_ID", ""),
        "packet_filters": probe_kernel.packet_filters(module),
        "product_uuid": text("/sys/class/dmi/id/product_uuid").strip().lower(),
        "storage": storage(module),
        "swap_bytes": preflight_survey.parse_meminfo(text("/proc/meminfo")).get("SwapTotal", 0),
        "swap_sources": [
            {"name": source.name, "why": source.why, "fixed": not source.links} for source in probe_swap.sources()
        ],
    }


def main() -> None:
    """Gather and return."""
    names = {"type": "list", "elements": "str", "default": []}
    paths = {"type": "list", "elements": "path", "default": []}
    spec = {
        "drives": names,
        "kernel_modules": names,
        "paths": paths,
        "storage": {"type": "dict"},
        "control_plane_group": {"type": "str"},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    module.exit_json(changed=False, survey=survey(module))


if __name__ == "__main__":
    main()
