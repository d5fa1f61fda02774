"""Bad input stops before the first change, and says which host or variable, what was found, what was expected and what
to do.

Each test runs ansible-playbook as a user would, with an inventory of its own. Hosts are this machine: they are only
looked at.
"""

from __future__ import annotations

import base64
import copy
import functools
import hashlib
import http.server
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._pins import PINS

from lab.simulated import HELM
from tests.unit.plugins.registries import Registry, serving

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
ARTIFACTS = ("kubelet", "kubeadm", "containerd", "runc", "cni_plugins")
GOOD: dict[str, Any] = {
    "all": {
        "vars": {
            "ansible_connection": "local",
            "ansible_become": False,
            "ansible_python_interpreter": sys.executable,
            "fleet_api_endpoint": "192.0.2.11:6443",
            "fleet_cgroup_driver": "cgroupfs",  # also good where the test runs on cgroup v1
            "fleet_helm_binary": str(HELM),
            "fleet_kubeconfig": "{{ inventory_dir }}/kubeconfig",
            "kubernetes_host_kubelet_config": {"failCgroupV1": False},  # the same
            "nvme_storage_drives": ["/dev/disk/by-id/nvme-MODEL_SERIAL"],
            "preflight_github_check": False,  # no test asks anybody but a stand-in on loopback
            "preflight_minimum": {
                kind: {"vcpus": 1, "memory": "500MB", "nvme": 0} for kind in ("control_plane", "support", "runner")
            },
            "runner_controller_github_auth": {"secret": "github-app"},
            "runner_pools_pools": [{"name": "medium", "pool": "runner", "organization": "example-org"}],
        },
        "children": {
            "control_plane": {"hosts": {"cp-1": {}}},
            "support_nodes": {"hosts": {"support-1": {}}},
            "runner_nodes": {"hosts": {"runner-1": {}}},
        },
    }
}
Inventory = dict[str, Any]
# What the machine that runs the tests has or has not, rather than what a test broke.
OF_THE_MACHINE = ("disk_nearly_full", "drive_unusable", "kernel_module_missing", "port_in_use")


class Run:
    """One ansible-playbook run: its output, and the findings in it."""

    def __init__(self, process: subprocess.CompletedProcess[str]) -> None:
        self.code, self.output = process.returncode, process.stdout + process.stderr

    def finding(self, code: str, subject: str) -> dict[str, str]:
        """The error with this code whose subject contains a text."""
        matches = [item for item in self.findings() if item["code"] == code and subject in item["subject"]]
        assert matches, f"no {code} about {subject} in:\n{self.output}"
        return matches[0]

    def findings(self) -> list[dict[str, str]]:
        """Everything that the report told, from the failed task's result."""
        match = re.search(r"FAILED! => (?={)", self.output)
        assert match, self.output
        result, _end = json.JSONDecoder().raw_decode(self.output, match.end())
        found: list[dict[str, str]] = result.get("findings", [])
        return found

    def refused(self) -> None:
        """The run failed and changed nothing."""
        assert self.code != 0, self.output
        recap = re.findall(r"changed=(\d+)", self.output)
        assert recap and set(recap) == {"0"}, self.output


@pytest.fixture
def inventory() -> Inventory:
    """An inventory with nothing wrong in it but what a test then breaks."""
    return copy.deepcopy(GOOD)


def variables(inventory: Inventory) -> dict[str, Any]:
    """The variables of all hosts."""
    found: dict[str, Any] = inventory["all"]["vars"]
    return found


def only(run: Run, code: str, subject: str) -> dict[str, str]:
    """The one error of a refused run."""
    run.refused()
    errors = [item for item in run.findings() if item["severity"] == "error" and item["code"] not in OF_THE_MACHINE]
    assert {item["code"] for item in errors} == {code}, run.output
    return run.finding(code, subject)


@pytest.mark.parametrize(
    ("missing", "empty"),
    [("control_plane", "runner_nodes"), ("support_nodes", "control_plane"), ("runner_nodes", "support_nodes")],
)
def test_groups_without_hosts(play: Callable[..., Run], inventory: Inventory, missing: str, empty: str) -> None:
    children = inventory["all"]["children"]
    del children[missing]
    children[empty] = {"hosts": {}}
    run = play(inventory)
    run.refused()
    for group, code, told in (
        (missing, "group_missing", "no such group; there are: "),
        (empty, "group_empty", "no hosts"),
    ):
        found = run.finding(code, f"group {group}")
        assert found["found"].startswith(told) and f"add a host to the inventory's group {group}" in found["hint"]


def test_misspelt_group_is_recognised(play: Callable[..., Run], inventory: Inventory) -> None:
    children = inventory["all"]["children"]
    children["runer_nodes"] = children.pop("runner_nodes")
    assert "did you mean the group runer_nodes?" in only(play(inventory), "group_missing", "group runner_nodes")["hint"]


def test_host_in_two_pools(play: Callable[..., Run], inventory: Inventory) -> None:
    children = inventory["all"]["children"]
    children["runner_nodes"]["hosts"]["runner-2"] = {}
    children["support_nodes"]["hosts"]["runner-1"] = {}
    children["control_plane"]["hosts"]["runner-2"] = {}
    run = play(inventory)
    for host, other in (("runner-1", "support_nodes"), ("runner-2", "control_plane")):
        found = only(run, "host_in_two_pools", host)
        assert "runner_nodes" in found["found"] and other in found["found"]
        assert found["hint"] == "take the host out of all groups but one"


def test_unknown_variables(play: Callable[..., Run], inventory: Inventory) -> None:
    typos = {
        "fleet_api_endpont": "fleet_api_endpoint",
        "nvme_storage_drive": "nvme_storage_drives",
        "preflight_minimun": "preflight_minimum",
        "runner_pools_pool": "runner_pools_pools",
    }
    inventory["all"]["children"]["runner_nodes"]["vars"] = {**dict.fromkeys(typos, "x"), "my_own": "x"}
    run = play(inventory)
    for name, meant in typos.items():
        found = only(run, "variable_unknown", f"{name} (runner-1)")
        assert found["expected"] == meant and f"did you mean {meant}?" in found["hint"]
    assert "my_own" not in run.output


def test_typos_in_nested_keys(play: Callable[..., Run], inventory: Inventory) -> None:
    values: dict[str, Any] = {
        "fleet_pools": [
            {"name": "support", "group": "support_nodes"},
            {"name": "runner", "group": "runner_nodes", "engin": True},
        ],
        "fleet_mirror": {"ulr": "http://192.0.2.9"},
        "runner_pools_pools": [{"name": "m", "pool": "runner", "organization": "o", "replica": 2}],
    }
    variables(inventory).update(values)
    run = play(inventory)
    run.refused()
    for path, meant in (
        ("fleet_pools[1].engin", "engine"),
        ("fleet_mirror.ulr", "url"),
        ("runner_pools_pools[0].replica", "replicas"),
    ):
        found = run.finding("variable_key_unknown", path)
        assert meant in found["expected"] and f"did you mean {path.rpartition('.')[0]}.{meant}?" in found["hint"]


def test_templated_value_is_checked_for_each_host(play: Callable[..., Run], inventory: Inventory) -> None:
    variables(inventory)["fleet_cgroup_driver"] = "{{ 'sytemd' if inventory_hostname == 'runner-1' else 'cgroupfs' }}"
    found = only(play(inventory), "variable_invalid", "fleet_cgroup_driver (runner-1)")
    assert "got: sytemd" in found["found"] and found["expected"] == "str, one of systemd, cgroupfs"


def test_a_variable_of_the_fleet_has_one_value(play: Callable[..., Run], inventory: Inventory) -> None:
    """Of a limited run as well: the pool that was left out has its say."""
    inventory["all"]["children"]["runner_nodes"]["vars"] = {"dagger_engine_memory": "9Gi"}
    for arguments in ((), ("--limit", "support-1"), ("--limit", "runner-1")):
        found = only(play(inventory, "preflight", *arguments), "variable_differs", "dagger_engine_memory")
        assert "9Gi' on runner-1" in found["found"] and "support-1" in found["found"] and "fleet_pools" in found["hint"]


def test_an_empty_answer_is_named(play: Callable[..., Run], inventory: Inventory) -> None:
    variables(inventory)["dagger_engine_checkpoint_when_idle"] = None
    assert "null" in only(play(inventory), "variable_empty", "dagger_engine_checkpoint_when_idle")["found"]


def test_a_controller_without_helm(play: Callable[..., Run], inventory: Inventory) -> None:
    variables(inventory)["fleet_helm_binary"] = "/nowhere/helm"
    found = only(play(inventory), "helm_missing", "the controller")
    assert found["found"] == "no program /nowhere/helm" and "fleet_helm_binary" in found["hint"]


def test_unreachable_host_stands_beside_all_other_findings(play: Callable[..., Run], inventory: Inventory) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    runner = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": port}
    inventory["all"]["children"]["runner_nodes"]["hosts"]["runner-1"] = runner
    variables(inventory)["fleet_pod_cidr"] = "10.96.0.0/16"
    run = play(inventory, "site")
    run.refused()
    found = run.finding("host_unreachable", "runner-1")
    # Ansible says the latter where ssh ended before it was sent anything.
    assert any(words in found["found"] for words in ("Connection refused", "could not be sent to remote host")), found
    assert "ansible_host" in found["hint"]
    assert (
        run.finding("network_overlap", "fleet_pod_cidr")["found"] == "it overlaps with fleet_service_cidr 10.96.0.0/12"
    )


@pytest.mark.parametrize(
    ("auth", "code", "told"),
    [
        ({"token": ""}, "github_credential_missing", "no credential; empty: token"),
        ({"app_id": "1", "private_key": "s3cret-key"}, "github_credential_missing", "only app_id, private_key"),
        ({"secret": "a", "token": "s3cret-token"}, "github_credential_ambiguous", "secret, token together"),
    ],
    ids=["empty", "incomplete", "two"],
)
def test_github_credential(play: Callable[..., Run], inventory: Inventory, auth: Any, code: str, told: str) -> None:
    variables(inventory)["runner_controller_github_auth"] = auth
    run = play(inventory, "preflight", "-vvv")
    found = only(run, code, "runner_controller_github_auth")
    assert found["found"] == told and "name of an existing Secret" in found["hint"]
    assert "s3cret" not in run.output


@pytest.mark.parametrize(
    ("auth", "key"),
    [
        ({"token": "s3cret-token\n"}, "token"),
        ({"app_id": "my-app", "installation_id": "2", "private_key": "s3cret-key"}, "app_id"),
        ({"app_id": "1", "installation_id": "2", "private_key": "s3cret-key"}, "private_key"),
    ],
    ids=["a line break", "no number", "no key"],
)
def test_what_is_no_credential_at_all(play: Callable[..., Run], inventory: Inventory, auth: Any, key: str) -> None:
    variables(inventory)["runner_controller_github_auth"] = auth
    run = play(inventory, "preflight", "-vvv")
    only(run, "github_credential_refused", f"runner_controller_github_auth.{key}")
    assert "s3cret" not in run.output


class GitHub(http.server.BaseHTTPRequestHandler):
    """A GitHub that takes one token, and gives no job to runners of its version any more."""

    def do_GET(self) -> None:
        """Answer about a version."""
        taken = self.headers["Authorization"] == "Bearer s3cret-taken"
        dates = {f"{what}_deprecates_at": "2020-01-01T00:00:00Z" for what in ("runtime", "registration")}
        content = json.dumps(dates if taken else {"message": "Bad credentials"}).encode()
        self.send_response(200 if taken else 401)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


@contextmanager
def asking_github(inventory: Inventory, token: str, version: str) -> Iterator[None]:
    """The preflight asks a GitHub that takes one token, about runners of this version."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), GitHub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        variables(inventory).update(
            preflight_github_check=True,
            fleet_github_url=f"http://127.0.0.1:{server.server_port}",
            runner_controller_github_auth={"token": token},
            runner_pools_image=f"registry.example.org/runner:{version}",
        )
        yield
        server.shutdown()


@pytest.mark.parametrize(
    ("token", "code", "subject"),
    [
        ("s3cret-other", "github_credential_refused", "runner_controller_github_auth"),
        ("s3cret-taken", "runner_deprecated", "runner 2.335.1"),
    ],
)
def test_what_github_would_refuse(
    play: Callable[..., Run], inventory: Inventory, token: str, code: str, subject: str
) -> None:
    with asking_github(inventory, token, "2.335.1"):
        run = play(inventory, "preflight", "-vvv")
    only(run, code, subject)
    assert "s3cret" not in run.output


def test_the_credential_of_one_scale_set_that_github_would_refuse(
    play: Callable[..., Run], inventory: Inventory
) -> None:
    """It is told by the name of its entry, with GitHub's reason. The common one would be taken."""
    with asking_github(inventory, "s3cret-taken", "latest"):
        variables(inventory)["runner_pools_pools"][0]["credential"] = {"token": "s3cret-other"}
        run = play(inventory, "preflight", "-vvv")
    found = only(run, "github_credential_refused", "runner_pools_pools: medium.credential")
    assert "HTTP 401: Bad credentials" in found["found"]
    assert "s3cret" not in run.output


@pytest.mark.parametrize(
    ("variables", "path"),
    [
        (
            {"dagger_engine_environment": {"DAGGER_CLOUD_TOKEN": "leak-canary-preflight"}},
            "dagger_engine_environment.DAGGER_CLOUD_TOKEN",
        ),
        (
            {
                "fleet_pools": [
                    {"name": "support", "group": "support_nodes"},
                    {
                        "name": "runner",
                        "group": "runner_nodes",
                        "engine": {"environment": {"CACHE": "secret_access_key=leak-canary-pool"}},
                    },
                ]
            },
            "fleet_pools[1].engine.environment.CACHE",
        ),
    ],
)
def test_a_secret_in_an_engine_s_environment(
    play: Callable[..., Run], inventory: Inventory, variables: Any, path: str
) -> None:
    """It is told by its name; that its value is nowhere is what `play` sees to."""
    inventory["all"]["vars"].update(variables)
    run = play(inventory)
    run.refused()
    assert "dagger_engine_environment_secret" in run.finding("environment_secret", path)["hint"]


def test_a_flavour_that_is_none_and_no_credential(play: Callable[..., Run], inventory: Inventory) -> None:
    variables(inventory)["runner_controller_flavour"] = "scale-set"
    del variables(inventory)["runner_controller_github_auth"]
    run = play(inventory)
    run.refused()
    assert run.finding("github_credential_missing", "runner_controller_github_auth")["found"] == "no credential"
    found = run.finding("variable_invalid", "runner_controller_flavour")
    assert "scale-set" in found["found"] and "scale_set" in found["expected"] + found["found"]


def test_several_control_planes_without_an_endpoint(play: Callable[..., Run], inventory: Inventory) -> None:
    del variables(inventory)["fleet_api_endpoint"]
    inventory["all"]["children"]["control_plane"]["hosts"]["cp-2"] = {}
    run = play(inventory)
    run.refused()
    assert "2 control plane hosts" in run.finding("api_endpoint_missing", "fleet_api_endpoint")["found"]
    assert run.finding("control_planes_unsupported", "control plane")["found"] == "2 hosts (cp-1, cp-2)"


def test_drives(play: Callable[..., Run], inventory: Inventory) -> None:
    del variables(inventory)["nvme_storage_drives"]
    faults: dict[str, tuple[list[str], str, str]] = {
        "runner-1": ([], "drives_not_named", "not set"),
        "runner-2": (
            ["/dev/disk/by-id/nvme-NONE"],
            "drive_unusable",
            "/dev/disk/by-id/nvme-NONE is not a block device of this host",
        ),
        "runner-3": (
            ["/dev/nvme0n1"],
            "drive_unusable",
            "/dev/nvme0n1 is a name that may mean another drive after the next boot",
        ),
        "runner-4": (["SERIAL", "SERIAL"], "drive_named_twice", "SERIAL is listed 2 times"),
    }
    hosts = {host: {"nvme_storage_drives": drives} if drives else {} for host, (drives, _code, _told) in faults.items()}
    inventory["all"]["children"]["runner_nodes"]["hosts"] = hosts
    run = play(inventory)
    run.refused()
    for host, (_drives, code, told) in faults.items():
        assert run.finding(code, host)["found"].startswith(told)
    assert not [item for item in run.findings() if item["code"].startswith("drive") and "support-1" in item["subject"]]


def kubeconfig(path: Path) -> str:
    """A kubeconfig with a certificate authority of its own; returns its fingerprint."""
    der = os.urandom(64)
    pem = f"-----BEGIN CERTIFICATE-----\n{base64.encodebytes(der).decode()}-----END CERTIFICATE-----\n"
    cluster = {
        "server": "https://192.0.2.11:6443",
        "certificate-authority-data": base64.b64encode(pem.encode()).decode(),
    }
    content = {
        "clusters": [{"name": "c", "cluster": cluster}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(content))
    return hashlib.sha256(der).hexdigest()


def test_kubeconfig_of_another_cluster(play: Callable[..., Run], inventory: Inventory, tmp_path: Path) -> None:
    kubeconfig(tmp_path / "kubeconfig")
    found = only(play(inventory), "kubeconfig_without_cluster", str(tmp_path / "kubeconfig"))
    assert "cp-1 has no cluster" in found["found"] and f"remove {tmp_path / 'kubeconfig'}" in found["hint"]


def test_kubeconfig_that_a_commit_would_take(play: Callable[..., Run], inventory: Inventory, tmp_path: Path) -> None:
    """Before it is there; ignored, nothing is wrong."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    subprocess.run(["git", "-C", str(tmp_path), "init", "--quiet"], env=environment, check=True)
    found = only(play(inventory), "kubeconfig_in_work_tree", str(tmp_path / "kubeconfig"))
    assert f"add /kubeconfig to {tmp_path}/.gitignore" in found["hint"]
    (tmp_path / ".gitignore").write_text("kubeconfig\n")
    assert "kubeconfig_in_work_tree" not in play(inventory).output


def test_kubeconfig_that_is_none(play: Callable[..., Run], inventory: Inventory, tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_text("kind: Config\n")
    assert only(play(inventory), "kubeconfig_invalid", "fleet_kubeconfig")["found"] == "no clusters in it"


class Mirror(http.server.SimpleHTTPRequestHandler):
    """Serves a directory, and counts what was asked."""

    asked: list[str]

    def log_message(self, format: str, *args: Any) -> None:
        """Instead of a log."""
        self.server.asked.append(self.requestline)  # type: ignore[attr-defined]


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[str, Path, list[str]]]:
    """A mirror on loopback: its address, its directory and the requests that it got."""
    served = tmp_path / "mirror"
    served.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Mirror, directory=str(served)))
    server.asked = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", served, server.asked  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


def stock(served: Path) -> dict[str, str]:
    """Put a small file where each needed artifact belongs; returns their checksums by upstream address."""
    from ansible_collections.runnerfleet.baremetal.plugins.module_utils._pins import artifacts

    checksums = {}
    for artifact in artifacts(ARTIFACTS, {}, {}):
        for source in artifact["sources"].values():
            file = served / source["upstream"].partition("://")[2]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(source["upstream"])
            checksums[source["upstream"]] = hashlib.sha256(source["upstream"].encode()).hexdigest()
    return checksums


def test_mirror_that_is_down(play: Callable[..., Run], inventory: Inventory) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    variables(inventory)["fleet_mirror"] = {
        "url": f"http://{address}",
        "registry": address,
        "registry_plain_http": True,
    }
    run = play(inventory)
    run.refused()
    found = run.finding("mirror_unreachable", f"fleet_mirror.url http://{address}")
    assert "Connection refused" in found["found"] and "correct fleet_mirror.url" in found["hint"]
    run.finding("registry_unreachable", f"fleet_mirror.registry {address}")


def test_mirror_with_a_wrong_and_a_missing_file(
    play: Callable[..., Run], inventory: Inventory, mirror: tuple[str, Path, list[str]]
) -> None:
    url, served, asked = mirror
    variables(inventory)["fleet_mirror"] = {"url": url, "checksums": stock(served)}
    for file in served.rglob("kubelet"):
        file.write_text("not what upstream released")
    for file in served.rglob("kubeadm"):
        file.unlink()
    run = play(inventory)
    run.refused()
    wrong = run.finding("mirror_checksum_wrong", f"{url}/dl.k8s.io/")
    sums = [
        hashlib.sha256(text).hexdigest()
        for text in (b"not what upstream released", wrong["subject"].replace(url, "https:/").encode())
    ]
    assert (wrong["found"], wrong["expected"]) == (f"sha256 {sums[0]}", f"sha256 {sums[1]}")
    assert "HTTP 404" in run.finding("mirror_artifact_missing", "kubeadm")["found"]
    for file in served.rglob("kubelet"):
        file.write_text(f"https://{file.relative_to(served)}")
    asked.clear()
    again = play(inventory)
    assert not [item for item in again.findings() if item["code"] == "mirror_checksum_wrong"]
    fetched = [line for line in asked if line.startswith("GET") and "containerd" in line]
    assert not fetched, "a file that was verified and did not change was fetched again"


def mirrored(inventory: Inventory, registry: Registry) -> None:
    """Pull everything through this registry. Charts that are files come from upstream, which is not asked."""
    variables(inventory)["fleet_mirror"] = registry.mirror


def test_images_and_charts_that_the_mirror_lacks(play: Callable[..., Run], inventory: Inventory) -> None:
    """Each is named, with where it has to be; before the first change."""
    version, engine = PINS["kubernetes"], f"registry.dagger.io/engine:v{PINS['engine']}"
    chart = f"quay.io/jetstack/charts/cert-manager:v{PINS['cert_manager']}"
    lacking = {
        *(
            f"registry.k8s.io/kube-{part}:v{version}"
            for part in ("apiserver", "controller-manager", "scheduler", "proxy")
        ),
        f"registry.k8s.io/etcd:{PINS['etcd']}",
        f"registry.k8s.io/coredns/coredns:v{PINS['coredns']}",
        f"registry.k8s.io/networking/kube-network-policies:v{PINS['network_policies']}",
        engine,
    }
    with serving(Registry()) as registry:
        registry.holds(f"registry.k8s.io/pause:{PINS['pause']}")
        registry.holds(f"docker.io/summerwind/actions-runner:v{PINS['runner_legacy']}-ubuntu-22.04")
        mirrored(inventory, registry)
        variables(inventory)["runner_controller_flavour"] = "legacy"  # with which cert-manager is deployed
        run = play(inventory, "site")
        run.refused()
        told = {
            item["subject"].partition(" ")[0]: item for item in run.findings() if item["code"] == "mirror_image_missing"
        }
        assert set(told) == lacking, run.output
        assert told[engine]["subject"] == f"{engine} (dagger_engine_versions, runner_pools_engine_image)"
        place = f"{registry.address}/{engine}"
        assert told[engine]["hint"].startswith(f"copy the image to {place}, or correct dagger_engine_versions, ")
        missing = run.finding("mirror_chart_missing", f"oci://{chart} (cert_manager_chart, cert_manager_version)")
        assert missing["hint"].startswith(
            f"copy the chart to {registry.address}/{chart}, or correct cert_manager_chart"
        )
        unknown = [item["subject"] for item in run.findings() if item["code"] == "images_unknown"]
        assert len(unknown) == 2 and all(item.startswith("https://github.com/") for item in unknown), (
            "they come from upstream"
        )
        for item in told:
            registry.holds(item)
        registry.holds(chart)
        assert "mirror_image_missing" not in play(inventory).output


def test_a_registry_that_does_not_answer_is_one_finding(play: Callable[..., Run], inventory: Inventory) -> None:
    with serving(Registry()) as registry:
        mirrored(inventory, registry)
        variables(inventory)["preflight_mirror_check"] = "none"
        quiet = play(inventory)
        assert registry.asked == [] and "mirror_image_missing" not in quiet.output
        del variables(inventory)["preflight_mirror_check"]
        registry.statuses = {"/v2/": 502}
        run = play(inventory)
        run.refused()
        plain, found = sorted(
            (item for item in run.findings() if item["code"].startswith(("registry_", "mirror_"))),
            key=lambda item: item["code"],
        )
        assert (plain["code"], plain["severity"], plain["subject"]) == (
            "mirror_plain_http",
            "warning",
            f"fleet_mirror.registry {registry.address}",
        )
        assert (found["code"], found["subject"]) == (
            "registry_unreachable",
            f"fleet_mirror.registry {registry.address}",
        )
        assert "HTTP 502" in found["found"] and found["hint"].endswith("set preflight_mirror_check: none")


def test_images_are_named_by_what_is_behind_their_tags(
    play: Callable[..., Run], inventory: Inventory, tmp_path: Path
) -> None:
    """The file of one run is the inventory of the next, until somebody moves a tag."""
    file = tmp_path / "digests.yml"
    proxy = f"registry.k8s.io/kube-proxy:v{PINS['kubernetes']}"
    with serving(Registry()) as registry:
        mirrored(inventory, registry)
        variables(inventory)["runner_controller_flavour"] = "legacy"  # all of whose charts' images are known
        variables(inventory)["fleet_image_digests"] = {proxy: "sha256:abc"}
        typo = play(inventory)
        typo.refused()
        wrong = typo.finding("variable_invalid", f"fleet_image_digests['{proxy}']")
        assert "64 hexadecimal digits" in wrong["expected"] and "preflight_image_digests_file" in wrong["hint"]
        missing = {
            item["subject"].partition(" ")[0] for item in typo.findings() if item["code"] == "mirror_image_missing"
        }
        digests = {image: registry.tags(image, image) for image in missing}
        of_charts = (
            "flannel-io/flannel:",
            "flannel-io/flannel-cni-plugin:",
            "jetstack/cert-manager-",
            "actions-runner-controller:",
        )
        del variables(inventory)["fleet_image_digests"]
        first = play(inventory, "preflight", "-e", f"preflight_image_digests_file={file}")
        by_tag = first.finding("images_by_tag", "fleet_image_digests")
        # Charts that nobody looked at are of the pinned versions, whose images are known, and are not on this registry.
        unknown = first.finding("image_digest_unknown", str(file))
        assert "HTTP 404" in unknown["found"] and (by_tag["severity"], unknown["severity"]) == ("info", "warning")
        written = yaml.safe_load(file.read_text())["fleet_image_digests"]
        assert written == digests
        left = [
            line.split(": ")[1] for line in file.read_text().splitlines() if line.startswith("# without a digest: ")
        ]
        assert len(left) == 6 and all(any(part in line for part in of_charts) for line in left), left
        for image, digest in digests.items():
            registry.holds(f"{image.rpartition(':')[0]}@{digest}")
        variables(inventory)["fleet_image_digests"] = written
        codes = {item["code"] for item in play(inventory).findings()}
        assert not codes & {"image_digest_differs", "mirror_image_missing"} and "images_by_tag" in codes
        registry.tags(proxy, "something else")
        moved = play(inventory, "site")
        moved.refused()
        differs = moved.finding("image_digest_differs", f"{proxy} (control_plane_kubernetes_version)")
        assert differs["expected"] == digests[proxy] and registry.address in differs["found"]


def test_limit_to_one_host_asks_only_that_host(play: Callable[..., Run], inventory: Inventory) -> None:
    inventory["all"]["children"]["runner_nodes"]["hosts"]["runner-2"] = {
        "ansible_connection": "ssh",
        "ansible_host": "192.0.2.99",
    }
    run = play(inventory, "preflight", "--limit", "runner-1")
    codes = {item["code"] for item in run.findings() if item["severity"] == "error"} if run.code else set()
    assert codes <= set(OF_THE_MACHINE), run.output
    assert "runner-2" not in run.output


def test_a_text_where_a_list_is_expected_is_one_finding(play: Callable[..., Run], inventory: Inventory) -> None:
    """As a survey's text area gives it: nothing is read from its letters, and nothing else is said of them."""
    given = {
        "fleet_engine_versions": "0.21.8",
        "fleet_pools": '[{"name": "runner", "group": "runner_nodes", "engine": {}}]',
    }
    inventory["all"]["vars"] |= given
    inventory["all"]["vars"]["nvme_storage_drives"] = "/dev/nvme0n1\n/dev/nvme1n1"
    run = play(inventory)
    run.refused()
    told = {
        finding["subject"].partition(" ")[0]: finding for finding in run.findings() if finding["severity"] == "error"
    }
    assert sorted(told) == ["fleet_engine_versions", "fleet_pools", "nvme_storage_drives"], run.output
    assert told["nvme_storage_drives"]["found"] == "a text of 2 lines" and told["fleet_pools"]["expected"] == "a list"


def test_findings_that_cannot_be_written_are_in_the_result(play: Callable[..., Run], inventory: Inventory) -> None:
    inventory["all"]["vars"]["preflight_findings_file"] = "/proc/nowhere/findings.json"
    run = play(inventory)
    run.refused()
    codes = [finding["code"] for finding in run.findings()]
    assert "findings_file_unwritable" in codes and "hostname_duplicate" in codes
