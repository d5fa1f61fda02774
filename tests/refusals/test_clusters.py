"""No playbook ever speaks to a cluster that is not the fleet's, wherever its kubeconfig lies, and none of them changes
anything then.

The clusters are API servers on loopback that count what they are asked, and know one object: the ConfigMap that says
whose they are.
"""

from __future__ import annotations

import base64
import datetime
import http.server
import json
import os
import re
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
# What each needs to get as far as the API, and the hosts that are this machine are only looked at.
NEEDS = {
    "drain": {"drain_pool": "runner", "drain_all": True},
    "engine_checkpoint": {"engine_checkpoint": "take"},
    "engine_retire": {"engine_retire": "0.1.0"},
    "expel_node": {"fleet_expelled_nodes": ["x"]},
}
# They speak to no API: they look at hosts, write to their drives, or only import others.
APART = {"cis_report", "erase_drive", "plan", "preflight", "storage", "site"}
SPEAKING = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml") if path.stem not in APART)


class Cluster:
    """An API server, its kubeconfig, and the requests that it got."""

    def __init__(self, folder: Path, fleet: str) -> None:
        folder.mkdir()
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, fleet or "no fleet")])
        now = datetime.datetime.now(datetime.UTC)
        made = (
            x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        )
        made = made.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(
            now + datetime.timedelta(hours=1)
        )
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        certificate = made.sign(key, hashes.SHA256())
        self.pem = certificate.public_bytes(serialization.Encoding.PEM)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (folder / "server.pem").write_bytes(private + self.pem)
        self.asked: list[str] = []
        fingerprint = certificate.fingerprint(hashes.SHA256()).hex()
        cluster, asked = self, self.asked

        class Handler(http.server.BaseHTTPRequestHandler):
            """Knows the ConfigMap."""

            def _answer(self) -> None:
                asked.append(f"{self.command} {self.path}")
                mine = fleet and self.path.endswith("/configmaps/runnerfleet")
                body = json.dumps(
                    {"kind": "ConfigMap", "data": {"fleet": fleet, "ca": fingerprint}}
                    if mine
                    else {"kind": "Status", "code": 404}
                )
                self.send_response(200 if mine else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

            def log_message(self, *_arguments: Any) -> None:
                """Nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

        def kubeconfig(path: Path) -> Path:
            entry = {
                "server": f"https://localhost:{cluster.server.server_port}",
                "certificate-authority-data": base64.b64encode(cluster.pem).decode(),
            }
            content = {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": entry}],
                "users": [{"name": "u", "user": {"token": "S3CRET"}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(yaml.safe_dump(content))
            return path

        self.kubeconfig = kubeconfig


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Cluster]:
    """Somebody's cluster, at the place where kubectl looks for one."""
    cluster = Cluster(tmp_path / "other", "prod")
    cluster.kubeconfig(tmp_path / "home/.kube/config")
    yield cluster
    cluster.server.shutdown()


def play(tmp_path: Path, playbook: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a playbook for a fleet of hosts that are this machine, by an unprivileged account of its own home."""
    hosts = tmp_path / "inventory/hosts.yml"
    hosts.parent.mkdir(exist_ok=True)
    names = {"control_plane": "cp-1", "support_nodes": "support-1", "runner_nodes": "runner-1"}
    content = {
        "all": {
            "vars": {
                "ansible_connection": "local",
                "ansible_become": False,
                "ansible_python_interpreter": sys.executable,
                "fleet_name": "ci",
                "fleet_kubeconfig": "{{ inventory_dir }}/kubeconfig",
                "fleet_api_endpoint": "192.0.2.11:6443",
                "nvme_storage_drives": [],
            },
            "children": {group: {"hosts": {host: {}}} for group, host in names.items()},
        }
    }
    hosts.write_text(yaml.safe_dump(content))
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("K8S_AUTH", "KUBECONFIG"))}
    settings = {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
        "HOME": str(tmp_path / "home"),
    }
    command = [
        str(PLAYBOOK),
        "-i",
        str(hosts),
        str(ROOT / "playbooks" / f"{playbook}.yml"),
        "-e",
        json.dumps(NEEDS.get(playbook, {})),
    ]
    return subprocess.run(
        [*command, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**clean, **settings, **environment},
        timeout=120,
        check=False,
    )


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """What it said, in one line. It failed, and changed nothing."""
    output = done.stdout + done.stderr
    assert done.returncode != 0, output
    assert set(re.findall(r"changed=(\d+)", output)) <= {"0"}, output
    assert "S3CRET" not in output
    return " ".join(output.split())


# The two others begin with the hosts, which here are this machine; the static test below holds them as well.
API_ONLY = [name for name in SPEAKING if name not in ("join", "replace_drive")]


@pytest.mark.parametrize("playbook", API_ONLY)
def test_a_kubeconfig_of_another_cluster_in_the_home_is_never_used(
    tmp_path: Path, other: Cluster, playbook: str
) -> None:
    """Neither where the fleet's own is missing, nor through a variable of the shell."""
    home = str(tmp_path / "home/.kube/config")
    for environment in ({}, {"KUBECONFIG": home}, {"K8S_AUTH_KUBECONFIG": home}):
        told = refused(play(tmp_path, playbook, **environment))
        assert "fleet_kubeconfig names" in told and "which is no file here" in told, told
    assert other.asked == []


@pytest.mark.parametrize("playbook", API_ONLY)
def test_a_cluster_of_another_fleet_is_refused(tmp_path: Path, other: Cluster, playbook: str) -> None:
    other.kubeconfig(tmp_path / "inventory/kubeconfig")
    told = refused(play(tmp_path, playbook))
    assert "the cluster belongs to another fleet: found 'prod'" in told and "expected 'ci'" in told, told
    assert set(other.asked) == {"GET /api/v1/namespaces/kube-system/configmaps/runnerfleet"}


@pytest.mark.parametrize("playbook", [name for name in API_ONLY if name != "pools"])
def test_a_cluster_that_is_no_fleet_is_refused(tmp_path: Path, playbook: str) -> None:
    nobodys = Cluster(tmp_path / "nobodys", "")
    nobodys.kubeconfig(tmp_path / "inventory/kubeconfig")
    told = refused(play(tmp_path, playbook))
    assert "does not say that it is a fleet" in told and "run site.yml first" in told, told
    assert set(nobodys.asked) == {"GET /api/v1/namespaces/kube-system/configmaps/runnerfleet"}
    nobodys.server.shutdown()


def test_an_environment_that_leads_to_another_cluster_is_refused(tmp_path: Path, other: Cluster) -> None:
    ours = Cluster(tmp_path / "ours", "ci")
    ours.kubeconfig(tmp_path / "inventory/kubeconfig")
    told = refused(play(tmp_path, "engine_status", K8S_AUTH_HOST=f"https://localhost:{other.server.server_port}"))
    assert "environment: found K8S_AUTH_HOST, expected none" in told, told
    assert other.asked == ours.asked == []
    ours.server.shutdown()


@pytest.mark.parametrize(
    "wins",
    [{"runner_controller_flavour": "legacy"}, {"runner_pools_flavour": "scale_set"}, {"runner_pools_pools": [{}]}],
)
def test_variables_of_the_command_line_never_choose_what_is_removed(tmp_path: Path, wins: dict[str, Any]) -> None:
    """They would win where the other flavour is removed too."""
    ours = Cluster(tmp_path / "ours", "ci")
    ours.kubeconfig(tmp_path / "inventory/kubeconfig")
    told = refused(play(tmp_path, "runner_flavour", "-e", json.dumps(wins)))
    assert "is a variable of the command line or of a survey, expected one of the inventory" in told, told
    assert set(ours.asked) == {"GET /api/v1/namespaces/kube-system/configmaps/runnerfleet"}
    ours.server.shutdown()


def test_every_playbook_that_speaks_to_the_api_begins_with_the_proof() -> None:
    """Those that are not run above as well: before the first task that names a kubeconfig stands the one that
    compares.
    """
    for name in SPEAKING:
        text = (ROOT / "playbooks" / f"{name}.yml").read_text()
        assert "tasks/cluster.yml" in text or "tasks/prove_cluster.yml" in text, name
    begin = yaml.safe_load((ROOT / "playbooks/tasks/cluster.yml").read_text())
    assert [task["ansible.builtin.import_tasks"] for task in begin] == ["kubeconfig.yml", "prove_cluster.yml"]
    looked = (ROOT / "playbooks/preflight.yml").read_text()  # which site.yml runs before it touches a drive
    assert looked.index("roles:") < looked.index("runnerfleet.baremetal.cluster_identity:")
    for path in [*(ROOT / "playbooks").rglob("*.yml"), *(ROOT / "roles").glob("*/tasks/*.yml")]:
        assert not re.search(r"kubeconfig.*omit", path.read_text()), path
