# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host's survey leads to: findings of one host, and of all of them compared. Private to the collection."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils import _api_names
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._kubeconfig import KubeconfigCluster, shown
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight import node_rules
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight import survey as preflight_survey
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.findings import Finding, named

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64", "amd64": "amd64"}
PORTS = {"control_plane": (2379, 2380, 6443, 10250, 10257, 10259), "support": (10250,), "runner": (10250,)}


@dataclass(frozen=True)
class SurveyedHost:
    """A host of the play: its place in the fleet, what the inventory names for it, and its survey, if it answered."""

    name: str
    kind: str  # control_plane, runner or support
    result: Mapping[str, Any] = field(default_factory=dict)
    drives: Sequence[str] = ()
    drive_rule: bool = False  # whether drives are chosen by a rule instead
    values: Mapping[str, Any] = field(default_factory=dict)  # _node_rules.NAMES
    grace_seconds: float = 0  # that kubelet needs for a graceful shutdown

    @property
    def survey(self) -> Mapping[str, Any]:
        """What the host told about itself; empty when it did not answer."""
        return self.result.get("survey") or {}


def host_findings(host: SurveyedHost) -> list[Finding]:
    """What is wrong with one host by itself, its size apart."""
    named_by_inventory = [*_name(host), *_named_drives(host)]
    if not host.survey:
        return [_silent(host), *named_by_inventory]
    rules = (_system, _kernel, _node, _ports, _drives, _leftovers, _inhibitor)
    return [*named_by_inventory, *(finding for rule in rules for finding in rule(host))]


def _name(host: SurveyedHost) -> list[Finding]:
    problem = _api_names.object_and_label(host.name)  # of the label kubernetes.io/hostname
    if not problem:
        return []
    expected = f"{problem}: the node is called so"
    return [
        Finding(
            "hostname_invalid", host.name, "its name in the inventory", expected, "rename the host in the inventory"
        )
    ]


def _silent(host: SurveyedHost) -> Finding:
    told = (str(host.result.get(key) or "").strip().partition("\n")[0] for key in ("msg", "module_stderr"))
    said = ": ".join(filter(None, told))[:300] or "no answer"
    if host.result.get("unreachable"):
        hint = (
            f"try `ansible -m ansible.builtin.ping {host.name}`; correct its ansible_host, user or key, or use "
            f"--limit '!{host.name}'"
        )
        return Finding("host_unreachable", host.name, said, "a host that answers", hint)
    hint = (
        f"try `ansible -b -m ansible.builtin.setup {host.name}`; Python 3.9 or later and privilege escalation must "
        "work there"
    )
    return Finding("host_survey_failed", host.name, said, "a survey of the host", hint)


def _system(host: SurveyedHost) -> list[Finding]:
    findings, survey = [], host.survey
    if survey.get("arch") not in ARCHITECTURES:
        found, expected = f"architecture {survey.get('arch')}", "x86_64 or aarch64"
        findings.append(Finding("arch_unsupported", host.name, found, expected, f"leave {host.name} out of the fleet"))
    return findings


def _kernel(host: SurveyedHost) -> list[Finding]:
    findings = node_rules.module_findings(host.name, host.survey)
    if host.survey.get("packet_filters") == []:
        found, expected = "neither nf_tables nor ip_tables", "one of them, for services and for the engine's network"
        hint = (
            "install the kernel's full module package (such as linux-modules-extra or kernel-modules), or boot "
            "another kernel"
        )
        findings.append(Finding("packet_filter_missing", host.name, found, expected, hint))
    return findings


def _node(host: SurveyedHost) -> list[Finding]:
    """What the roles would refuse later, or the kubelet after them."""
    storage = host.kind == "runner" and (bool(host.drives) or host.drive_rule)
    return [
        *node_rules.cgroup_findings(host.name, host.survey, host.values),
        *node_rules.swap_findings(host.name, host.survey, host.values),
        *(node_rules.storage_findings(host.name, host.survey, host.values) if storage else ()),
        *node_rules.disk_findings(host.name, host.kind, host.survey, host.values, storage),
    ]


def _leftovers(host: SurveyedHost) -> list[Finding]:
    """What a former cluster left on a host that is no member of one."""
    if host.survey.get("member"):
        return []
    findings = []
    if host.kind == "control_plane" and host.survey.get("etcd_data"):
        hint = (
            "if that cluster is gone, run `kubeadm reset` or move /var/lib/etcd away; otherwise restore its "
            "certificates first"
        )
        findings.append(
            Finding("etcd_leftover", host.name, "data in /var/lib/etcd, and no cluster", "an empty /var/lib/etcd", hint)
        )
    if host.survey.get("cni_files"):
        found = f"{named(host.survey['cni_files'])} in /etc/cni/net.d, and no cluster"
        hint = "remove what another pod network left there: the runtime would use it before the fleet's own"
        findings.append(Finding("cni_leftover", host.name, found, "an empty /etc/cni/net.d", hint))
    return findings


def _inhibitor(host: SurveyedHost) -> list[Finding]:
    """logind ends a graceful shutdown early where a drop-in behind ours allows less (Debian's unattended-upgrades: 30
    s).
    """
    try:
        seconds, path = preflight_survey.inhibit_delay(host.survey.get("inhibit_delays") or {}, host.grace_seconds)
    except ValueError as error:
        return [
            Finding(
                "shutdown_inhibitor_short",
                host.name,
                f"InhibitDelayMaxSec: {error}",
                "a time span",
                "correct that file",
            )
        ]
    if seconds >= host.grace_seconds:
        return []
    found = f"{path} lets a shutdown wait {seconds:.0f} s"
    expected = f"at least {host.grace_seconds:.0f} s, which the kubelet needs to stop pods and engines cleanly"
    hint = f"rename it, so that it sorts before {preflight_survey.INHIBIT_DROP_IN}, or remove the setting"
    return [Finding("shutdown_inhibitor_short", host.name, found, expected, hint)]


def _ports(host: SurveyedHost) -> list[Finding]:
    if host.survey.get("member"):
        return []
    taken = sorted(set(host.survey.get("listening") or ()) & set(PORTS.get(host.kind, ())))
    hint = "stop what listens there (`ss -tlnp`), or leave the host out"
    return [
        Finding("port_in_use", f"{host.name} port {port}", "something listens there", "a free port", hint)
        for port in taken
    ]


def _named_drives(host: SurveyedHost) -> list[Finding]:
    usable = host.values.get("nvme_storage_drives", ()) is not None  # else its own check tells
    if host.kind == "runner" and not host.drives and not host.drive_rule and usable:
        hint = (
            "set it for the host or its group to the drives' names in /dev/disk/by-id/, or choose them by "
            "nvme_storage_select"
        )
        return [
            Finding(
                "drives_not_named",
                f"{host.name} nvme_storage_drives",
                "not set",
                "a list of drives for the engine's cache",
                hint,
            )
        ]
    return [
        _twice(host.name, f"{name} is listed {list(host.drives).count(name)} times")
        for name in sorted({name for name in host.drives if list(host.drives).count(name) > 1})
    ]


def _drives(host: SurveyedHost) -> list[Finding]:
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
        findings.append(
            Finding(
                "drive_unusable", f"{host.name} nvme_storage_drives: {name}", found, "a whole drive of this host", hint
            )
        )
    for device, names in devices.items():
        if len(names) > 1:
            found = f"{' and '.join(names)} are both {device}"
            findings.append(_twice(host.name, found))
    return findings


def _twice(host: str, found: str) -> Finding:
    return Finding(
        "drive_named_twice", f"{host} nvme_storage_drives", found, "each drive once", "remove one of the entries"
    )


def fleet_findings(hosts: Sequence[SurveyedHost]) -> list[Finding]:
    """What only shows when hosts are compared."""
    checks = (
        ("hostname_duplicate", "hostname", "set each host's name with hostnamectl"),
        (
            "machine_id_duplicate",
            "machine_id",
            "where an image was cloned, empty /etc/machine-id and reboot the clones",
        ),
        (
            "product_uuid_duplicate",
            "product_uuid",
            "set it in the firmware (or in the hypervisor): some pod networks tell nodes apart by it",
        ),
    )
    findings: list[Finding] = []
    for code, key, hint in checks:
        expected = f"a {key} of its own for each host"
        holders: defaultdict[str, list[str]] = defaultdict(list)
        for host in hosts:
            if host.survey.get(key):
                holders[str(host.survey[key])].append(host.name)
        findings.extend(
            Finding(code, named(names), f"the same {key} {value}", expected, hint)
            for value, names in holders.items()
            if len(names) > 1
        )
    return findings


def clock_findings(hosts: Sequence[SurveyedHost], tolerance: float) -> list[Finding]:
    """Clocks that differ by more than `tolerance` seconds from the control plane's, or from the middle one.

    A host read its clock at some moment between the question and the answer, so its distance from the controller's
    clock is known only as a span. A host is named only where no moment of the span would do.
    """
    spans = {}
    for host in hosts:
        if host.survey.get("asked"):
            epoch, (asked, answered) = float(host.survey["epoch"]), host.survey["asked"]
            spans[host.name] = (epoch - answered, epoch - asked)
    middles = {name: sum(span) / 2 for name, span in spans.items()}
    leading = [middles[host.name] for host in hosts if host.kind == "control_plane" and host.name in middles]
    if not middles:
        return []
    reference = statistics.median_low(leading or list(middles.values()))
    findings = []
    for name, (least, most) in spans.items():
        if least > reference + tolerance or most < reference - tolerance:
            found = (
                f"its clock is {middles[name] - reference:+.0f} s from "
                f"{'the control plane' if leading else 'the other hosts'}"
            )
            hint = (
                "set up time synchronisation (chrony or systemd-timesyncd): tokens and certificates are refused by "
                "a wrong clock"
            )
            findings.append(Finding("clock_skew", name, found, f"at most {tolerance:.0f} s", hint))
    return findings


def access_findings(kubeconfig: str, cluster: KubeconfigCluster | None, has_control_plane: bool) -> list[Finding]:
    """Whether plays will reach the cluster's API: by the file, or by the control plane's own, which they fetch."""
    if cluster or has_control_plane:
        return []
    found = f"{kubeconfig}, which is no file on the controller" if kubeconfig else "not set"
    hint = (
        "set fleet_kubeconfig to the kubeconfig of the cluster that these hosts are to join, or name its control "
        "plane's host"
    )
    return [
        Finding(
            "kubeconfig_missing",
            "fleet_kubeconfig",
            found,
            "a kubeconfig, as no host of the inventory is a control plane",
            hint,
        )
    ]


def cluster_findings(
    hosts: Sequence[SurveyedHost], kubeconfig: str, cluster: KubeconfigCluster | None
) -> list[Finding]:
    """Whether the kubeconfig on the controller and the hosts speak of one cluster. `cluster` is the kubeconfig's, None
    without a file.
    """
    fingerprint = cluster.fingerprint if cluster else ""
    control_plane = [host for host in hosts if host.kind == "control_plane" and host.survey]
    authorities = {str(host.survey["cluster_ca"]): host.name for host in control_plane if host.survey.get("cluster_ca")}
    if cluster and control_plane and not authorities:
        names = named(host.name for host in control_plane)
        found, expected = f"it exists, but {names} has no cluster", "no such file before the control plane is made"
        hint = (
            f"if its cluster is gone, remove {kubeconfig}; otherwise correct fleet_kubeconfig or the control "
            "plane's hosts"
        )
        return [Finding("kubeconfig_without_cluster", f"fleet_kubeconfig {kubeconfig}", found, expected, hint)]
    if fingerprint and authorities and fingerprint not in authorities:
        found = f"a cluster whose CA is {shown(fingerprint)}"
        expected = f"the cluster of {named(authorities.values())}, whose CA is {', '.join(map(shown, authorities))}"
        hint = f"let fleet_kubeconfig name another file, or remove {kubeconfig}: the play fetches the right one"
        return [Finding("kubeconfig_other_cluster", f"fleet_kubeconfig {kubeconfig}", found, expected, hint)]
    ours = fingerprint or next(iter(authorities), "")
    # With no control plane in the play and no kubeconfig, there is nothing to compare with.
    if not ours and not control_plane:
        return []
    return [_stranger(host, ours) for host in hosts if host.survey.get("cluster_ca") not in (None, "", ours)]


def _stranger(host: SurveyedHost, ours: str) -> Finding:
    expected = f"this fleet's CA {shown(ours)}" if ours else "no membership: this fleet's control plane is new"
    hint = (
        "if that cluster is gone, run `kubeadm reset` on the host; otherwise correct fleet_kubeconfig, or take the "
        "host out"
    )
    found = f"member of a cluster whose CA is {shown(host.survey['cluster_ca'])}"
    return Finding("member_of_other_cluster", host.name, found, expected, hint)
