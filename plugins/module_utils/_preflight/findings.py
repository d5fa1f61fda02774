# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a check found: one shape, one list of stable codes, one way to print them. Private to the collection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._addresses import hidden
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._text import printable

SEVERITIES = ("error", "warning", "info")

# Codes are stable: tools match on them. docs/findings.md says when each is raised.
CODES: dict[str, str] = {
    "address_credential": "error",
    "address_family_missing": "error",
    "address_family_unsupported": "error",
    "api_endpoint_invalid": "error",
    "api_endpoint_missing": "error",
    "arch_unsupported": "error",
    "cgroup_limited": "warning",
    "cgroup_v1": "error",
    "chart_not_rendered": "warning",
    "clock_skew": "error",
    "cni_leftover": "warning",
    "collection_missing": "error",
    "control_planes_unsupported": "error",
    "core_too_old": "error",
    "cpus_offline": "info",
    "disk_nearly_full": "error",
    "drive_named_twice": "error",
    "drive_not_nvme": "warning",
    "drive_unusable": "error",
    "drives_not_named": "error",
    "engine_cache_schema": "warning",
    "engine_config_invalid": "error",
    "engine_does_not_fit": "error",
    "engine_jobs_are_root": "warning",
    "engine_shared_by_owners": "warning",
    "engine_setting_unknown": "error",
    "engine_too_old": "error",
    "engine_verb_missing": "error",
    "environment_secret": "error",
    "etcd_leftover": "error",
    "findings_file_unwritable": "error",
    "forks_share_engine": "warning",
    "github_access_denied": "warning",
    "github_credential_ambiguous": "error",
    "github_credential_missing": "error",
    "github_credential_refused": "error",
    "github_dates_unknown": "info",
    "github_owner_unknown": "warning",
    "github_unreachable": "warning",
    "group_empty": "error",
    "group_missing": "error",
    "helm_missing": "error",
    "helm_unsupported": "error",
    "host_in_two_pools": "error",
    "host_not_in_play": "warning",
    "host_survey_failed": "error",
    "host_unreachable": "error",
    "host_without_pool": "error",
    "hostname_duplicate": "warning",
    "hostname_invalid": "error",
    "hugepages_reserved": "info",
    "image_digest_differs": "error",
    "image_digest_unknown": "warning",
    "images_by_tag": "info",
    "images_unknown": "info",
    "kernel_module_missing": "error",
    "kernel_too_old": "error",
    "kubeconfig_in_work_tree": "error",
    "kubeconfig_invalid": "error",
    "kubeconfig_missing": "error",
    "kubeconfig_other_cluster": "error",
    "kubeconfig_without_cluster": "error",
    "kubelet_too_new": "error",
    "kubelet_too_old": "error",
    "kubernetes_downgrade": "error",
    "kubernetes_minor_skipped": "error",
    "kubernetes_upgrade_unsupported": "error",
    "machine_id_duplicate": "warning",
    "member_of_other_cluster": "error",
    "memory_below_minimum": "error",
    "memory_below_recommended": "warning",
    "mirror_artifact_missing": "error",
    "mirror_chart_missing": "error",
    "mirror_checksum_unknown": "error",
    "mirror_checksum_wrong": "error",
    "mirror_image_missing": "error",
    "mirror_plain_http": "warning",
    "mirror_unreachable": "error",
    "network_invalid": "error",
    "network_overlap": "error",
    "nvme_below_minimum": "error",
    "nvme_below_recommended": "warning",
    "nvme_missing": "error",
    "os_unsupported": "error",
    "os_untested": "warning",
    "packet_filter_missing": "error",
    "plan_cpu_exceeded": "error",
    "plan_memory_exceeded": "error",
    "plan_pods_exceeded": "error",
    "plan_runner_does_not_fit": "error",
    "pod_network_too_small": "error",
    "pool_defined_twice": "error",
    "port_in_use": "error",
    "product_uuid_duplicate": "warning",
    "python_client_missing": "error",
    "quantity_invalid": "error",
    "registry_access_denied": "warning",
    "registry_unreachable": "error",
    "repository_public": "warning",
    "runner_days_left": "info",
    "runner_deprecated": "error",
    "runner_deprecates_soon": "warning",
    "runner_updates_itself": "warning",
    "shutdown_inhibitor_short": "error",
    "storage_refused": "error",
    "swap_on": "info",
    "swap_stays": "error",
    "variable_differs": "error",
    "variable_empty": "error",
    "variable_invalid": "error",
    "variable_key_unknown": "error",
    "variable_missing": "error",
    "variable_unknown": "error",
    "variable_unresolved": "error",
    "vcpus_below_minimum": "error",
    "vcpus_below_recommended": "warning",
    "version_pair_broken": "error",
    "version_pair_untested": "warning",
}


@dataclass(frozen=True)
class Finding:
    """One thing that a person should know or do."""

    code: str
    subject: str
    found: str
    expected: str
    hint: str

    def __post_init__(self) -> None:
        """A credential inside an address goes no further than here, nor does what would steer a terminal: a host may
        have answered it.
        """
        for name in ("subject", "found", "expected", "hint"):
            object.__setattr__(self, name, hidden(printable(getattr(self, name))))

    @property
    def severity(self) -> str:
        """error, warning or info: fixed for each code."""
        return CODES[self.code]

    def as_dict(self) -> dict[str, str]:
        """For a module's result."""
        return {"severity": self.severity, **asdict(self)}


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Errors first, then by code and subject; what was found twice is told once."""
    return sorted(
        set(findings),
        key=lambda finding: (SEVERITIES.index(finding.severity), finding.code, finding.subject, finding.found),
    )


def named(items: Iterable[str], limit: int = 5) -> str:
    """A list for people: the first names and how many more."""
    names = list(items)
    if len(names) <= limit:
        return ", ".join(names)
    return f"{', '.join(names[:limit])} and {len(names) - limit} more"


def findings_table(findings: Sequence[Finding]) -> str:
    """All findings as text, in the given order; an empty string for none."""
    code_width = max((len(finding.code) for finding in findings), default=0)
    lines: list[str] = []
    for finding in findings:
        lines.append(f"{finding.severity.upper():7}  {finding.code:{code_width}}  {finding.subject}")
        for label, text in (("found", finding.found), ("expected", finding.expected), ("do", finding.hint)):
            lines.append(f"         {label:8}  {' '.join(text.split())}")
    return "\n".join(lines)


def summary(findings: Sequence[Finding], hosts: int) -> str:
    """One line: how many of each severity."""
    counts = {severity: sum(finding.severity == severity for finding in findings) for severity in SEVERITIES}
    told = ", ".join(
        f"{count} {severity}{'' if count == 1 or severity == 'info' else 's'}"
        for severity, count in counts.items()
        if count
    )
    return f"Preflight looked at {hosts} host{'' if hosts == 1 else 's'}: {told or 'nothing to report'}."
