"""The callback that searches the scenarios' results finds each kind of secret, wherever callbacks get one, and nothing
else.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lab import github
from tests import run as stages
from tests.callback.leaked_secrets import CallbackModule, secrets_in, texts

ROOT = Path(__file__).resolve().parents[2]


def encoded(text: str) -> str:
    """As the API and slurp write it."""
    return base64.b64encode(text.encode()).decode()


def private_key(form: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8) -> str:
    """One that opens nothing."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


KUBECONFIG = yaml.safe_dump({"users": [{"name": "admin", "user": {"client-key-data": encoded(private_key())}}]})
# What scripts/get and the like of a GitHub give; the lab's registration tokens are an A and 18 bytes
# (standins/internal/service/state.go).
SECRETS = {
    "the lab's token of GitHub": (github.TOKEN, "token of GitHub"),
    "a fine-grained token": ("github_pat_" + "1aB_" * 20, "token of GitHub"),
    "an installation's token": ("ghs_" + "0123456789ab" * 3, "token of GitHub"),
    "a registration token of the lab": ("A" + "0123456789ab" * 3, "registration token"),
    "a registration token of GitHub": ("A" + "AB12" * 7, "registration token"),
    "a bootstrap token": ("abcdef.0123456789abcdef", "bootstrap token"),
    "a private key": (private_key(), "private key"),
    "an older private key": (private_key(serialization.PrivateFormat.TraditionalOpenSSL), "private key"),
    "a private key in base64": (encoded(private_key()), "private key"),
    "a kubeconfig": (KUBECONFIG, "private key"),
    "a service account": (
        ".".join(["eyJ" + "hbGciOiJSUzI1NiIs"] * 2 + ["c2lnbmF0dXJlc2lnbmF0dXJl"]),
        "token of a service account",
    ),
    "a password in an address": ("http://reader:hunter2@mirror.example.org/releases", "password in an address"),
    "what a scenario planted": ("leak-canary-engine-environment", "canary engine-environment"),
}
HARMLESS = [
    "sha256:" + "a1" * 32,
    "3f786850e387550fdab836ed7e6dc881de23001b",
    "node-role.kubernetes.io/control-plane, app.kubernetes.io/name, docker.kubernetescontainer",
    "apiVersion: kubeadm.k8s.io/v1beta4, runner-1.moleculesite",
    encoded("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"),
    "http://***@mirror.example.org/releases and http://mirror.example.org:8080/a@b",
    "sha256~notatoken eyJhbGci.eyJ bootstrap-token-abcdef",
    "A" * 37 + " " + "0" * 60,
]


@pytest.mark.parametrize(
    "wrap", [str, encoded, lambda text: encoded(encoded(text)), lambda text: f'{{"value": "{text}", "n": 1}}']
)
@pytest.mark.parametrize(("secret", "name"), SECRETS.values(), ids=SECRETS)
def test_a_secret_is_known_by_its_shape(secret: str, name: str, wrap: Any) -> None:
    """As it is, among other text, and in base64 once or twice."""
    assert secrets_in(wrap(secret)) == {name}


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_none_is_not_taken_for_one(text: str) -> None:
    """Sums, versions, keys of labels, certificates, and addresses whose password is masked."""
    assert secrets_in(text) == set()


def test_the_history_of_helm_is_read() -> None:
    """It is base64 of base64 of gzip."""
    release = base64.b64encode(gzip.compress(json.dumps({"config": {"token": github.TOKEN}}).encode())).decode()
    assert secrets_in(encoded(release)) == {"token of GitHub"}


def test_every_text_has_its_place() -> None:
    """Keys are searched as well, and one that is a secret is not told."""
    value = {"resources": [{"env": [{"value": "x"}], github.TOKEN: "y"}], "rc": 0, "none": None}
    found = list(texts(value, "result"))
    assert ("result.resources[0].env[0].value", "x") in found
    assert ("result.resources[0]", github.TOKEN) in found
    assert not [path for path, _text in found if github.TOKEN in path]


def test_every_event_with_a_result_is_searched() -> None:
    """What ansible-core may hand to a callback with a result: one that is new must be thought of."""
    names = {name for name in dir(CallbackModule) if name.startswith("v2_runner_") or name == "v2_on_file_diff"}
    assert {name for name in names if getattr(CallbackModule, name) != CallbackModule.v2_runner_on_ok} == {
        "v2_runner_on_start"
    }


PLAY = """
- hosts: localhost
  gather_facts: false
  vars: {{secret: {secret}}}
  tasks:
    - name: In a result
      ansible.builtin.debug: {{msg: "{{{{ secret }}}}"}}
    - name: In an item
      ansible.builtin.set_fact: {{fact: 1}}
      loop: ["{{{{ secret }}}}"]
      loop_control: {{label: x}}
    - name: In a diff
      ansible.builtin.copy: {{content: "{{{{ secret }}}}", dest: {directory}/file, mode: "0600"}}
      check_mode: true
      diff: true
    - name: In an error
      ansible.builtin.fail: {{msg: "could not use {{{{ secret }}}}"}}
      register: failure
      failed_when: true
      ignore_errors: true
    - name: In a module's own arguments
      ansible.builtin.command: {{argv: ["true", "{{{{ secret }}}}"]}}
    - name: In the arguments of a task that has no result
      ansible.builtin.debug: {{msg: {secret}}}
      when: false
    - name: In the name {{{{ secret }}}}
      ansible.builtin.debug: {{msg: fine}}
    - name: In what a run hands on
      ansible.builtin.set_stats: {{data: {{"token": "{{{{ secret }}}}"}}, per_host: false}}
      no_log: true
    - name: Nowhere
      ansible.builtin.debug: {{msg: "{{{{ secret }}}}"}}
      no_log: true
    - name: Not in an argument that is not logged
      ansible.builtin.uri: {{url: "http://127.0.0.1:1/", url_password: "{{{{ secret }}}}", status_code: [-1]}}
"""


def searched(tmp_path: Path, play: str) -> tuple[dict[str, Any], str]:
    """What the callback wrote of a run of ansible-playbook, and what the run printed."""
    (tmp_path / "play.yml").write_text(play)
    told = tmp_path / "told.jsonl"
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible/collections"),
        "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "tests/callback"),
        "ANSIBLE_CALLBACKS_ENABLED": "leaked_secrets",
        "ANSIBLE_INJECT_INVOCATION": "true",
        "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
        "LEAKED_SECRETS_FILE": str(told),
    }
    playbook = Path(sys.executable).with_name("ansible-playbook")
    command = [str(playbook), "-i", "localhost,", "-c", "local", str(tmp_path / "play.yml")]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    (line,) = told.read_text().splitlines()
    found: dict[str, Any] = json.loads(line)
    return found, run.stdout + run.stderr


def test_a_run_is_searched_as_awx_gets_it(tmp_path: Path) -> None:
    """ansible-playbook with the callback: each place is found, nothing is told of what is not logged, and no value is
    written down.
    """
    line, _output = searched(tmp_path, PLAY.format(secret=github.TOKEN, directory=tmp_path))
    assert not secrets_in(json.dumps(line))
    assert {leak["secret"] for leak in line["leaks"]} == {"token of GitHub"}
    found = {leak["task"]: leak["where"] for leak in line["leaks"]}
    assert found == {
        "In a result": "result.msg",
        "In an item": "result.item",
        "In a diff": "result.diff[0].after",
        "In an error": "result.msg",
        "In a module's own arguments": "result.cmd[1]",
        "In the arguments of a task that has no result": "arguments.msg",
        "(its name has it)": "name",
        "set_stats": "stats._run.token",
    }
    assert line["searched"] > len(found)


MIRROR = """
- hosts: localhost
  gather_facts: false
  vars:
    mirror: {url: "http://reader:hunter2@127.0.0.1:1/releases", registry: "reader:hunter2@127.0.0.1:1"}
    address: http://reader:hunter2@127.0.0.1:1/chart.tgz
  tasks:
    - name: By an address of its own
      runnerfleet.baremetal.helm_chart: &chart
        {chart: "{{ address }}", name: x, version: 1.0.0, directory: /nowhere}
      register: failure
      failed_when: failure is not failed or '***@127.0.0.1' not in failure.msg
    - name: By the mirror
      runnerfleet.baremetal.helm_chart: {<<: *chart, chart: "https://example.org/x.tgz", mirror: "{{ mirror }}"}
      register: failure
      failed_when: failure is not failed or 'fleet_mirror.url carries a user name or a password' not in failure.msg
    - name: By a file
      runnerfleet.baremetal.host_artifacts:
        state_file: DIRECTORY/state.json
        destinations: {x: {path: DIRECTORY/x}}
        artifacts: [{name: x, version: "1", sources: {amd64: "{{ source }}", arm64: "{{ source }}"}}]
      vars: {source: {url: "{{ address }}", upstream: "{{ address }}", sha256: "00"}}
      register: failure
      failed_when: failure is not failed or '***@127.0.0.1' not in failure.msg
"""


def test_a_password_in_an_address_is_in_no_answer(tmp_path: Path) -> None:
    """A module gives its arguments back. That some task before should have refused it is not relied on."""
    line, output = searched(tmp_path, MIRROR.replace("DIRECTORY", str(tmp_path)))
    assert line["leaks"] == [] and line["searched"] >= 6
    assert "hunter2" not in output


def test_a_stage_fails_by_what_was_found(tmp_path: Path) -> None:
    """One note a leak, without its value; that nothing was searched is a failure too."""
    searched, log = tmp_path / "default.secrets.jsonl", tmp_path / "default.log"
    assert stages.leaks(searched) == ["no result was searched for secrets"]
    searched.write_text(json.dumps({"playbook": "converge.yml", "searched": 0, "leaks": []}) + "\n")
    assert stages.leaks(searched) == ["no result was searched for secrets"]
    leak = {
        "playbook": "verify.yml",
        "task": "List the pods",
        "host": "cp-1",
        "secret": "registration token",
        "where": "result.resources",
    }
    with searched.open("a") as file:
        file.write(json.dumps({"playbook": "verify.yml", "searched": 3, "leaks": [leak]}) + "\n")
    assert stages.leaks(searched) == [
        "a secret (registration token) is in result.resources of task 'List the pods' on cp-1, verify.yml"
    ]
    assert stages.leaks_of_log(log) == []
    log.write_text(f"PLAY RECAP\nfatal: could not use {github.TOKEN}\n")
    assert stages.leaks_of_log(log) == ["a secret (token of GitHub) is in line 2 of default.log"]


def test_every_scenario_is_searched() -> None:
    """The callback is in what all scenarios share, and none has its own instead."""
    shared = yaml.safe_load((ROOT / ".config/molecule/config.yml").read_text())["ansible"]["env"]
    assert "leaked_secrets" in shared["ANSIBLE_CALLBACKS_ENABLED"].split(",")
    assert shared["LEAKED_SECRETS_FILE"].endswith("/tests/output/${MOLECULE_SCENARIO_NAME}.secrets.jsonl")
    for path in ROOT.glob("molecule/*/molecule.yml"):
        own = (yaml.safe_load(path.read_text()) or {}).get("ansible", {}).get("env", {})
        assert not {"ANSIBLE_CALLBACKS_ENABLED", "ANSIBLE_CALLBACK_PLUGINS", "LEAKED_SECRETS_FILE"} & set(own), path


@pytest.mark.parametrize(("secret", "name"), SECRETS.values(), ids=SECRETS)
def test_hosts_are_searched_for_the_same(secret: str, name: str, tmp_path: Path) -> None:
    """By grep, on the hosts of a scenario: what lies in a file, but for what only a node's own files or addresses
    have.
    """
    given = yaml.safe_load((ROOT / "molecule/shared/vars/secrets.yml").read_text())
    shapes = [f"--regexp={shape}" for shape in given["secrets_shapes"] + given["secrets_keys"]]
    text = f"token: {secret}\n" if name == "bootstrap token" else f"x {secret}\n"
    (tmp_path / "file").write_text(text)
    grep = ["grep", "--recursive", "--files-with-matches", "--extended-regexp", *shapes, str(tmp_path)]
    found = subprocess.run(grep, capture_output=True, text=True, check=False)
    known = name not in ("token of a service account", "password in an address") and not secret.startswith("LS0t")
    assert (found.returncode == 0) is known, found.stderr


def test_hosts_are_not_found_out_by_the_search_itself(tmp_path: Path) -> None:
    """Its arguments stand in the journal of each host."""
    text = (ROOT / "molecule/shared/vars/secrets.yml").read_text()
    given = yaml.safe_load(text)
    (tmp_path / "file").write_text(text + json.dumps(given) + str(given))
    shapes = [f"--regexp={shape}" for shape in given["secrets_shapes"] + given["secrets_keys"]]
    assert (
        subprocess.run(["grep", "--recursive", "--extended-regexp", *shapes, str(tmp_path)], check=False).returncode
        == 1
    )
    assert secrets_in(text) == set()
