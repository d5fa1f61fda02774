# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gathers what on a host speaks of a cluster, and runs kubeadm. A killed run can be repeated. Private to the
collection.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import random
import ssl
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host import plan_membership as membership

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
    """Ask the API for the Node object, as the kubelet (its certificate) or as a joining machine (a token). None: no
    answer.
    """
    try:
        context = ssl.create_default_context(cadata=ca)
        if certificate:
            context.load_cert_chain(certificate)
        address = urlsplit(server)
        connection = http.client.HTTPSConnection(
            address.hostname or "", address.port or 443, timeout=10, context=context
        )
        connection.request(
            "GET", f"/api/v1/nodes/{name}", headers={"Authorization": f"Bearer {token}"} if token else {}
        )
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
    """One at a time on a host: kubeadm inherits the lock, so that it counts even where the module that started it was
    killed.
    """
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
            code, out, err = self.module.run_command(
                arguments, pass_fds=[self.lock, config], environ_update=environment
            )
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
            remove(
                *(KUBERNETES / "pki").rglob("*.*"),
                *KUBERNETES.glob("*.conf"),
                *(KUBERNETES / "manifests").glob("*.yaml"),
            )
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


def close() -> None:
    """The kubelet's configuration is root's alone; kubeadm writes it readable for all."""
    if (KUBELET / "config.yaml").exists():
        os.chmod(KUBELET / "config.yaml", 0o600)


def registered(name: str) -> bool:
    """Wait until the kubelet has registered its node. Ready comes later, with the pod network."""
    deadline = time.monotonic() + REGISTRATION_SECONDS
    while gather(name).node_object is not True:
        if time.monotonic() > deadline:
            return False
        time.sleep(1)
    return True


def change(
    module: AnsibleModule, found: membership.Evidence, verdict: membership.Membership, kubeadm: Kubeadm
) -> str | None:
    """Do what the verdict says; returns why it could not be done."""
    params, name = module.params, module.params["node_name"]
    finished = verdict.state == "member"
    if verdict.action == "join" and not finished:
        if not params["cluster_ca"]:
            return (
                "state=joined needs token and cluster_ca, found cluster_ca empty: a join without a pinned CA is "
                "never tried"
            )
        # No token is given to a name that has a Node.
        endpoint = f"https://{membership.api_endpoint(params['config'])}"
        taken = not params["token"] or node_exists(endpoint, params["cluster_ca"], name, token=params["token"])
        # The kubelet of a join that was cut off may have registered the node by itself since.
        finished = bool(taken and gather(name).node_object)
        if taken and not finished:
            return membership.still_registered(name)
    if finished:
        close()
        remove(KUBERNETES / "bootstrap-kubelet.conf", KUBERNETES / MARK)
        return None
    if not (kubeadm.init(found) if verdict.action == "init" else kubeadm.join(found)):
        return (
            f"kubeadm {verdict.action} failed, tries: {len(kubeadm.errors)}. The first ended with: {kubeadm.errors[0]}"
        )
    close()
    if verdict.action == "join" and not registered(name):
        return (
            f"kubeadm join ended, but the kubelet has registered no node within {REGISTRATION_SECONDS} s. See "
            "`journalctl -u kubelet`"
        )
    return None
