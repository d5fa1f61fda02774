# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: pin
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: Version that the collection pins for a component
description:
  - Returns the version of a component that this release of the collection was tried with.
  - Roles read their defaults here, so that each version is stated once.
options:
  _terms:
    description: Names of components, such as V(kubernetes) or V(containerd).
    required: true
    type: list
    elements: str
"""

EXAMPLES = r"""
- name: Show the pinned Kubernetes version
  ansible.builtin.debug:
    msg: "{{ lookup('runnerfleet.baremetal.pin', 'kubernetes') }}"
"""

RETURN = r"""
_raw:
  description: One version for each name, without a leading v.
  type: list
  elements: str
  sample: ["1.36.6"]
"""

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._pins import pin


class LookupModule(LookupBase):
    """Answers with pinned versions."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """One version a term."""
        self.set_options(var_options=variables, direct=kwargs)
        try:
            return [pin(term) for term in terms]
        except ValueError as error:
            raise AnsibleLookupError(str(error)) from error
