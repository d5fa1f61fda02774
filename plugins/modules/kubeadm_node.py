#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeadm_node
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: Makes a host a control plane or a node of one cluster, once
description:
  - Judges to which cluster a host belongs, and runs C(kubeadm init) or C(kubeadm join) only where the host belongs to none.
  - A run that was killed at any point is finished by the next one. What another cluster or another tool has set up is refused, never reset.
  - C(kubeadm reset) is not used, because it unmounts and empties what lies below C(/var/lib/kubelet). What an unfinished join has
    written is removed file by file.
options:
  state:
    description:
      - V(gathered) only looks.
      - V(initialised) makes the host the control plane, V(joined) makes it a node.
    type: str
    choices: [gathered, initialised, joined]
    default: gathered
  control_plane:
    description: With O(state=gathered), judge the host as a control plane instead of as a node.
    type: bool
    default: false
  node_name:
    description: Name of the Node object.
    type: str
    required: true
  cluster_ca:
    description:
      - The CA certificate of the cluster, in PEM form. Empty where there is no cluster yet.
      - O(state=joined) requires it, and pins it.
    type: str
    default: ""
  config:
    description:
      - kubeadm's documents, each with C(apiVersion) and C(kind), without secrets.
      - Handed over in memory, never written to a disk.
    type: list
    elements: dict
    default: []
  token:
    description: Bootstrap token for O(state=joined).
    type: str
  ignore_preflight_errors:
    description: Names of kubeadm's preflight checks whose errors do not count.
    type: list
    elements: str
    default: []
  attempts:
    description: How often to try a join. Between two tries the module removes what the first has written.
    type: int
    default: 3
extends_documentation_fragment: runnerfleet.baremetal.attributes
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
  idempotent: {support: full}
"""

EXAMPLES = r"""
- name: See to which cluster the host belongs
  runnerfleet.baremetal.kubeadm_node:
    node_name: "{{ inventory_hostname }}"
    cluster_ca: "{{ lookup('ansible.builtin.file', 'ca.crt') }}"
  register: result
"""

RETURN = r"""
state:
  description: One of V(absent), V(member), V(half) (an earlier run did not end), V(stale) (its Node object is gone), V(foreign).
  type: str
  returned: always
  sample: member
action:
  description: What is to be done, one of V(keep), V(join), V(init), V(refuse).
  type: str
  returned: always
  sample: keep
reason:
  description: Why, in words. For V(refuse) also what to do about it.
  type: str
  returned: always
  sample: the host is a node of the cluster
host_ca:
  description: Fingerprint of the CA that the host trusts, or empty.
  type: str
  returned: always
  sample: sha256:6c9a...
cluster_ca:
  description: Fingerprint of the given CA, or empty.
  type: str
  returned: always
  sample: sha256:6c9a...
errors:
  description: The end of kubeadm's output for each try that failed.
  type: list
  elements: str
  returned: when kubeadm ran
  sample: []
"""

import fcntl
import http.client
import json
import os
import random
import ssl
import time
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils import _membership as membership

KUBERNETES = Path("/etc/kubernetes")
KUBELET = Path("/var/lib/kubelet")
ETCD = Path("/var/lib/etcd")
RUN = Path("/run")
LOCAL_BIN = "/usr/local/bin"
MARK = "runnerfleet-unfinished"
REGISTRATION_SECONDS = 120


def read(path: Path) -> str:
    """Text of a file, empty where there is none."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def node_exists(server: str, ca: str, name: str, token: str = "", certificate: str = "") -> bool | None:
    """Ask the API for the Node object, as the kubelet (its certificate) or as a joining machine (a token). None: no answer."""
    try:
        context = ssl.create_default_context(cadata=ca)
        if certificate:
            context.load_cert_chain(certificate)
        address = urlsplit(server)
        connection = http.client.HTTPSConnection(address.hostname or "", address.port or 443, timeout=10, context=context)
        connection.request("GET", f"/api/v1/nodes/{name}", headers={"Authorization": f"Bearer {token}"} if token else {})
        return {200: True, 404: False}.get(connection.getresponse().status)
    except (OSError, http.client.HTTPException, ValueError):
        return None


def gather(name: str) -> membership.Evidence:
    """Look at everything that speaks of a cluster."""
    kubelet = membership.kubeconfig(read(KUBERNETES / "kubelet.conf"))
    bootstrap = membership.kubeconfig(read(KUBERNETES / "bootstrap-kubelet.conf"))
    embedded = [membership.decoded(conf.get("certificate-authority-data", "")) for conf in (kubelet, bootstrap)]
    ca = next((pem for pem in (read(KUBERNETES / "pki/ca.crt"), *embedded) if readable(pem)), None)
    certificate = Path(kubelet.get("client-certificate") or KUBELET / "pki/kubelet-client-current.pem")
    expires, known = None, None
    if kubelet and ca and readable(read(certificate)):
        expires = membership.expiry(read(certificate))
        known = node_exists(kubelet.get("server", ""), ca, name, certificate=str(certificate))
    return membership.Evidence(
        ca=ca,
        kubelet_conf=(KUBERNETES / "kubelet.conf").exists(),
        client_expires=expires,
        node_object=known,
        bootstrap_conf=(KUBERNETES / "bootstrap-kubelet.conf").exists(),
        admin_conf=(KUBERNETES / "admin.conf").exists(),
        manifests=sorted(path.name for path in (KUBERNETES / "manifests").glob("*.yaml")),
        etcd_data=(ETCD / "member").exists(),
        begun=(KUBERNETES / MARK).exists(),
    )


def readable(pem: str) -> bool:
    """Whether a text is a certificate, and a whole one."""
    try:
        return bool(membership.fingerprint(pem))
    except ValueError:
        return False


def lock() -> int:
    """One at a time on a host: kubeadm inherits the lock, so that it counts even where the module that started it was killed."""
    handle = os.open(RUN / "runnerfleet-kubeadm.lock", os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


class Kubeadm:
    """Runs kubeadm, and keeps what it said where it failed."""

    def __init__(self, module: AnsibleModule, lock: int) -> None:
        self.module = module
        self.lock = lock
        self.errors: list[str] = []
        self.ran = False

    def __call__(self, command: str, documents: list[dict[str, Any]], ignore: list[str], *more: str) -> bool:
        """Run one command. Its configuration lies in memory only, so that no kill leaves a token on a disk."""
        config = os.memfd_create("kubeadm-config")
        try:
            os.write(config, "\n---\n".join(json.dumps(document) for document in documents).encode())
            program = self.module.get_bin_path("kubeadm", required=True, opt_dirs=[LOCAL_BIN])
            arguments = [program, command, "--config", f"/proc/self/fd/{config}", *more]
            if ignore:
                arguments += ["--ignore-preflight-errors", ",".join(ignore)]
            # sudo's secure_path may lack the directory in which kubeadm looks for kubelet.
            environment = {"PATH": f"{os.environ.get('PATH', '')}:{LOCAL_BIN}"}
            self.ran = True
            code, out, err = self.module.run_command(arguments, pass_fds=[self.lock, config], environ_update=environment)
        finally:
            os.close(config)
        if code:
            self.errors.append(membership.redacted(f"{out}\n{err}".strip())[-2000:])
        return code == 0

    def init(self, before: membership.Evidence) -> bool:
        """Initialise the control plane, or finish an init that began earlier."""
        ignore = list(self.module.params["ignore_preflight_errors"])
        if before.begun and before.etcd_data:
            ignore += membership.INIT_LEFTOVERS
        elif before.begun:
            # Nothing was stored yet, and a file may be cut off: begin anew.
            self.stop_kubelet()
            remove(*(KUBERNETES / "pki").rglob("*.*"), *KUBERNETES.glob("*.conf"), *(KUBERNETES / "manifests").glob("*.yaml"))
        mark()
        done = self("init", self.module.params["config"], ignore, "--skip-token-print")
        return done and remove(KUBERNETES / MARK)

    def join(self, before: membership.Evidence) -> bool:
        """Join, or finish a join that began earlier."""
        params = self.module.params
        documents = membership.join_documents(params["config"], params["token"], params["cluster_ca"])
        for attempt in range(params["attempts"]):
            if attempt or before.traces:
                time.sleep(random.uniform(0, 5) if attempt else 0)
                self.stop_kubelet()
                remove(*(KUBERNETES / name for name in ("kubelet.conf", "bootstrap-kubelet.conf", "pki/ca.crt")))
                remove(KUBELET / "config.yaml", *(KUBELET / "pki").glob("kubelet-client-*"))
            mark()
            if self("join", documents, params["ignore_preflight_errors"]):
                return remove(KUBERNETES / "bootstrap-kubelet.conf", KUBERNETES / MARK)
        return False

    def stop_kubelet(self) -> None:
        """A kubelet at work would write the files again that are being removed."""
        self.module.run_command(["systemctl", "stop", "kubelet"], check_rc=True)


def mark() -> None:
    """Note on disk that files from here on are ours, before kubeadm writes the first."""
    KUBERNETES.mkdir(mode=0o755, parents=True, exist_ok=True)
    with open(KUBERNETES / MARK, "w", encoding="utf-8") as note:
        note.write("An init or a join has begun and not ended. The next run finishes it.\n")
        note.flush()
        os.fsync(note.fileno())


def remove(*paths: Path) -> bool:
    """Delete files that may be there."""
    for path in paths:
        path.unlink(missing_ok=True)
    return True


def registered(name: str) -> bool:
    """Wait until the kubelet has registered its node. Ready comes later, with the pod network."""
    deadline = time.monotonic() + REGISTRATION_SECONDS
    while gather(name).node_object is not True:
        if time.monotonic() > deadline:
            return False
        time.sleep(1)
    return True


def change(module: AnsibleModule, found: membership.Evidence, verdict: membership.Membership, kubeadm: Kubeadm) -> str | None:
    """Do what the verdict says; returns why it could not be done."""
    params, name = module.params, module.params["node_name"]
    finished = verdict.state == "member"
    if verdict.action == "join" and not finished:
        if not params["token"] or not params["cluster_ca"]:
            return "state=joined needs token and cluster_ca, found one of them empty: a join without a pinned CA is never tried"
        endpoint = f"https://{membership.api_endpoint(params['config'])}"
        taken = node_exists(endpoint, params["cluster_ca"], name, token=params["token"])
        # The kubelet of a join that was cut off may have registered the node by itself since.
        finished = bool(taken and gather(name).node_object)
        if taken and not finished:
            return membership.still_registered(name)
    if finished:
        remove(KUBERNETES / "bootstrap-kubelet.conf", KUBERNETES / MARK)
        return None
    if not (kubeadm.init(found) if verdict.action == "init" else kubeadm.join(found)):
        return f"kubeadm {verdict.action} failed, tries: {len(kubeadm.errors)}. The first ended with: {kubeadm.errors[0]}"
    if verdict.action == "join" and not registered(name):
        return f"kubeadm join ended, but the kubelet has registered no node within {REGISTRATION_SECONDS} s. See `journalctl -u kubelet`"
    return None


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["gathered", "initialised", "joined"], "default": "gathered"},
            "control_plane": {"type": "bool", "default": False},
            "node_name": {"type": "str", "required": True},
            "cluster_ca": {"type": "str", "default": ""},
            "config": {"type": "list", "elements": "dict", "default": []},
            "token": {"type": "str", "no_log": True},
            "ignore_preflight_errors": {"type": "list", "elements": "str", "default": []},
            "attempts": {"type": "int", "default": 3},
        },
        supports_check_mode=True,
    )
    params, name, wanted = module.params, module.params["node_name"], module.params["state"]
    acts = wanted != "gathered" and not module.check_mode
    result: dict[str, Any] = {"changed": False}
    problem: str | None = None
    kubeadm = Kubeadm(module, lock() if acts else -1)
    try:
        membership.check_node_name(name)
        found = gather(name)
        control_plane = params["control_plane"] or wanted == "initialised"
        verdict = membership.judge(found, params["cluster_ca"], control_plane, datetime.now(timezone.utc))
        result.update(asdict(verdict))
        if wanted != "gathered" and verdict.action == "refuse":
            problem = verdict.reason
        elif wanted != "gathered" and verdict.action != "keep":
            result.update(changed=True, diff={"before": {"membership": verdict.state}, "after": {"membership": "member"}})
            problem = change(module, found, verdict, kubeadm) if acts else None
            result.update(errors=kubeadm.errors)
    except ValueError as error:
        problem = str(error)
    if problem:
        module.fail_json(msg=f"{name}: {problem}", **{**result, "changed": kubeadm.ran})
    module.exit_json(**result)


if __name__ == "__main__":
    main()
