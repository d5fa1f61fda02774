# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The CIS Kubernetes Benchmark 1.12 as rules over what a host says of itself. Pure. Private to the collection.

A host says of itself what it likes: a stolen one passes. What is read is of use where the host is what it seems.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host.cis_subjects import (
    API,
    ETCD,
    KUBELET,
    MANAGER,
    MANIFESTS,
    PROGRAMS,
    SCHEDULER,
)

PASS, FAIL, ACCEPTED, UNREAD = "pass", "fail", "accepted", "not read"
FILES = "files"
PROVIDERS = (
    "providers of Secrets"  # a key beside the API server's flags: what its configuration of encryption has for them
)
UNREADABLE = object()  # a file that an argument names, and that could not be read
# What a kubelet does where its configuration is silent (v1beta1), and what it did before there was one, where it is
# given none.
KUBELET_DEFAULTS: dict[str, Any] = {
    "authentication": {"anonymous": {"enabled": False}},
    "authorization": {"mode": "Webhook"},
    "readOnlyPort": 0,
    "makeIPTablesUtilChains": True,
    "streamingConnectionIdleTimeout": "4h0m0s",
    "rotateCertificates": False,
    "podPidsLimit": -1,
    "seccompDefault": False,
    "serverTLSBootstrap": False,
}
KUBELET_WITHOUT: dict[str, Any] = {
    "authentication": {"anonymous": {"enabled": True}},
    "authorization": {"mode": "AlwaysAllow"},
    "readOnlyPort": 10255,
}
# Its arguments win over its configuration.
KUBELET_FLAGS = {
    "anonymous-auth": "authentication.anonymous.enabled",
    "authorization-mode": "authorization.mode",
    "client-ca-file": "authentication.x509.clientCAFile",
    "event-qps": "eventRecordQPS",
    "make-iptables-util-chains": "makeIPTablesUtilChains",
    "pod-max-pids": "podPidsLimit",
    "read-only-port": "readOnlyPort",
    "rotate-certificates": "rotateCertificates",
    "rotate-server-certificates": "serverTLSBootstrap",
    "seccomp-default": "seccompDefault",
    "streaming-connection-idle-timeout": "streamingConnectionIdleTimeout",
    "tls-cert-file": "tlsCertFile",
    "tls-cipher-suites": "tlsCipherSuites",
}
# What a program does where an argument is not there.
FLAG_DEFAULTS: dict[str, dict[str, str]] = {
    API: {
        "anonymous-auth": "true",
        "authorization-mode": "AlwaysAllow",
        "profiling": "true",
        "service-account-lookup": "true",
    },
    MANAGER: {"bind-address": "0.0.0.0", "profiling": "true"},
    SCHEDULER: {"bind-address": "0.0.0.0", "profiling": "true"},
}
NAMELESS = {"/livez", "/readyz", "/healthz", "/api/v1/namespaces/kube-public/configmaps/cluster-info"}
_STRONG = ("TLS_AES_", "TLS_CHACHA20_", "TLS_ECDHE_")
_WEAK = ("_CBC_", "_3DES_", "_RC4_")


@dataclass(frozen=True)
class Item:
    """One recommendation. `judge` takes what was found and returns whether it will do."""

    number: str
    title: str
    component: str
    key: str  # a flag, a path in the kubelet's configuration, or a pattern of files
    judge: Callable[[Any], bool]
    expected: str
    accepted: str = ""  # why it is not held here, on purpose


@dataclass(frozen=True)
class Verdict:
    """What an item comes to on a host."""

    host: str
    number: str
    title: str
    verdict: str
    found: str
    expected: str
    reason: str = ""

    def as_dict(self) -> dict[str, str]:
        """For results and files."""
        return dict(self.__dict__)


def _is(*values: str) -> Callable[[Any], bool]:
    return lambda found: str(found).lower() in values


def _set(found: Any) -> bool:
    return found not in (None, "", False)


def _unset(found: Any) -> bool:
    return not _set(found)


def _unset_or(*values: str) -> Callable[[Any], bool]:
    return lambda found: _unset(found) or str(found).lower() in values


def _has(name: str) -> Callable[[Any], bool]:
    return lambda found: name in str(found or "").split(",")


def _lacks(name: str) -> Callable[[Any], bool]:
    return lambda found: name not in str(found or "").split(",")


def _at_least(least: int) -> Callable[[Any], bool]:
    return lambda found: str(found or "").isdigit() and int(found) >= least


def _strong(found: Any) -> bool:
    names = list(found) if isinstance(found, (list, tuple)) else str(found or "").split(",")
    return bool(names) and all(
        str(name).startswith(_STRONG) and not any(weak in str(name) for weak in _WEAK) for name in names
    )


def _files(most: int) -> Callable[[Any], bool]:
    """Each file has no permission beyond these, and is root's."""

    def judge(found: Any) -> bool:
        return all(
            _mode(file) & ~most == 0 and (file.get("owner"), file.get("group")) == ("root", "root")
            for file in found.values()
        )

    return judge


def _mode(file: Mapping[str, Any]) -> int:
    try:
        return int(str(file.get("mode")), 8)
    except ValueError:
        return 0o777


def _file(number: str, title: str, pattern: str, most: int, accepted: str = "") -> Item:
    return Item(number, title, FILES, pattern, _files(most), f"at most {most:04o}, root:root", accepted)


_FOR = "for "
_LIMITED = (
    "answers without a name are limited to health and to the ConfigMap of joining machines (--authentication-config)"
)
CONTROL_PLANE: tuple[Item, ...] = (
    *(
        _file(number, f"manifest of {name}", f"{MANIFESTS}/{name}.yaml", 0o600)
        for number, name in (("1.1.1-2", API), ("1.1.3-4", MANAGER), ("1.1.5-6", SCHEDULER), ("1.1.7-8", ETCD))
    ),
    _file(
        "1.1.9-10",
        "configuration of the pod network",
        "/etc/cni/net.d/*",
        0o600,
        "flannel writes it, readable for all, and it holds no secret",
    ),
    _file("1.1.11-12", "data of etcd", "/var/lib/etcd", 0o700),
    _file("1.1.13-14", "the administrators' kubeconfigs", "/etc/kubernetes/*admin.conf", 0o600),
    _file("1.1.15-16", "kubeconfig of the scheduler", "/etc/kubernetes/scheduler.conf", 0o600),
    _file("1.1.17-18", "kubeconfig of the controller manager", "/etc/kubernetes/controller-manager.conf", 0o600),
    _file("1.1.19-20", "certificates of the cluster", "/etc/kubernetes/pki/**/*.crt", 0o644),
    _file("1.1.21", "keys of the cluster", "/etc/kubernetes/pki/**/*.key", 0o600),
    Item("1.2.1", "nobody without a name", API, "anonymous-auth", _is("false"), "false"),
    Item("1.2.2", "no passwords in a file", API, "token-auth-file", _unset, "not set"),
    Item(
        "1.2.3",
        "no external addresses of services",
        API,
        "enable-admission-plugins",
        _has("DenyServiceExternalIPs"),
        "DenyServiceExternalIPs",
    ),
    Item("1.2.4", "a certificate for kubelets", API, "kubelet-client-certificate", _set, "set"),
    Item("1.2.5", "kubelets are known by their certificate", API, "kubelet-certificate-authority", _set, "set"),
    Item("1.2.6", "not everything is allowed", API, "authorization-mode", _lacks("AlwaysAllow"), "without AlwaysAllow"),
    Item("1.2.7", "nodes see what is theirs", API, "authorization-mode", _has("Node"), "Node"),
    Item("1.2.8", "roles decide", API, "authorization-mode", _has("RBAC"), "RBAC"),
    Item(
        "1.2.9",
        "a limit of events",
        API,
        "enable-admission-plugins",
        _has("EventRateLimit"),
        "EventRateLimit",
        "kubelets limit their own events, and the API's priorities keep one flow from the others",
    ),
    Item(
        "1.2.10",
        "not everything is admitted",
        API,
        "enable-admission-plugins",
        _lacks("AlwaysAdmit"),
        "without AlwaysAdmit",
    ),
    Item(
        "1.2.11",
        "images are pulled anew for each pod",
        API,
        "enable-admission-plugins",
        _has("AlwaysPullImages"),
        "AlwaysPullImages",
        "the fleet's images need no credential, and jobs would wait for gigabytes that their node has; a pool is a "
        "trust domain",
    ),
    Item(
        "1.2.12",
        "pods have accounts",
        API,
        "disable-admission-plugins",
        _lacks("ServiceAccount"),
        "without ServiceAccount",
    ),
    Item(
        "1.2.13",
        "namespaces that go take nothing new",
        API,
        "disable-admission-plugins",
        _lacks("NamespaceLifecycle"),
        "without it",
    ),
    Item(
        "1.2.14",
        "nodes write what is theirs",
        API,
        "enable-admission-plugins",
        _has("NodeRestriction"),
        "NodeRestriction",
    ),
    Item("1.2.15", "no profiling", API, "profiling", _is("false"), "false"),
    Item("1.2.16", "an audit log", API, "audit-log-path", _set, "set"),
    Item("1.2.17", "days of the audit log", API, "audit-log-maxage", _at_least(30), "30 or more"),
    Item("1.2.18", "files of the audit log", API, "audit-log-maxbackup", _at_least(10), "10 or more"),
    Item("1.2.19", "size of the audit log", API, "audit-log-maxsize", _at_least(100), "100 or more"),
    Item("1.2.21", "accounts that are gone count no more", API, "service-account-lookup", _unset_or("true"), "true"),
    Item("1.2.22", "a key for tokens", API, "service-account-key-file", _set, "set"),
    Item("1.2.23", "a certificate for etcd", API, "etcd-certfile", _set, "set"),
    Item("1.2.24", "a certificate to serve with", API, "tls-cert-file", _set, "set"),
    Item("1.2.25", "clients are known by their certificate", API, "client-ca-file", _set, "set"),
    Item("1.2.26", "etcd is known by its certificate", API, "etcd-cafile", _set, "set"),
    Item("1.2.27", "Secrets are encrypted at rest", API, "encryption-provider-config", _set, "set"),
    Item(
        "1.2.28",
        "by a provider that encrypts",
        API,
        PROVIDERS,
        lambda found: str(found).partition(",")[0] in ("aescbc", "kms", "secretbox"),
        "aescbc, kms or secretbox first",
    ),
    Item("1.2.29", "ciphers with forward secrecy", API, "tls-cipher-suites", _strong, "ECDHE with GCM or CHACHA20"),
    Item("1.2.30", "tokens are not extended", API, "service-account-extend-token-expiration", _is("false"), "false"),
    Item("1.3.1", "pods that ended go", MANAGER, "terminated-pod-gc-threshold", _set, "set"),
    Item("1.3.2", "no profiling", MANAGER, "profiling", _is("false"), "false"),
    Item("1.3.3", "an account for each controller", MANAGER, "use-service-account-credentials", _is("true"), "true"),
    Item("1.3.4", "a key to sign tokens with", MANAGER, "service-account-private-key-file", _set, "set"),
    Item("1.3.5", "pods know the API by its certificate", MANAGER, "root-ca-file", _set, "set"),
    Item(
        "1.3.6",
        "kubelets' certificates are renewed",
        MANAGER,
        "feature-gates",
        _lacks("RotateKubeletServerCertificate=false"),
        "without RotateKubeletServerCertificate=false",
    ),
    Item("1.3.7", "on loopback", MANAGER, "bind-address", _is("127.0.0.1"), "127.0.0.1"),
    Item("1.4.1", "no profiling", SCHEDULER, "profiling", _is("false"), "false"),
    Item("1.4.2", "on loopback", SCHEDULER, "bind-address", _is("127.0.0.1"), "127.0.0.1"),
    Item("2.1", "a certificate to serve with", ETCD, "cert-file", _set, "set"),
    Item("2.2", "clients are known by their certificate", ETCD, "client-cert-auth", _is("true"), "true"),
    Item("2.3", "no certificates of its own making", ETCD, "auto-tls", _unset_or("false"), "not true"),
    Item("2.4", "a certificate for its peers", ETCD, "peer-cert-file", _set, "set"),
    Item("2.5", "peers are known by their certificate", ETCD, "peer-client-cert-auth", _is("true"), "true"),
    Item("2.6", "no certificates of its own making for peers", ETCD, "peer-auto-tls", _unset_or("false"), "not true"),
    Item(
        "2.7",
        "a CA of its own",
        ETCD,
        "trusted-ca-file",
        lambda found: "/etcd/" in str(found),
        "another one than the cluster's",
    ),
    Item("3.2.1", "an audit policy", API, "audit-policy-file", _set, "set"),
)
NODE: tuple[Item, ...] = (
    _file("4.1.1-2", "unit of the kubelet", "/etc/systemd/system/kubelet.service", 0o600),
    _file("4.1.5-6", "kubeconfig of the kubelet", "/etc/kubernetes/kubelet.conf", 0o600),
    _file("4.1.7-8", "CA of the cluster", "/etc/kubernetes/pki/ca.crt", 0o644),
    _file(
        "4.1.9-10",
        "configuration of the kubelet",
        "/var/lib/kubelet/config.yaml",
        0o600,
        "a join closes it; on a node that joined before that was so, it is readable for all in a directory that root "
        "alone enters",
    ),
    Item("4.2.1", "nobody without a name", KUBELET, "authentication.anonymous.enabled", _is("false"), "false"),
    Item("4.2.2", "the API decides who may", KUBELET, "authorization.mode", _is("webhook"), "Webhook"),
    Item("4.2.3", "clients are known by their certificate", KUBELET, "authentication.x509.clientCAFile", _set, "set"),
    Item("4.2.4", "no port without a login", KUBELET, "readOnlyPort", _is("0"), "0"),
    # Nothing, and 0 as kubeadm writes it, are the kubelet's four hours.
    Item(
        "4.2.5",
        "streams that idle end",
        KUBELET,
        "streamingConnectionIdleTimeout",
        lambda found: not str(found).startswith("-"),
        "not off",
    ),
    Item("4.2.6", "rules of the kernel are kept", KUBELET, "makeIPTablesUtilChains", _is("true"), "true"),
    Item(
        "4.2.8",
        "events are kept",
        KUBELET,
        "eventRecordQPS",
        lambda found: _unset(found) or str(found).isdigit(),
        "0 or more",
    ),
    Item("4.2.9", "a certificate to serve with", KUBELET, "tlsCertFile", _set, "set, or serverTLSBootstrap"),
    Item("4.2.10", "its certificate is renewed", KUBELET, "rotateCertificates", _is("true"), "true"),
    Item(
        "4.2.11",
        "it serves with one of the cluster, which is renewed",
        KUBELET,
        "serverTLSBootstrap",
        _is("true"),
        "true",
    ),
    Item("4.2.12", "ciphers with forward secrecy", KUBELET, "tlsCipherSuites", _strong, "ECDHE with GCM or CHACHA20"),
    Item("4.2.13", "a limit of processes in a pod", KUBELET, "podPidsLimit", _at_least(1), "set"),
    Item("4.2.14", "system calls are filtered", KUBELET, "seccompDefault", _is("true"), "true"),
)


def verdicts(hosts: Mapping[str, Any], control_planes: Sequence[str], accepted: Mapping[str, str]) -> Iterator[Verdict]:
    """Each item of each host. `hosts`: what cis_facts returned; `accepted`: more numbers, each with its reason."""
    _check(accepted)
    for host, facts in hosts.items():
        items = (*CONTROL_PLANE, *NODE) if host in control_planes else NODE
        seen = _settings(facts if isinstance(facts, Mapping) else {})
        for item in items:
            yield _judge(host, item, seen, {**({item.number: item.accepted} if item.accepted else {}), **accepted})


def _check(accepted: Mapping[str, str]) -> None:
    """A number that no item has would accept nothing, and say so nowhere."""
    numbers = [item.number for item in (*CONTROL_PLANE, *NODE)]
    for number, reason in accepted.items():
        if number not in numbers:
            pair = next((known for known in numbers if number in _pair(known)), "")
            hint = f"it is a part of {pair}" if pair else "docs/cis.md says what is not read"
            raise ValueError(
                f"cis_report_accepted: found {str(number)[:100]!r}, expected a number as the report has it; {hint}"
            )
        if not isinstance(reason, str) or not reason.strip():
            raise ValueError(
                f"cis_report_accepted[{number!r}]: found {reason!r}, expected the reason why it is accepted"
            )


def _pair(number: str) -> tuple[str, ...]:
    """Both numbers of an item that is two of the benchmark's, 1.1.1-2."""
    first, _dash, last = number.partition("-")
    return (first, f"{first.rpartition('.')[0]}.{last}") if last else ()


def _judge(host: str, item: Item, seen: Mapping[str, Mapping[str, Any]], accepted: Mapping[str, str]) -> Verdict:
    settings = seen.get(item.component)
    if item.component == FILES:
        found: Any = (settings or {}).get(item.key) or {}
        if not found:
            return Verdict(host, item.number, item.title, UNREAD, f"no {item.key}", item.expected)
        told = ", ".join(
            sorted({f"{file.get('mode')} {file.get('owner')}:{file.get('group')}" for file in found.values()})
        )
    elif settings is None:
        return Verdict(host, item.number, item.title, UNREAD, f"no {item.component} on this host", item.expected)
    else:
        found = settings.get(item.key)
        if found is UNREADABLE:
            return Verdict(
                host, item.number, item.title, UNREAD, f"{item.key} in a file that could not be read", item.expected
            )
        told = f"{item.key} {'not set' if found is None else found}"
    if item.judge(found):
        return Verdict(host, item.number, item.title, PASS, told[:200], item.expected)
    reason = accepted.get(item.number, "")
    if item.number == "1.2.1" and not reason and isinstance(found, str) and found.startswith(_FOR):
        reason = _LIMITED if set(found[len(_FOR) :].split(", ")) <= NAMELESS else ""
    return Verdict(host, item.number, item.title, ACCEPTED if reason else FAIL, told[:200], item.expected, reason)


def _settings(facts: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What a host said, in known shapes; what has none is as if it had not been said."""
    files, commands = facts.get("files"), facts.get("commands")
    found: dict[str, dict[str, Any]] = {FILES: {}}
    for pattern, matches in files.items() if isinstance(files, Mapping) else ():
        if isinstance(matches, Mapping):
            found[FILES][pattern] = {path: file for path, file in matches.items() if isinstance(file, Mapping)}
    for name, arguments in commands.items() if isinstance(commands, Mapping) else ():
        if name in PROGRAMS and isinstance(arguments, list):
            pairs = (str(argument).removeprefix("--").partition("=") for argument in arguments)
            given = {key: value if equals else "true" for key, equals, value in pairs}
            found[str(name)] = {**FLAG_DEFAULTS.get(str(name), {}), **_elsewhere(given), **given}
    if API in found:
        found[API] |= _authentication(found[API], facts.get("authentication"))
        found[API][PROVIDERS] = _providers(found[API], facts.get("encryption"))
    if KUBELET in found:
        flags, texts = found.pop(KUBELET), facts.get("kubelet_config")
        texts = texts if isinstance(texts, list) else []
        if texts or not flags.get("config"):
            found[KUBELET] = _kubelet(flags, texts)
    return found


def _elsewhere(flags: Mapping[str, str]) -> dict[str, Any]:
    """What a file says that is not read."""
    return {"authorization-mode": UNREADABLE} if flags.get("authorization-config") else {}


def _authentication(flags: Mapping[str, Any], text: Any) -> dict[str, Any]:
    """Who may ask without a name, where a file says it instead of a flag."""
    if not flags.get("authentication-config"):
        return {}
    anonymous = _document(text).get("anonymous") if isinstance(text, str) else UNREADABLE
    if not isinstance(anonymous, Mapping):
        return {"anonymous-auth": UNREADABLE} if anonymous is UNREADABLE else {}
    conditions = anonymous.get("conditions")
    paths = (
        [str(one.get("path")) for one in conditions if isinstance(one, Mapping)] if isinstance(conditions, list) else []
    )
    return {
        "anonymous-auth": "false" if anonymous.get("enabled") is False else _FOR + ", ".join(paths) if paths else "true"
    }


def _providers(flags: Mapping[str, Any], entries: Any) -> Any:
    """What encrypts Secrets, in the order in which it is tried; the first entry that is about them counts."""
    if not flags.get("encryption-provider-config"):
        return None
    if not isinstance(entries, list):
        return UNREADABLE
    for entry in entries:
        resources, providers = (
            (entry.get("resources"), entry.get("providers")) if isinstance(entry, Mapping) else (None, None)
        )
        if (
            isinstance(resources, list)
            and isinstance(providers, list)
            and {"secrets", "*.", "*.*"} & set(map(str, resources))
        ):
            return ",".join(map(str, providers))
    return None


def _document(text: Any) -> Mapping[Any, Any]:
    try:
        found = yaml.safe_load(str(text)[: 1 << 16])
    except (yaml.YAMLError, RecursionError, ValueError):
        return {}
    return found if isinstance(found, Mapping) else {}


def _kubelet(flags: Mapping[str, Any], texts: Sequence[Any]) -> dict[str, Any]:
    """What a kubelet does: its file, what is laid over it in their order, and its arguments."""
    merged = copy.deepcopy(
        KUBELET_DEFAULTS if flags.get("config") or texts else {**KUBELET_DEFAULTS, **KUBELET_WITHOUT}
    )
    for text in texts:
        _lay_over(merged, _document(text))
    found = {**_flat(merged), **{KUBELET_FLAGS[flag]: value for flag, value in flags.items() if flag in KUBELET_FLAGS}}
    if str(found.get("serverTLSBootstrap")).lower() == "true" and not found.get("tlsCertFile"):
        found["tlsCertFile"] = "the cluster's"
    return found


def _lay_over(base: dict[str, Any], more: Mapping[Any, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, Mapping) and isinstance(base.get(str(key)), dict):
            _lay_over(base[str(key)], value)
        else:
            base[str(key)] = dict(value) if isinstance(value, Mapping) else value


def _flat(config: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            found.update(_flat(value, f"{path}{key}."))
        else:
            found[f"{path}{key}"] = value
    return found
