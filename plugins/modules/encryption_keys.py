#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: encryption_keys
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: The keys by which an API server encrypts Secrets at rest
description:
  - Makes a key on the control plane itself, once, in a file that root alone reads. It never leaves the host, and is in
    no result.
  - With O(state=added) another key comes first, by which the API server encrypts from then on. With O(state=first) all
    others go.
  - A file that is none of ours is refused, never replaced. Without its keys nobody reads what is encrypted, so back it
    up with etcd.
options:
  path:
    description: The file, as C(--encryption-provider-config) names it.
    type: path
    required: true
  state:
    description:
      - V(present) makes a key where there is none.
      - V(added) puts a new key before those that are there, unless there are two already, of a rotation that was
        interrupted.
      - V(first) keeps the first key alone. To be done once everything is written anew.
    type: str
    choices: [present, added, first]
    default: present
extends_documentation_fragment: runnerfleet.baremetal.attributes
attributes:
  check_mode: {support: full}
  diff_mode:
    support: partial
    details: Names of keys only.
  idempotent: {support: full}
"""

EXAMPLES = r"""
- name: Have a key
  runnerfleet.baremetal.encryption_keys:
    path: /etc/kubernetes/runnerfleet/encryption.json
"""

RETURN = r"""
names:
  description: Names of the keys, the one that encrypts first.
  type: list
  elements: str
  returned: always
  sample: [20261127T150000Z]
sha256:
  description: The sha256 of the file, by which the API server says which one it uses. Empty where a dry run made none.
  type: str
  returned: always
  sample: 15d0f9d9476929c784ec443d210c58cab3dd48d26e6e3fa48d368961ffb14ce6
"""

import hashlib
import json
import os
from datetime import datetime, timezone
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster import encryption_keys as encryption


def write(path: Path, text: str) -> None:
    """As a whole, and readable by root alone from its first byte on."""
    new = path.with_name(f".{path.name}.new")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new.unlink(missing_ok=True)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["present", "added", "first"], "default": "present"},
        },
        supports_check_mode=True,
    )
    path, state = Path(module.params["path"]), module.params["state"]
    try:
        before = encryption.keys_of(path.read_text(encoding="utf-8") if path.exists() else "")
    except (ValueError, OSError) as error:
        module.fail_json(msg=f"{path}: {error}, expected the file as this module wrote it. Nothing was changed")
    after = before
    if not before or (state == "added" and len(before) == 1):
        after = [encryption.new_key(datetime.now(timezone.utc)), *before]
    elif state == "first":
        after = before[:1]
    names = [[key["name"] for key in keys] for keys in (before, after)]
    if after != before and not module.check_mode:
        write(path, json.dumps(encryption.document(after), indent=2) + "\n")
    shown = {"before": {"keys": names[0]}, "after": {"keys": names[1]}}
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""
    module.exit_json(changed=after != before, names=names[1], sha256=digest, diff=shown)


if __name__ == "__main__":
    main()
