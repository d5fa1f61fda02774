"""The documentation and the action plugin agree, and a credential that is refused stops a play with GitHub's reason."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.runnerfleet.baremetal.plugins.action import runner_credentials as action
from ansible_collections.runnerfleet.baremetal.plugins.modules import runner_credentials as module

OWN = "runner_pools_pools: own.credential"
CANARY = "ghp_ThisIsNoTokenButWouldBeSecret"
ANSWERS = {"Bearer ghp_taken": (200, {}), "Bearer ghp_weak": (403, {"message": "Resource not accessible"})}


def test_documented_options_are_those_of_the_action() -> None:
    documented = yaml.safe_load(module.DOCUMENTATION)["options"]
    for option in documented.values():
        del option["description"]
    assert documented == action.OPTIONS


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A GitHub that knows two tokens, one of which may do nothing."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = ANSWERS.get(self.headers["Authorization"], (401, {"message": "Bad credentials"}))
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def play(folder: Path, arguments: dict[str, Any], variables: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    task = {"name": "Try them", "runnerfleet.baremetal.runner_credentials": arguments}
    plays = [{"name": "x", "hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": [task]}]
    (folder / "play.yml").write_text(json.dumps(plays))
    command = [Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", folder / "play.yml", "-vvv"]
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize(
    ("token", "arguments", "code", "told"),
    [
        pytest.param("ghp_taken", {"require_access": True}, 0, "No credential was refused.", id="taken"),
        pytest.param(
            CANARY, {}, 2, f"{OWN}: found a credential that GitHub does not take (HTTP 401: Bad", id="refused"
        ),
        pytest.param(CANARY, {"ask": False}, 0, "No credential was refused.", id="not asked"),
        pytest.param("ghp_weak", {}, 0, f"[WARNING]: {OWN} at orgs/x", id="weak"),
        pytest.param(
            "ghp_weak", {"require_access": True}, 2, f"{OWN} at orgs/x: found HTTP 403: Resource", id="needed"
        ),
    ],
)
def test_what_becomes_of_a_credential(
    tmp_path: Path, url: str, token: str, arguments: dict[str, Any], code: int, told: str
) -> None:
    entries = [{"name": "own", "organization": "x", "credential": {"token": "{{ given }}"}}]
    common = {"token": "ghp_taken"}
    pools = [*entries, {"name": "small", "organization": "x"}]
    variables = {"runner_pools_github_url": url, "runner_pools_github_auth": common, "runner_pools_pools": pools}
    done = play(tmp_path, arguments, {**variables, "given": token})
    output = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == code and told in output, output
    assert CANARY not in output


def test_where_nobody_answers_is_a_warning_unless_it_matters(tmp_path: Path) -> None:
    variables = {
        "runner_pools_github_url": "http://127.0.0.1:9",
        "runner_pools_github_auth": {"token": CANARY},
        "runner_pools_pools": [{"name": "small", "organization": "x"}],
    }
    done = play(tmp_path, {}, variables)
    assert done.returncode == 0 and "[WARNING]" in done.stdout + done.stderr
    assert play(tmp_path, {"require_access": True}, variables).returncode == 2
