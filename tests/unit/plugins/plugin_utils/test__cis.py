"""The benchmark's items over what hosts say, however they say it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.filter.cis_verdicts import cis_lines, cis_verdicts
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cis_subjects import FILES
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils import _cis
from hypothesis import given
from hypothesis import strategies as st

STRONG = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"
KUBELET = """
apiVersion: kubelet.config.k8s.io/v1beta1
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: /etc/kubernetes/pki/ca.crt}}
authorization: {mode: Webhook}
rotateCertificates: true
serverTLSBootstrap: true
"""
OURS = f"podPidsLimit: 16384\nseccompDefault: true\ntlsCipherSuites: [{STRONG}]\n"
API = {
    "anonymous-auth": None,
    "authentication-config": "/a",
    "enable-admission-plugins": "NodeRestriction,DenyServiceExternalIPs",
    "authorization-mode": "Node,RBAC",
    "profiling": "false",
    "audit-log-maxage": "30",
    "audit-log-maxbackup": "10",
    "audit-log-maxsize": "100",
    "service-account-extend-token-expiration": "false",
    "tls-cipher-suites": STRONG,
}
SET = (
    "kubelet-client-certificate",
    "kubelet-certificate-authority",
    "audit-log-path",
    "audit-policy-file",
    "service-account-key-file",
    "etcd-certfile",
    "tls-cert-file",
    "client-ca-file",
    "etcd-cafile",
    "encryption-provider-config",
)


def arguments(**values: str | None) -> list[str]:
    return [f"--{key.replace('_', '-')}={value}" for key, value in values.items() if value is not None]


def control_plane() -> dict[str, Any]:
    """A hardened one."""
    modes = {pattern: "0644" if pattern.endswith(".crt") else "0700" if pattern == "/var/lib/etcd" else "0600" for pattern in FILES}
    return {
        "files": {pattern: {pattern: {"mode": mode, "owner": "root", "group": "root"}} for pattern, mode in modes.items()},
        "commands": {
            "kube-apiserver": arguments(**{**dict.fromkeys(SET, "/x"), **API}),
            "kube-controller-manager": arguments(
                profiling="false",
                terminated_pod_gc_threshold="1000",
                use_service_account_credentials="true",
                service_account_private_key_file="/x",
                root_ca_file="/x",
                bind_address="127.0.0.1",
            ),
            "kube-scheduler": arguments(profiling="false", bind_address="127.0.0.1"),
            "etcd": arguments(
                cert_file="/x",
                client_cert_auth="true",
                peer_cert_file="/x",
                peer_client_cert_auth="true",
                trusted_ca_file="/pki/etcd/ca.crt",
            ),
            "kubelet": ["--config=/x"],
        },
        "kubelet_config": [KUBELET, OURS],
    }


def told(facts: Any, accepted: dict[str, str] | None = None) -> dict[str, dict[str, str]]:
    """Verdicts by number, but for those that pass."""
    return {item["number"]: item for item in cis_verdicts({"h": facts}, ["h"], accepted) if item["verdict"] != "pass"}


def test_a_hardened_control_plane_fails_nothing_and_says_what_is_accepted() -> None:
    found = told(control_plane())
    assert {number: item["verdict"] for number, item in found.items()} == dict.fromkeys(("1.2.1", "1.2.9", "1.2.11"), "accepted")
    assert all(item["reason"] for item in found.values())


def test_every_file_that_an_item_is_about_is_looked_at() -> None:
    assert {item.key for item in (*_cis.CONTROL_PLANE, *_cis.NODE) if item.component == _cis.FILES} == set(FILES)


def test_no_number_is_there_twice() -> None:
    numbers = [item.number for item in (*_cis.CONTROL_PLANE, *_cis.NODE)]
    assert len(numbers) == len(set(numbers))


def flag(program: str, argument: str) -> Callable[[dict[str, Any]], None]:
    """Another value for a flag; without one it goes."""
    name = argument.partition("=")[0]

    def change(facts: dict[str, Any]) -> None:
        kept = [given for given in facts["commands"][program] if given.partition("=")[0] != name]
        facts["commands"][program] = kept + ([argument] if "=" in argument else [])

    return change


def mode(path: str, **changes: str) -> Callable[[dict[str, Any]], None]:
    return lambda facts: facts["files"][path][path].update(changes)


def kubelet(text: str) -> Callable[[dict[str, Any]], None]:
    return lambda facts: facts["kubelet_config"].append(text)


@pytest.mark.parametrize(
    ("change", "number"),
    [
        pytest.param(mode("/etc/kubernetes/manifests/etcd.yaml", mode="0644"), "1.1.7-8", id="a manifest that others read"),
        pytest.param(mode("/etc/kubernetes/pki/**/*.key", owner="jane"), "1.1.21", id="somebody's key"),
        pytest.param(mode("/var/lib/etcd", mode="nonsense"), "1.1.11-12", id="no mode"),
        pytest.param(flag("kube-apiserver", "--profiling"), "1.2.15", id="profiling as it is by default"),
        pytest.param(flag("kube-apiserver", "--audit-log-maxage=7"), "1.2.17", id="a week of audit"),
        pytest.param(flag("kube-apiserver", "--authorization-mode=Node,RBAC,AlwaysAllow"), "1.2.6", id="everything is allowed"),
        pytest.param(flag("kube-apiserver", "--tls-cipher-suites=TLS_RSA_WITH_AES_128_GCM_SHA256"), "1.2.29", id="no forward secrecy"),
        pytest.param(flag("kube-apiserver", "--tls-cipher-suites"), "1.2.29", id="ciphers as Go has them"),
        pytest.param(flag("kube-apiserver", "--encryption-provider-config"), "1.2.27-28", id="plain in etcd"),
        pytest.param(flag("kube-apiserver", "--authentication-config"), "1.2.1", id="nobody without a name is limited"),
        pytest.param(flag("etcd", "--client-cert-auth=false"), "2.2", id="etcd for everybody"),
        pytest.param(flag("etcd", "--trusted-ca-file=/etc/kubernetes/pki/ca.crt"), "2.7", id="etcd and the cluster's CA"),
        pytest.param(flag("kube-scheduler", "--bind-address=0.0.0.0"), "1.4.2", id="a scheduler for everybody"),
        pytest.param(kubelet("authentication: {anonymous: {enabled: true}}"), "4.2.1", id="laid over what the cluster has"),
        pytest.param(kubelet("readOnlyPort: 10255"), "4.2.4", id="a port without a login"),
        pytest.param(kubelet("tlsCipherSuites: []"), "4.2.12", id="no ciphers"),
        pytest.param(kubelet("podPidsLimit: -1"), "4.2.13", id="no limit"),
    ],
)
def test_what_an_item_finds(change: Callable[[dict[str, Any]], None], number: str) -> None:
    facts = copy.deepcopy(control_plane())
    change(facts)
    assert [item for item, verdict in told(facts).items() if verdict["verdict"] == "fail"] == [number]
    assert told(facts, {number: "we know"})[number] == {**told(facts)[number], "verdict": "accepted", "reason": "we know"}


def test_a_node_is_judged_as_a_node_alone() -> None:
    assert {item["number"].partition(".")[0] for item in cis_verdicts({"n": control_plane()}, [])} == {"4"}


def test_what_is_not_there_is_not_read() -> None:
    assert {item["verdict"] for item in told({}).values()} == {"not read"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(st.fixed_dictionaries({}, optional={"files": JSON, "commands": JSON, "kubelet_config": JSON}) | JSON)
def test_whatever_a_host_says(facts: Any) -> None:
    found = cis_verdicts({"h": facts}, ["h"])
    assert len(found) == len(_cis.CONTROL_PLANE) + len(_cis.NODE) and cis_lines(found)


@given(st.text())
def test_whatever_its_kubelet_reads(text: str) -> None:
    facts = {"commands": {"kubelet": []}, "kubelet_config": [text, KUBELET]}
    assert {item["number"] for item in cis_verdicts({"h": facts}, [])} == {item.number for item in _cis.NODE}


def test_lines_tell_what_is_alike_once_and_failures_first() -> None:
    bad = copy.deepcopy(control_plane())
    mode("/etc/kubernetes/kubelet.conf", mode="0666\x1b[2J")(bad)
    lines = cis_lines(cis_verdicts({"a": bad, "b": bad, "c": control_plane()}, []))
    assert lines[0].startswith("fail: 4.1.5-6 kubeconfig of the kubelet, on a, b: found 0666") and "\x1b" not in lines[0]
    assert lines[-1].endswith("0 accepted, 0 not read, 2 fail")
