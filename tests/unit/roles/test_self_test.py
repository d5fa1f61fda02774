"""What the pod of a self-test runs, on this machine: with a client that is a script, and its files elsewhere."""

from __future__ import annotations

import base64
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .render import rendered

SCRIPT = "roles/runner_pools/files/self_test.sh"
NUMBER = "0b5c2ac0-0000-4000-8000-00000000000"


class Pod:
    """A work directory, and what the kernel says of it. `client`: a shell script in the place of dagger."""

    def __init__(self, repository: Path, folder: Path, client: str) -> None:
        self.folder, self.work = folder, folder / "work"
        self.work.mkdir()
        (folder / "bin").mkdir()
        (folder / "bin/dagger").write_text(f"#!/bin/sh\n{client}\n", encoding="utf-8")
        (folder / "bin/dagger").chmod(0o755)
        self.mounts = (
            f"36 25 0:30 / / rw - overlay overlay rw\n40 36 259:3 /x {self.work} rw shared:9 - xfs /dev/md0 rw\n"
        )
        text = (repository / SCRIPT).read_text(encoding="utf-8")
        for there, here in (("/dev/termination-log", "said"), ("/proc/self/mountinfo", "mounts"), ("/sys/", "sys/")):
            assert there in text
            text = text.replace(there, f"{folder}/{here}")
        self.script = text

    def device(self, path: str, *below: str, partition: bool = False) -> Path:
        """A block device below /sys, with those that it is made of."""
        made = self.folder / "sys/devices" / path
        (made / "slaves").mkdir(parents=True)
        for name in below:
            (made / "slaves" / Path(name).name).symlink_to(self.folder / "sys/devices" / name)
        if partition:
            (made / "partition").write_text("1")
        return made

    def run(self, seconds: int = 20) -> tuple[int, dict[str, str]]:
        (self.folder / "mounts").write_text(self.mounts, encoding="utf-8")
        environment = {"PATH": f"{self.folder}/bin:{os.environ['PATH']}"}
        command = ["sh", "-c", self.script, "self-test", str(self.work), "word", str(seconds)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
        said = (self.folder / "said").read_text(encoding="utf-8")
        assert said == done.stdout, done.stderr
        return done.returncode, dict(line.split("=", 1) for line in said.splitlines())


def test_the_programs_are_those_of_the_canary(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(repository / "roles/dagger_engine/files"))
    canary: Any = importlib.import_module("engine_canary")
    text = (repository / SCRIPT).read_text(encoding="utf-8")
    last = re.search(r"^program=\$\{program\}(\S+)$", text, re.MULTILINE)
    found = re.findall(r"^(\w+)\)\n  program=(\S+)\n  program=\$\{program\}(\S+)$", text, re.MULTILINE)
    assert last and {machine: base64.b64decode(a + b + last[1]) for machine, a, b in found} == {
        machine: canary.program(machine) for machine in ("x86_64", "aarch64")
    }


def test_a_job_that_goes_well(repository: Path, tmp_path: Path) -> None:
    client = f'echo "$@" >>{tmp_path}/asked; printf "\\033[1m{NUMBER}1\\033[0m\\n"'
    pod = Pod(repository, tmp_path, client)
    for name in ("nvme0/nvme0n1", "nvme1/nvme1n1"):
        pod.device(f"{name}/{Path(name).name}p1", partition=True)
    md = pod.device("md0", "nvme0/nvme0n1/nvme0n1p1", "nvme1/nvme1n1/nvme1n1p1")
    (tmp_path / "sys/dev/block").mkdir(parents=True)
    (tmp_path / "sys/dev/block/259:3").symlink_to(md)
    code, said = pod.run()
    assert code == 0, said
    assert said["first"] == said["second"] == f"{NUMBER}1" and said["written"] == str(8 << 20)
    assert (said["mount"], said["drives"].split()) == ("259:3 xfs /dev/md0", ["nvme0n1", "nvme1n1"])
    asked = (tmp_path / "asked").read_text().splitlines()
    assert len(asked) == 2 and asked[0] == asked[1] and f"directory {pod.work}/canary" in asked[0]
    assert "with-exec -- /canary,word | stdout" in asked[0]


def test_a_filesystem_without_a_number_of_its_own_is_found_by_its_source(repository: Path, tmp_path: Path) -> None:
    pod = Pod(repository, tmp_path, f"echo {NUMBER}1")
    pod.mounts = f"40 36 0:44 /x {pod.work} rw - btrfs /dev/nvme2n1 rw\n"
    (tmp_path / "sys/class/block").mkdir(parents=True)
    (tmp_path / "sys/class/block/nvme2n1").symlink_to(pod.device("nvme2/nvme2n1"))
    assert pod.run()[1]["drives"].split() == ["nvme2n1"]


@pytest.mark.parametrize(
    ("client", "step", "problem"),
    [
        pytest.param(
            "printf '\\033[31mno engine\\033[0m\\n' >&2; exit 3",
            "pipeline",
            "the first run ended with 3, without the number that it prints, and its last line was: no engine",
            id="it fails",
        ),
        pytest.param("echo nothing", "pipeline", "the first run ended with 0, without the number", id="no number"),
        pytest.param("sleep 30", "pipeline", "the first run did not end within 1 seconds", id="it hangs"),
    ],
)
def test_a_pipeline_that_does_not_go_well(
    repository: Path, tmp_path: Path, client: str, step: str, problem: str
) -> None:
    code, said = Pod(repository, tmp_path, client).run(1)
    assert (code, said["step"]) == (1, step) and said["problem"].startswith(problem)


def test_a_work_directory_that_is_no_mount(repository: Path, tmp_path: Path) -> None:
    pod = Pod(repository, tmp_path, f"echo {NUMBER}1")
    pod.mounts = "36 25 0:30 / / rw - overlay overlay rw\n"
    code, said = pod.run()
    assert (code, said["step"]) == (1, "disk") and said["problem"] == f"no mount at {pod.work}"


def test_its_pod_is_what_a_runner_is(repository: Path) -> None:
    """The same containers before it, mounts and identity; nothing that the policy for runner pods refuses."""
    given = {
        "runner_pools_engine_versions": ["1.2.3"],
        "fleet_pools": [
            {"name": "runner", "group": "a", "engine": True},
            {"name": "large", "group": "b", "engine": {"versions": ["1.3.0", "1.2.3"]}},
        ],
        "runner_pools_pools": [{"name": "big", "organization": "acme", "pool": "large", "image": "own/image:1"}],
        "runner_pools_image": "stock/image:2",
        "__runner_pools_addresses": {"nodes": ["10.0.0.31/32"]},
        "role_path": str(repository / "roles/runner_pools"),
    }
    template = "{{ lookup('ansible.builtin.template', 'self_test.yml.j2') | from_yaml }}"
    pods = rendered(repository, "runner_pools", "pods_of_a_test", {**given, "pods_of_a_test": template})
    assert [(one["pool"], one["version"], one["spec"]["containers"][0]["image"]) for one in pods] == [
        ("runner", "1.2.3", "stock/image:2"),
        ("large", "1.3.0", "own/image:1"),
        ("large", "1.2.3", "stock/image:2"),
    ]
    spec = pods[1]["spec"]
    objects = rendered(repository, "runner_pools", "__runner_pools_objects", given)
    runner = next(item for item in objects if item["kind"] == "RunnerDeployment")["spec"]["template"]["spec"]
    for key in ("initContainers", "securityContext", "nodeSelector", "tolerations", "automountServiceAccountToken"):
        assert spec[key] == runner[key], key
    assert spec["containers"][0]["securityContext"] == runner["containers"][0]["securityContext"]
    assert [volume for volume in spec["volumes"] if "hostPath" in volume] == runner["volumes"][1:]
    assert "nodeName" not in spec and spec["restartPolicy"] == "Never"
    assert spec["containers"][0]["command"][-2] == "RUN"
