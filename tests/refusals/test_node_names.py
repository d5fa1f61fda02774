"""The API's nodes decide who is a node: a host that has one and says that it has not joined is refused, and nothing is
sent to it.

The cluster is an API server on loopback that knows a Node, and keeps what it is told.
"""

from __future__ import annotations

import base64
import copy
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from .test_clusters import Cluster
from .test_refusals import GOOD, ROOT, Inventory, Run

FILES = Path(__file__).with_name("files")
SECRETS = "/api/v1/namespaces/kube-system/secrets"
SAYS = {
    "absent": {"state": "absent", "action": "join", "reason": "the host belongs to no cluster"},
    "half": {"state": "half", "action": "join", "reason": "an earlier join did not end"},
    "stale": {"state": "stale", "action": "join", "reason": "the host holds a membership whose Node object is gone"},
    "member": {"state": "member", "action": "join", "reason": "the host has joined"},
}


class Nodes(Cluster):
    """A fleet's cluster that has one Node, and stores Secrets."""

    def __init__(self, folder: Path, node: str) -> None:
        super().__init__(folder, "ci")
        stored: dict[str, Any] = {}
        self.stored, asked, fleet = stored, self.asked, self.server.RequestHandlerClass

        class Handler(fleet):  # type: ignore[valid-type,misc]
            """Answers beside the fleet's ConfigMap."""

            def _nodes(self) -> None:
                path, body = urlsplit(self.path).path, self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if path.endswith("/configmaps/runnerfleet"):
                    return self._answer()
                asked.append(f"{self.command} {path}")
                found: Any = {"items": []}
                if path == "/api/v1/nodes":
                    found = {"items": [{"metadata": {"name": node, "creationTimestamp": "2026-11-02T10:00:00Z"}}]}
                elif path == SECRETS and self.command == "POST":
                    found = stored[json.loads(body)["metadata"]["name"]] = json.loads(body)
                elif path == SECRETS:
                    found = {"items": list(stored.values())}
                elif path.startswith(f"{SECRETS}/"):
                    found = stored.pop(path.rpartition("/")[2], {})
                answer = json.dumps(found).encode()
                # A cluster without admission policies: what is refused here is refused by what the hosts say.
                self.send_response(404 if "admissionregistration" in path else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
                return None

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _nodes

        self.server.RequestHandlerClass = Handler


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Nodes]:
    """One in which runner-1 is a node, and support-1 is none."""
    found = Nodes(tmp_path / "cluster", "runner-1")
    found.kubeconfig(tmp_path / "kubeconfig")
    yield found
    found.server.shutdown()


def answering(tmp_path: Path, name: str, says: str) -> dict[str, str]:
    """Variables of a host that keeps what is sent to it, and answers whatever is asked with one and the same."""
    python = tmp_path / f"python-{name}"
    source = (
        (FILES / "liar.py")
        .read_text()
        .replace("@kept@", str(tmp_path / f"kept-{name}"))
        .replace("@answer@", json.dumps(SAYS[says]))
    )
    python.write_text(f"#!{sys.executable}\n{source}")
    python.chmod(0o755)
    return {"ansible_python_interpreter": str(python)}


@pytest.fixture
def inventory() -> Inventory:
    """A fleet by the name of the cluster's."""
    made = copy.deepcopy(GOOD)
    made["all"]["vars"]["fleet_name"] = "ci"
    return made


def kept(tmp_path: Path, name: str) -> str:
    """All that a host was sent, with what is packed in it."""
    text = (tmp_path / f"kept-{name}").read_text()
    packed = [
        base64.b64decode(part + "==", validate=False).decode(errors="replace")
        for part in re.findall(r"[A-Za-z0-9+/]{200,}", text)
    ]
    return "\n".join([text, *packed])


@pytest.mark.parametrize("says", ["absent", "half", "stale"])
def test_a_node_that_says_that_it_has_not_joined_is_sent_no_token(
    play: Callable[..., Run], cluster: Nodes, tmp_path: Path, inventory: Inventory, says: str
) -> None:
    inventory["all"]["children"]["runner_nodes"]["hosts"]["runner-1"] = answering(tmp_path, "runner-1", says)
    run = play(inventory, "../tests/refusals/files/joins", "--limit", "runner-1")
    run.refused()
    told = " ".join(run.output.split())
    assert (
        "runner-1: the cluster has a node runner-1 (since 2026-11-02T10:00:00Z), and this host says that it has not "
        "joined" in told
    )
    assert "kubectl delete node runner-1" in told and "replace_drive_rejoin=runner-1" in told
    assert {line.split()[0] for line in cluster.asked} == {"GET"}


def test_nor_is_one_that_says_that_something_is_left_to_tidy_up(
    play: Callable[..., Run], cluster: Nodes, tmp_path: Path, inventory: Inventory
) -> None:
    """For which no token is needed."""
    inventory["all"]["children"]["runner_nodes"]["hosts"]["runner-1"] = answering(tmp_path, "runner-1", "member")
    run = play(inventory, "../tests/refusals/files/joins", "--limit", "runner-1")
    assert run.code == 0, run.output
    assert f"POST {SECRETS}" not in cluster.asked and '"token"' not in kept(tmp_path, "runner-1")


def test_beside_it_another_host_gets_a_token_that_is_its_own(
    play: Callable[..., Run], cluster: Nodes, tmp_path: Path, inventory: Inventory
) -> None:
    """The good host is played by the same program, which shows that a token would have been seen."""
    for group, name in (("runner_nodes", "runner-1"), ("support_nodes", "support-1")):
        inventory["all"]["children"][group]["hosts"][name] = answering(tmp_path, name, "absent")
    run = play(inventory, "../tests/refusals/files/joins", "--limit", "runner-1,support-1")
    assert run.code != 0 and cluster.asked.count(f"POST {SECRETS}") == 1 and cluster.stored == {}, run.output
    deleted = [line.rpartition("-")[2] for line in cluster.asked if line.startswith(f"DELETE {SECRETS}/")]
    assert len(deleted) == 1
    token = re.compile(rf"{deleted[0]}\.[a-z0-9]{{16}}")
    assert token.search(kept(tmp_path, "support-1")) and not token.search(kept(tmp_path, "runner-1"))
    assert not token.search(run.output)


def test_the_preflight_refuses_it_before_drives_are_touched(
    play: Callable[..., Run], cluster: Nodes, inventory: Inventory
) -> None:
    """The hosts here are this machine, which has not joined."""
    assert "tasks/known_nodes.yml" in (ROOT / "playbooks/preflight.yml").read_text()
    run = play(inventory, "../tests/refusals/files/looked")
    run.refused()
    told = " ".join(run.output.split())
    assert "runner-1: the cluster has a node runner-1" in told and "support-1: the cluster" not in told
    assert {line.split()[0] for line in cluster.asked} == {"GET"}


@pytest.mark.parametrize(("named", "found"), [("support-1", "support-1"), (["runner-1", "runner-9"], "runner-9")])
def test_no_other_nodes_name_is_let_go(
    play: Callable[..., Run], cluster: Nodes, inventory: Inventory, named: Any, found: str
) -> None:
    run = play(inventory, "replace_drive", "--limit", "runner-1", "-e", json.dumps({"replace_drive_rejoin": named}))
    run.refused()
    assert f"replace_drive_rejoin: found {found}, expected names of" in " ".join(run.output.split())
    assert cluster.asked == []


@pytest.mark.parametrize("says", ["absent", "member"])
def test_a_name_that_is_expelled_is_refused_whatever_the_host_says(
    play: Callable[..., Run], cluster: Nodes, tmp_path: Path, inventory: Inventory, says: str
) -> None:
    """By the join, though there is no Node of that name any more, and by the preflight."""
    inventory["all"]["vars"]["fleet_expelled_nodes"] = ["support-1"]
    inventory["all"]["children"]["support_nodes"]["hosts"]["support-1"] = answering(tmp_path, "support-1", says)
    run = play(inventory, "../tests/refusals/files/joins", "--limit", "support-1")
    run.refused()
    assert "support-1: the name support-1 is expelled: found it in fleet_expelled_nodes" in " ".join(run.output.split())
    run = play(inventory, "../tests/refusals/files/looked", "--limit", "cp-1")
    assert run.code == 0, run.output
    del inventory["all"]["children"]["support_nodes"]["hosts"]["support-1"]
    inventory["all"]["vars"]["fleet_expelled_nodes"] = ["cp-1"]
    run = play(inventory, "../tests/refusals/files/looked", "--limit", "cp-1")
    run.refused()
    assert "cp-1: the name cp-1 is expelled" in " ".join(run.output.split())
    assert {line.split()[0] for line in cluster.asked} == {"GET"}


@pytest.mark.parametrize(("listed", "found"), [(None, "no such variable"), (["runner-1", "cp-1"], "runner-1, cp-1")])
def test_nobody_is_expelled_by_accident(
    play: Callable[..., Run], cluster: Nodes, inventory: Inventory, listed: Any, found: str
) -> None:
    """Neither by a run that forgot the list, which would let all back in, nor a control plane."""
    more = ["-e", json.dumps({"fleet_expelled_nodes": listed})] if listed else []
    run = play(inventory, "expel_node", *more)
    run.refused()
    assert f"fleet_expelled_nodes: found {found}, expected" in " ".join(run.output.split())
    assert cluster.asked == []
