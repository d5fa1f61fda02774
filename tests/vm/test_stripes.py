"""Stripes on real NVMe controllers: by a rule, grown, without a drive, killed at every step, by LVM and by md."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.vm.conftest import Machine

LAYOUT, FACTS = "runnerfleet.baremetal.nvme_layout", "runnerfleet.baremetal.nvme_facts"
SERVICES: list[str] = []
VOLUMES: list[dict[str, Any]] = [
    {"name": "engine", "size": "50%", "mount": "/srv/engine", "mode": "0711"},
    {"name": "logs", "size": "1GiB", "filesystem": "ext4", "mount": "/srv/logs"},
    {"name": "scratch", "size": "1GiB", "filesystem": "btrfs", "mount": "/srv/scratch"},
    {"name": "containers", "mount": "/srv/containers", "binds": [{"source": "pods", "target": "/srv/pods"}]},
]
WRITERS = (
    *("vgcreate", "vgextend", "lvcreate", "lvextend", "lvrename", "lvchange", "mdadm", "sfdisk"),
    *("mkfs.xfs", "mkfs.ext4", "mkfs.btrfs", "xfs_growfs", "resize2fs"),
)
# The n-th command that writes kills the module that runs it, before or after it does its work; /run/kill says which.
WRAPPER = """#!/bin/sh
name=$(basename "$0")
case "$*" in *--examine*|*--json*) exec /usr/sbin/"$name" "$@";; esac
read at when < /run/kill; n=$(($(cat /run/calls) + 1)); echo $n > /run/calls; echo "$n $name" >> /run/trace
[ "$n $when" = "$at before" ] && kill -9 $PPID && exit 9
/usr/sbin/"$name" "$@"; code=$?
[ "$n $when" = "$at after" ] && kill -9 $PPID
exit $code
"""


def size_of(vm: Machine, mount: str) -> int:
    """Bytes of a mounted filesystem."""
    return int(vm.sh(f"findmnt --noheadings --bytes --output SIZE {mount}"))


def unchanged(vm: Machine, **wish: Any) -> None:
    """The host is as desired."""
    result = vm.module(LAYOUT, **wish)
    assert not result["failed"] and not result["changed"], result


def test_a_stripe_by_a_rule_grows_and_misses_no_drive_quietly(vm: Machine) -> None:
    vm.fresh()
    rule: dict[str, Any] = {
        "select": {"count": 4, "min_size": "3GiB"},
        "layout": "stripe",
        "volumes": VOLUMES,
        "services": SERVICES,
    }
    wrong = vm.module(LAYOUT, **{**rule, "select": {"count": 3}})
    assert wrong["failed"] and "wants exactly 3 drives, 4 of 5 are free" in wrong["msg"] and "boot: /" in wrong["msg"]

    plan = vm.module(LAYOUT, check=True, **rule)
    made = vm.module(LAYOUT, **rule)
    assert made["changed"] and not made["failed"], made
    assert made["plan"] == plan["plan"] and plan["destructive"] == []
    unchanged(vm, **rule)
    segments = json.loads(vm.sh("lvs --all --reportformat json -o lv_name,stripes runnerfleet"))["report"][0]["lv"]
    stripes = {s["lv_name"].strip("[]"): s["stripes"] for s in segments}
    assert stripes == dict.fromkeys(("containers", "engine", "logs", "scratch"), "4")
    facts = vm.module(FACTS)
    assert not facts["failed"], facts
    states = {d["serial"]: (d["state"], d["ours"]) for d in facts["drives"]}
    assert {state for serial, (state, _ours) in states.items() if serial in vm.serials} == {"ours"}
    assert sorted(states[vm.serials[0]][1]) == ["containers", "engine", "logs", "scratch"]

    sums = vm.sh(
        "for m in engine logs scratch pods; do head -c 4M /dev/urandom > /srv/$m/data; done; sync; sha256sum "
        "/srv/*/data"
    )

    vm.unplug("DATA2")
    vm.power_cut()
    missing = vm.module(LAYOUT, **rule)
    assert missing["failed"] and not missing["changed"] and "lie on 3: 1 missing" in missing["msg"]
    named = vm.module(LAYOUT, **{**rule, "select": {"count": 3}})
    assert named["failed"] and "runnerfleet lacks nvme.1b36-" in named["msg"] and "replace_drive" in named["msg"]

    vm.plug("DATA2")
    vm.add_drive()
    vm.reorder()
    vm.power_cut()
    unchanged(vm, **rule)
    assert vm.sh("sha256sum /srv/*/data") == sums

    before = {m: size_of(vm, m) for m in ("/srv/engine", "/srv/logs", "/srv/containers")}
    wider = {"drives": vm.serials, **{key: rule[key] for key in ("layout", "volumes", "services")}}
    grown = vm.module(LAYOUT, **wider)
    assert not grown["failed"] and [s["action"] for s in grown["plan"]] == ["group", "grow", "grow"], grown
    after = {m: size_of(vm, m) for m in before}
    assert after["/srv/engine"] > before["/srv/engine"] and after["/srv/containers"] > before["/srv/containers"]
    assert after["/srv/logs"] == before["/srv/logs"] and vm.sh("sha256sum /srv/*/data") == sums
    unchanged(vm, **wider)

    fixed = [{**v, "size": "3GiB" if v["name"] == "logs" else v.get("size", "rest")} for v in VOLUMES]
    refused = vm.module(LAYOUT, **{**wider, "volumes": fixed})
    assert refused["failed"] and "logs needs 2.0 GiB more" in refused["msg"]
    shrunk = vm.module(
        LAYOUT, **{**wider, "volumes": [{**v, "size": "20%"} if v["name"] == "engine" else v for v in VOLUMES]}
    )
    assert shrunk["failed"] and "nothing is ever shrunk" in shrunk["msg"]


@pytest.mark.parametrize("level", ["raid0", "raid10"])
def test_an_array_comes_back_under_another_name(vm: Machine, level: str) -> None:
    vm.fresh()
    wish: dict[str, Any] = {
        "drives": vm.serials,
        "layout": "stripe",
        "stripe_with": level,
        "volumes": VOLUMES,
        "services": SERVICES,
    }
    plan = vm.module(LAYOUT, check=True, **wish)
    made = vm.module(LAYOUT, **wish)
    assert made["changed"] and not made["failed"] and made["plan"] == plan["plan"], made
    unchanged(vm, **wish)
    sums = vm.sh(
        "for m in engine logs scratch pods; do head -c 4M /dev/urandom > /srv/$m/data; done; sync; sha256sum "
        "/srv/*/data"
    )
    vm.reorder()
    vm.reboot()
    unchanged(vm, **wish)
    assert vm.sh("sha256sum /srv/*/data") == sums
    vm.unplug("DATA3")
    vm.reboot()
    lost = vm.module(LAYOUT, **{**wish, "drives": vm.serials})
    assert (
        lost["failed"] and not lost["changed"] and "runnerfleet lacks drive 1 of 1 that it has lost" in lost["msg"]
    ), lost
    if level == "raid10":
        vm.add_drive()
        vm.reboot()
        mended = vm.module(LAYOUT, **{**wish, "drives": vm.serials})
        assert not mended["failed"] and [s["action"] for s in mended["plan"]] == ["assemble"], mended
        unchanged(vm, **{**wish, "drives": vm.serials})
        assert vm.sh("sha256sum /srv/*/data") == sums
        vm.sh("mdadm --wait /dev/md/runnerfleet || true; test $(cat /sys/class/block/md*/md/degraded) = 0")


def killed_until_done(vm: Machine, wish: dict[str, Any]) -> int:
    """Each run is killed at its first or second command that writes, until one gets through. Returns how many were
    killed.
    """
    result: dict[str, Any] = {}
    for attempt in range(60):
        vm.sh(f"echo {1 + attempt % 2} {('before', 'after')[attempt // 2 % 2]} > /run/kill; echo 0 > /run/calls")
        result = vm.module(LAYOUT, **wish)
        if not result["failed"]:
            return attempt
        assert "plan" not in result and "destructive" not in result, (
            f"refused after {vm.sh('cat /run/trace')}: {result}"
        )
        vm.sh(
            "for m in $(findmnt --noheadings --list --output TARGET | grep ^/srv/); do test -e $m/data || echo "
            "precious > $m/data; done"
        )
    raise AssertionError(result)


@pytest.mark.parametrize("stripe_with", ["lvm", "raid0"])
def test_killed_at_every_step_it_converges(vm: Machine, stripe_with: str) -> None:
    """Made, then grown: in the end every step was interrupted, and no file was lost."""
    vm.fresh()
    for command in WRITERS:
        vm.sh(f"cat > /usr/local/sbin/{command} <<'END'\n{WRAPPER}END\nchmod 755 /usr/local/sbin/{command}")
    engine, containers = VOLUMES[0], VOLUMES[3]
    wish: dict[str, Any] = {"drives": vm.serials, "layout": "stripe", "stripe_with": stripe_with, "services": SERVICES}
    small = {**wish, "volumes": [engine, {**containers, "size": "2GiB"}]}
    assert killed_until_done(vm, small) >= 10
    unchanged(vm, **small)
    before, large = size_of(vm, "/srv/containers"), {**wish, "volumes": [engine, containers]}
    assert killed_until_done(vm, large) >= 4
    vm.sh("rm /usr/local/sbin/*; sync")
    unchanged(vm, **large)
    assert size_of(vm, "/srv/containers") > before + 4 * 1024**3
    assert all(line == "precious" for line in vm.sh("cat $(find /srv -name data)").splitlines())
