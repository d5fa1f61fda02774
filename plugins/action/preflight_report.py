# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Merges the surveys of all hosts with checks of the inventory. Runs on the controller only; see modules/preflight_report.py."""

from __future__ import annotations

import hashlib
import os
import ssl
from collections import ChainMap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError, AnsibleUndefinedVariable
from ansible.plugins.action import ActionBase
from ansible.template import Templar
from ansible_collections.runnerfleet.baremetal.plugins.module_utils import _inventory, _survey
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._findings import Finding, in_order, summary, table
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils import _mirror_check

ROLES = Path(__file__).resolve().parents[2] / "roles"
SHARED = "fleet"
# Which hosts a role's own variables matter for; roles that are not named speak to the API for all of them.
KINDS = {"control_plane": {"control_plane"}, "node_join": {"runner", "support"}, "nvme_storage": {"runner"}}
# The variable that chooses the version of each pinned release file.
VERSIONS = {
    "kubernetes": "fleet_kubernetes_version",
    "containerd": "container_runtime_version",
    "runc": "container_runtime_runc_version",
    "cni_plugins": "container_runtime_cni_plugins_version",
}
OPTIONS: dict[str, dict[str, Any]] = {
    "minimum": {"type": "dict", "default": {}},
    "control_plane_group": {"type": "str", "default": "control_plane"},
    "external_control_plane": {"type": "bool", "default": False},
    "ignored_variables": {"type": "list", "elements": "str", "default": []},
    "mirror_check": {"type": "str", "choices": ["content", "presence", "none"], "default": "content"},
    "artifacts": {"type": "list", "elements": "str", "default": []},
    "engine_network": {"type": "str", "default": "10.87.0.0/16"},
    "survey": {"type": "str", "required": True},
}


class Variables:
    """One host's variables over the roles' defaults; only what is asked for is templated."""

    def __init__(self, raw: Mapping[str, Any], defaults: Mapping[str, Any], loader: Any) -> None:
        self.raw = raw
        self._all = ChainMap(dict(raw), dict(defaults))
        self._templar = Templar(loader=loader, variables=dict(self._all))

    @property
    def known(self) -> Mapping[str, Any]:
        """Every name that has a value, if only a role's default."""
        return self._all

    def get(self, name: str) -> Any:
        """The effective value, or None where nothing defines it."""
        return self._templar.template(self._all[name]) if name in self._all else None


class ActionModule(ActionBase):
    """One report of all findings."""

    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Look, print, and fail if there is an error."""
        result = super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(OPTIONS)
        task_vars = task_vars or {}
        played = list(task_vars["ansible_play_hosts_all"])
        findings = in_order(self._findings(options, played, task_vars))
        told = summary(findings, len(played))
        if findings:
            self._display.display(f"\n{table(findings)}\n\n{told}")
        errors = [finding for finding in findings if finding.severity == "error"]
        if errors:
            told = f"{told} Nothing was changed. The table above and `findings` in this result say what to do."
        return {**result, "changed": False, "failed": bool(errors), "msg": told, "findings": [finding.as_dict() for finding in findings]}

    def _findings(self, options: dict[str, Any], played: list[str], task_vars: dict[str, Any]) -> list[Finding]:
        specs, defaults = self._roles()
        raw = {name: dict(task_vars["hostvars"].raw_get(name)) for name in played}
        given = self._given(specs, defaults, raw.get(task_vars["inventory_hostname"], {}), task_vars)
        hosts = {name: Variables({**variables, **given}, defaults, self._loader) for name, variables in raw.items()}
        groups, control_plane = task_vars["groups"], options["control_plane_group"]
        findings: list[Finding] = []
        fleet = self._fleet(hosts[played[0]], specs, findings)
        pools = [pool for pool in fleet["fleet_pools"] if isinstance(pool, Mapping)]
        kinds = {name: _inventory.kind_of(name, groups, pools, control_plane) for name in played}
        findings += _inventory.pool_findings(groups, pools, control_plane, options["external_control_plane"])
        findings += _inventory.place_findings(played, groups, pools, control_plane, "ansible_limit" in task_vars)
        findings += self._variables(hosts, kinds, specs, options["ignored_variables"])
        findings += self._fleet_findings(fleet, groups.get(control_plane, []), options)
        looked = [self._host(name, kinds[name], hosts[name], options["survey"]) for name in played]
        findings += self._host_findings(looked, fleet, options)
        if fleet["fleet_mirror"] and options["mirror_check"] != "none":
            archs = {_survey.ARCHITECTURES[host.survey["arch"]] for host in looked if host.survey.get("arch") in _survey.ARCHITECTURES}
            chosen = {pin: self._value(name, hosts[played[0]])[0] for pin, name in VERSIONS.items()}
            versions = {pin: str(version) for pin, version in chosen.items() if version}
            content = options["mirror_check"] == "content"
            findings += _mirror_check.mirror_findings(fleet["fleet_mirror"], options["artifacts"], versions, archs, content)
        return findings

    @staticmethod
    def _given(
        specs: dict[str, dict[str, Any]], defaults: dict[str, Any], raw: dict[str, Any], task_vars: dict[str, Any]
    ) -> dict[str, Any]:
        """Options that the play or the call of the role sets for all hosts: those are in no host's own variables."""
        names = [name for options in specs.values() for name in options if name in task_vars]
        return {name: task_vars[name] for name in names if task_vars[name] != raw.get(name, defaults.get(name))}

    def _roles(self) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
        """Options by role (shared ones under `fleet`), and every role's defaults as templates."""
        specs: dict[str, dict[str, Any]] = {}
        defaults: dict[str, Any] = {}
        for path in sorted(ROLES.glob("*/meta/argument_specs.yml")):
            entries = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["argument_specs"]
            role = path.parents[1].name
            for entry, spec in entries.items():
                specs.setdefault(SHARED if entry == SHARED else role, {}).update(spec.get("options") or {})
            own = path.parents[1] / "defaults" / "main.yml"
            if own.exists():
                defaults.update(self._loader.load_from_file(str(own), trusted_as_template=True) or {})
        return specs, defaults

    def _fleet(self, first: Variables, specs: dict[str, dict[str, Any]], findings: list[Finding]) -> dict[str, Any]:
        """The shared variables as the plays will see them. What cannot be used is replaced by its default; its own check tells."""
        fleet = {}
        for name, spec in specs[SHARED].items():
            fleet[name] = spec.get("default")
            if name in first.raw:
                value, _trouble = self._value(name, first)
                usable = not _inventory.value_findings(name, value, spec, SHARED)
                fleet[name] = value if usable and value is not None else fleet[name]
        for name in ("runner_controller_github_auth", "runner_controller_flavour"):
            fleet[name], trouble = self._value(name, first)
            findings += trouble if name not in first.raw else []
        return fleet

    def _value(self, name: str, variables: Variables) -> tuple[Any, list[Finding]]:
        try:
            return variables.get(name), []
        except AnsibleError as error:
            # Facts are gathered after the preflight, so what needs them cannot be known yet.
            if isinstance(error, AnsibleUndefinedVariable) and "ansible_" in f"{error} {variables.raw.get(name)}":
                return None, []
            hint = "define what it refers to, or correct the template, the vault password or the lookup"
            return None, [Finding("variable_unresolved", name, str(error).splitlines()[0][:300], "a value", hint)]

    def _variables(
        self, hosts: dict[str, Variables], kinds: dict[str, str], specs: dict[str, dict[str, Any]], ignored: list[str]
    ) -> list[Finding]:
        """Names, types and nested keys of every role's variables, on every host of the play."""
        known = {name: (role, spec) for role, options in specs.items() for name, spec in options.items()}
        names = {name for variables in hosts.values() for name in variables.raw}
        unknown = {finding.subject: finding for finding in _inventory.unknown_variables(sorted(names), known, specs, ignored)}
        judged: dict[tuple[str, str], list[Finding]] = {}
        told: dict[str, list[Finding]] = {}
        for host, variables in hosts.items():
            findings = [unknown[name] for name in variables.raw if name in unknown]
            for name in variables.raw.keys() & known.keys():
                value, trouble = self._value(name, variables)
                findings += trouble
                if value is None:
                    continue
                key = (name, repr(value))
                if key not in judged:
                    role, spec = known[name]
                    judged[key] = _inventory.value_findings(name, value, spec, "preflight -e fleet" if role == SHARED else role)
                findings += judged[key]
            for role, options in specs.items():
                if kinds[host] in KINDS.get(role, {kinds[host]}) and role != SHARED:
                    findings += _inventory.required_findings(variables.known, options, role)
            told[host] = findings
        return _inventory.for_hosts(told)

    def _fleet_findings(self, fleet: dict[str, Any], control_plane: list[str], options: dict[str, Any]) -> list[Finding]:
        networks = {"fleet_pod_cidr": fleet["fleet_pod_cidr"], "fleet_service_cidr": fleet["fleet_service_cidr"]}
        return [
            *_inventory.credential_findings(fleet["runner_controller_github_auth"]),
            *_inventory.flavour_findings(fleet["runner_controller_flavour"] or _inventory.FLAVOURS[0]),
            *_inventory.endpoint_findings(fleet.get("fleet_api_endpoint"), control_plane),
            *_inventory.network_findings({**networks, "preflight_engine_network": options["engine_network"]}),
        ]

    def _host(self, name: str, kind: str, variables: Variables, survey: str) -> _survey.Host:
        drives, _trouble = self._value("nvme_storage_drives", variables)
        driver, _trouble = self._value("fleet_cgroup_driver", variables)
        listed = tuple(map(str, drives)) if isinstance(drives, list) else ()
        return _survey.Host(name, kind, variables.raw.get(survey) or {}, listed, str(driver or "systemd"))

    def _host_findings(self, hosts: list[_survey.Host], fleet: dict[str, Any], options: dict[str, Any]) -> list[Finding]:
        findings = [finding for host in hosts for finding in _survey.host_findings(host, options["minimum"])]
        findings += _survey.fleet_findings(hosts)
        networks = {"fleet_pod_cidr": fleet["fleet_pod_cidr"], "fleet_service_cidr": fleet["fleet_service_cidr"]}
        if not _inventory.network_findings(networks):
            findings += _survey.address_findings(hosts, networks)
        path = os.path.expanduser(str(fleet.get("fleet_kubeconfig") or ""))
        try:
            return findings + _survey.cluster_findings(hosts, path, kubeconfig_fingerprint(path))
        except (ValueError, OSError, yaml.YAMLError) as error:
            found = " ".join(str(error).split())[:200]
            hint = f"let fleet_kubeconfig name another file, or remove {path}"
            return [*findings, Finding("kubeconfig_invalid", f"fleet_kubeconfig {path}", found, "a kubeconfig", hint)]


def kubeconfig_fingerprint(path: str) -> str:
    """The sha256 of the CA that a kubeconfig trusts; empty where there is no file or it names no CA."""
    if not path or not os.path.exists(path):
        return ""
    text, file = _inventory.kubeconfig_authority(yaml.safe_load(Path(path).read_text()))
    if not text and file:
        text = (Path(path).parent / file).read_text()
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(text.strip())).hexdigest() if text else ""
