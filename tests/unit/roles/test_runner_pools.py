"""A runner's first container: it ends well once the engine answers, and says which engine did not."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from .render import rendered

SOCKET = "/run/runnerfleet/engine/1.2.3/engine.sock"


def before_the_runner(repository: Path, seconds: int) -> list[dict[str, Any]]:
    """The containers that come before it, with that much patience."""
    given = {
        "runner_pools_pools": [{"name": "small", "organization": "acme"}],
        "runner_pools_engine_versions": ["1.2.3"],
        "runner_pools_engine_timeout": seconds,
        "__runner_pools_addresses": {"nodes": ["10.0.0.31/32"]},
        "role_path": str(repository / "roles/runner_pools"),
    }
    objects = {item["kind"]: item for item in rendered(repository, "runner_pools", "__runner_pools_objects", given)}
    return list(objects["RunnerDeployment"]["spec"]["template"]["spec"]["initContainers"])


@pytest.fixture(scope="module")
def proof(repository: Path) -> list[dict[str, Any]]:
    """For engines that do not answer, which are given up at once."""
    return before_the_runner(repository, 2)


@pytest.fixture(scope="module")
def patient(repository: Path) -> list[dict[str, Any]]:
    """For engines that do, whatever else this machine is at."""
    return before_the_runner(repository, 50)


def run(container: dict[str, Any], folder: Path, client: str) -> tuple[int, str, float]:
    """The container's command on this machine, with a client that is a script; returns its code, what it said, and how
    long it took.
    """
    (folder / "dagger").write_text(f"#!/bin/sh\n{client}\n", encoding="utf-8")
    (folder / "dagger").chmod(0o755)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "NODE_NAME": "runner-7"}
    began = time.monotonic()
    done = subprocess.run(
        container["command"], env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, done.stderr, time.monotonic() - began


def test_the_engine_is_asked_before_anything_else(proof: list[dict[str, Any]]) -> None:
    first = proof[0]
    assert first["image"].endswith(":v1.2.3")
    assert {"name": "dagger-socket", "mountPath": "/run/dagger", "readOnly": True} in first["volumeMounts"]
    assert {item["name"] for item in first["env"]} >= {"_EXPERIMENTAL_DAGGER_RUNNER_HOST", "NODE_NAME"}
    assert first["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_an_engine_that_answers_costs_no_wait(patient: list[dict[str, Any]], tmp_path: Path) -> None:
    code, said, seconds = run(patient[0], tmp_path, '[ "$1 $2" = "core version" ] && echo v1.2.3')
    assert (code, said) == (0, "")
    assert seconds < 25


def test_an_engine_that_comes_late_is_waited_for(patient: list[dict[str, Any]], tmp_path: Path) -> None:
    code, _said, _seconds = run(patient[0], tmp_path, "[ -e asked ] || { touch asked; exit 1; }")
    assert code == 0


@pytest.mark.parametrize(
    ("client", "end"),
    [
        pytest.param("sleep 60", "nothing", id="it hangs"),
        pytest.param("echo connecting; sleep 60", "connecting", id="it hangs and says so"),
        pytest.param(
            "printf 'a\\n\\033[31m! \\033[0;1mno engine\\033[0m\\n\\n' >&2; exit 1",
            "! no engine",
            id="it fails in colours",
        ),
    ],
)
def test_an_engine_that_does_not_answer_is_named(
    proof: list[dict[str, Any]], tmp_path: Path, client: str, end: str
) -> None:
    code, said, seconds = run(proof[0], tmp_path, client)
    assert code == 1
    assert said.startswith(f"runner-7: the engine behind {SOCKET} did not answer within 2 seconds")
    assert said.rstrip().endswith(f"Its client said: {end}")
    assert seconds < 10


def test_runners_use_the_engine_of_their_pool(repository: Path) -> None:
    given = {
        "__runner_pools_addresses": {"nodes": ["10.0.0.31/32"]},
        "fleet_engine_versions": ["1.2.3"],
        "fleet_pools": [
            {"name": "runner", "group": "a", "engine": True},
            {"name": "large", "group": "b", "engine": {"versions": ["1.3.0", "1.2.3"]}},
        ],
        "runner_pools_pools": [
            {"name": "small", "organization": "acme"},
            {"name": "big", "organization": "acme", "pool": "large"},
            {"name": "old", "organization": "acme", "pool": "large", "engine_version": "1.2.3"},
        ],
    }
    given["role_path"] = str(repository / "roles/runner_pools")
    objects = rendered(repository, "runner_pools", "__runner_pools_objects", given)
    specs = {
        item["metadata"]["name"]: item["spec"]["template"]["spec"]
        for item in objects
        if item["kind"] == "RunnerDeployment"
    }
    sockets = {name: spec["volumes"][1]["hostPath"]["path"].rpartition("/")[2] for name, spec in specs.items()}
    assert sockets == {"small": "1.2.3", "big": "1.3.0", "old": "1.2.3"}
    images = {
        name: {item["image"].rpartition(":v")[2] for item in spec["initContainers"]} for name, spec in specs.items()
    }
    assert images == {name: {version} for name, version in sockets.items()}
    assert {name: list(spec["nodeSelector"].values()) for name, spec in specs.items()} == {
        "small": ["runner"],
        "big": ["large"],
        "old": ["large"],
    }


def test_runners_of_an_engine_that_their_pool_does_not_have_are_refused(repository: Path) -> None:
    given = {
        "fleet_pools": [{"name": "large", "group": "b", "engine": {"versions": ["1.3.0"]}}],
        "runner_pools_pools": [
            {"name": "old", "organization": "acme", "engine_version": "1.2.3"},
            {"name": "lost", "organization": "acme", "pool": "support"},
        ],
    }
    assert rendered(repository, "runner_pools", "__runner_pools_problems", given) == [
        "runner_pools_pools[0].engine_version: found '1.2.3' for old, whose runners run in pool large, expected a "
        "version of that pool's engines: 1.3.0",
        "runner_pools_pools[1].pool: found 'support', expected one of the pools with engines: large",
    ]


def test_runners_are_told_what_they_may_reach_before_there_are_any(repository: Path) -> None:
    """And nobody connects to them; a rule for ingress without peers would be an open door."""
    given = {
        "__runner_pools_addresses": {"nodes": ["10.0.0.31/32"]},
        "role_path": str(repository / "roles/runner_pools"),
        "fleet_job_denied_networks": ["10.0.0.0/8"],
        "runner_pools_services": ["http://10.9.8.7:5000"],
        "runner_pools_engine_versions": ["1.2.3"],
        "runner_pools_pools": [{"name": "small", "organization": "acme"}],
    }
    objects = rendered(repository, "runner_pools", "__runner_pools_objects", given)
    assert [item["kind"] for item in objects] == ["Namespace", "NetworkPolicy", "RunnerDeployment"]
    spec = objects[1]["spec"]
    assert (spec["podSelector"], spec["ingress"], spec["policyTypes"]) == ({}, [], ["Ingress", "Egress"])
    peers = [peer["ipBlock"] for rule in spec["egress"] for peer in rule["to"] if "ipBlock" in peer]
    assert peers == [{"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8", "169.254.0.0/16"]}, {"cidr": "10.9.8.7/32"}]


def test_without_policies_there_is_none(repository: Path) -> None:
    given = {
        "role_path": str(repository / "roles/runner_pools"),
        "fleet_network_policies": False,
        "runner_pools_engine_versions": ["1.2.3"],
        "runner_pools_pools": [],
    }
    assert [item["kind"] for item in rendered(repository, "runner_pools", "__runner_pools_objects", given)] == [
        "Namespace"
    ]


CONFINED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def test_runners_can_get_no_privileges_unless_their_entry_says_so(repository: Path) -> None:
    given = {
        "fleet_network_policies": False,
        "fleet_engine_versions": ["1.2.3"],
        "runner_pools_pools": [
            {"name": "plain", "organization": "acme", "resources": {"requests": {"memory": "8Gi"}}},
            {"name": "rooted", "organization": "acme", "sudo": True},
        ],
    }
    objects = rendered(repository, "runner_pools", "__runner_pools_objects", given)
    specs = {
        item["metadata"]["name"]: item["spec"]["template"]["spec"]
        for item in objects
        if item["kind"] == "RunnerDeployment"
    }
    assert specs["plain"]["containers"] == [{"name": "runner", "securityContext": CONFINED}]
    assert "containers" not in specs["rooted"]
    for spec in specs.values():
        assert {item["name"]: item["securityContext"] for item in spec["initContainers"]} == {
            "engine-answers": CONFINED,
            "dagger-cli": CONFINED,
        }
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert [spec["resources"]["limits"] for spec in specs.values()] == [
        {"memory": "8Gi", "ephemeral-storage": "20Gi"},
        {"memory": "4Gi", "ephemeral-storage": "20Gi"},
    ]


ENTRY = {
    "name": "small",
    "organization": "acme",
    "size": "4c-16g",
    "min": 1,
    "labels": ["gpu"],
    "runner_group": "trusted",
}


def values_of(repository: Path, entry: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The values of an entry's scale set."""
    given = {
        "runner_pools_flavour": "scale_set",
        "runner_pools_pools": [entry],
        "runner_pools_github_auth": {"token": "leak-canary-token"},
        "runner_pools_github_url": "https://github.example.org/",
        "runner_pools_engine_versions": ["1.2.3"],
        "__runner_pools_entry": entry,
        "__runner_pools_capacity": {"max": {entry["name"]: 7}},
        "role_path": str(repository / "roles/runner_pools"),
        "values": "{{ lookup('ansible.builtin.template', role_path ~ '/templates/set.yml.j2') | from_yaml }}",
        **more,
    }
    found: dict[str, Any] = rendered(repository, "runner_pools", "values", given)
    return found


def test_a_scale_set_has_its_entry_s_size_and_numbers(repository: Path) -> None:
    values = values_of(repository, ENTRY)
    assert values["githubConfigUrl"] == "https://github.example.org/acme" and values["runnerGroup"] == "trusted"
    assert (values["minRunners"], values["maxRunners"], values["runnerScaleSetName"]) == (1, 7, "small")
    assert values["scaleSetLabels"] == ["small", "gpu"] and values["githubConfigSecret"] == "runners-github"
    (runner,) = values["template"]["spec"]["containers"]
    assert runner["resources"] == {
        "requests": {"cpu": "4", "memory": "16Gi", "ephemeral-storage": "20Gi"},
        "limits": {"memory": "16Gi", "ephemeral-storage": "20Gi"},
    }
    assert runner["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    work = next(volume for volume in values["template"]["spec"]["volumes"] if volume["name"] == "work")
    assert work["emptyDir"] == {"sizeLimit": "20Gi"}
    assert "leak-canary" not in str(values)


def test_a_scale_set_s_runner_proves_its_engine_as_the_other_flavour_s_does(repository: Path) -> None:
    pod = values_of(repository, {"name": "small", "repository": "acme/app"})["template"]["spec"]
    assert pod["initContainers"] == before_the_runner(repository, 120)
    assert pod["automountServiceAccountToken"] is False and pod["serviceAccountName"] == "default"


def test_a_scale_set_is_of_whom_its_entry_says(repository: Path) -> None:
    values = values_of(repository, {"name": "small", "enterprise": "acme", "credential": {"secret": "theirs"}})
    assert values["githubConfigUrl"] == "https://github.example.org/enterprises/acme"
    assert values["githubConfigSecret"] == "theirs" and "scaleSetLabels" not in values and "runnerGroup" not in values


CERTIFICATE = "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n"


def test_a_scale_set_without_a_proxy_and_certificates_has_neither(repository: Path) -> None:
    values = values_of(repository, ENTRY)
    assert "proxy" not in values and "githubServerTLS" not in values
    assert "bundle.crt" not in str(values)


def test_a_scale_set_reaches_github_through_its_proxy(repository: Path) -> None:
    """And its listener the API of the cluster without it."""
    proxy = {"https": "http://10.9.8.7:3128", "secret": "login"}
    values = values_of(repository, ENTRY, runner_pools_proxy=proxy, fleet_service_cidr="10.50.0.0/16")
    assert values["proxy"]["https"] == {"url": "http://10.9.8.7:3128", "credentialSecretRef": "login"}
    assert {".svc", "10.50.0.0/16"} <= set(values["proxy"]["noProxy"]) and "http" not in values["proxy"]


def test_a_proxy_in_a_network_that_jobs_may_not_reach_is_reached(repository: Path) -> None:
    given = {
        "role_path": str(repository / "roles/runner_pools"),
        "__runner_pools_addresses": {"nodes": ["10.0.0.31/32"]},
        "__runner_pools_capacity": {"max": {"small": 7}},
        "runner_pools_flavour": "scale_set",
        "fleet_job_denied_networks": ["10.0.0.0/8"],
        "runner_pools_services": [],
        "runner_pools_engine_versions": ["1.2.3"],
        "runner_pools_pools": [{**ENTRY, "proxy": {"http": "http://10.9.8.7:3128"}}],
    }
    policy = next(
        item
        for item in rendered(repository, "runner_pools", "__runner_pools_shared", given)
        if item["kind"] == "NetworkPolicy"
    )
    peers = [peer["ipBlock"]["cidr"] for rule in policy["spec"]["egress"] for peer in rule["to"] if "ipBlock" in peer]
    assert "10.9.8.7/32" in peers


@pytest.mark.parametrize("ca", [CERTIFICATE, {"config_map": "site", "key": "root.pem"}], ids=["text", "config map"])
def test_a_runner_trusts_the_certificates_of_its_set_without_sudo(repository: Path, tmp_path: Path, ca: Any) -> None:
    values = values_of(repository, ENTRY, runner_pools_ca=ca)
    source = values["githubServerTLS"]["certificateFrom"]["configMapKeyRef"]
    assert "runnerMountPath" not in values["githubServerTLS"]
    pod = values["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["ca"]["configMap"] == {"name": source["name"], "items": [{"key": source["key"], "path": "ca.crt"}]}
    (runner,) = pod["containers"]
    place = next(mount for mount in runner["volumeMounts"] if mount["name"] == "trusted")
    assert (place["mountPath"], place["subPath"]) == ("/etc/ssl/certs/ca-certificates.crt", "bundle.crt")
    assert {"name": "NODE_EXTRA_CA_CERTS", "value": place["mountPath"]} in runner["env"]
    # What its first container does, on files of this machine.
    maker = next(item for item in pod["initContainers"] if item["name"] == "trusted-certificates")
    assert maker["image"] == runner["image"] and maker["securityContext"] == CONFINED
    (tmp_path / "own").write_text("those of the image\n")
    (tmp_path / "ca.crt").write_text("ours\n")
    script = maker["command"][2].replace(place["mountPath"], str(tmp_path / "own"))
    script = script.replace("/ca/ca.crt", str(tmp_path / "ca.crt")).replace("/trusted/", f"{tmp_path}/")
    subprocess.run(["sh", "-c", script], check=True)
    assert (tmp_path / "bundle.crt").read_text() == "those of the image\nours\n"
