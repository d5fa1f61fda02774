"""What modprobe may load, on configurations as hardening guides write them."""

from __future__ import annotations

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host import plan_modprobe as modprobe

CIS = "/etc/modprobe.d/cis.conf"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("install overlay /bin/false\n", f"{CIS}: install overlay /bin/false"),
        ("install overlay /bin/true\n", f"{CIS}: install overlay /bin/true"),
        ("  install\toverlay   /usr/bin/false  # x\n", f"{CIS}: install overlay /usr/bin/false # x"),
        ("install over* /bin/true\n", f"{CIS}: install overlay /bin/true"),
        ("install overlay \\\n  /bin/true\n", f"{CIS}: install overlay /bin/true"),
        ("install overlay :\n", f"{CIS}: install overlay :"),
        ("install overlay /bin/echo no; exit 1\n", f"{CIS}: install overlay /bin/echo no; exit 1"),
        ("install overlay /sbin/modprobe --ignore-install overlay && /bin/touch /run/x\n", ""),
        ("install overlay { insmod /x/overlay.ko; }\n", ""),
        ("install overlayfs /bin/false\n", ""),
        ("blacklist overlay\n", ""),
        ("# install overlay /bin/false\n", ""),
        ("options overlay metacopy=on\nsoftdep overlay pre: x\nalias x overlay\n", ""),
        ("install overlay\n", ""),
        ("", ""),
    ],
)
def test_install_lines(text: str, expected: str) -> None:
    assert modprobe.forbidden(["overlay"], {CIS: text}, "", False) == expected


def test_dashes_and_underscores_are_one() -> None:
    files = {CIS: "install br-netfilter /bin/true\n"}
    assert modprobe.forbidden(["br_netfilter"], files, "", False) and modprobe.forbidden(
        ["br-netfilter"], files, "", False
    )


@pytest.mark.parametrize(
    ("files", "forbidden"),
    [
        ({"/usr/lib/modprobe.d/a.conf": "install x /bin/false", "/etc/modprobe.d/a.conf": ""}, False),
        ({"/usr/lib/modprobe.d/a.conf": "", "/run/modprobe.d/a.conf": "install x /bin/false"}, True),
        (
            {
                "/etc/modprobe.d/b.conf": "install x /bin/false",
                "/lib/modprobe.d/a.conf": "install x /sbin/modprobe -i x",
            },
            False,
        ),
        (
            {
                "/etc/modprobe.d/a.conf": "install x /bin/false",
                "/lib/modprobe.d/b.conf": "install x /sbin/modprobe -i x",
            },
            True,
        ),
    ],
)
def test_which_file_counts(files: dict[str, str], forbidden: bool) -> None:
    assert bool(modprobe.forbidden(["x"], files, "", False)) == forbidden


@pytest.mark.parametrize(
    ("cmdline", "expected"),
    [
        ("quiet module_blacklist=a,over-lay", "/proc/cmdline: module_blacklist=a,over-lay"),
        ("modprobe.blacklist=over_lay rd.driver.blacklist=over_lay", ""),
        ("module_blacklist=a", ""),
    ],
)
def test_the_command_line(cmdline: str, expected: str) -> None:
    assert modprobe.forbidden(["over_lay"], {}, cmdline, False) == expected


def test_what_a_module_needs_counts_and_what_is_there_does_not() -> None:
    listing = (
        "kernel/net/bridge/br_netfilter.ko.zst: kernel/net/bridge/bridge.ko.zst kernel/net/llc/llc.ko\nkernel/x.ko:\n"
    )
    assert modprobe.dependencies("br-netfilter", listing) == ["bridge", "llc"] and not modprobe.dependencies(
        "y", listing
    )
    files = {CIS: "install llc /bin/true"}
    assert modprobe.forbidden(["bridge", "llc", "br_netfilter"], files, "", False) == f"{CIS}: install llc /bin/true"
    assert modprobe.forbidden(["br_netfilter"], files, "", False) == ""


def test_a_locked_kernel_loads_nothing() -> None:
    assert modprobe.forbidden(["x"], {}, "", True) == "kernel.modules_disabled = 1" and not modprobe.forbidden(
        [], {}, "", True
    )
