#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cis_facts
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: What a host says of itself that the CIS Kubernetes Benchmark asks for
description:
  - Modes and owners of files, the arguments of Kubernetes' own programs as they run, and the texts of the kubelet's configuration. It only
    looks, in one call.
options: {}
extends_documentation_fragment: runnerfleet.baremetal.attributes
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
  idempotent: {support: full}
"""

EXAMPLES = r"""
- name: Ask a host
  runnerfleet.baremetal.cis_facts:
"""

RETURN = r"""
files:
  description: For each pattern its paths, each with C(mode), C(owner) and C(group).
  type: dict
  returned: always
  sample: {/etc/kubernetes/kubelet.conf: {/etc/kubernetes/kubelet.conf: {mode: "0600", owner: root, group: root}}}
commands:
  description: For each program that runs, its arguments.
  type: dict
  returned: always
  sample: {kubelet: [--config=/var/lib/kubelet/config.yaml]}
kubelet_config:
  description: The texts of the kubelet's configuration, in the order in which they are laid over each other.
  type: list
  elements: str
  returned: always
"""

import glob
import grp
import os
import pwd
import stat
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cis_subjects import FILES, PROGRAMS

PROC = Path("/proc")
MOST = 1000  # files of a pattern


def described(path: str) -> dict[str, str]:
    """A file's mode and owner."""
    found = os.stat(path)
    return {
        "mode": f"{stat.S_IMODE(found.st_mode):04o}",
        "owner": _name(pwd.getpwuid, found.st_uid),
        "group": _name(grp.getgrgid, found.st_gid),
    }


def _name(look, number: int) -> str:  # type: ignore[no-untyped-def]
    try:
        return str(look(number)[0])
    except KeyError:
        return str(number)


def files(pattern: str) -> dict[str, dict[str, str]]:
    """What matches a pattern."""
    found = {}
    for path in sorted(glob.glob(pattern, recursive=True))[:MOST]:
        try:
            found[path] = described(path)
        except OSError:  # it went meanwhile
            continue
    return found


def commands() -> dict[str, list[str]]:
    """Arguments of root's processes of the programs' names. The first of each counts."""
    found: dict[str, list[str]] = {}
    for folder in sorted((entry for entry in PROC.iterdir() if entry.name.isdigit()), key=lambda entry: int(entry.name)):
        try:
            line = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            owner = folder.stat().st_uid
        except OSError:  # it ended meanwhile
            continue
        name = os.path.basename(line[0])
        if name in PROGRAMS and name not in found and owner == 0:
            found[name] = [argument for argument in line[1:] if argument.startswith("--")]
    return found


def kubelet_texts(arguments: list[str]) -> list[str]:
    """What the kubelet reads, by its own arguments."""
    given = dict(argument[2:].partition("=")[::2] for argument in arguments)
    paths = [given.get("config", ""), *sorted(glob.glob(f"{given['config-dir']}/*.conf") if given.get("config-dir") else [])]
    return [Path(path).read_text(encoding="utf-8", errors="replace") for path in paths if path and os.path.isfile(path)]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    running = commands()
    module.exit_json(
        changed=False,
        files={pattern: files(pattern) for pattern in FILES},
        commands=running,
        kubelet_config=kubelet_texts(running.get("kubelet", [])),
    )


if __name__ == "__main__":
    main()
