"""The benchmark's items over what hosts say, however they say it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.runnerfleet.baremetal.plugins.filter.cis_verdicts import cis_lines, cis_verdicts
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host.cis_subjects import FILES
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils import _cis
from hypothesis import given
from hypothesis import strategies as st

STRONG = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"
KUBELET = """
apiVersion: kubelet.config.k8s.io/v1beta1
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: /etc/kubernetes/pki/ca.crt}
authorization: {mode: Webhook}
rotateCertificates: true
serverTLSBootstrap: true
"""
OURS = f"podPidsLimit: 16384\nseccompDefault: true\ntlsCipherSuites: [{STRONG}]\n"
NAMELESS = """
kind: AuthenticationConfiguration
anonymous: {enabled: true, conditions: [{path: /livez}, {path: /readyz}]}
"""
API = {
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
    modes = {
        pattern: "0644" if pattern.endswith(".crt") else "0700" if pattern == "/var/lib/etcd" else "0600"
        for pattern in FILES
    }
    return {
        "files": {
            pattern: {pattern: {"mode": mode, "owner": "root", "group": "root"}} for pattern, mode in modes.items()
        },
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
        "authentication": NAMELESS,
        "encryption": [
            {"resources": ["configmaps"], "providers": ["identity"]},
            {"resources": ["secrets"], "providers": ["secretbox", "identity"]},
        ],
    }


def told(facts: Any, accepted: dict[str, str] | None = None) -> dict[str, dict[str, str]]:
    """Verdicts by number, but for those that pass."""
    return {item["number"]: item for item in cis_verdicts({"h": facts}, ["h"], accepted) if item["verdict"] != "pass"}


def test_a_hardened_control_plane_fails_nothing_and_says_what_is_accepted() -> None:
    found = told(control_plane())
    assert {number: item["verdict"] for number, item in found.items()} == dict.fromkeys(
        ("1.2.1", "1.2.9", "1.2.11"), "accepted"
    )
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


def said(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda facts: facts.update({key: value})


@pytest.mark.parametrize(
    ("change", "number"),
    [
        pytest.param(
            mode("/etc/kubernetes/manifests/etcd.yaml", mode="0644"), "1.1.7-8", id="a manifest that others read"
        ),
        pytest.param(mode("/etc/kubernetes/pki/**/*.key", owner="jane"), "1.1.21", id="somebody's key"),
        pytest.param(mode("/var/lib/etcd", mode="nonsense"), "1.1.11-12", id="no mode"),
        pytest.param(flag("kube-apiserver", "--profiling"), "1.2.15", id="profiling as it is by default"),
        pytest.param(flag("kube-apiserver", "--audit-log-maxage=7"), "1.2.17", id="a week of audit"),
        pytest.param(
            flag("kube-apiserver", "--authorization-mode=Node,RBAC,AlwaysAllow"), "1.2.6", id="everything is allowed"
        ),
        pytest.param(
            flag("kube-apiserver", "--tls-cipher-suites=TLS_RSA_WITH_AES_128_GCM_SHA256"),
            "1.2.29",
            id="no forward secrecy",
        ),
        pytest.param(flag("kube-apiserver", "--tls-cipher-suites"), "1.2.29", id="ciphers as Go has them"),
        pytest.param(flag("kube-apiserver", "--encryption-provider-config"), ("1.2.27", "1.2.28"), id="plain in etcd"),
        pytest.param(
            said("encryption", [{"resources": ["secrets"], "providers": ["identity", "aescbc"]}]),
            "1.2.28",
            id="plain first",
        ),
        pytest.param(
            said("encryption", [{"resources": ["configmaps"], "providers": ["aescbc"]}]),
            "1.2.28",
            id="Secrets are left out",
        ),
        pytest.param(flag("kube-apiserver", "--authentication-config"), "1.2.1", id="everybody without a name"),
        pytest.param(
            said("authentication", "anonymous: {enabled: true}"), "1.2.1", id="no limit of those without a name"
        ),
        pytest.param(
            said("authentication", "anonymous: {enabled: true, conditions: [{path: /livez}, {path: /api}]}"),
            "1.2.1",
            id="a wide limit",
        ),
        pytest.param(
            said("authentication", "kind: AuthenticationConfiguration"),
            "1.2.1",
            id="a configuration without a word of it",
        ),
        pytest.param(flag("etcd", "--client-cert-auth=false"), "2.2", id="etcd for everybody"),
        pytest.param(
            flag("etcd", "--trusted-ca-file=/etc/kubernetes/pki/ca.crt"), "2.7", id="etcd and the cluster's CA"
        ),
        pytest.param(flag("kube-scheduler", "--bind-address=0.0.0.0"), "1.4.2", id="a scheduler for everybody"),
        pytest.param(
            kubelet("authentication: {anonymous: {enabled: true}}"), "4.2.1", id="laid over what the cluster has"
        ),
        pytest.param(kubelet("readOnlyPort: 10255"), "4.2.4", id="a port without a login"),
        pytest.param(kubelet("tlsCipherSuites: []"), "4.2.12", id="no ciphers"),
        pytest.param(kubelet("podPidsLimit: -1"), "4.2.13", id="no limit"),
        pytest.param(kubelet("serverTLSBootstrap: false"), ("4.2.9", "4.2.11"), id="a certificate of its own making"),
        pytest.param(
            kubelet("serverTLSBootstrap: false\ntlsCertFile: /x"), "4.2.11", id="a certificate that nobody renews"
        ),
        pytest.param(flag("kubelet", "--anonymous-auth"), (), id="an argument that is not there"),
        pytest.param(flag("kubelet", "--anonymous-auth=true"), "4.2.1", id="an argument wins over the configuration"),
        pytest.param(flag("kubelet", "--read-only-port=10255"), "4.2.4", id="a port by an argument"),
    ],
)
def test_what_an_item_finds(change: Callable[[dict[str, Any]], None], number: str | tuple[str, ...]) -> None:
    facts, numbers = copy.deepcopy(control_plane()), (number,) if isinstance(number, str) else number
    change(facts)
    assert tuple(item for item, verdict in told(facts).items() if verdict["verdict"] == "fail") == numbers
    for one in numbers:
        assert told(facts, {one: "we know"})[one] == {**told(facts)[one], "verdict": "accepted", "reason": "we know"}


def test_nobody_without_a_name_passes_by_flag_and_by_file() -> None:
    facts = control_plane()
    facts["authentication"] = "anonymous: {enabled: false}"
    assert "1.2.1" not in told(facts)
    flag("kube-apiserver", "--authentication-config")(facts)
    flag("kube-apiserver", "--anonymous-auth=false")(facts)
    assert "1.2.1" not in told(facts)


@pytest.mark.parametrize(("key", "number"), [("authentication", "1.2.1"), ("encryption", "1.2.28")])
def test_a_file_that_could_not_be_read_is_neither_good_nor_bad(key: str, number: str) -> None:
    found = told({**control_plane(), key: None})[number]
    assert found["verdict"] == "not read" and "could not be read" in found["found"]


def test_a_flag_without_a_value_is_a_switch_that_is_on() -> None:
    facts = control_plane()
    flag("etcd", "--client-cert-auth")(facts)
    facts["commands"]["etcd"].append("--client-cert-auth")
    assert "2.2" not in told(facts)


@pytest.mark.parametrize(
    ("program", "argument", "number"),
    [
        ("kube-apiserver", "--authorization-mode", "1.2.6"),
        ("kube-apiserver", "--profiling", "1.2.15"),
        ("kube-controller-manager", "--profiling", "1.3.2"),
        ("kube-controller-manager", "--bind-address", "1.3.7"),
        ("kube-scheduler", "--bind-address", "1.4.2"),
    ],
)
def test_what_is_not_set_is_judged_by_what_the_program_does_then(program: str, argument: str, number: str) -> None:
    facts = control_plane()
    facts["commands"][program] = [one for one in facts["commands"][program] if one.partition("=")[0] != argument]
    assert told(facts)[number]["verdict"] == "fail"


def test_modes_in_a_file_that_is_not_read_are_neither_good_nor_bad() -> None:
    facts = control_plane()
    facts["commands"]["kube-apiserver"] = [
        one for one in facts["commands"]["kube-apiserver"] if "authorization-mode" not in one
    ]
    facts["commands"]["kube-apiserver"].append("--authorization-config=/a")
    assert {told(facts)[number]["verdict"] for number in ("1.2.6", "1.2.7", "1.2.8")} == {"not read"}


def test_a_kubelet_without_a_configuration_is_judged_by_what_it_did_before_there_was_one() -> None:
    facts = {**control_plane(), "commands": {"kubelet": []}, "kubelet_config": []}
    failed = {number for number, item in told(facts).items() if item["verdict"] == "fail"}
    assert {"4.2.1", "4.2.2", "4.2.4"} <= failed
    silent = {**control_plane(), "kubelet_config": ["{}"]}
    assert not {"4.2.1", "4.2.2", "4.2.4"} & set(told(silent))


def test_a_configuration_of_the_kubelet_that_could_not_be_read_is_no_silent_one() -> None:
    found = told({**control_plane(), "kubelet_config": []})
    assert {item["verdict"] for number, item in found.items() if number.startswith("4.2")} == {"not read"}


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ({"1.2.x": "why"}, "found '1.2.x', expected a number as the report has it; docs/cis.md says what is not read"),
        ({"1.1.2": "why"}, "found '1.1.2', expected a number as the report has it; it is a part of 1.1.1-2"),
        ({"1.1.20": "why"}, "it is a part of 1.1.19-20"),
        ({"1.1.9-10": ""}, "cis_report_accepted['1.1.9-10']: found '', expected the reason"),
        ({"1.2.9": None}, "found None, expected the reason"),
        ({"1.2.9": True}, "found True, expected the reason"),
    ],
)
def test_what_would_accept_nothing_or_says_no_reason_is_refused(accepted: dict[str, Any], expected: str) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        cis_verdicts({}, [], accepted)
    assert expected in str(caught.value)


def test_a_node_is_judged_as_a_node_alone() -> None:
    assert {item["number"].partition(".")[0] for item in cis_verdicts({"n": control_plane()}, [])} == {"4"}


def test_what_is_not_there_is_not_read() -> None:
    assert {item["verdict"] for item in told({}).values()} == {"not read"}


def test_the_page_says_of_every_item_that_is_accepted_why(repository: Path) -> None:
    text = (repository / "docs/cis.md").read_text().partition("## What is accepted")[2].partition("## Items")[0]
    rows = {line.split("|")[1].split(",")[0].strip() for line in text.splitlines() if line.startswith("| ")}
    accepted = {item.number.partition("-")[0] for item in (*_cis.CONTROL_PLANE, *_cis.NODE) if item.accepted}
    assert rows - {"item"} == accepted | {"1.2.1"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("files", "commands", "kubelet_config", "authentication", "encryption"), JSON)
    )
    | JSON
)
def test_whatever_a_host_says(facts: Any) -> None:
    found = cis_verdicts({"h": facts}, ["h"])
    assert len(found) == len(_cis.CONTROL_PLANE) + len(_cis.NODE) and cis_lines(found)


@given(JSON, st.text() | JSON)
def test_whatever_its_api_server_reads(encryption: Any, authentication: Any) -> None:
    facts = {**control_plane(), "encryption": encryption, "authentication": authentication}
    assert {item["verdict"] for item in cis_verdicts({"h": facts}, ["h"]) if item["number"] in ("1.2.1", "1.2.28")} <= {
        "fail",
        "not read",
    }


@given(st.text())
def test_whatever_its_kubelet_reads(text: str) -> None:
    facts = {"commands": {"kubelet": []}, "kubelet_config": [text, KUBELET]}
    assert {item["number"] for item in cis_verdicts({"h": facts}, [])} == {item.number for item in _cis.NODE}


def test_lines_tell_what_is_alike_once_and_failures_first() -> None:
    bad = copy.deepcopy(control_plane())
    mode("/etc/kubernetes/kubelet.conf", mode="0666\x1b[2J")(bad)
    lines = cis_lines(cis_verdicts({"a": bad, "b": bad, "c": control_plane()}, []))
    assert (
        lines[0].startswith("fail: 4.1.5-6 kubeconfig of the kubelet, on a, b: found 0666") and "\x1b" not in lines[0]
    )
    assert lines[-1].endswith("0 accepted, 0 not read, 2 fail")
