#!/usr/bin/python
# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: helm_chart
author: runnerfleet contributors (@runnerfleet)
version_added: 0.1.0
short_description: Fetch a Helm chart whose version and sum are known
description:
  - Fetches the archive of a chart over http, https or from an OCI registry, or takes a file, and writes it into a
    directory.
  - Fails where the archive is not the chart of that name and version, or where its sha256 is not one that is known.
    Sums come from C(fleet_mirror.checksums), from the collection's pins, or from what the cluster remembers of the
    first time (O(recorded)).
  - Of a chart without a known sum TLS says from whom it is. Over plain http, such as from a mirror, it is refused.
  - May put files of its own in the place of some of the chart's, after the sum was compared, such as a template that
    grants too much.
  - Writes nothing but that file, in check mode as well, since a dry run compares what the chart would make.
extends_documentation_fragment:
  - runnerfleet.baremetal.attributes
  - runnerfleet.baremetal.attributes.info_module
options:
  chart:
    description: Upstream address of the chart's archive, C(oci://) address without a version, or path of an archive.
    type: path
    required: true
  name:
    description: Name that the chart must have.
    type: str
    required: true
  version:
    description: Version that the chart must have, without a leading v.
    type: str
    required: true
  mirror:
    description: Where it comes from instead of upstream, as C(fleet_mirror).
    type: dict
    default: {}
  recorded:
    description: What an earlier run returned as RV(record); empty where there was none.
    type: str
    default: ""
  replace:
    description: Content of files to put in the place of the chart's, by their path in it. Fails where the chart has no
      such file.
    type: dict
    default: {}
  directory:
    description: Directory that the archive is written to.
    type: path
    required: true
  binary_path:
    description: The helm program, which speaks to OCI registries.
    type: path
    default: helm
requirements:
  - python >= 3.9
  - PyYAML
  - helm, for charts in a registry
"""

EXAMPLES = r"""
- name: Fetch a chart
  runnerfleet.baremetal.helm_chart:
    chart: oci://quay.io/jetstack/charts/cert-manager
    name: cert-manager
    version: 1.21.2
    directory: /tmp/charts
"""

RETURN = r"""
path:
  description: The archive.
  returned: success
  type: str
  sample: /tmp/charts/cert-manager-1.21.2.tgz
sha256:
  description: The sum of what was fetched. For a chart of a registry that is the digest of its layer too.
  returned: success
  type: str
origin:
  description: Who knows this sum (V(fleet_mirror.checksums), V(pinned), V(recorded in the cluster)), or V(first seen).
  returned: success
  type: str
record:
  description: What to give as O(recorded) from now on.
  returned: success
  type: str
  sample: "1.21.2 sha256:73a56e1728edd6c99f1f31082618c3259d279a76b7ebd3d4bdc5475c2442d34a"
"""

import hashlib
import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._addresses import masked
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._helm import charts as helm_charts
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._helm import fetch as helm_fetch
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._text import clean


def main() -> None:
    """Fetch, compare, write."""
    spec = {
        "chart": {"type": "path", "required": True},
        "name": {"type": "str", "required": True},
        "version": {"type": "str", "required": True},
        "mirror": {"type": "dict", "default": {}},
        "recorded": {"type": "str", "default": ""},
        "replace": {"type": "dict", "default": {}},
        "directory": {"type": "path", "required": True},
        "binary_path": {"type": "path", "default": "helm"},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    if helm_charts.yaml is None:
        module.fail_json(msg=missing_required_lib("PyYAML"))
    given = module.params
    module.params = masked(given)  # the answer has them, whatever it is
    chart, name, version, mirror = given["chart"], given["name"], given["version"], given["mirror"] or {}
    try:
        known = helm_charts.expected(chart, version, mirror, given["recorded"])
        found, expected, hint = helm_charts.refusal(chart, version, mirror, known)
        if found:
            raise ValueError(f"{found}; expected {expected}: {hint}")
        helm = helm_fetch.Helm(given["binary_path"], module.run_command)
        content, source = helm_fetch.fetch(chart, version, mirror, given["directory"], helm)
        wrong = helm_charts.identity_error(helm_charts.archive_identity(content), name, version)
        if wrong:
            raise ValueError(wrong)
        written = helm_charts.with_files(content, given["replace"]) if given["replace"] else content
    except (OSError, ValueError) as error:
        module.fail_json(
            msg=f"The chart {clean(chart)} cannot be used: {clean(error, 1600)}. Look at its address and at its "
            "version, and at fleet_mirror where there is one. Nothing was deployed."
        )
    sha256 = hashlib.sha256(content).hexdigest()
    for one in known:
        if one.sha256 != sha256:
            module.fail_json(
                msg=f"The chart {name} {version} from {clean(source)} has the sha256 {sha256}, expected {one.sha256} "
                f"({one.origin}). Nothing was deployed. Replace it by upstream's; if it was packaged anew on purpose, "
                f"set fleet_mirror.checksums['{clean(helm_charts.key(chart, version))}'] to its sum."
            )
    if not known:
        module.warn(
            f"No sum of the chart {name} {version} is known. It was taken as it came, with sha256 {sha256}, which is "
            "compared from now on."
        )
    path = os.path.join(given["directory"], f"{name}-{version}.tgz")
    Path(path).write_bytes(written)
    origin = known[0].origin if known else "first seen"
    module.exit_json(changed=False, path=path, sha256=sha256, origin=origin, record=helm_charts.record(version, sha256))


if __name__ == "__main__":
    main()
