# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which variables go to the API, to the kubelet or to GitHub as they are, and whether those would take them. Private to
the collection.

What the collection reads itself, such as floors of a machine or drives' sizes, may be written as people do (8GB) and is
not here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Callable

from ansible_collections.runnerfleet.baremetal.plugins.module_utils import _api_names, _image_digests
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._addresses import credentials_in
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.runner_credentials import (
    FORMS,
    FORMS_TOLD,
    stated,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.runner_reach import (
    ca_problems,
    proxy_problems,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.runner_share import follows_queue
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.runner_size import parse as runner_size
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.schedule import problems as schedule_problems
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._names import (
    ENGINE_TAINT,
    POOL_LABEL,
    POOL_TAINT,
    ROLE_LABEL,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._quantity import (
    kubernetes,
    kubernetes_cpu,
    percentage,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._secret_names import is_secret_name, names_a_secret

NAME_HINT = "correct it: the API or GitHub would refuse it later"
DIGEST_HINT = "take it from the file that preflight_image_digests_file names: the roles refuse an entry that is none"
SECRET_HINT = "keep it in a Secret of the engines' namespace, and name that in dagger_engine_environment_secret"
QUANTITY_HINT = "write it as Kubernetes does, such as 8Gi, 500M or 1500m: it goes there unchanged"
OWNERS = {
    "repository": _api_names.repository,
    "organization": _api_names.organization,
    "enterprise": _api_names.enterprise,
}
LONGEST_SET = 45  # characters of a scale set's name: the controller makes longer names of it
RESERVABLE = ("cpu", "memory", "ephemeral-storage", "pid")
SIGNALS = re.compile(
    r"(memory|nodefs|imagefs|containerfs|pid|allocatableMemory)\.available|(nodefs|imagefs|containerfs)\.inodesFree"
)


@dataclass(frozen=True)
class Problem:
    """Something that would be refused: where it stands, what was found and what was expected."""

    path: str
    found: str
    expected: str
    code: str = "variable_invalid"
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.path}: found {self.found}, expected {self.expected}"

    @property
    def hint(self) -> str:
        """What to do about it."""
        return self.advice or {"quantity_invalid": QUANTITY_HINT, "environment_secret": SECRET_HINT}.get(
            self.code, NAME_HINT
        )


Rule = Callable[[str, Any], Iterator[Problem]]


def _is(check: Callable[[Any], str]) -> Rule:
    """A rule of one name."""

    def rule(path: str, value: Any) -> Iterator[Problem]:
        expected = check(value)
        if expected:
            yield Problem(path, repr(value), expected)

    return rule


def _quantity(path: str, value: Any, parse: Callable[[Any], Fraction] = kubernetes) -> Iterator[Problem]:
    try:
        parse(value)
    except ValueError as error:
        found, _comma, expected = str(error).removeprefix("found ").rpartition(", expected ")
        yield Problem(path, found, expected, "quantity_invalid")


def _cpu(path: str, value: Any) -> Iterator[Problem]:
    yield from _quantity(path, value, kubernetes_cpu)


def _amount(path: str, name: str, value: Any) -> Iterator[Problem]:
    yield from (_cpu if name == "cpu" else _quantity)(path, value)


def _labels(path: str, value: Any) -> Iterator[Problem]:
    for key, text in value.items() if isinstance(value, Mapping) else ():
        for expected in filter(None, (_api_names.label_key(key), _api_names.label_value(label_text(text)))):
            yield Problem(f"{path}.{key}", f"the label {key}={text}", expected)


def _taints(path: str, value: Any) -> Iterator[Problem]:
    taints = [taint for taint in value or () if isinstance(taint, Mapping)]
    for index, taint in enumerate(taints):
        key, text, effect = taint.get("key"), taint.get("value") or "", taint.get("effect")
        for expected in filter(
            None, (_api_names.label_key(key), _api_names.label_value(text), _api_names.effect(effect))
        ):
            yield Problem(f"{path}[{index}]", f"the taint {key}={text}:{effect}", expected)
    for (key, effect), times in Counter((taint.get("key"), taint.get("effect")) for taint in taints).items():
        if times > 1:
            yield Problem(path, f"two taints of the same key and effect, {key}:{effect}", "one")


def label_text(value: Any) -> str:
    """A label's value as it is written: YAML makes a truth value of a bare true, and people mean the word."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _pools(path: str, value: Any) -> Iterator[Problem]:
    for index, pool in enumerate(value or ()):
        if isinstance(pool, Mapping) and "name" in pool:
            yield from pool_problems(f"{path}[{index}]", pool)


def pool_problems(path: str, pool: Mapping[str, Any]) -> Iterator[Problem]:
    """One entry of fleet_pools."""
    name = str(pool["name"])
    # A pool is a label's value on its nodes; one with engines is part of the names of their objects too.
    expected = (_api_names.dns_label if pool.get("engine") else _api_names.label_value)(name) if name else "a name"
    if expected:
        yield Problem(f"{path}.name", repr(pool["name"]), expected)
    yield from _labels(f"{path}.labels", pool.get("labels") or {})
    for key in pool.get("labels") or {}:
        if key in (POOL_LABEL, f"{ROLE_LABEL}{name}"):
            yield Problem(f"{path}.labels.{key}", f"the label {key}", "none of that key: it is set by itself")
    yield from _taints(f"{path}.taints", pool.get("taints"))
    for taint in pool.get("taints") or ():
        if isinstance(taint, Mapping) and taint.get("key") in (POOL_TAINT, ENGINE_TAINT):
            yield Problem(
                f"{path}.taints",
                f"the taint {taint['key']}",
                "none of that key: it is set by itself, where engine says so",
            )
    engine = pool.get("engine")
    for key, rule in ENGINE_RULES.items():
        if isinstance(engine, Mapping) and engine.get(key) not in (None, ""):
            yield from rule(f"{path}.engine.{key}", engine[key])


def _resources(path: str, value: Any) -> Iterator[Problem]:
    """Requests and limits of a container, in a kind of its own: such a kind takes no numbers with a point."""
    parts = value if isinstance(value, Mapping) else {}
    for part in parts:
        if part not in ("requests", "limits", "claims"):
            yield Problem(f"{path}.{part}", f"the key {part}", "requests or limits")
    amounts: dict[str, dict[str, Fraction]] = {"requests": {}, "limits": {}}
    for part, known in amounts.items():
        for name, amount in (parts.get(part) or {}).items() if isinstance(parts.get(part) or {}, Mapping) else ():
            where = f"{path}.{part}.{name}"
            if (
                name not in ("cpu", "memory", "ephemeral-storage")
                and not name.startswith("hugepages-")
                and "/" not in name
            ):
                yield Problem(
                    where,
                    f"the resource {name}",
                    "cpu, memory, ephemeral-storage, hugepages-<size> or one with a domain",
                )
                continue
            if isinstance(amount, float):
                yield Problem(
                    where, f"the number {amount}", f"a text, such as '{amount}' in quotes", "quantity_invalid"
                )
                continue
            problems = list(_amount(where, name, amount))
            yield from problems
            if not problems:
                known[name] = kubernetes(amount)
    for name, limit in amounts["limits"].items():
        request = amounts["requests"].get(name, limit)
        whole = name.startswith("hugepages-") or "/" in name
        if request > limit or (whole and request != limit):
            found = f"{parts['requests'][name]} requested and a limit of {parts['limits'][name]}"
            expected = "the same as the limit" if whole else "a request of at most the limit"
            yield Problem(f"{path}.requests.{name}", found, expected, "quantity_invalid")


def _limits(path: str, value: Any) -> Iterator[Problem]:
    for problem in _resources(path, {"limits": value}):
        yield replace(problem, path=problem.path.replace(f"{path}.limits", path, 1))


def _reserved(path: str, value: Any) -> Iterator[Problem]:
    for name, amount in value.items() if isinstance(value, Mapping) else ():
        if name not in RESERVABLE:
            yield Problem(f"{path}.{name}", f"the resource {name}", f"one of {', '.join(RESERVABLE)}")
        else:
            yield from _amount(f"{path}.{name}", name, amount)


def _thresholds(path: str, value: Any) -> Iterator[Problem]:
    for signal, amount in value.items() if isinstance(value, Mapping) else ():
        if not SIGNALS.fullmatch(str(signal)):
            yield Problem(
                f"{path}.{signal}",
                f"the signal {signal}",
                "one of the kubelet's, such as memory.available or nodefs.available",
            )
        elif isinstance(amount, str) and amount.endswith("%"):
            try:
                percentage(amount)
            except ValueError as error:
                yield Problem(
                    f"{path}.{signal}", repr(amount), str(error).rpartition("expected ")[2], "quantity_invalid"
                )
        else:
            yield from _quantity(f"{path}.{signal}", amount)


def _environment(path: str, value: Any) -> Iterator[Problem]:
    for name, text in value.items() if isinstance(value, Mapping) else ():
        expected = _api_names.environment(name)
        if expected and names_a_secret(str(name)):
            yield Problem(path, "a name with a value in it", expected)
        elif expected:
            yield Problem(f"{path}.{name}", repr(name), expected)
        elif text not in (None, "") and (is_secret_name(str(name)) or names_a_secret(str(text))):
            # It would stand in the DaemonSet, in diffs, in results and in what AWX keeps of them.
            found = (
                "a secret in plain text, by its name" if is_secret_name(str(name)) else "a value that names a secret"
            )
            yield Problem(f"{path}.{name}", found, "a reference to a Secret", "environment_secret")


def _zone(path: str, value: Any) -> Iterator[Problem]:
    if not re.fullmatch(r"UTC|[A-Z][A-Za-z0-9_+-]*(/[A-Z][A-Za-z0-9_+-]*){1,2}", str(value)):
        yield Problem(path, repr(value), "UTC, or the name of a time zone such as Europe/Berlin")


def _runner_pools(path: str, value: Any) -> Iterator[Problem]:
    entries = [entry for entry in value or () if isinstance(entry, Mapping)]
    for index, entry in enumerate(entries):
        yield from _runner_pool(f"{path}[{index}]", entry)
    for name, times in Counter(str(entry.get("name")) for entry in entries).items():
        if times > 1:
            yield Problem(path, f"{times} entries of the name {name}", "names that are unique")


def _runner_pool(path: str, entry: Mapping[str, Any]) -> Iterator[Problem]:
    expected = _api_names.object_and_label(entry.get("name"))
    if not expected and len(str(entry["name"])) > LONGEST_SET:
        expected = f"at most {LONGEST_SET} characters, as scale sets have"
    if expected:
        yield Problem(f"{path}.name", repr(entry.get("name")), expected)
    owners = [kind for kind in OWNERS if entry.get(kind)]
    if len(owners) != 1:
        yield Problem(
            path, f"{' and '.join(owners) or 'no owner'} for {entry.get('name')}", f"exactly one of {', '.join(OWNERS)}"
        )
    for kind in owners:
        yield from _is(OWNERS[kind])(f"{path}.{kind}", entry[kind])
    if entry.get("runner_group") and owners == ["repository"]:
        found = f"the runner group {entry['runner_group']!r}"
        yield Problem(f"{path}.runner_group", found, "none: a repository has no runner groups")
    for index, label in enumerate(entry.get("labels") or ()):
        yield from _is(_api_names.runner_label)(f"{path}.labels[{index}]", label)
    if isinstance(entry.get("replicas"), int) and entry["replicas"] < 0:
        yield Problem(f"{path}.replicas", str(entry["replicas"]), "0 or more")
    yield from _resources(f"{path}.resources", entry.get("resources") or {})
    yield from _size(f"{path}.size", entry.get("size"))
    yield from _numbers(path, entry)
    yield from _schedule(path, entry)
    yield from _repositories(path, entry)
    yield from _credential(f"{path}.credential", entry.get("credential"))
    yield from _proxy(f"{path}.proxy", entry.get("proxy"))
    yield from _ca(f"{path}.ca", entry.get("ca"))
    if entry.get("runtime_class"):
        yield from _is(_api_names.dns_subdomain)(f"{path}.runtime_class", entry["runtime_class"])


def _size(path: str, value: Any) -> Iterator[Problem]:
    if value not in (None, ""):
        try:
            runner_size(value)
        except ValueError as error:
            found, _comma, expected = str(error).partition(", expected ")
            yield Problem(path, found.removeprefix("found "), expected, "quantity_invalid")


def _numbers(path: str, entry: Mapping[str, Any]) -> Iterator[Problem]:
    """Runners of a scale set: at least and at most."""
    least, most = entry.get("min") or 0, "auto" if entry.get("max") is None else entry["max"]
    if not (isinstance(least, int) and least >= 0):
        yield Problem(f"{path}.min", repr(least), "0 or more")
    elif most != "auto" and not (isinstance(most, int) and not isinstance(most, bool) and most >= least):
        yield Problem(f"{path}.max", repr(most), f"auto, or a number of at least {least}, which is min")


def _schedule(path: str, entry: Mapping[str, Any]) -> Iterator[Problem]:
    least = entry["min"] if isinstance(entry.get("min"), int) else 0
    for where, found, expected in schedule_problems(entry.get("schedule") or [], least):
        yield Problem(f"{path}.schedule{where}", found, expected)


def _repositories(path: str, entry: Mapping[str, Any]) -> Iterator[Problem]:
    """Whose queues the legacy autoscaler reads."""
    for index, name in enumerate(entry.get("repositories") or ()):
        owner = entry.get("organization")
        if not owner:
            yield Problem(f"{path}.repositories", f"{name!r} without an organization", "names of its repositories")
            return
        if _api_names.repository(f"{owner}/{name}"):
            yield Problem(f"{path}.repositories[{index}]", repr(name), f"the name of a repository of {owner} alone")


def legacy_problems(path: str, entries: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    """What the legacy controller's autoscaler cannot do of these entries of runner_pools_pools."""
    for index, entry in enumerate(entries):
        where = f"{path}[{index}]"
        if not follows_queue(entry, "legacy"):
            continue
        if entry.get("replicas") is not None:
            found = f"{entry['replicas']} beside min, max or schedule"
            yield Problem(f"{where}.replicas", found, "none: the number of runners follows the queue")
        if entry.get("max") in (None, "auto") and not entry.get("size"):
            yield Problem(f"{where}.max", "auto without a size", "a number, or a size to count with")
        if not entry.get("repository") and not entry.get("repositories") and not entry.get("min"):
            expected = "at least 1, or repositories: where no queue can be read, runners follow how many are busy"
            yield Problem(f"{where}.min", str(entry.get("min") or 0), expected)
        for number, window in enumerate(entry.get("schedule") or ()):
            if isinstance(window, Mapping) and window.get("max") is not None:
                expected = "none: the legacy controller knows windows of min alone"
                yield Problem(f"{where}.schedule[{number}].max", str(window["max"]), expected)


def _credential(path: str, value: Any) -> Iterator[Problem]:
    given = tuple(sorted(stated(value)))
    if given and given not in FORMS:
        yield Problem(path, f"the keys {', '.join(given)}", FORMS_TOLD)
    yield from _github_auth(path, value)


def _proxy(path: str, value: Any) -> Iterator[Problem]:
    for where, found, expected in proxy_problems(path, value):
        yield Problem(where, found, expected)
    if isinstance(value, Mapping) and value.get("secret"):
        yield from _is(_api_names.dns_subdomain)(f"{path}.secret", value["secret"])


def _ca(path: str, value: Any) -> Iterator[Problem]:
    for where, found, expected in ca_problems(path, value):
        yield Problem(where, found, expected)
    if isinstance(value, Mapping) and value.get("config_map"):
        yield from _is(_api_names.dns_subdomain)(f"{path}.config_map", value["config_map"])


def _quota(path: str, value: Any) -> Iterator[Problem]:
    headroom = value.get("headroom") if isinstance(value, Mapping) else None
    if isinstance(headroom, int) and headroom < 0:
        yield Problem(f"{path}.headroom", str(headroom), "0 or more, or an empty mapping for no quota")


def _digests(path: str, value: Any) -> Iterator[Problem]:
    for image, found, expected in _image_digests.problems(value) if isinstance(value, Mapping) else ():
        yield Problem(f"{path}['{image}']", found, expected, advice=DIGEST_HINT)


def _github_auth(path: str, value: Any) -> Iterator[Problem]:
    if isinstance(value, Mapping) and value.get("secret"):
        yield from _is(_api_names.dns_subdomain)(f"{path}.secret", value["secret"])


ENGINE_RULES: dict[str, Rule] = {
    "cpu": _cpu,
    "environment": _environment,
    "environment_secret": _is(_api_names.dns_subdomain),
    "memory": _quantity,
}
RULES: dict[str, Rule] = {
    "control_plane_taints": _taints,
    "dagger_engine_cpu": _cpu,
    "dagger_engine_environment": _environment,
    "dagger_engine_environment_secret": _is(_api_names.dns_subdomain),
    "dagger_engine_memory": _quantity,
    "dagger_engine_monitor_labels": _labels,
    "dagger_engine_pools": _pools,
    "dagger_engine_namespace": _is(_api_names.dns_label),
    "dagger_engine_runner_namespace": _is(_api_names.dns_label),
    **{
        f"{name}_image_digests": _digests
        for name in (
            "fleet",
            "cert_manager",
            "container_runtime",
            "dagger_engine",
            "pod_network",
            "runner_controller",
            "runner_pools",
        )
    },
    "fleet_arc_namespace": _is(_api_names.dns_label),
    "fleet_cert_manager_namespace": _is(_api_names.dns_label),
    "fleet_dagger_namespace": _is(_api_names.dns_label),
    "fleet_pools": _pools,
    "fleet_runner_namespace": _is(_api_names.dns_label),
    "kubernetes_host_eviction_hard": _thresholds,
    "kubernetes_host_kube_reserved": _reserved,
    "kubernetes_host_system_reserved": _reserved,
    "runner_controller_github_auth": _github_auth,
    "runner_controller_node_selector": _labels,
    "cert_manager_node_selector": _labels,
    "runner_pools_ca": _ca,
    "runner_pools_github_auth": _credential,
    "runner_pools_limits": _limits,
    "runner_pools_namespace": _is(_api_names.dns_label),
    "runner_pools_pools": _runner_pools,
    "runner_pools_proxy": _proxy,
    "runner_pools_quota": _quota,
    "runner_pools_resources": _resources,
    "runner_pools_size": _size,
    "runner_pools_timezone": _zone,
    "fleet_timezone": _zone,
}


def problems(name: str, value: Any) -> list[Problem]:
    """What the API, the kubelet or GitHub would refuse of a variable of this name; nothing for a variable that none of
    them gets.
    """
    if value in (None, "") or name not in RULES:
        return []
    return list(RULES[name](name, value))


def engine_of(entry: Mapping[str, Any], engines: Mapping[str, Sequence[str]], default: str = "") -> tuple[str, str]:
    """The pool of nodes and the version of the engine that an entry of runner_pools_pools means; see unknown_engines.

    Either is empty where the entry states none and there is none to take.
    """
    pool = str(entry.get("pool") or next(iter(engines), ""))
    return pool, str(entry.get("engine_version") or default or next(iter(engines.get(pool, ())), ""))


def unknown_engines(
    path: str, entries: Sequence[Mapping[str, Any]], engines: Mapping[str, Sequence[str]], default: str = ""
) -> Iterator[Problem]:
    """Entries of runner_pools_pools whose pool of nodes has no engines, or not of their version.

    `engines`: versions by the name of each pool with engines; `default`: the version of entries that state none, the
    first of their pool where it is empty.
    """
    known = f"one of the pools with engines: {', '.join(engines) or 'there is none'}"
    for index, entry in enumerate(entries):
        pool, version = engine_of(entry, engines, default)
        if pool not in engines:
            yield Problem(f"{path}[{index}].pool", repr(pool) if pool else "nothing", known)
            continue
        if version and version not in engines[pool]:
            where = f"{path}[{index}].engine_version" if entry.get("engine_version") else "runner_pools_engine_version"
            found = f"{version!r} for {entry.get('name')}, whose runners run in pool {pool}"
            yield Problem(
                where, found, f"a version of that pool's engines: {', '.join(engines[pool]) or 'it has none'}"
            )


def deployment_problems(
    entries: Sequence[Mapping[str, Any]], engines: Mapping[str, Sequence[str]], default: str, flavour: str
) -> list[Problem]:
    """What is wrong with runner pools by the engines that they name, see unknown_engines, and by the controller that
    makes their runners.
    """
    legacy = legacy_problems("runner_pools_pools", entries) if flavour == "legacy" else ()
    return [*unknown_engines("runner_pools_pools", entries, engines, default), *legacy]


def runner_pool_problems(
    entries: Sequence[Mapping[str, Any]],
    engines: Mapping[str, Sequence[str]],
    default: str = "",
    flavour: str = "",
    common: Mapping[str, Any] | None = None,
) -> list[Problem]:
    """All that is wrong with runner pools, by themselves and where they are deployed; see deployment_problems.

    `common`: variables by name that hold for entries that do not state the same.
    """
    stated_once = (common or {}).items()
    proxies = {f"runner_pools_pools[{index}].proxy": entry.get("proxy") for index, entry in enumerate(entries)}
    proxies["runner_pools_proxy"] = (common or {}).get("runner_pools_proxy")
    where = [place for path, proxy in proxies.items() for place in credentials_in(path, proxy)]
    expected = "an address without them, and the name of a Secret with username and password as secret"
    return [
        *_runner_pools("runner_pools_pools", entries),
        *[problem for name, value in stated_once for problem in problems(name, value)],
        *[Problem(place, "a user name or a password inside an address", expected) for place in where],
        *deployment_problems(entries, engines, default, flavour),
    ]


def engine_problems(pools: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    """What the engines of these pools may not be given, since it is secret. `pools`: as fleet_pools has them, with
    nothing left out.
    """
    for pool in pools:
        engine = pool.get("engine") or {}
        path = f"pool {pool['name']}, engine.environment"
        yield from _environment(path, engine.get("environment"))
        for where in credentials_in(path, engine.get("environment") or {}):
            yield Problem(
                where, "a user name or a password inside an address", "a reference to a Secret", "environment_secret"
            )
        if engine.get("environment_secret"):
            yield from _is(_api_names.dns_subdomain)(
                f"pool {pool['name']}, engine.environment_secret", engine["environment_secret"]
            )
