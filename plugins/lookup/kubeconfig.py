# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: kubeconfig
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: Path of the fleet's kubeconfig on the controller
description:
  - Returns the path at which the fleet's kubeconfig lies, the one place from which plays and roles take it.
  - It is what C(fleet_kubeconfig) names. Where that is not set or not there, it is the file that the play has fetched
    from the control plane for the time of its run.
  - In a play on an implicit C(localhost), which is no host of the inventory, the variable is that of the inventory's
    first host.
  - There is no other cluster to fall back to. Without a file the lookup ends with an error that says what to set.
options:
  _terms:
    description:
      - A path that wins over all that. An empty one does not count.
      - What is no text is refused. Modules of kubernetes.core take a dictionary for a kubeconfig, which may name a
        program to run.
    type: list
    elements: path
  missing_ok:
    description: Return an empty text where there is no file.
    type: bool
    default: false
  purpose:
    description:
      - V(read) is the file to use.
      - V(write) is where to put a kubeconfig that was fetched from the control plane - what C(fleet_kubeconfig) names,
        or a file that goes away with the run.
      - V(run) is always the file that goes away with the run.
    type: str
    choices: [read, write, run]
    default: read
"""

EXAMPLES = r"""
- name: List the nodes
  kubernetes.core.k8s_info:
    kubeconfig: "{{ lookup('runnerfleet.baremetal.kubeconfig') }}"
    kind: Node
"""

RETURN = r"""
_raw:
  description: One path.
  type: list
  elements: str
  sample: [/home/me/fleet/kubeconfig]
"""

import os
from collections.abc import Mapping
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._kubeconfig import NOT_SET


class LookupModule(LookupBase):
    """Says where the kubeconfig lies."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """One path."""
        self.set_options(var_options=variables, direct=kwargs)
        for term in filter(None, terms):
            return [os.path.expanduser(_path("the path", term))]
        named = os.path.expanduser(self._named(variables or {}))
        fetched = os.path.join(C.DEFAULT_LOCAL_TMP, "runnerfleet-kubeconfig")
        purpose = self.get_option("purpose")
        if purpose != "read":
            return [named if named and purpose == "write" else fetched]
        for path in (named, fetched):
            if path and os.path.isfile(path):
                return [path]
        if self.get_option("missing_ok"):
            return [""]
        raise AnsibleLookupError(
            f"fleet_kubeconfig names {named}, which is no file here. Run site.yml, or correct it" if named else NOT_SET
        )

    def _named(self, variables: dict[str, Any]) -> str:
        """The variable's value, of this host or of the inventory's first one."""
        hosts = (variables.get("groups") or {}).get("all") or []
        host = variables.get("inventory_hostname")
        host = host if host in hosts else next(iter(hosts), "")
        values = variables["hostvars"][host] if host else {}
        return _path("fleet_kubeconfig", values["fleet_kubeconfig"]) if values.get("fleet_kubeconfig") else ""


def _path(name: str, value: Any) -> str:
    """Its content is not told: it may hold a credential."""
    if not isinstance(value, str):
        found = "a dictionary" if isinstance(value, Mapping) else "no text"
        raise AnsibleLookupError(f"{name}: found {found}, expected the path of a kubeconfig on the controller")
    return value
