# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan for a host's drives from its options and what is found, as nvme_layout and the preflight ask it. Private to
the collection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.model import (
    Bind,
    Drive,
    Group,
    Layout,
    Step,
    Volume,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.plan_mounts import plan_mounts
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.plan_partitions import plan_layout
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.plan_selection import Rule, choose
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.plan_stripe import plan_stripe
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.probe_drives import (
    BAD_ANSWER,
    TOOLS,
    Drives,
    Run,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.probe_mounts import system
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.probe_stripe import Stripes

_TEXT = {"type": "str", "default": ""}
_NEEDED = {"type": "str", "required": True}
BIND = {"source": _NEEDED, "target": {"type": "path", "required": True}}
VOLUME = {
    "name": _NEEDED,
    "size": {"type": "str", "default": "rest"},
    "filesystem": {"type": "str", "choices": ["xfs", "ext4", "btrfs"], "default": "xfs"},
    "mount": {"type": "path"},
    "options": {"type": "str", "default": "noatime"},
    "owner": _TEXT,
    "group": _TEXT,
    "mode": _TEXT,
    "binds": {"type": "list", "elements": "dict", "default": [], "options": BIND},
}
SELECT = {"count": {"type": "int", "required": True}, "min_size": _TEXT, "max_size": _TEXT, "model": _TEXT}
# What nvme_layout takes.
OPTIONS: dict[str, Any] = {
    "drives": {"type": "list", "elements": "str"},
    "select": {"type": "dict", "options": SELECT},
    "layout": {"type": "str", "choices": ["auto", "single", "spread", "stripe"], "default": "auto"},
    "stripe_with": {"type": "str", "choices": ["lvm", "raid0", "raid10"], "default": "lvm"},
    "volumes": {"type": "list", "elements": "dict", "required": True, "options": VOLUME},
    "wipe": {"type": "list", "elements": "str", "default": []},
    "services": {"type": "list", "elements": "str", "default": ["containerd.service", "kubelet.service"]},
}
RULES: dict[str, Any] = {"mutually_exclusive": [("drives", "select")], "required_one_of": [("drives", "select")]}


@dataclass
class DrivePlan:
    """Drives as they are, where the volumes go, and all steps."""

    drives: list[Drive] = field(default_factory=list)
    layout: Layout = field(default_factory=Layout)
    steps: list[Step] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    consented: list[str] = field(default_factory=list)  # identities of drives whose content may go


def volumes_of(params: Mapping[str, Any]) -> list[Volume]:
    """The volumes that are asked for."""
    return [
        Volume(**{**v, "mount": v["mount"] or "", "binds": tuple(Bind(**b) for b in v["binds"])})
        for v in params["volumes"]
    ]


def missing_tools(params: Mapping[str, Any], has: Callable[[str], Any]) -> list[str]:
    """What the host lacks, with the package that has it."""
    needed = [
        "blkid",
        "wipefs",
        "partx",
        "sfdisk",
        *sorted({f"mkfs.{volume['filesystem']}" for volume in params["volumes"]}),
    ]
    if params["layout"] == "stripe":
        needed.append("vgcreate" if params["stripe_with"] == "lvm" else "mdadm")
    return [f"{tool} is not installed: install package {TOOLS[tool]}" for tool in needed if not has(tool)]


def find(host: Drives, params: Mapping[str, Any]) -> tuple[list[Drive], list[str]]:
    """The drives that are meant. Refusals of all drives are collected, so that one run shows them all."""
    if params["select"]:
        return choose([host.inspect(sysfs) for sysfs in host.namespaces()[0]], Rule(**params["select"]))
    drives, refusals = [], []
    for identity in params["drives"]:
        try:
            drives.append(host.read(identity))
        except ValueError as error:
            refusals.append(str(error))
    return drives, refusals


def consented(host: Drives, drives: Sequence[Drive], wipe: Sequence[str]) -> tuple[list[str], list[str]]:
    """The identities of the drives that consent names, each by a name that means it alone, and what is wrong with the
    other names.
    """
    found, refusals = [], []
    for name in wipe:
        try:
            node = f"/dev/{host.resolve(name).name}"
        except ValueError as error:
            refusals.append(f"wipe: {error}")
            continue
        meant = [drive.identity for drive in drives if drive.node == node]
        found += meant
        refusals += [] if meant else [f"wipe names {name}, which is none of the drives"]
    return found, refusals


def lay_out(
    drives: Sequence[Drive], group: Group, volumes: list[Volume], params: Mapping[str, Any], wipe: Sequence[str]
) -> Layout:
    """Where the volumes go on drives that were found."""
    if params["layout"] == "stripe":
        return plan_stripe(drives, group, volumes, params["stripe_with"], wipe)
    return plan_layout(drives, volumes, params["layout"], wipe)


def make_plan(host: Drives, params: Mapping[str, Any], volumes: list[Volume]) -> DrivePlan:
    """Gather and plan. Consent is read before anything is planned on it."""
    drives, refusals = find(host, params)
    wipe, unmeant = consented(host, drives, params["wipe"])
    # Where a drive is not found, consent to it means nothing either, and would only be told twice.
    refusals += [refusal for refusal in unmeant if not refusals or "none of the drives" not in refusal]
    if refusals:
        return DrivePlan(drives, refusals=refusals)
    group = Stripes(host).group(drives, params["stripe_with"]) if params["layout"] == "stripe" else Group()
    layout = lay_out(drives, group, volumes, params, wipe)
    if layout.refusals:
        return DrivePlan(drives, layout, layout.steps, layout.refusals)
    steps, refusals = plan_mounts(layout.placed, params["services"], system(host, layout.placed, params["services"]))
    return DrivePlan(drives, layout, layout.steps + steps + layout.grow, refusals, wipe)


def checked(given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Options as nvme_layout takes them, and what is wrong with them."""
    result = ArgumentSpecValidator(OPTIONS, **RULES).validate(dict(given))
    return result.validated_parameters, [f"options of nvme_layout: {message}" for message in result.error_messages]


def refusals(run: Run, has: Callable[[str], Any], given: Mapping[str, Any]) -> list[str]:
    """Why nvme_layout would refuse these options on this host as it is. Changes nothing."""
    params, problems = checked(given)
    problems = problems or missing_tools(params, has)
    if problems:
        return problems
    try:
        return make_plan(Drives(run), params, volumes_of(params)).refusals
    except BAD_ANSWER as error:
        return [str(error)]


def refusals_on(known: Sequence[Drive], given: Mapping[str, Any]) -> list[str]:
    """The same on drives of which no more than this is known: a list that was typed, or kept from an earlier look."""
    params, problems = checked(given)
    if problems:
        return problems
    try:
        drives, problems = list(known), []
        if params["select"]:
            drives, problems = choose(known, Rule(**params["select"]))
        wipe = [name for name in params["wipe"] if name in (drive.identity for drive in drives)]
        return problems or lay_out(drives, Group(), volumes_of(params), params, wipe).refusals
    except ValueError as error:
        return [str(error)]
