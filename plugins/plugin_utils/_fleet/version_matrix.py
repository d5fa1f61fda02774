# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What version_matrix.yml, beside this file, says of the versions that are asked for and that run. Private to the
collection.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._engine.config import (
    FIRST_KNOWN,
    engine_config,
    jobs_are_root,
    parse_version,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.pools import Pool
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.findings import Finding
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.inventory import for_hosts
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.survey import os_family

try:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.version import InvalidVersion, Version

    MISSING = ""
except ImportError as error:
    MISSING = f"the preflight needs the Python package packaging on the controller: {error}"

DATA = Path(__file__).with_name("version_matrix.yml")
KINDS = ("setting", "verb")
# How many minors a kubelet may be older than the API server; newer it may never be.
KUBELET_SKEW = 3
KUBERNETES = "fleet_kubernetes_version"
ENGINES = "dagger_engine_versions"

if TYPE_CHECKING:
    Ranges = tuple[SpecifierSet, ...]
Kind = TypeVar("Kind")
Minor = tuple[int, int]


@dataclass(frozen=True)
class Pair:
    """What upstream says of some versions of a component with another component."""

    component: str
    versions: Ranges
    against: str
    reason: str
    source: str
    checked: date
    works: Ranges = ()
    fails: Ranges = ()


@dataclass(frozen=True)
class Feature:
    """A setting or a verb that an engine or its command line does not have in every version."""

    feature: str
    kind: str
    reason: str
    source: str
    checked: date
    since: str = ""
    until: str = ""
    instead: str = ""

    def present(self, version: str) -> bool:
        """Whether that engine has it."""
        parsed = parse_version(version)
        return not (self.since and parsed < parse_version(self.since)) and not (
            self.until and parsed >= parse_version(self.until)
        )


@dataclass(frozen=True)
class Schema:
    """The form of the cache on disk, from an engine version on."""

    since: str
    schema: str
    source: str
    checked: date


@dataclass(frozen=True)
class Minimum:
    """The oldest version, and who says so."""

    version: str
    source: str
    checked: date


@dataclass(frozen=True)
class System:
    """Versions of operating systems, by the names in os-release."""

    os: tuple[str, ...]
    reason: str
    source: str
    checked: date
    works: Ranges = ()
    fails: Ranges = ()


@dataclass(frozen=True)
class Kernel:
    """The oldest kernel for some versions of Kubernetes, with one version of cgroups or (0) with either."""

    kubernetes: Ranges
    minimum: str
    reason: str
    source: str
    checked: date
    cgroup_version: int = 0


@dataclass(frozen=True)
class Systemd:
    """Versions of systemd that do not run on a version of cgroups."""

    cgroup_version: int
    fails: Ranges
    reason: str
    source: str
    checked: date


@dataclass(frozen=True)
class Matrix:
    """The whole data file."""

    components: Mapping[str, str]
    pairs: tuple[Pair, ...]
    engine_features: tuple[Feature, ...]
    engine_cache_schemas: tuple[Schema, ...]
    client_minimum: Minimum
    systems: tuple[System, ...]
    kernels: tuple[Kernel, ...]
    systemd: tuple[Systemd, ...]


LISTS: dict[str, type] = {
    "pairs": Pair,
    "engine_features": Feature,
    "engine_cache_schemas": Schema,
    "systems": System,
    "kernels": Kernel,
    "systemd": Systemd,
}


@functools.cache
def matrix() -> Matrix:
    """The data file, read and checked once."""
    return parse(yaml.load(DATA.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def parse(document: Mapping[str, Any]) -> Matrix:
    """The data, checked: a slip in it must not pass for a verdict."""
    names = {field.name for field in dataclasses.fields(Matrix)}
    if set(document) != names:
        raise ValueError(f"the version matrix has {', '.join(sorted(document))}; expected {', '.join(sorted(names))}")
    lists: dict[str, Any] = {
        name: tuple(_entry(kind, f"{name}[{index}]", value) for index, value in enumerate(document[name]))
        for name, kind in LISTS.items()
    }
    minimum = _entry(Minimum, "client_minimum", document["client_minimum"])
    parsed = Matrix(components=dict(document["components"]), client_minimum=minimum, **lists)
    for index, pair in enumerate(parsed.pairs):
        unknown = sorted({pair.component, pair.against} - set(parsed.components))
        if unknown:
            raise ValueError(f"pairs[{index}]: {', '.join(unknown)} is not among the components")
    for index, feature in enumerate(parsed.engine_features):
        if feature.kind not in KINDS:
            raise ValueError(
                f"engine_features[{index}].kind: found {feature.kind!r}, expected one of {', '.join(KINDS)}"
            )
    since = [parse_version(entry.since) for entry in parsed.engine_cache_schemas]
    if since != sorted(since):
        raise ValueError("engine_cache_schemas: expected the oldest first")
    for version in (bound for feature in parsed.engine_features for bound in (feature.since, feature.until) if bound):
        parse_version(version)
    return parsed


def _entry(kind: type[Kind], where: str, value: Any) -> Kind:
    """One entry of the data: no key unknown or missing, ranges parsed, a source that people can open."""
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if not isinstance(value, Mapping):
        raise ValueError(f"{where}: found {value!r}, expected a dictionary")
    unknown = sorted(set(value) - set(fields))
    missing = sorted(
        name for name, field in fields.items() if field.default is dataclasses.MISSING and name not in value
    )
    if unknown or missing:
        raise ValueError(
            f"{where}: unknown keys: {', '.join(unknown) or 'none'}; missing keys: {', '.join(missing) or 'none'}"
        )
    if "works" in fields and not value.get("works") and not value.get("fails"):
        raise ValueError(f"{where}: expected works, fails or both")
    return kind(**{name: _value(f"{where}.{name}", str(fields[name].type), item) for name, item in value.items()})


def _value(where: str, kind: str, value: Any) -> Any:
    if kind == "Ranges":
        return tuple(_range(where, item) for item in (value if isinstance(value, list) else [value]))
    if kind == "tuple[str, ...]":
        return tuple(map(str, value))
    if not isinstance(value, {"str": str, "int": int, "date": date}[kind]):
        raise ValueError(f"{where}: found {value!r}, expected {kind}")
    if where.endswith(".source") and not str(value).startswith("https://"):
        raise ValueError(f"{where}: found {value!r}, expected an address that begins with https://")
    return value


def _range(where: str, value: Any) -> SpecifierSet:
    try:
        parsed = SpecifierSet(value if isinstance(value, str) else "")
    except InvalidSpecifier:
        parsed = SpecifierSet()
    operators = sorted(item.operator for item in parsed)
    if operators not in (["=="], ["<"], [">="], ["<", ">="]) or ("==" in operators and not str(value).endswith(".*")):
        raise ValueError(f"{where}: found {value!r}, expected a range such as '>=1.33,<1.37', '==1.36.*' or '<1.6'")
    return parsed


def _spoken(ranges: Iterable[SpecifierSet]) -> str:
    """Ranges for people: `>=1.33,<1.37` is 1.33 to 1.36."""
    told = []
    for parsed in ranges:
        bounds = {item.operator: item.version for item in parsed}
        first, before = bounds.get(">=", ""), bounds.get("<", "")
        if "==" in bounds:
            told.append(bounds["=="].removesuffix(".*"))
        elif not first:
            told.append(f"before {before}")
        elif not before:
            told.append("any" if first == "0" else f"{first} and later")
        else:
            head, _dot, last = before.rpartition(".")
            line = f"{head}.{int(last) - 1}"
            same = first.startswith(f"{line}.")
            told.append(
                line
                if first in (line, f"{line}.0")
                else f"{first} and later of {line}"
                if same
                else f"{first} to {line}"
            )
    told = list(dict.fromkeys(told))
    return " or ".join(filter(None, (", ".join(told[:-1]), *told[-1:])))


def _release(text: Any) -> Version | None:
    """A version without what makes it a pre-release or a build of somebody's; None for what is no version."""
    try:
        return Version(Version(str(text)).base_version)
    except InvalidVersion:
        return None


def _within(ranges: Iterable[SpecifierSet], version: Version) -> bool:
    return any(version in parsed for parsed in ranges)


def pair_findings(versions: Mapping[str, str]) -> list[Finding]:
    """What is going to be installed, by component; an empty version is a component that is not used."""
    components = matrix().components
    unknown = sorted(set(versions) - set(components))
    if unknown:
        raise ValueError(
            f"the version matrix has no component {', '.join(unknown)}; its components are: {', '.join(components)}"
        )
    findings, parsed = [], {}
    for component, text in versions.items():
        version = _release(text) if text else None
        if version:
            parsed[component] = version
        elif text:
            hint = f"give a version of {components[component]} such as 1.2.3"
            findings.append(
                Finding("variable_invalid", f"version of {components[component]}", str(text), "a version", hint)
            )
    for one, other in itertools.combinations(parsed, 2):
        pairs = [pair for pair in matrix().pairs if {pair.component, pair.against} == {one, other}]
        if pairs:
            findings += _pair(pairs, versions, parsed)
    return findings


def _pair(pairs: Sequence[Pair], asked: Mapping[str, str], parsed: Mapping[str, Version]) -> list[Finding]:
    """The verdict on two components, from all that is said about them."""
    one, other = pairs[0].component, pairs[0].against
    said = [pair for pair in pairs if _within(pair.versions, parsed[pair.component])]
    broken = next((pair for pair in said if _within(pair.fails, parsed[pair.against])), None)
    if not broken and any(_within(pair.works, parsed[pair.against]) for pair in said):
        return []
    names = {component: f"{matrix().components[component]} {asked[component]}" for component in (one, other)}
    pair = broken or next((pair for pair in said if pair.works), None)
    hint = f"{_partners(pairs, one, parsed[one], other, names)}; {_partners(pairs, other, parsed[other], one, names)}"
    hint += f". See {(pair or pairs[0]).source}"
    found = pair.reason if pair else f"nothing is known about {names[one]} with {names[other]}"
    code, expected = "version_pair_untested", "versions that upstream or this collection tests together"
    if broken:
        code, expected = "version_pair_broken", "versions that work together"
    return [Finding(code, f"{names[one]} with {names[other]}", found, expected, hint)]


def _partners(pairs: Sequence[Pair], component: str, version: Version, other: str, names: Mapping[str, str]) -> str:
    """Which versions of the other component would do for this version of a component."""
    would: list[SpecifierSet] = []
    for pair in pairs:
        if pair.component == component and _within(pair.versions, version):
            would += pair.works
        elif pair.against == component and _within(pair.works, version):
            would += pair.versions
    title = matrix().components[other]
    if would:
        return f"{title} {_spoken(would)} works with {names[component]}"
    return f"no {title} is known to work with {names[component]}"


def system_findings(hosts: Mapping[str, Mapping[str, Any]], kubernetes: str) -> list[Finding]:
    """Operating system and kernel of each host that was looked at: os, os_version, kernel, cgroup_version and, if
    known, systemd.

    `package_families`: families of systems that the role kubernetes_host has packages for; not looked at where it is
    not there.
    """
    return for_hosts(
        {name: [*_system(host), *_kernel(host, kubernetes)] for name, host in hosts.items() if host.get("os")}
    )


def _system(host: Mapping[str, Any]) -> list[Finding]:
    subject = f"{host['os']} {host.get('os_version') or ''}".strip()
    version, systemd = _release(host.get("os_version")), _release(host.get("systemd"))
    for limit in matrix().systemd:
        if systemd and host.get("cgroup_version") == limit.cgroup_version and _within(limit.fails, systemd):
            found = f"systemd {host['systemd']} on cgroup v{limit.cgroup_version}: {limit.reason}"
            hint = f"boot the host with systemd.unified_cgroup_hierarchy=1. See {limit.source}"
            return [Finding("os_unsupported", subject, found, "cgroup v2", hint)]
    rules = [rule for rule in matrix().systems if host["os"] in rule.os]
    expected = "one of " + ", ".join(
        f"{name} {_spoken(rule.works)}" for rule in matrix().systems if rule.works for name in rule.os
    )
    for rule in rules:
        # Where every version fails, a rolling release without a version fails too.
        if _within(rule.fails, version or Version("0")):
            return [
                Finding("os_unsupported", subject, rule.reason, expected, f"install another system. See {rule.source}")
            ]
    family = str(host.get("os_family") or os_family(str(host["os"])))
    packages = host.get("package_families")
    if packages is not None and family not in packages:
        found = (
            f"kubernetes_host_packages has no list for the family {family}, so that role kubernetes_host cannot "
            "install its tools"
        )
        hint = f"install another system, or add a list for {family} to kubernetes_host_packages"
        return [Finding("os_unsupported", subject, found, expected, hint)]
    if version and any(_within(rule.works, version) for rule in rules):
        return []
    found = "nothing is known about it" + "".join(
        f"; {host['os']} {_spoken(rule.works)} is known to work" for rule in rules
    )
    return [Finding("os_untested", subject, found, expected, "try one such host first")]


def _kernel(host: Mapping[str, Any], kubernetes: str) -> list[Finding]:
    running, version = re.match(r"(\d+)\.(\d+)", str(host.get("kernel") or "")), _release(kubernetes)
    if not running or not version:
        return []
    rules = [
        rule
        for rule in matrix().kernels
        if _within(rule.kubernetes, version)
        and rule.cgroup_version in (0, host.get("cgroup_version"))
        and Version(running.group()) < Version(rule.minimum)
    ]
    if not rules:
        return []
    rule = max(rules, key=lambda rule: Version(rule.minimum))
    expected = f"kernel {rule.minimum} or later for Kubernetes {kubernetes}: {rule.reason}"
    hint = f"install a newer kernel or release of {host.get('os')}. See {rule.source}"
    return [Finding("kernel_too_old", f"kernel {host['kernel']}", f"kernel {running.group()}", expected, hint)]


def engine_findings(pools: Sequence[Pool], features: Sequence[str] = ()) -> list[Finding]:
    """Engines that pools ask for, with their environment, engine.json and the verbs that somebody relies on."""
    engines: defaultdict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for pool in pools:
        for version in pool.versions:
            engines[str(version)][pool.name] = pool.engine or {}
    told = {}
    for version, asked in engines.items():
        alike = all(engine == next(iter(asked.values())) for engine in asked.values())
        for name, engine in list(asked.items())[: 1 if alike else None]:
            told[f"engine {version}" + ("" if alike else f" of pool {name}")] = _engine(version, engine, features)
    return for_hosts(told)


def _engine(version: str, engine: Mapping[str, Any], features: Sequence[str]) -> list[Finding]:
    try:
        parsed = parse_version(version)
    except ValueError as error:
        return [Finding("variable_invalid", ENGINES, str(error), "versions of the engine", f"correct {ENGINES}")]
    minimum = matrix().client_minimum
    if parsed < parse_version(minimum.version):
        hint = f"set {ENGINES} to {FIRST_KNOWN} or later. See {minimum.source}"
        return [Finding("engine_too_old", ENGINES, "clients refuse this engine", f"{minimum.version} or later", hint)]
    if parsed < parse_version(FIRST_KNOWN):
        found, hint = (
            "the collection does not know this engine's engine.json",
            f"set {ENGINES} to {FIRST_KNOWN} or later",
        )
        return [Finding("engine_too_old", ENGINES, found, f"{FIRST_KNOWN} or later", hint)]
    findings = []
    try:
        space = engine.get("checkpoint_space") if int(engine.get("checkpoints_keep") or 0) else None
        config = engine_config(
            version,
            str(engine.get("profile") or "ci"),
            engine.get("config") or {},
            filesystem=engine.get("filesystem"),
            checkpoints=space,
            engines=len(engine.get("versions") or ()) or 1,
        )
    except ValueError as error:
        hint = "correct dagger_engine_config, or choose an engine that knows the key"
        findings.append(
            Finding(
                "engine_config_invalid",
                "dagger_engine_config",
                str(error),
                "keys and values that the engine knows",
                hint,
            )
        )
    else:
        if jobs_are_root(config):
            found = (
                "insecureRootCapabilities is on: jobs of this pool are root of their nodes, and of all that lies there"
            )
            hint = (
                "leave it out of dagger_engine_config or engine.config of the pool, or give such jobs a pool of "
                "their own"
            )
            subject, expected = (
                "dagger_engine_config.security",
                "false, unless everybody whose jobs run there may be root there",
            )
            findings.append(Finding("engine_jobs_are_root", subject, found, expected, hint))
    return [*findings, *_features(version, engine.get("environment") or {}, features)]


def _features(version: str, environment: Mapping[str, Any], verbs: Sequence[str]) -> list[Finding]:
    findings = []
    for feature in (feature for feature in matrix().engine_features if not feature.present(version)):
        see, expected = f". See {feature.source}", _when(feature)
        if feature.kind == "setting" and feature.feature in environment:
            subject = f"dagger_engine_environment.{feature.feature}"
            hint = f"remove {subject}: the engine would ignore it{see}"
            findings.append(Finding("engine_setting_unknown", subject, feature.reason, expected, hint))
        for verb in verbs:
            if feature.kind == "verb" and f"{verb} ".startswith(f"{feature.feature} "):
                hint = f"use {feature.instead}" if feature.instead else "do without it, or choose another engine"
                findings.append(Finding("engine_verb_missing", verb, feature.reason, expected, hint + see))
    return findings


def _when(feature: Feature) -> str:
    since = f"from {feature.since} on" if feature.since else ""
    until = f"before {feature.until}" if feature.until else ""
    return f"an engine {' and '.join(filter(None, (since, until)))}"


def skew_findings(
    hosts: Mapping[str, Mapping[str, Any]], kubernetes: str, engines: Mapping[str, Sequence[str]]
) -> list[Finding]:
    """What runs on each host (kubelet, api_server, engines; empty for nothing) against what is asked. `engines`:
    versions for each host.
    """
    told: dict[str, list[Finding]] = {name: _schemas(host, engines.get(name, ())) for name, host in hosts.items()}
    asked = _minor(kubernetes)
    servers = {name: minor for name, host in hosts.items() if (minor := _minor(host.get("api_server")))}
    kubelets = {name: minor for name, host in hosts.items() if (minor := _minor(host.get("kubelet")))}
    if asked:
        # The API server goes minor by minor. Where none is in sight, the kubelets tell what the cluster is.
        for name, minor in (servers or kubelets).items():
            told[name] += _step("API server" if servers else "kubelet", minor, asked)
        for name, minor in servers.items():
            told[name] += _upgrade(minor, asked)
        for name, minor in kubelets.items():
            told[name] += _kubelet(minor, asked, sorted(servers.values()))
    return for_hosts(told)


def _minor(text: Any) -> Minor | None:
    version = _release(text) if text else None
    return (version.major, version.minor) if version else None


def _text(minor: Minor) -> str:
    return f"{minor[0]}.{minor[1]}"


def _step(what: str, runs: Minor, asked: Minor) -> list[Finding]:
    found = f"{what} {_text(runs)} runs, {_text(asked)} is asked for"
    if asked < runs:
        hint = f"set {KUBERNETES} to a release of {_text(runs)} or later; Kubernetes has no way back to an older minor"
        return [Finding("kubernetes_downgrade", KUBERNETES, found, f"{_text(runs)} or later", hint)]
    following = (runs[0], runs[1] + 1)
    if asked > following:
        hint = f"go by {_text(following)} first: bring the cluster to it, then to the next minor"
        return [Finding("kubernetes_minor_skipped", KUBERNETES, found, f"{_text(runs)} or {_text(following)}", hint)]
    return []


def _upgrade(runs: Minor, asked: Minor) -> list[Finding]:
    """No role upgrades a control plane, and kubelets must not run ahead of it."""
    if asked != (runs[0], runs[1] + 1):
        return []
    found = f"API server {_text(runs)} runs, {_text(asked)} is asked for"
    hint = (
        "upgrade the control plane with `kubeadm upgrade` first, then run the play, which brings the kubelets to "
        f"{_text(asked)}"
    )
    return [Finding("kubernetes_upgrade_unsupported", KUBERNETES, found, f"an API server of {_text(asked)}", hint)]


def _kubelet(kubelet: Minor, asked: Minor, servers: Sequence[Minor]) -> list[Finding]:
    """A kubelet against the API servers that run. One that is ahead only because an upgrade was interrupted is left to
    that upgrade.
    """
    if not servers:
        return []
    oldest, newest = servers[0], servers[-1]
    found = f"kubelet {_text(kubelet)}, API server {_text(oldest)}"
    if kubelet > max(oldest, asked):
        hint = (
            f"set {KUBERNETES} to a release of {_text(kubelet)} if that is one minor on, or reset the host and "
            "join it again"
        )
        return [Finding("kubelet_too_new", "kubelet", found, f"a kubelet of {_text(oldest)} or older", hint)]
    first = max(newest, asked)
    lowest = (first[0], first[1] - KUBELET_SKEW)
    if kubelet < lowest:
        found = f"kubelet {_text(kubelet)}, API server {_text(newest)}, {_text(asked)} asked for"
        hint = "reset the host (`kubeadm reset`) and join it again"
        if kubelet >= (newest[0], newest[1] - KUBELET_SKEW):
            hint = (
                f"bring the kubelets to {_text(newest)} first: set {KUBERNETES} to the API server's release and "
                "run the play"
            )
        return [Finding("kubelet_too_old", "kubelet", found, f"a kubelet of {_text(lowest)} to {_text(first)}", hint)]
    return []


def _schema(version: str) -> str:
    """The cache schema of an engine; empty for engines before there was one, and for what is no version."""
    try:
        parsed = parse_version(version)
    except ValueError:
        return ""
    return next(
        (entry.schema for entry in reversed(matrix().engine_cache_schemas) if parsed >= parse_version(entry.since)), ""
    )


def _schemas(host: Mapping[str, Any], engines: Sequence[str]) -> list[Finding]:
    """Engines that are new on a host and cannot read the cache of any engine that was there."""
    there = [str(version) for version in host.get("engines") or ()]
    findings = []
    for version in engines:
        schema = _schema(str(version))
        if not there or not schema or str(version) in there or schema in map(_schema, there):
            continue
        found = "there is " + ", ".join(
            f"a cache of engine {old} (schema {_schema(old) or 'unknown'})" for old in there
        )
        expected = f"a cache of schema {schema}, which engine {version} reads"
        hint = (
            "expect an empty cache at first; keep the engine that is there beside the new one until its jobs have moved"
        )
        findings.append(Finding("engine_cache_schema", f"{ENGINES}: {version}", found, expected, hint))
    return findings
