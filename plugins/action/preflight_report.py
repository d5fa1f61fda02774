# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Merges the surveys of all hosts with checks of the inventory. Runs on the controller only; see
modules/preflight_report.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.runnerfleet.baremetal.plugins.module_utils import _api_values, _image_digests, _kubeconfig
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._addresses import credentials_in, has_credential
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._pins import PINS
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight import host_rules, node_rules
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight import inventory as preflight_inventory
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight import sizing as preflight_sizing
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.findings import (
    Finding,
    findings_table,
    in_order,
    summary,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.hardware import hardware_from
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils import _controller, _work_tree
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet import images as _fleet_images
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet import networks as _networks
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet import sizing as _fleet_sizing
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet import trust as _trust
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet import version_matrix as _version_matrix
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet.variables import (
    SHARED,
    Variables,
    host_variables,
    role_values,
    role_variables,
)
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._github import credential_check as _github_check
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._mirrors import digest_check as _digest_check
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._mirrors import image_check as _image_check
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._mirrors import mirror_check as _mirror_check
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._mirrors import registry_check as _registry_check

# Which hosts a role's own variables matter for; roles that are not named speak to the API for all of them.
KINDS = {"control_plane": {"control_plane"}, "node_join": {"runner", "support"}, "nvme_storage": {"runner"}}
# The variable that chooses the version of each pinned release file.
VERSIONS = {
    "kubernetes": "kubernetes_host_version",
    "containerd": "container_runtime_version",
    "runc": "container_runtime_runc_version",
    "cni_plugins": "container_runtime_cni_plugins_version",
}
# The same for the components of the version matrix.
COMPONENTS = {
    "kubernetes": "kubernetes_host_version",
    "containerd": "container_runtime_version",
    "runc": "container_runtime_runc_version",
    "cert_manager": "cert_manager_version",
}
# What a host says of its pulls, each behind container_runtime_.
IMAGES_OF_A_HOST = ("mirror", "mirrored_registries", "sandbox_image", "image_digests")
# Roles that fetch from a mirror with the variables of one host.
MIRRORED = (*_fleet_images.CHARTS, "dagger_engine", "kubernetes_host")
ENDPOINT = "control_plane_api_endpoint"
CREDENTIAL = "runner_controller_github_auth"
# What the roles ask of every engine's command line.
VERBS = ("dagger core version",)
OPTIONS: dict[str, dict[str, Any]] = {
    "minimum": {"type": "dict", "default": {}},
    "recommended": {"type": "dict", "default": {}},
    "control_plane_group": {"type": "str", "default": "control_plane"},
    "external_control_plane": {"type": "bool", "default": False},
    "ignored_variables": {"type": "list", "elements": "str", "default": []},
    "mirror_check": {"type": "str", "choices": ["content", "presence", "none"], "default": "content"},
    "github_check": {"type": "bool", "default": False},
    "artifacts": {"type": "list", "elements": "str", "default": []},
    "engine_network": {"type": "str", "default": "10.87.0.0/16"},
    "extra_networks": {"type": "dict", "default": {}},
    "clock_tolerance": {"type": "float", "default": 30},
    "image_digests_file": {"type": "path", "default": ""},
    "findings_file": {"type": "path", "default": ""},
    "survey": {"type": "str", "required": True},
}
# Roles that run once over the API, with the variables of one host; and the shared variables that each host reads for
# itself.
FLEET_WIDE = (
    SHARED,
    "preflight",
    "node_pools",
    "pod_network",
    "cert_manager",
    "dagger_engine",
    "runner_controller",
    "runner_pools",
    "fleet_report",
)
OF_A_HOST = ("fleet_cgroup_driver", "fleet_mirror")


class ActionModule(ActionBase):
    """One report of all findings."""

    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Look, print, and fail if there is an error."""
        result = super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(OPTIONS)
        task_vars = task_vars or {}
        missing = _networks.MISSING or _version_matrix.MISSING
        if missing:
            raise AnsibleError(missing)
        played = list(task_vars["ansible_play_hosts_all"])
        findings = self._findings(options, played, task_vars)
        if options["findings_file"]:
            findings += _written(Path(options["findings_file"]), in_order(findings))
        findings = in_order(findings)
        told = summary(findings, len(played))
        if findings:
            self._display.display(f"\n{findings_table(findings)}\n\n{told}")
        errors = [finding for finding in findings if finding.severity == "error"]
        if errors:
            told = f"{told} Nothing was changed. The table above and `findings` in this result say what to do."
        return {
            **result,
            "changed": False,
            "failed": bool(errors),
            "msg": told,
            "findings": [finding.as_dict() for finding in findings],
        }

    def _findings(self, options: dict[str, Any], played: list[str], task_vars: dict[str, Any]) -> list[Finding]:
        specs, defaults = role_variables(self._loader)
        defaults |= role_values(self._loader, _fleet_images.ROLES, "vars")
        hosts = host_variables(played, specs, defaults, self._loader, task_vars)
        groups, control_plane = task_vars["groups"], options["control_plane_group"]
        findings: list[Finding] = []
        fleet = self._fleet(hosts[played[0]], specs, findings)
        pools = [pool for pool in fleet["fleet_pools"] if isinstance(pool, Mapping)]
        leaders = host_variables(groups.get(control_plane, []), specs, defaults, self._loader, task_vars)
        kinds = {name: preflight_inventory.kind_of(name, groups, pools, control_plane) for name in played}
        findings += preflight_inventory.pool_findings(groups, pools, control_plane, options["external_control_plane"])
        findings += preflight_inventory.place_findings(
            played, groups, pools, control_plane, "ansible_limit" in task_vars
        )
        findings += self._variables(hosts, kinds, specs, options["ignored_variables"])
        pooled = {host for pool in pools for host in groups.get(str(pool.get("group")), ())}
        members = pooled.difference(hosts, leaders)
        everyone = {**host_variables(sorted(members), specs, defaults, self._loader, task_vars), **leaders, **hosts}
        findings += _differences(everyone, specs)
        findings += self._runner_pool_findings(hosts[played[0]])
        findings += self._fleet_findings(fleet, {} if options["external_control_plane"] else leaders)
        # A host that stands in a pool too is misplaced, and told as such.
        findings += preflight_inventory.control_plane_findings([name for name in leaders if name not in pooled])
        looked = [self._host(name, kinds[name], hosts[name], options["survey"]) for name in played]
        findings += self._host_findings(looked, fleet, options, bool(leaders))
        findings += self._network_findings(looked, fleet, options, len(pooled.union(leaders)), leaders)
        findings += self._sizing_findings(looked, hosts, groups, pools, options)
        helm = str(hosts[played[0]].value("runner_controller_helm_binary")[0] or "helm")
        tools = _controller.gather(helm)
        findings += self._version_findings(looked, hosts, hosts[played[0]], groups, pools, tools.python_client)
        findings += _controller.findings(tools, helm)
        findings += _work_tree.kubeconfig_findings(str(fleet.get("fleet_kubeconfig") or ""))
        if options["mirror_check"] != "none":
            findings += self._mirror_findings(looked, hosts[played[0]], fleet["fleet_mirror"], options)
        read = next(iter(leaders.values()), hosts[played[0]])
        images = {
            name: (read if name == _fleet_images.CLUSTER else hosts[played[0]]).value(name)[0]
            for name in _fleet_images.NAMES
        }
        findings += self._image_findings(looked, images, everyone, fleet, groups, pools, options)
        findings += _plain_http(fleet["fleet_mirror"], hosts[played[0]], everyone.values())
        return findings + self._github_findings(hosts[played[0]], fleet, options["github_check"])

    def _mirror_findings(
        self, hosts: list[host_rules.SurveyedHost], first: Variables, mirror: Mapping[str, Any], options: dict[str, Any]
    ) -> list[Finding]:
        """Release files that the mirror does not have, or has others of."""
        if not mirror or list(credentials_in("", mirror)):
            return []
        architectures = host_rules.ARCHITECTURES
        archs = {architectures[host.survey["arch"]] for host in hosts if host.survey.get("arch") in architectures}
        chosen = {pin: first.value(name)[0] for pin, name in VERSIONS.items()}
        versions = {pin: str(version) for pin, version in chosen.items() if version}
        return _mirror_check.mirror_findings(
            mirror, options["artifacts"], versions, archs, options["mirror_check"] == "content"
        )

    def _image_findings(
        self,
        hosts: list[host_rules.SurveyedHost],
        values: Mapping[str, Any],
        everyone: dict[str, Variables],
        fleet: Mapping[str, Any],
        groups: Mapping[str, list[str]],
        pools: list[Mapping[str, Any]],
        options: dict[str, Any],
    ) -> list[Finding]:
        """Charts and images that mirrors do not have, or have others of, and images by tag alone.

        Of all nodes: what runs over the API deploys for all of them, `--limit` or not.

        `values` holds _fleet_images.NAMES.
        """
        nodes = []
        for name, variables in everyone.items():
            given, registries, sandbox, own = (
                variables.value(f"container_runtime_{key}")[0] for key in IMAGES_OF_A_HOST
            )
            if isinstance(given, Mapping) and isinstance(registries, list):
                pool, _nodes = _fleet_sizing.pool_of(name, groups, pools)
                image = _image_digests.with_digest(str(sandbox or ""), _image_digests.usable(own))
                nodes.append(_registry_check.Host(pool, given, tuple(map(str, registries)), image))
        mirror, digests = fleet["fleet_mirror"], _image_digests.usable(fleet["fleet_image_digests"])
        ask = options["mirror_check"] != "none"
        looked = _image_check.check_images(nodes, values, _cluster(hosts, values, options), mirror, digests, ask)
        findings = [*looked.findings, *_digest_check.by_tag(looked.images, digests, ask, looked.unknown)]
        return findings + self._digests_file(options["image_digests_file"], nodes, looked.images, mirror)

    def _digests_file(
        self,
        path: str,
        nodes: Sequence[_registry_check.Host],
        images: Sequence[_fleet_images.Image],
        mirror: Mapping[str, Any],
    ) -> list[Finding]:
        """Write the digests that are behind the tags of all images now, where that is wanted."""
        if not path:
            return []
        text, problems = _digest_check.mapping(_digest_check.behind_tags(nodes, images, mirror))
        findings = _digest_check.missing(path, problems)
        try:
            Path(path).write_text(text)
        except OSError as error:
            findings.append(_unwritable(_digest_check.FILE, path, error))
        return findings

    def _github_findings(self, first: Variables, fleet: dict[str, Any], ask: bool) -> list[Finding]:
        """What GitHub says, where there is a credential to ask with and an address without one."""
        auth, url = fleet[CREDENTIAL], first.value("runner_controller_github_url")[0]
        if url is None or has_credential(str(url)):
            return []
        pools, image = (first.value(name)[0] for name in ("runner_pools_pools", "runner_pools_image"))
        if first.value("runner_pools_flavour")[0] == "scale_set":
            common = first.value(_github_check.COMMON)[0]
            name = CREDENTIAL if common == auth else _github_check.COMMON
            url = first.value("runner_pools_github_url")[0] or url
            return _github_check.scale_set_findings(str(url), common, name, pools, str(image or ""), ask)
        if preflight_inventory.credential_findings(auth):
            return []
        return _github_check.github_findings(str(url), auth, pools, str(image or ""), ask)

    def _fleet(self, first: Variables, specs: dict[str, dict[str, Any]], findings: list[Finding]) -> dict[str, Any]:
        """The shared variables as the plays will see them. What cannot be used is replaced by its default; its own
        check tells.
        """
        fleet = {}
        for name, spec in specs[SHARED].items():
            fleet[name] = spec.get("default")
            if name in first.raw:
                value, _trouble = first.value(name)
                usable = not preflight_inventory.value_findings(name, value, spec, SHARED)
                fleet[name] = value if usable and value is not None else fleet[name]
        fleet[CREDENTIAL], trouble = first.value(CREDENTIAL)
        findings += trouble if CREDENTIAL not in first.raw else []
        return fleet

    def _variables(
        self, hosts: dict[str, Variables], kinds: dict[str, str], specs: dict[str, dict[str, Any]], ignored: list[str]
    ) -> list[Finding]:
        """Names, types and nested keys of every role's variables, on every host of the play."""
        known = {name: (role, spec) for role, options in specs.items() for name, spec in options.items()}
        names = {name for variables in hosts.values() for name in variables.raw}
        unknown = {
            finding.subject: finding
            for finding in preflight_inventory.unknown_variables(sorted(names), known, specs, ignored)
        }
        judged: dict[tuple[str, str], list[Finding]] = {}
        told: dict[str, list[Finding]] = {}
        for host, variables in hosts.items():
            findings = [unknown[name] for name in variables.raw if name in unknown]
            for name in variables.raw.keys() & known.keys():
                value, trouble = variables.value(name)
                findings += trouble
                if value is None and (trouble or str(variables.raw[name] or "").strip()):
                    continue  # it needs facts, or what is wrong was told
                key = (name, repr(value))
                if key not in judged:
                    role, spec = known[name]
                    judged[key] = preflight_inventory.value_findings(
                        name, value, spec, "preflight -e fleet" if role == SHARED else role
                    )
                    judged[key] = judged[key] or preflight_inventory.api_findings(_api_values.problems(name, value))
                    judged[key] += [] if name == CREDENTIAL else preflight_inventory.address_findings(name, value)
                findings += judged[key]
            for role, options in specs.items():
                if kinds[host] in KINDS.get(role, {kinds[host]}) and role != SHARED:
                    findings += preflight_inventory.required_findings(variables.known, options, role)
            told[host] = findings
        return preflight_inventory.for_hosts(told)

    def _fleet_findings(self, fleet: dict[str, Any], control_plane: dict[str, Variables]) -> list[Finding]:
        """`control_plane`: its hosts' variables, none where it is not ours."""
        return [
            *preflight_inventory.credential_findings(fleet[CREDENTIAL]),
            *self._endpoint_findings(fleet, control_plane),
        ]

    def _runner_pool_findings(self, first: Variables) -> list[Finding]:
        """Runner pools without a pool of nodes with their engine, and those that share one with whom they should not
        trust.
        """
        entries = first.value("runner_pools_pools")[0]
        named = [entry for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []
        pools = _fleet_sizing.engine_pools({name: first.value(name)[0] for name in _fleet_sizing.NAMES})
        engines = {pool.name: list(map(str, pool.versions)) for pool in pools}
        default = str(first.value("runner_pools_engine_version")[0] or "")
        flavour = str(first.value("runner_pools_flavour")[0] or "")
        unknown = preflight_inventory.api_findings(_api_values.deployment_problems(named, engines, default, flavour))
        return [*unknown, *_trust.trust_findings(named, engines)]

    def _endpoint_findings(self, fleet: dict[str, Any], control_plane: dict[str, Variables]) -> list[Finding]:
        typed = {
            name: variables.value(ENDPOINT)[0] for name, variables in control_plane.items() if ENDPOINT in variables.raw
        }
        addresses = {name: str(variables.value("ansible_host")[0] or name) for name, variables in control_plane.items()}
        if typed and all(typed.values()):
            return [
                finding
                for value in typed.values()
                for finding in preflight_inventory.endpoint_findings(value, addresses, ENDPOINT)
            ]
        return preflight_inventory.endpoint_findings(fleet.get("fleet_api_endpoint"), addresses)

    def _host(self, name: str, kind: str, variables: Variables, survey: str) -> host_rules.SurveyedHost:
        values = {key: variables.value(key)[0] for key in node_rules.NAMES}
        listed = values["nvme_storage_drives"]
        periods = variables.value("kubernetes_host_shutdown_grace_periods")[0] or []
        return host_rules.SurveyedHost(
            name,
            kind,
            variables.raw.get(survey) or {},
            tuple(map(str, listed)) if isinstance(listed, list) else (),
            bool(values["nvme_storage_select"]),
            values,
            sum(
                float(period.get("shutdownGracePeriodSeconds", 0)) for period in periods if isinstance(period, Mapping)
            ),
        )

    def _host_findings(
        self,
        hosts: list[host_rules.SurveyedHost],
        fleet: dict[str, Any],
        options: dict[str, Any],
        has_control_plane: bool,
    ) -> list[Finding]:
        findings = [finding for host in hosts for finding in host_rules.host_findings(host)]
        findings += host_rules.fleet_findings(hosts)
        findings += host_rules.clock_findings(hosts, options["clock_tolerance"])
        path = os.path.expanduser(str(fleet.get("fleet_kubeconfig") or ""))
        try:
            cluster = _kubeconfig.read(path) if path and os.path.exists(path) else None
            findings += host_rules.access_findings(path, cluster, has_control_plane)
            return findings + host_rules.cluster_findings(hosts, path, cluster)
        except (ValueError, OSError) as error:
            found = (
                str(error)
                if isinstance(error, _kubeconfig.KubeconfigError)
                else getattr(error, "strerror", None) or type(error).__name__
            )
            hint = f"let fleet_kubeconfig name another file, or remove {path}"
            return [*findings, Finding("kubeconfig_invalid", f"fleet_kubeconfig {path}", found, "a kubeconfig", hint)]

    def _network_findings(
        self,
        hosts: list[host_rules.SurveyedHost],
        fleet: dict[str, Any],
        options: dict[str, Any],
        nodes: int,
        control_plane: dict[str, Variables],
    ) -> list[Finding]:
        """The cluster's networks by themselves, beside the site's, and on the hosts."""
        configs = [variables.value("control_plane_cluster_config")[0] for variables in control_plane.values()]
        masks = _networks.node_masks(configs[0] if configs else {})
        extra = {f"preflight_extra_networks.{name}": network for name, network in options["extra_networks"].items()}
        cluster = {
            **{name: fleet[name] for name in _networks.CLUSTER},
            "preflight_engine_network": options["engine_network"],
        }
        networks, findings = _networks.parse({**cluster, **extra}, masks)
        ours = {name: network for name, network in networks.items() if not name.startswith("preflight_extra_networks.")}
        if not options["external_control_plane"]:
            findings += _networks.room_findings(networks, nodes, masks)
        findings += _networks.overlap_findings(networks)
        return findings + _networks.host_findings({host.name: host.survey for host in hosts}, ours)

    def _sizing_findings(
        self,
        hosts: list[host_rules.SurveyedHost],
        variables: dict[str, Variables],
        groups: Mapping[str, list[str]],
        pools: list[Mapping[str, Any]],
        options: dict[str, Any],
    ) -> list[Finding]:
        """Whether each machine can carry what is planned for it."""
        findings = []
        for host in hosts:
            if not host.survey.get("hardware"):
                continue
            values = {name: variables[host.name].value(name)[0] for name in _fleet_sizing.NAMES}
            pool, nodes = _fleet_sizing.pool_of(host.name, groups, pools)
            try:
                findings += preflight_sizing.sizing_findings(
                    host.name,
                    host.kind,
                    hardware_from(host.survey["hardware"]),
                    preflight_sizing.floor_from(
                        preflight_sizing.MINIMUM[host.kind], options["minimum"].get(host.kind) or {}
                    ),
                    preflight_sizing.floor_from(
                        preflight_sizing.RECOMMENDED[host.kind], options["recommended"].get(host.kind) or {}
                    ),
                    _fleet_sizing.node_plan(values, pool, nodes),
                    host.drives,
                )
            except ValueError as error:
                name, _colon, found = str(error).partition(": ")
                told = [problem.code for key, value in values.items() for problem in _api_values.problems(key, value)]
                if "quantity_invalid" in told:
                    continue
                hint = "write it as Kubernetes does (8Gi, 1500m) or as machines are sold (8GB)"
                findings.append(Finding("quantity_invalid", f"{name} ({host.name})", found, "a quantity", hint))
        return findings

    def _version_findings(
        self,
        hosts: list[host_rules.SurveyedHost],
        variables: dict[str, Variables],
        first: Variables,
        groups: Mapping[str, list[str]],
        stated: list[Mapping[str, Any]],
        python_client: str,
    ) -> list[Finding]:
        """What is to be installed against the matrix, and against what runs already."""
        versions = {component: str(first.value(name)[0] or "") for component, name in COMPONENTS.items()}
        versions["python_client"] = python_client
        if not first.value("cert_manager_needed")[0]:
            del versions["cert_manager"]
        # The matrix speaks of the controller, whose version is known for the chart that is pinned.
        if first.value("runner_controller_version")[0] == PINS["arc_legacy_chart"]:
            versions["arc_legacy"] = PINS["arc_legacy"]
        pools = _fleet_sizing.engine_pools({name: first.value(name)[0] for name in _fleet_sizing.NAMES})
        versions_of = {pool.name: list(map(str, pool.versions)) for pool in pools}
        engines = {
            host.name: versions_of.get(_fleet_sizing.pool_of(host.name, groups, stated)[0], []) for host in hosts
        }
        surveys: dict[str, dict[str, Any]] = {host.name: dict(host.survey) for host in hosts if host.survey}
        for name, survey in surveys.items():
            packages = variables[name].value("kubernetes_host_packages")[0]
            survey["package_families"] = list(packages) if isinstance(packages, Mapping) else None
        running = {
            name: {
                "kubelet": survey.get("kubelet", ""),
                "api_server": survey.get("api_server", ""),
                "engines": survey.get("engines", []),
            }
            for name, survey in surveys.items()
        }
        kubernetes = versions["kubernetes"]
        return [
            *_version_matrix.pair_findings({component: version for component, version in versions.items() if version}),
            *_version_matrix.system_findings(surveys, kubernetes),
            *_version_matrix.engine_findings(pools, VERBS),
            *_version_matrix.skew_findings(running, kubernetes, engines),
        ]


def _written(path: Path, findings: Sequence[Finding]) -> list[Finding]:
    """Write findings down; what keeps them from it is one more, so that none is lost with the file."""
    try:
        path.write_text(json.dumps([finding.as_dict() for finding in findings], indent=2) + "\n")
    except OSError as error:
        return [_unwritable("preflight_findings_file", path, error)]
    return []


def _unwritable(variable: str, path: str | Path, error: OSError) -> Finding:
    hint = "name a file that the controller's user may write, or leave it out"
    hint += ": the findings are in this result as well" * (variable == "preflight_findings_file")
    found = error.strerror or type(error).__name__
    return Finding("findings_file_unwritable", f"{variable} {path}", found, "a file that can be written", hint)


def _plain_http(fleet_mirror: Mapping[str, Any], first: Variables, everyone: Iterable[Variables]) -> list[Finding]:
    """Mirrors without TLS: the fleet's, and those that roles or hosts have of their own."""
    mirrors: dict[str, Any] = {"fleet_mirror": fleet_mirror} | {
        f"{role}_mirror": first.value(f"{role}_mirror")[0] for role in MIRRORED
    }
    findings = _mirror_check.plain_http(mirrors)
    for variables in everyone:
        findings += _mirror_check.plain_http(
            {**mirrors, "container_runtime_mirror": variables.value("container_runtime_mirror")[0]}
        )
    return list(dict.fromkeys(findings))


def _differences(everyone: dict[str, Variables], specs: dict[str, dict[str, Any]]) -> list[Finding]:
    """Variables of the whole fleet that hosts have with different values: plays read them from one host, whichever that
    is.
    """
    findings = []
    for role in FLEET_WIDE:
        for name, spec in specs[role].items():
            if name not in OF_A_HOST and any(name in variables.raw for variables in everyone.values()):
                values = {host: variables.value(name) for host, variables in everyone.items()}
                told = {host: value for host, (value, trouble) in values.items() if value is not None and not trouble}
                findings += preflight_inventory.difference_findings(name, told, spec)
    return findings


def _cluster(
    hosts: list[host_rules.SurveyedHost], values: Mapping[str, Any], options: dict[str, Any]
) -> _image_check.Cluster:
    """The cluster as its control plane is. Where that is not in the play, or not ours, its version is not known."""
    running = [str(host.survey.get("api_server") or "") for host in hosts if host.kind == "control_plane"]
    if options["external_control_plane"] or not running:
        return _image_check.Cluster("", False)
    return _image_check.Cluster(
        next(filter(None, running), "") or _fleet_images.kubernetes_version(values), not all(running)
    )
