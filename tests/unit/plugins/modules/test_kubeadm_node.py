"""The module on a host of files, with a kubeadm that writes what the real one writes, and can be cut off anywhere."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import basic
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host import apply_membership
from ansible_collections.runnerfleet.baremetal.plugins.modules import kubeadm_node
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Run = Callable[..., dict[str, Any]]
TOKEN = "abcdef.0123456789abcdef"


def certificate() -> str:
    """A CA that is good for a day."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
    builder = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    )
    built = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
    return built.public_bytes(serialization.Encoding.PEM).decode()


OURS, THEIRS = certificate(), certificate()


class Host:
    """Directories, and what the API knows of the node."""

    def __init__(self, root: Path) -> None:
        self.kubernetes, self.kubelet, self.etcd = root / "etc", root / "kubelet", root / "etcd"
        for directory in (self.kubernetes / "pki", self.kubernetes / "manifests", self.kubelet / "pki"):
            directory.mkdir(parents=True)
        self.node: bool | None = False
        self.cut = 99  # after how many steps kubeadm dies
        self.failures = 0  # how often kubeadm ends with an error before it works
        self.calls: list[list[str]] = []
        self.documents: list[dict[str, Any]] = []

    def command(self, arguments: list[str], **_more: Any) -> tuple[int, str, str]:
        """Stands for run_command."""
        self.calls.append(arguments)
        if "kubeadm" not in arguments[0]:
            return 0, "", ""
        config = Path(arguments[arguments.index("--config") + 1]).read_text()
        self.documents = [json.loads(document) for document in config.split("\n---\n")]
        ca = base64.b64encode(OURS.encode()).decode()
        client = self.kubelet / "pki/kubelet-client-current.pem"
        conf = f"certificate-authority-data: {ca}\nserver: https://h:1\nclient-certificate: {client}\n"
        writes = {
            "init": [
                (self.kubernetes / "pki/ca.crt", OURS),
                (self.kubernetes / "admin.conf", conf),
                (self.kubernetes / "manifests/kube-apiserver.yaml", "x"),
                (self.etcd / "member/db", "x"),
                (self.kubernetes / "kubelet.conf", conf),
                (self.kubelet / "config.yaml", "x"),
            ],
            "join": [
                (self.kubernetes / "bootstrap-kubelet.conf", conf),
                (self.kubernetes / "pki/ca.crt", OURS),
                (client, OURS),
                (self.kubernetes / "kubelet.conf", conf),
                (self.kubelet / "config.yaml", "x"),
            ],
        }[arguments[1]]
        steps = [path for path, _text in writes]
        if arguments[1] == "join":
            assert not [path for path in steps if path.exists()], "kubeadm join stumbles over these"
        for step, (path, text) in enumerate(writes):
            if step == self.cut:
                raise KeyboardInterrupt
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            if self.failures and step == 1:
                self.failures -= 1
                return 1, "", f"it did not work with {TOKEN}"
        if len(writes) == self.cut:
            raise KeyboardInterrupt
        self.node = True
        return 0, "", ""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """An empty machine with kubeadm."""
    made = Host(tmp_path)
    monkeypatch.setattr(apply_membership, "KUBERNETES", made.kubernetes)
    monkeypatch.setattr(apply_membership, "KUBELET", made.kubelet)
    monkeypatch.setattr(apply_membership, "ETCD", made.etcd)
    monkeypatch.setattr(apply_membership, "RUN", tmp_path)
    monkeypatch.setattr(apply_membership, "node_exists", lambda *_args, **_more: made.node)
    # A module's process ends, and its lock with it; here all of them are one process.
    monkeypatch.setattr(apply_membership.fcntl, "flock", lambda _handle, _how: None)
    monkeypatch.setattr(apply_membership.time, "sleep", lambda _seconds: None)
    monkeypatch.setattr(basic.AnsibleModule, "get_bin_path", lambda *_args, **_more: "/usr/local/bin/kubeadm")
    monkeypatch.setattr(basic.AnsibleModule, "run_command", made.command)
    return made


JOIN = {
    "state": "joined",
    "node_name": "runner-1",
    "cluster_ca": OURS,
    "token": TOKEN,
    "config": [{"kind": "JoinConfiguration", "discovery": {"bootstrapToken": {"apiServerEndpoint": "h:1"}}}],
}
INIT = {
    "state": "initialised",
    "node_name": "cp-1",
    "config": [{"kind": "InitConfiguration"}, {"kind": "ClusterConfiguration"}],
}


@pytest.mark.parametrize("given", [JOIN, INIT], ids=["join", "init"])
def test_check_then_real_then_nothing(host: Host, run_module: Run, given: dict[str, Any]) -> None:
    """The dry run foretells, and the second run leaves the host alone."""
    foretold = run_module(kubeadm_node.main, given, check=True)
    assert (foretold["changed"], foretold["state"], host.calls) == (True, "absent", [])
    real = run_module(kubeadm_node.main, given)
    assert (real["changed"], real["diff"]) == (True, foretold["diff"])
    assert [call[1] for call in host.calls] == [given["state"][:4]]
    assert (host.kubelet / "config.yaml").stat().st_mode & 0o777 == 0o600
    again = run_module(kubeadm_node.main, given)
    assert (again["changed"], again["state"], again["action"]) == (False, "member", "keep")
    assert len(host.calls) == 1
    gathered = run_module(
        kubeadm_node.main, {"node_name": given["node_name"], "control_plane": given is INIT, "cluster_ca": OURS}
    )
    assert gathered["state"] == "member"


@pytest.mark.parametrize("cut", range(6))
def test_a_join_that_was_cut_off_is_finished(host: Host, run_module: Run, cut: int) -> None:
    """Wherever it was."""
    host.cut = cut
    with pytest.raises(KeyboardInterrupt):
        run_module(kubeadm_node.main, JOIN)
    host.cut = 99
    assert run_module(kubeadm_node.main, JOIN)["changed"]
    assert run_module(kubeadm_node.main, JOIN)["changed"] is False
    assert not (host.kubernetes / apply_membership.MARK).exists()
    assert not (host.kubernetes / "bootstrap-kubelet.conf").exists()


@pytest.mark.parametrize("cut", range(7))
def test_an_init_that_was_cut_off_is_finished(host: Host, run_module: Run, cut: int) -> None:
    """Where etcd holds data it goes on, else it begins anew."""
    host.cut = cut
    with pytest.raises(KeyboardInterrupt):
        run_module(kubeadm_node.main, INIT)
    host.cut = 99
    assert run_module(kubeadm_node.main, INIT)["changed"]
    ignored = "DirAvailable--var-lib-etcd" in host.calls[-1][-1]
    assert ignored is (cut > 3)
    assert run_module(kubeadm_node.main, INIT)["changed"] is False


def test_a_node_that_registered_after_the_cut_is_only_tidied(host: Host, run_module: Run) -> None:
    """Its kubelet went on by itself."""
    host.cut = 5
    with pytest.raises(KeyboardInterrupt):
        run_module(kubeadm_node.main, JOIN)
    host.node = True
    calls = len(host.calls)
    assert run_module(kubeadm_node.main, JOIN)["changed"]
    assert len(host.calls) == calls
    assert (host.kubelet / "config.yaml").stat().st_mode & 0o777 == 0o600
    assert run_module(kubeadm_node.main, JOIN)["changed"] is False


def test_a_join_is_tried_again_without_telling_the_token(host: Host, run_module: Run) -> None:
    """What the first try wrote is removed before the second, and nothing else is."""
    (host.kubelet / "pods").mkdir()
    host.failures = 2
    result = run_module(kubeadm_node.main, JOIN)
    assert result["changed"]
    assert len(result["errors"]) == 2
    assert (host.kubelet / "pods").is_dir()
    assert TOKEN not in json.dumps(result)
    token = host.documents[0]["discovery"]["bootstrapToken"]
    assert (token["token"], len(token["caCertHashes"])) == (TOKEN, 1)


def test_a_join_that_never_works_says_why(host: Host, run_module: Run) -> None:
    """With the first error, which the others would hide."""
    host.failures = 9
    result = run_module(kubeadm_node.main, JOIN)
    assert result["failed"]
    assert result["changed"]
    assert "it did not work with abcdef.****" in result["msg"]


def test_a_node_of_another_cluster_is_refused(host: Host, run_module: Run) -> None:
    """And nothing is run."""
    (host.kubernetes / "pki/ca.crt").write_text(THEIRS)
    assert run_module(kubeadm_node.main, {"node_name": "runner-1", "cluster_ca": OURS})["action"] == "refuse"
    result = run_module(kubeadm_node.main, JOIN)
    assert (result["failed"], result["changed"], host.calls) == (True, False, [])
    assert "another cluster" in result["msg"]


def test_a_node_object_of_somebody_else_is_not_taken_over(host: Host, run_module: Run) -> None:
    """A reinstalled machine, or a second one of the same name."""
    host.node = True
    result = run_module(kubeadm_node.main, JOIN)
    assert (result["failed"], result["changed"], host.calls) == (True, False, [])
    assert "kubectl delete node runner-1" in result["msg"]


@pytest.mark.parametrize("lacking", ["token", "cluster_ca"])
def test_no_join_without_a_pinned_ca(host: Host, run_module: Run, lacking: str) -> None:
    """Never skipped."""
    result = run_module(kubeadm_node.main, {**JOIN, lacking: ""})
    assert (result["failed"], result["changed"], host.calls) == (True, False, [])


def test_no_second_cluster_under_one_kubeconfig(host: Host, run_module: Run) -> None:
    """The kubeconfig on the controller speaks of a first one."""
    result = run_module(kubeadm_node.main, {**INIT, "cluster_ca": THEIRS})
    assert (result["failed"], result["changed"], host.calls) == (True, False, [])
    assert "fleet_kubeconfig" in result["msg"]


def test_a_bad_name_is_told_before_anything(host: Host, run_module: Run) -> None:
    """The API would refuse it later, in other words."""
    assert "Rename the inventory host" in run_module(kubeadm_node.main, {**JOIN, "node_name": "Runner_1"})["msg"]
    assert host.calls == []


def test_a_node_that_never_registers_is_told(host: Host, run_module: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the time that was waited, and where to look."""
    monkeypatch.setattr(apply_membership, "node_exists", lambda *_args, **_more: False)
    monkeypatch.setattr(apply_membership, "REGISTRATION_SECONDS", -1)
    result = run_module(kubeadm_node.main, JOIN)
    assert result["failed"] and "has registered no node within -1 s. See `journalctl -u kubelet`" in result["msg"]
