"""Texts and decisions of host_config."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host import plan_settings
from hypothesis import given
from hypothesis import strategies as st

FSTAB = """\
UUID=1 / ext4 defaults 0 1
/swapfile none swap sw 0 0
#/dev/sdb1 none swap sw 0 0
LABEL=swap /srv/swap ext4 defaults 0 2
"""


def test_without_swap() -> None:
    text = plan_settings.without_swap(FSTAB)
    changed = [
        (before, after) for before, after in zip(FSTAB.splitlines(), text.splitlines(), strict=True) if before != after
    ]
    assert changed == [("/swapfile none swap sw 0 0", "# no swap on a kubelet's host: /swapfile none swap sw 0 0")]
    assert plan_settings.without_swap(text) == text


def test_builtin_modules() -> None:
    text = "kernel/net/bridge/br_netfilter.ko\nkernel/fs/overlayfs/overlay.ko.zst\nkernel/a/nf-x.ko.xz\n"
    assert plan_settings.builtin_modules(text) == {"br_netfilter", "overlay", "nf_x"}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        pytest.param("overlay", "nodev\tproc\nnodev\toverlay\n", True, id="filesystem"),
        pytest.param("overlay", "nodev\toverlayx\n", False, id="other filesystem"),
        pytest.param("br_netfilter", "1\n", True, id="parameter"),
        pytest.param("br_netfilter", None, False, id="no parameter"),
    ],
)
def test_evident(name: str, text: str | None, expected: bool) -> None:
    assert plan_settings.evident(name, text) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, "1"), ("1", "1"), (True, "1"), (False, "0"), ("4096\t131072  6291456\n", "4096 131072 6291456"), ("", "")],
)
def test_sysctl_value(value: Any, expected: str) -> None:
    assert plan_settings.sysctl_value(value) == expected


def test_sysctls_text_is_sorted() -> None:
    assert plan_settings.sysctls_text({"b.c": "1\t2", "a.b": True}).splitlines()[1:] == ["a.b = 1", "b.c = 1 2"]


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
        ("net.ipv4.conf.bond0/101.rp_filter", "net/ipv4/conf/bond0.101/rp_filter"),
        ("net/ipv4/conf/bond0.101/rp_filter", "net/ipv4/conf/bond0.101/rp_filter"),
        ("net.ipv6.conf.eth0/4/7.disable_ipv6", "net/ipv6/conf/eth0.4.7/disable_ipv6"),
        ("net/ipv4/conf/br-lan@x.5/forwarding", "net/ipv4/conf/br-lan@x.5/forwarding"),
        ("net.ipv4.conf.bond0.101.rp_filter", "net/ipv4/conf/bond0/101/rp_filter"),
    ],
)
def test_sysctl_path(key: str, path: str) -> None:
    assert plan_settings.sysctl_path(key) == f"/proc/sys/{path}"


@given(st.lists(st.from_regex(r"[a-z0-9_]([a-z0-9_.-]{0,6})", fullmatch=True), min_size=2, max_size=5))
def test_both_notations_mean_one_file(parts: list[str]) -> None:
    swapped = ".".join(part.replace(".", "/") for part in parts)
    expected = "/proc/sys/" + "/".join(parts)
    if "." in parts[0]:  # a first separator that is no separator cannot be written with slashes
        return
    assert plan_settings.sysctl_path("/".join(parts)) == plan_settings.sysctl_path(swapped) == expected


@pytest.mark.parametrize(
    "key",
    [
        *(
            "",
            ".",
            "/",
            "ip_forward",
            "net..x",
            "net.ipv4/../x",
            "../../etc/passwd",
            "net.ipv4 = 1",
            "/net/ipv4/ip_forward",
            "net/ipv4/",
        ),
        *(
            "net/../../etc/passwd",
            "net/ipv4/./x",
            "net.ipv4.",
            ".net.ipv4",
            "-net.ipv4.ip_forward",
            "net.ipv4.conf.*.rp_filter",
            "net/a\nb",
        ),
    ],
)
def test_sysctl_path_refuses(key: str) -> None:
    with pytest.raises(ValueError, match="is not the name of a kernel parameter"):
        plan_settings.sysctl_path(key)


SHOW = """\
Id=containerd.service
LoadState=loaded
ActiveState=active
UnitFileState=enabled
NeedDaemonReload=no
ExecMainStartTimestampMonotonic=50000000

Id=kubelet.service
LoadState=not-found
ActiveState=inactive
UnitFileState=
NeedDaemonReload=no
ExecMainStartTimestampMonotonic=0
"""


def test_units_as_systemd_shows_them() -> None:
    units = {name: plan_settings.Unit.of(found, 80.0) for name, found in plan_settings.parse_units(SHOW).items()}
    containerd, kubelet = units["containerd.service"], units["kubelet.service"]
    assert (containerd.known, containerd.active, containerd.enabled, containerd.started) == (True, True, True, 30.0)
    assert (kubelet.known, kubelet.active, kubelet.enabled, kubelet.started) == (False, False, False, None)


RUNNING = plan_settings.Unit(
    known=True, active=True, enabled=True, can_enable=True, masked=False, stale=False, started=30.0
)
STOPPED = plan_settings.Unit(
    known=True, active=False, enabled=True, can_enable=True, masked=False, stale=False, started=None
)
ABSENT = plan_settings.Unit(
    known=False, active=False, enabled=False, can_enable=True, masked=False, stale=False, started=None
)
STATIC = plan_settings.Unit(
    known=True, active=True, enabled=False, can_enable=False, masked=False, stale=False, started=30.0
)
START = {"enabled": True, "state": "started"}
ENABLE = {"enabled": True, "state": "none"}


@pytest.mark.parametrize(
    ("want", "unit", "newest", "planned", "expected"),
    [
        pytest.param(START, RUNNING, None, False, [], id="as wanted"),
        pytest.param(START, RUNNING, 31.0, False, [], id="changed before it was started"),
        pytest.param(START, RUNNING, 29.0, False, ["restart"], id="changed after it was started"),
        pytest.param(START, RUNNING, 31.0, True, ["restart"], id="check mode, would change"),
        pytest.param(START, STOPPED, 1.0, False, ["start"], id="stopped"),
        pytest.param(ENABLE, STOPPED, 1.0, True, [], id="not to be started, as a kubelet before its host joined"),
        pytest.param(ENABLE, RUNNING, 1.0, False, ["restart"], id="running and outdated"),
        pytest.param(START, ABSENT, None, True, ["enable", "start"], id="fresh host"),
        pytest.param(ENABLE, STATIC, None, False, [], id="static units cannot be enabled"),
    ],
)
def test_unit_actions(
    want: dict[str, Any], unit: plan_settings.Unit, newest: float | None, planned: bool, expected: list[str]
) -> None:
    assert plan_settings.unit_actions(want, unit, newest, planned) == expected
