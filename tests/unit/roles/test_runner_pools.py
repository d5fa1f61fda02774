"""A runner's first container: it ends well once the engine answers, and says which engine did not."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

SOCKET = "/run/runnerfleet/engine/1.2.3/engine.sock"


@pytest.fixture(scope="module")
def proof(repository: Path) -> list[dict[str, Any]]:
    """The containers that come before the runner, as Ansible renders them from the role's own defaults. A process of its own: here
    other tests have imported the collection as a plain package."""
    given = {
        "runner_pools_pools": [{"name": "small", "organization": "acme"}],
        "runner_pools_engine_version": "1.2.3",
        "runner_pools_engine_timeout": 2,
    }
    role = repository / "roles/runner_pools"
    files = [argument for name in ("defaults", "vars") for argument in ("-e", f"@{role}/{name}/main.yml")]
    command = ["ansible", "localhost", "-i", "localhost,", "--playbook-dir", str(role), *files, "-e", json.dumps(given)]
    task = ["-m", "ansible.builtin.debug", "-a", "var=__runner_pools_objects"]
    environment = {**os.environ, "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1", "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
    done = subprocess.run([*command, *task], cwd=repository, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout[done.stdout.index("{") :])["plays"][0]["tasks"][0]["hosts"]["localhost"]
    objects = {item["kind"]: item for item in result["__runner_pools_objects"]}
    return list(objects["RunnerDeployment"]["spec"]["template"]["spec"]["initContainers"])


def run(container: dict[str, Any], folder: Path, client: str) -> tuple[int, str, float]:
    """The container's command on this machine, with a client that is a script; returns its code, what it said, and how long it took."""
    (folder / "dagger").write_text(f"#!/bin/sh\n{client}\n", encoding="utf-8")
    (folder / "dagger").chmod(0o755)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "NODE_NAME": "runner-7"}
    began = time.monotonic()
    done = subprocess.run(container["command"], env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stderr, time.monotonic() - began


def test_the_engine_is_asked_before_anything_else(proof: list[dict[str, Any]]) -> None:
    first = proof[0]
    assert first["image"].endswith(":v1.2.3")
    assert {"name": "dagger-socket", "mountPath": "/run/dagger", "readOnly": True} in first["volumeMounts"]
    assert {item["name"] for item in first["env"]} >= {"_EXPERIMENTAL_DAGGER_RUNNER_HOST", "NODE_NAME"}
    assert first["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_an_engine_that_answers_costs_no_wait(proof: list[dict[str, Any]], tmp_path: Path) -> None:
    code, said, seconds = run(proof[0], tmp_path, '[ "$1 $2" = "core version" ] && echo v1.2.3')
    assert (code, said) == (0, "")
    assert seconds < 2


def test_an_engine_that_comes_late_is_waited_for(proof: list[dict[str, Any]], tmp_path: Path) -> None:
    code, _said, _seconds = run(proof[0], tmp_path, "[ -e asked ] || { touch asked; exit 1; }")
    assert code == 0


@pytest.mark.parametrize(
    ("client", "end"),
    [
        pytest.param("sleep 60", "nothing", id="it hangs"),
        pytest.param("echo connecting; sleep 60", "connecting", id="it hangs and says so"),
        pytest.param("printf 'a\\n\\033[31m! \\033[0;1mno engine\\033[0m\\n\\n' >&2; exit 1", "! no engine", id="it fails in colours"),
    ],
)
def test_an_engine_that_does_not_answer_is_named(proof: list[dict[str, Any]], tmp_path: Path, client: str, end: str) -> None:
    code, said, seconds = run(proof[0], tmp_path, client)
    assert code == 1
    assert said.startswith(f"runner-7: the engine behind {SOCKET} did not answer within 2 seconds")
    assert said.rstrip().endswith(f"Its client said: {end}")
    assert seconds < 10
