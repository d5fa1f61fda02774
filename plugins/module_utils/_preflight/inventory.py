# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an inventory means before any host is asked: names, types, groups, networks. Private to the collection."""

from __future__ import annotations

import difflib
import itertools
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.runnerfleet.baremetal.plugins.module_utils import _endpoint
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._addresses import credentials_in
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._api_values import Problem
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.runner_credentials import (
    FORMS,
    FORMS_TOLD,
    stated,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.findings import Finding, named
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._secret_names import is_secret_name

COLLECTION = "runnerfleet.baremetal"
MOST_CONTROL_PLANES = 1
AUTH_HINT = (
    "set runner_controller_github_auth to {secret: name of an existing Secret}, {token: ...} or {app_id: ..., "
    "installation_id: ..., private_key: ...}, the last two from a vault"
)
# A name this close to a known one is a slip, even where it lacks a role's prefix.
SLIP = 0.9


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The known name that was probably meant, or an empty string."""
    return next(iter(difflib.get_close_matches(name, list(known), 1, cutoff)), "")


def for_hosts(told: Mapping[str, Sequence[Finding]]) -> list[Finding]:
    """Tell once, with the hosts' names, what is the same on many hosts. `told`: findings by host, whose subject is a
    variable.
    """
    hosts: defaultdict[Finding, list[str]] = defaultdict(list)
    for host, findings in told.items():
        for finding in dict.fromkeys(findings):
            hosts[finding].append(host)
    return [replace(finding, subject=f"{finding.subject} ({named(names)})") for finding, names in hosts.items()]


def unknown_variables(
    names: Iterable[str], specs: Mapping[str, Any], prefixes: Collection[str], ignored: Collection[str]
) -> list[Finding]:
    """Variables that carry a role's prefix, or nearly the name of an option, and are none. `specs`: every known
    variable.
    """
    findings = []
    for name in names:
        if name in specs or name in ignored or name.startswith(("_", "ansible_")):
            continue
        prefixed = any(name.startswith(f"{prefix}_") for prefix in prefixes)
        meant = nearest(name, specs, 0.6 if prefixed else SLIP)
        if prefixed or meant:
            hint = f"did you mean {meant}? " if meant else "remove it. "
            hint += "If it is a variable of your own, name it in preflight_ignored_variables"
            findings.append(
                Finding("variable_unknown", name, f"no role has an option {name}", meant or "a name of an option", hint)
            )
    return findings


def value_findings(name: str, value: Any, spec: Mapping[str, Any], role: str) -> list[Finding]:
    """Unknown keys, wrong types and missing keys inside one variable, by the role's own argument spec."""
    hint = f"see `ansible-doc -t role {COLLECTION}.{role}`"
    findings: list[Finding] = []
    pruned = _without_unknown_keys(name, value, spec, hint, findings)
    if value is None and not spec.get("required"):
        hint = f"give it a value, or leave it out for its default; {hint}"
        return [Finding("variable_empty", name, "nothing (null)", _described(spec), hint)]
    secrets = set(_secrets(value, bool(is_secret_name(name) or spec.get("no_log"))))
    for path, part, option in [
        (name, pruned, {**spec, "required": False}),
        *_optional_dictionaries(name, pruned, spec),
    ]:
        for message in ArgumentSpecValidator({path: _without_defaults(option)}).validate({path: part}).error_messages:
            for secret in secrets:
                message = message.replace(secret, "********")
            findings.append(Finding("variable_invalid", path, message[:300], _described(option), hint))
    return findings


def difference_findings(name: str, values: Mapping[str, Any], spec: Mapping[str, Any]) -> list[Finding]:
    """A variable of the whole fleet whose value is not the same on all hosts. `values`: by host."""
    hosts: defaultdict[str, list[str]] = defaultdict(list)
    for host, value in values.items():
        hosts[repr(value)].append(host)
    if len(hosts) < 2:
        return []
    secret = bool(
        is_secret_name(name) or spec.get("no_log") or any(list(_secrets(value, False)) for value in values.values())
    )
    told = [f"{'********' if secret else text[:60]} on {named(names)}" for text, names in hosts.items()]
    hint = "set it once, for all hosts (group all). What may differ by pool is an entry of its pool in fleet_pools"
    return [
        Finding(
            "variable_differs", name, "; ".join(told[:4]), "one value over all hosts, since plays read it once", hint
        )
    ]


def _optional_dictionaries(
    path: str, value: Any, spec: Mapping[str, Any]
) -> Iterable[tuple[str, Any, Mapping[str, Any]]]:
    """Options that may be something else (raw), where they are a dictionary: Ansible does not look at the suboptions of
    these.
    """
    options = spec.get("options") or {}
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _optional_dictionaries(f"{path}[{index}]", item, spec)
    elif isinstance(value, dict):
        if spec.get("type") == "raw" and options:
            yield path, value, {**spec, "type": "dict", "required": False}
        for name, option in options.items():
            yield from _optional_dictionaries(f"{path}.{name}", value.get(name), option)


def address_findings(name: str, value: Any) -> list[Finding]:
    """Addresses with a credential inside: it would stand in diffs, in files of hosts and in objects of the cluster, and
    often not work.
    """
    plain = "take it out of the address; let the server take the fleet's networks without one"
    kept = f"{plain}, or keep the whole variable in a Secret (dagger_engine_environment_secret)"
    found, expected = "a user name or a password inside an address", "an address without them"
    paths = credentials_in(name, value)
    return [
        Finding("address_credential", path, found, expected, kept if "environment" in path else plain) for path in paths
    ]


def api_findings(problems: Iterable[Problem]) -> list[Finding]:
    """What those would refuse to whom a value goes as it is."""
    return [Finding(problem.code, problem.path, problem.found, problem.expected, problem.hint) for problem in problems]


def _without_defaults(spec: Mapping[str, Any]) -> dict[str, Any]:
    # A default may be a template, which has no type yet.
    kept = {key: setting for key, setting in spec.items() if key != "default"}
    if kept.get("options"):
        kept["options"] = {name: _without_defaults(option) for name, option in kept["options"].items()}
    return kept


def _described(spec: Mapping[str, Any]) -> str:
    kind = str(spec.get("type", "str"))
    text = f"{kind} of {spec['elements']}" if spec.get("elements") else kind
    return f"{text}, one of {', '.join(map(str, spec['choices']))}" if spec.get("choices") else text


def _without_unknown_keys(path: str, value: Any, spec: Mapping[str, Any], hint: str, findings: list[Finding]) -> Any:
    options = spec.get("options")
    if not options:
        return value
    if isinstance(value, list):
        return [
            _without_unknown_keys(f"{path}[{index}]", item, spec, hint, findings) for index, item in enumerate(value)
        ]
    if not isinstance(value, dict):
        return value
    known = {}
    for key, item in value.items():
        if key in options:
            known[key] = _without_unknown_keys(f"{path}.{key}", item, options[key], hint, findings)
            continue
        meant = nearest(str(key), options)
        advice = f"did you mean {path}.{meant}? {hint}" if meant else hint
        found = f"unknown key {key}"
        findings.append(
            Finding("variable_key_unknown", f"{path}.{key}", found, f"one of {', '.join(sorted(options))}", advice)
        )
    return known


def _secrets(value: Any, secret: bool) -> Iterable[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _secrets(item, secret or is_secret_name(str(key)))
    elif isinstance(value, list):
        for item in value:
            yield from _secrets(item, secret)
    elif secret and len(str(value)) > 3:
        yield str(value)


def pool_findings(
    groups: Mapping[str, Sequence[str]], pools: Sequence[Mapping[str, Any]], control_plane: str, external: bool
) -> list[Finding]:
    """Groups that are missing or empty, and hosts that stand in more than one. `external`: the control plane is not
    ours.
    """
    findings = []
    places: defaultdict[str, list[str]] = defaultdict(list)
    wanted = [("the control plane", control_plane)] + [
        (f"pool {pool.get('name')}", str(pool.get("group"))) for pool in pools
    ]
    for owner, group in wanted:
        is_external = external and owner == "the control plane"
        if not groups.get(group) and not is_external:
            findings.append(_no_hosts(owner, group, groups))
        for host in groups.get(group, ()):
            places[host].append(f"{owner} (group {group})")
    for host, owners in places.items():
        if len(owners) > 1:
            hint = "take the host out of all groups but one"
            findings.append(
                Finding(
                    "host_in_two_pools", host, f"in {' and in '.join(owners)}", "one pool, or the control plane", hint
                )
            )
    for name, same in itertools.groupby(sorted(str(pool.get("name")) for pool in pools)):
        if len(list(same)) > 1:
            hint = "rename or remove one of them"
            findings.append(
                Finding(
                    "pool_defined_twice",
                    f"fleet_pools: {name}",
                    "two pools of that name",
                    "names that are unique",
                    hint,
                )
            )
    return findings


def _no_hosts(owner: str, group: str, groups: Mapping[str, Sequence[str]]) -> Finding:
    others = [name for name in groups if name not in ("all", "ungrouped", group)]
    meant = nearest(group, others)
    hint = f"did you mean the group {meant}? " if meant and group not in groups else ""
    hint += f"add a host to the inventory's group {group}"
    if owner == "the control plane":
        hint += (
            ", or set preflight_external_control_plane: true where the cluster was made elsewhere. A job on a "
            "slice of the inventory lacks "
        )
        hint += "groups as well: run it on the whole inventory, forks do that work"
    else:
        hint += ", or take the pool out of fleet_pools"
    if group in groups:
        return Finding("group_empty", f"group {group}", "no hosts", f"at least one host for {owner}", hint)
    found = f"no such group; there are: {named(sorted(others), 10) or 'none'}"
    return Finding("group_missing", f"group {group}", found, f"the hosts of {owner}", hint)


def place_findings(
    played: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    pools: Sequence[Mapping[str, Any]],
    control_plane: str,
    limited: bool,
) -> list[Finding]:
    """Hosts of the play that have no place in the fleet and, unless the play is limited, the other way round."""
    placed = set(groups.get(control_plane, ()))
    for pool in pools:
        placed.update(groups.get(str(pool.get("group")), ()))
    pool_groups = named(str(pool.get("group")) for pool in pools)
    hint = f"put the host into {control_plane} or into the group of a pool in fleet_pools ({pool_groups})"
    findings = [
        Finding(
            "host_without_pool", host, "in no pool's group and not in the control plane", "one place in the fleet", hint
        )
        for host in played
        if host not in placed
    ]
    left_out = sorted(placed - set(played))
    if left_out and not limited:
        hint = "make the pool's group a child of runner_nodes or support_nodes, whose hosts the plays name"
        findings.append(
            Finding(
                "host_not_in_play",
                named(left_out),
                "not among the play's hosts",
                "every host of the fleet in the play",
                hint,
            )
        )
    return findings


def kind_of(
    host: str, groups: Mapping[str, Sequence[str]], pools: Sequence[Mapping[str, Any]], control_plane: str
) -> str:
    """control_plane, runner or support: which floor and which ports go for a host."""
    if host in groups.get(control_plane, ()):
        return "control_plane"
    runner = any(pool.get("engine") and host in groups.get(str(pool.get("group")), ()) for pool in pools)
    return "runner" if runner else "support"


def credential_findings(auth: Any) -> list[Finding]:
    """How the runner controller is to log in to GitHub: exactly one way. Only names of keys are told, never values."""
    subject = "runner_controller_github_auth"
    given = sorted(stated(auth))
    if tuple(given) in FORMS:
        return []
    if len([form for form in FORMS if set(form) & set(given)]) > 1:
        return [Finding("github_credential_ambiguous", subject, f"{', '.join(given)} together", FORMS_TOLD, AUTH_HINT)]
    empty = sorted(set(auth) - set(given)) if isinstance(auth, Mapping) else []
    found = f"only {', '.join(given)}" if given else "no credential"
    return [
        Finding(
            "github_credential_missing",
            subject,
            found + (f"; empty: {', '.join(empty)}" if empty else ""),
            FORMS_TOLD,
            AUTH_HINT,
        )
    ]


def control_plane_findings(hosts: Sequence[str]) -> list[Finding]:
    """More control plane hosts than this release can set up."""
    if len(hosts) <= MOST_CONTROL_PLANES:
        return []
    found, hint = f"{len(hosts)} hosts ({named(hosts)})", "leave one host in the group of the control plane"
    expected = f"{MOST_CONTROL_PLANES} host: several control planes are not supported yet"
    return [Finding("control_planes_unsupported", "control plane", found, expected, hint)]


def endpoint_findings(endpoint: Any, addresses: Mapping[str, str], name: str = "fleet_api_endpoint") -> list[Finding]:
    """One control plane is its own endpoint; more of them need an address that outlives any of them.

    `endpoint`: what was typed for `name`. `addresses`: of the control plane's hosts, which the role makes it of
    otherwise.
    """
    hint = f"set fleet_api_endpoint: {_endpoint.EXPECTED}"
    if endpoint:
        problem = _endpoint.endpoint_problem(str(endpoint))
        return [Finding("api_endpoint_invalid", name, problem, _endpoint.EXPECTED, hint)] if problem else []
    if len(addresses) != 1:
        found = f"not set, with {len(addresses)} control plane hosts in the inventory"
        return [Finding("api_endpoint_missing", name, found, "host:port", hint)]
    ((host, address),) = addresses.items()
    problem = _endpoint.host_problem(address)
    found = f"not set, and none can be made of the address of {host}: {problem}"
    return [Finding("api_endpoint_missing", name, found, _endpoint.EXPECTED, hint)] if problem else []


def required_findings(defined: Collection[str], specs: Mapping[str, Mapping[str, Any]], role: str) -> list[Finding]:
    """Options without a default that a host of this role must have."""
    hint = f"define it for the host or its group; see `ansible-doc -t role {COLLECTION}.{role}`"
    return [
        Finding("variable_missing", name, "not defined", _described(spec), hint)
        for name, spec in specs.items()
        if spec.get("required") and name not in defined
    ]
