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
  - Modes and owners of files, the arguments of Kubernetes' own programs as they run, and the texts of the kubelet's
    configuration. It only looks, in one call.
  - Nothing of the content of keys, kubeconfigs or the configuration of encryption is returned, of the latter the names
    of resources and providers alone.
options:
  control_plane:
    description:
      - Whether the programs of a control plane are read as well. On other hosts a process of such a name is somebody's.
    type: bool
    default: false
extends_documentation_fragment: runnerfleet.baremetal.attributes
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
  idempotent: {support: full}
"""

EXAMPLES = r"""
- name: Ask a host
  runnerfleet.baremetal.cis_facts:
    control_plane: "{{ inventory_hostname in groups['control_plane'] }}"
"""

RETURN = r"""
files:
  description: For each pattern its paths, each with C(mode), C(owner) and C(group).
  type: dict
  returned: always
  sample: {/etc/kubernetes/kubelet.conf: {/etc/kubernetes/kubelet.conf: {mode: "0600", owner: root, group: root}}}
commands:
  description: For each program that runs, its arguments, each with its value. The kubelet is one outside of containers.
  type: dict
  returned: always
  sample: {kubelet: [--config=/var/lib/kubelet/config.yaml]}
kubelet_config:
  description: The texts of the kubelet's configuration, in the order in which they are laid over each other.
  type: list
  elements: str
  returned: always
authentication:
  description: The text of the API server's C(--authentication-config). None where there is none, or where it cannot be
    read.
  type: str
  returned: always
encryption:
  description:
    - For each entry of the API server's C(--encryption-provider-config) its resources, and its providers by name. None
      where there is none, or where it cannot be read, such as YAML on a host whose Python knows none.
  type: list
  elements: dict
  returned: always
  sample: [{resources: [secrets], providers: [secretbox, identity]}]
"""

import glob
import grp
import json
import os
import pwd
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host.cis_subjects import (
    API,
    FILES,
    KUBELET,
    PROGRAMS,
)

try:
    import yaml
except ImportError:  # a host need not have it
    yaml = None  # type: ignore[assignment]

PROC = Path("/proc")
MOST = 1000  # files of a pattern
LONGEST = 1 << 16  # of a text that is returned


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


def arguments(words: Sequence[str]) -> list[str]:
    """Options of a command line, each with its value, which may be the next word."""
    following = [*words[1:], ""]
    valued = ("=" not in word and after and not after.startswith("-") for word, after in zip(words, following))
    return [
        f"{word}={after}" if alone else word
        for word, after, alone in zip(words, following, valued)
        if word.startswith("--")
    ]


def commands(control_plane: bool) -> dict[str, list[str]]:
    """Arguments of root's processes of the programs' names. The first of each counts.

    A job may call its process what it likes, and be root in its container: a kubelet is one of the host's own
    processes.
    """
    found: dict[str, list[str]] = {}
    here = os.readlink(PROC / "self/ns/pid")
    for folder in sorted(
        (entry for entry in PROC.iterdir() if entry.name.isdigit()), key=lambda entry: int(entry.name)
    ):
        try:
            line = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            name = os.path.basename(line[0])
            if name not in PROGRAMS or name in found or folder.stat().st_uid != 0:
                continue
            ours = os.readlink(folder / "ns/pid") == here if name == KUBELET else control_plane
        except OSError:  # it ended meanwhile
            continue
        if ours:
            found[name] = arguments(line[1:])
    return found


def given(options: Sequence[str], name: str) -> str:
    """The value of an option, empty where it is not there."""
    return next((option.partition("=")[2] for option in options if option.partition("=")[0] == f"--{name}"), "")


def text(path: str) -> str | None:
    """A file's text."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")[:LONGEST] if path else None
    except OSError:
        return None


def kubelet_texts(options: Sequence[str]) -> list[str]:
    """What the kubelet reads, by its own arguments."""
    folder = given(options, "config-dir")
    texts = [
        text(path) for path in (given(options, "config"), *sorted(glob.glob(f"{folder}/*.conf") if folder else []))
    ]
    return [content for content in texts if content is not None]


def encryption(path: str) -> list[dict[str, list[str]]] | None:
    """What is encrypted by what, without a key."""
    content = text(path)
    try:
        document: Any = json.loads(content or "")
    except ValueError:
        try:
            document = yaml.safe_load(content or "") if yaml else None
        except yaml.YAMLError:
            return None
    try:
        return [
            {
                "resources": [str(name) for name in entry["resources"]],
                "providers": [str(next(iter(one))) for one in entry["providers"]],
            }
            for entry in document["resources"]
        ]
    except (KeyError, TypeError, StopIteration):  # another document
        return None


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"control_plane": {"type": "bool", "default": False}}, supports_check_mode=True
    )
    running = commands(module.params["control_plane"])
    server: Sequence[str] = running.get(API, [])
    module.exit_json(
        changed=False,
        files={pattern: files(pattern) for pattern in FILES},
        commands=running,
        kubelet_config=kubelet_texts(running.get(KUBELET, [])),
        authentication=text(given(server, "authentication-config")),
        encryption=encryption(given(server, "encryption-provider-config")),
    )


if __name__ == "__main__":
    main()
