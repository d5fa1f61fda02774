"""A virtual machine with NVMe drives for the tests in this folder: make test-nvme, or .venv/bin/pytest tests/vm.

The fixture `vm` is booted once a session and removed at its end, unless LAB_KEEP is set; it is of the set
LAB_FLEET=vmtest, so that it is nobody else's machine. It has a boot drive and four data drives of 4 GiB. A test takes
what the test before it left, or says `vm.fresh()`, which costs a boot (20 to 60 s without KVM) and gives blank drives
and a blank system.

    def test_stripe(vm):
        vm.fresh()
        result = vm.module("runnerfleet.baremetal.nvme_layout", drives=vm.serials[:2], volumes=[...])   # changed,
        failed, msg, plan, ... plan = vm.module("runnerfleet.baremetal.nvme_layout", check=True, drives=vm.serials[:2],
        volumes=[...]) vm.sh("findmnt --json")             # over ssh, quicker than Ansible; a failure raises LabError
        with what it printed vm.reinstall()                      # a blank system; the data drives stay as they are
    vm.reboot()                         # a clean shutdown, and on again
        vm.power_cut()                      # SIGKILL to QEMU, and on again
        vm.unplug("DATA2"), vm.plug("DATA2"), vm.reorder(), vm.add_drive()      # seen at the next reboot or power_cut
        vm.playbook("playbooks/storage.yml", "--extra-vars", "...")             # against inventories/lab-nvme; returns
        its output

Without KVM a call of a module costs 5 to 20 s, so few fat calls. `vm.serials` are the data drives that are in the
machine.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.machines import vms

ROOT = Path(__file__).resolve().parents[2]
INVENTORY = ROOT / "inventories/lab-nvme"
RESULT = re.compile(r"^\S+ \| (SUCCESS|CHANGED|FAILED!) => (\{.*\})\s*$", re.MULTILINE | re.DOTALL)


@dataclass
class Machine:
    """The virtual machine, and Ansible to run against it."""

    vm: vms.Vm

    @property
    def serials(self) -> list[str]:
        """Serial numbers of the data drives that are in the machine."""
        return self.vm.data_serials()

    def module(self, name: str, *, check: bool = False, **arguments: Any) -> dict[str, Any]:
        """Run a module, and return its result; `failed` tells whether it failed."""
        options = [*(["--args", json.dumps(arguments)] if arguments else []), *(["--check"] if check else [])]
        command = ["ansible", "--module-name", name, *options, self.vm.name]
        done = _ansible(command, ANSIBLE_CALLBACK_RESULT_FORMAT="json")
        found = RESULT.search(done.stdout)
        assert found, f"no result in:\n{done.stdout}{done.stderr}"
        return {**json.loads(found.group(2)), "failed": found.group(1) == "FAILED!"}

    def playbook(self, *arguments: str, check: bool = True) -> str:
        """Run ansible-playbook, which must succeed unless check is false, and return what it printed."""
        done = _ansible(["ansible-playbook", *arguments])
        assert not (check and done.returncode), done.stdout + done.stderr
        return done.stdout

    def sh(self, line: str) -> str:
        """Run a shell's line that must succeed, and return what it printed."""
        return vms.ssh(self.vm, line).stdout.strip()

    def fresh(self) -> None:
        """Blank drives and a blank system."""
        vms.down(self.vm.name)
        self.vm = vms.up(self.vm.name)

    def reinstall(self) -> None:
        """A blank system, with the data drives as they are."""
        self.vm = vms.reinstall(self.vm)

    def reboot(self) -> None:
        """A clean shutdown, and on again."""
        self.vm = vms.reboot(self.vm)

    def power_cut(self) -> None:
        """The power goes, and comes back."""
        self.vm = vms.power_cut(self.vm)

    def unplug(self, drive: str) -> None:
        """From the next boot on, a drive is missing."""
        self.vm = vms.unplug(self.vm, drive)

    def plug(self, drive: str) -> None:
        """From the next boot on, a drive is back."""
        self.vm = vms.plug(self.vm, drive)

    def reorder(self) -> None:
        """From the next boot on, drives are found in another order."""
        self.vm = vms.reorder(self.vm)

    def add_drive(self) -> str:
        """From the next boot on, there is one more drive; returns its serial number."""
        self.vm = vms.add_drive(self.vm)
        return self.serials[-1]


def _ansible(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    command = [*command[:1], "--inventory", str(INVENTORY), *command[1:]]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", **environment}
    return subprocess.run(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="session")
def vm() -> Iterator[Machine]:
    """One machine for all tests; what an earlier session left is removed first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_FLEET", "vmtest")
        vms.down()
        yield Machine(vms.up())
        if not os.environ.get("LAB_KEEP"):
            vms.down()
