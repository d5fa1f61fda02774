#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_artifacts
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: Install pinned release files on a host
description:
  - Downloads release files, checks the sha256 of all of them, and only then puts them in place, each by one rename.
  - Where the sum of a file is not known beforehand, the one that is published beside it is asked for, over TLS. It is
    remembered, so that a later run asks for nothing.
  - Remembers what it installed in O(state_file). A later run downloads nothing as long as the files are still the ones
    that were installed.
extends_documentation_fragment:
  - runnerfleet.baremetal.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  artifacts:
    description: What to install, as the P(runnerfleet.baremetal.artifacts#filter) filter returns it.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the artifact.
        type: str
        required: true
      version:
        description: Its version.
        type: str
        required: true
      sources:
        description:
          - By architecture (V(amd64), V(arm64)), a dictionary with C(url), C(upstream), and either C(sha256) with
            C(sum_from) or C(sums), the address of the published sum.
        type: dict
        required: true
  destinations:
    description:
      - Where each artifact goes, by its name.
      - Each is a dictionary with C(path) (a file, or a directory when C(unpack) is true), C(mode) (default V(0755)),
        C(unpack) (default V(false)) and C(members) (patterns of archive members; by default every program in the
        archive). Members are installed under their base names.
    type: dict
    required: true
  state_file:
    description: Where to remember what is installed.
    type: path
    default: /var/lib/runnerfleet/artifacts.json
  verify:
    description:
      - Read every installed file, and not only those whose size or time differ from what is remembered. A file that is
        a release of its own is compared with the sum that was given here, one out of an archive with what this host
        remembers.
      - It finds what somebody changed in passing. Root on the host can answer as it likes, so it does not measure a
        host.
    type: bool
    default: false
  timeout:
    description: Seconds to wait for the server to answer or to go on sending.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Install kubelet
  runnerfleet.baremetal.host_artifacts:
    artifacts: "{{ ['kubelet'] | runnerfleet.baremetal.artifacts(fleet_mirror | default({})) }}"
    destinations:
      kubelet: {path: /usr/local/bin/kubelet}

- name: Install the CNI plugins
  runnerfleet.baremetal.host_artifacts:
    artifacts: "{{ ['cni_plugins'] | runnerfleet.baremetal.artifacts({}) }}"
    destinations:
      cni_plugins: {path: /opt/cni/bin, unpack: true, members: [bridge, loopback, host-local]}
"""

RETURN = r"""
installed:
  description:
    - What was, or in check mode would be, installed, with the reason.
    - C(sum_from) says where the sum came from, V(pinned), V(fleet_mirror.checksums), or the address where it is
      published.
  returned: always
  type: list
  elements: dict
  sample: [{name: kubelet, version: 1.36.6, path: /usr/local/bin/kubelet, reason: not installed, sum_from: pinned}]
"""

import fcntl
import os
import platform
import tarfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._addresses import hidden, masked
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host.apply_artifacts import (
    ArtifactError,
    adopt,
    install,
    installed,
    read_state,
    with_sum,
    write_state,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host.plan_artifacts import (
    Wanted,
    difference,
    wanted,
)


def looking(want: Wanted, verify: bool) -> Callable[[str, Mapping[str, Any]], str]:
    """How installed files are looked at. The sum that came with the call counts more than what lies on the host."""
    given = {"sha256": want.sha256} if verify and not want.unpack else {}
    return lambda path, recorded: installed(path, {**recorded, **given}, verify)


def run(module: AnsibleModule) -> dict[str, Any]:
    """Compare, and install what differs."""
    wants = wanted(module.params["artifacts"], module.params["destinations"], platform.machine())
    state_file = module.params["state_file"]
    with ExitStack() as locked:
        if not module.check_mode:
            os.makedirs(os.path.dirname(state_file), exist_ok=True)
            fcntl.flock(locked.enter_context(open(f"{state_file}.lock", "w", encoding="utf-8")), fcntl.LOCK_EX)
        state = read_state(state_file)
        wants = [with_sum(want, state.get(want.name), module.params["timeout"]) for want in wants]
        reasons = {}
        for want in wants:
            seen = looking(want, module.params["verify"])
            reasons[want.name] = difference(want, state.get(want.name), seen)
            found = adopt(want) if reasons[want.name] else None
            if found:
                state[want.name], reasons[want.name] = found, difference(want, found, seen)
        pending = [want for want in wants if reasons[want.name]]
        if not module.check_mode:
            install(pending, state, state_file, module.params["timeout"])
            write_state(state_file, state)
    return {
        "changed": bool(pending),
        "installed": [
            {
                "name": want.name,
                "version": want.version,
                "path": want.path,
                "reason": reasons[want.name],
                "sum_from": hidden(want.sum_from),
            }
            for want in pending
        ],
        "diff": {
            "before": "".join(f"{want.path}: {want.name} {reasons[want.name] or want.version}\n" for want in wants),
            "after": "".join(f"{want.path}: {want.name} {want.version}\n" for want in wants),
        },
    }


def main() -> None:
    """Entry point."""
    artifact = {
        "name": {"type": "str", "required": True},
        "version": {"type": "str", "required": True},
        "sources": {"type": "dict", "required": True},
    }
    module = AnsibleModule(
        argument_spec={
            "artifacts": {"type": "list", "elements": "dict", "required": True, "options": artifact},
            "destinations": {"type": "dict", "required": True},
            "state_file": {"type": "path", "default": "/var/lib/runnerfleet/artifacts.json"},
            "verify": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    problem, result = "", {}
    try:
        result = run(module)
    except (ArtifactError, ValueError, OSError, tarfile.TarError) as error:
        problem = hidden(str(error))
    module.params = masked(module.params)  # the answer has them, whatever it is
    if problem:
        module.fail_json(msg=problem)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
