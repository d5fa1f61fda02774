# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host's survey means: parsers of kernel text and the findings that follow. Private to the collection."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._findings import Finding, named

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64", "amd64": "amd64"}
TESTED_SYSTEMS = ("debian", "ubuntu", "rocky", "almalinux", "rhel")
# A machine sold with 8 GB shows a little less: firmware and kernel keep some.
MEMORY_TOLERANCE = 0.08
PORTS = {"control_plane": (2379, 2380, 6443, 10250, 10257, 10259), "support": (10250,), "runner": (10250,)}


def parse_key_values(text: str) -> dict[str, str]:
    """The lines of an os-release file."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip().strip("\"'") for key, value in pairs}


def parse_meminfo(text: str) -> dict[str, int]:
    """/proc/meminfo in bytes."""
    sizes = {}
    for line in text.splitlines():
        name, _colon, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            sizes[name] = int(words[0]) * (1024 if words[1:] == ["kB"] else 1)
    return sizes


def parse_cpu_list(text: str) -> set[int]:
    """A kernel CPU list such as 0-3,8."""
    cpus: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, _dash, last = part.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    return cpus


def parse_listening(text: str) -> set[int]:
    """Ports in state LISTEN of /proc/net/tcp or tcp6."""
    rows = (line.split() for line in text.splitlines()[1:])
    return {int(row[1].rsplit(":", 1)[1], 16) for row in rows if len(row) > 3 and row[3] == "0A"}


@dataclass(frozen=True)
class Host:
    """A host of the play: its place in the fleet, what the inventory names for it, and its survey, if it answered."""

    name: str
    kind: str  # control_plane, runner or support
    result: Mapping[str, Any] = field(default_factory=dict)
    drives: Sequence[str] = ()
    cgroup_driver: str = "systemd"

    @property
    def survey(self) -> Mapping[str, Any]:
        """What the host told about itself; empty when it did not answer."""
        return self.result.get("survey") or {}


def host_findings(host: Host, minimum: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """What is wrong with one host by itself."""
    if not host.survey:
        return [_silent(host), *_named_drives(host)]
    return [*_named_drives(host), *_sizing(host, minimum.get(host.kind) or {}), *_system(host), *_ports(host), *_drives(host)]


def _silent(host: Host) -> Finding:
    told = (str(host.result.get(key) or "").strip().partition("\n")[0] for key in ("msg", "module_stderr"))
    said = ": ".join(filter(None, told))[:300] or "no answer"
    if host.result.get("unreachable"):
        hint = f"try `ansible -m ansible.builtin.ping {host.name}`; correct its ansible_host, user or key, or use --limit '!{host.name}'"
        return Finding("host_unreachable", host.name, said, "a host that answers", hint)
    hint = f"try `ansible -b -m ansible.builtin.setup {host.name}`; Python 3.9 or later and privilege escalation must work there"
    return Finding("host_survey_failed", host.name, said, "a survey of the host", hint)


def _sizing(host: Host, minimum: Mapping[str, Any]) -> list[Finding]:
    findings = []
    vcpus, floor = int(host.survey.get("vcpus") or 0), int(minimum.get("vcpus") or 0)
    hint = f"use a bigger machine for {host.name}, or lower preflight_minimum.{host.kind} if you know better"
    if vcpus < floor:
        findings.append(Finding("vcpus_below_minimum", host.name, f"{vcpus} vCPUs online", f"at least {floor} for {host.kind}", hint))
    memory, floor = int(host.survey.get("memory_bytes") or 0), int(minimum.get("memory_mb") or 0)
    if memory < floor * 10**6 * (1 - MEMORY_TOLERANCE):
        found = f"{memory // 10**6} MB of memory"
        findings.append(Finding("memory_below_minimum", host.name, found, f"at least {floor} MB (less 8 %) for {host.kind}", hint))
    return findings


def _system(host: Host) -> list[Finding]:
    findings, survey = [], host.survey
    if survey.get("arch") not in ARCHITECTURES:
        found, expected = f"architecture {survey.get('arch')}", "x86_64 or aarch64"
        findings.append(Finding("arch_unsupported", host.name, found, expected, f"leave {host.name} out of the fleet"))
    if survey.get("os") not in TESTED_SYSTEMS:
        found, expected = f"{survey.get('os')} {survey.get('os_version')}", f"one of {', '.join(TESTED_SYSTEMS)}"
        findings.append(Finding("os_untested", host.name, found, expected, "try one such host first"))
    if survey.get("cgroup_version") == 1 and host.cgroup_driver == "systemd":
        hint = "boot the host with systemd.unified_cgroup_hierarchy=1, or set fleet_cgroup_driver: cgroupfs"
        findings.append(Finding("cgroup_v1", host.name, "cgroup v1", "cgroup v2, which kubelet asks for", hint))
    return findings


def _ports(host: Host) -> list[Finding]:
    if host.survey.get("member"):
        return []
    taken = sorted(set(host.survey.get("listening") or ()) & set(PORTS.get(host.kind, ())))
    hint = "stop what listens there (`ss -tlnp`), or leave the host out"
    return [Finding("port_in_use", f"{host.name} port {port}", "something listens there", "a free port", hint) for port in taken]


def _named_drives(host: Host) -> list[Finding]:
    if host.kind == "runner" and not host.drives:
        hint = "set it for the host or its group to the drives' names in /dev/disk/by-id/; only drives that are named are ever written to"
        return [Finding("drives_not_named", f"{host.name} nvme_storage_drives", "not set", "a list of drives for the engine's cache", hint)]
    return [
        _twice(host.name, f"{name} is listed {list(host.drives).count(name)} times")
        for name in sorted({name for name in host.drives if list(host.drives).count(name) > 1})
    ]


def _drives(host: Host) -> list[Finding]:
    findings: list[Finding] = []
    devices: defaultdict[str, list[str]] = defaultdict(list)
    told = {drive.get("name"): drive for drive in host.survey.get("drives") or ()}
    for name in dict.fromkeys(host.drives):
        drive = told.get(name) or {}
        if drive.get("device"):
            devices[drive["device"]].append(name)
            continue
        hint = "correct the name (`ls -l /dev/disk/by-id/` on the host), or check the drive's slot and cable"
        found = str(drive.get("problem") or "it was not looked for")
        findings.append(Finding("drive_unusable", f"{host.name} nvme_storage_drives: {name}", found, "a whole drive of this host", hint))
    for device, names in devices.items():
        if len(names) > 1:
            found = f"{' and '.join(names)} are both {device}"
            findings.append(_twice(host.name, found))
    return findings


def _twice(host: str, found: str) -> Finding:
    return Finding("drive_named_twice", f"{host} nvme_storage_drives", found, "each drive once", "remove one of the entries")


def fleet_findings(hosts: Sequence[Host]) -> list[Finding]:
    """What only shows when hosts are compared."""
    checks = (
        ("hostname_duplicate", "hostname", "set each host's name with hostnamectl"),
        ("machine_id_duplicate", "machine_id", "where an image was cloned, empty /etc/machine-id and reboot the clones"),
    )
    findings: list[Finding] = []
    for code, key, hint in checks:
        expected = f"a {key} of its own for each host"
        holders: defaultdict[str, list[str]] = defaultdict(list)
        for host in hosts:
            if host.survey.get(key):
                holders[str(host.survey[key])].append(host.name)
        findings.extend(
            Finding(code, named(names), f"the same {key} {value}", expected, hint) for value, names in holders.items() if len(names) > 1
        )
    return findings


def cluster_findings(hosts: Sequence[Host], kubeconfig: str, fingerprint: str) -> list[Finding]:
    """Whether the kubeconfig on the controller and the hosts speak of one cluster. `fingerprint` is of its CA, empty for none."""
    control_plane = [host for host in hosts if host.kind == "control_plane" and host.survey]
    authorities = {str(host.survey["cluster_ca"]): host.name for host in control_plane if host.survey.get("cluster_ca")}
    if fingerprint and control_plane and not authorities:
        names = named(host.name for host in control_plane)
        found, expected = f"it exists, but {names} has no cluster", "no such file before the control plane is made"
        hint = f"if its cluster is gone, remove {kubeconfig}; otherwise correct fleet_kubeconfig or the control plane's hosts"
        return [Finding("kubeconfig_without_cluster", f"fleet_kubeconfig {kubeconfig}", found, expected, hint)]
    if fingerprint and authorities and fingerprint not in authorities:
        found = f"a cluster whose CA is {_short(fingerprint)}"
        expected = f"the cluster of {named(authorities.values())}, whose CA is {', '.join(map(_short, authorities))}"
        hint = f"let fleet_kubeconfig name another file, or remove {kubeconfig}: the play fetches the right one"
        return [Finding("kubeconfig_other_cluster", f"fleet_kubeconfig {kubeconfig}", found, expected, hint)]
    ours = fingerprint or next(iter(authorities), "")
    # With no control plane in the play and no kubeconfig, there is nothing to compare with.
    if not ours and not control_plane:
        return []
    return [_stranger(host, ours) for host in hosts if host.survey.get("cluster_ca") not in (None, "", ours)]


def _stranger(host: Host, ours: str) -> Finding:
    expected = f"this fleet's CA {_short(ours)}" if ours else "no membership: this fleet's control plane is new"
    hint = "if that cluster is gone, run `kubeadm reset` on the host; otherwise correct fleet_kubeconfig, or take the host out"
    found = f"member of a cluster whose CA is {_short(host.survey['cluster_ca'])}"
    return Finding("member_of_other_cluster", host.name, found, expected, hint)


def _short(fingerprint: str) -> str:
    return f"sha256:{fingerprint[:16]}"


def address_findings(hosts: Sequence[Host], networks: Mapping[str, str]) -> list[Finding]:
    """Host addresses that lie inside a network of the cluster."""
    findings = []
    for host in hosts:
        for address in host.survey.get("addresses") or ():
            for name, cidr in networks.items():
                if ipaddress.ip_address(address) in ipaddress.ip_network(cidr, strict=False):
                    expected, hint = "host addresses outside the cluster's networks", f"choose another {name}"
                    findings.append(Finding("network_overlap", f"{name} {cidr}", f"it holds {address} of {host.name}", expected, hint))
    return findings
