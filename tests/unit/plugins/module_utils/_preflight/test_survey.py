"""Parsers of kernel and configuration text."""

from __future__ import annotations

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight import survey

ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
eth1\t0000100A\t010200C0\t0003\t0\t0\t0\t0000FFFF\t0\t0\t0
cni0\t0000F40A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
flannel.1\t0001F40A\t0001F40A\t0003\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""
INET6 = """\
00000000000000000000000000000001 01 80 10 80       lo
20010db8000000000000000000000007 02 40 00 80     eth0
fe800000000000000000000000000007 02 40 20 80     eth0
"""


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("0-3", {0, 1, 2, 3}), ("0,2-3\n", {0, 2, 3}), ("0", {0}), ("", set()), ("0-511", set(range(512)))],
)
def test_cpu_list(text: str, cpus: set[int]) -> None:
    assert survey.parse_cpu_list(text) == cpus


def test_meminfo_is_in_bytes() -> None:
    text = "MemTotal:        7890123 kB\nHugePages_Total:       4\nnonsense\n"
    assert survey.parse_meminfo(text) == {"MemTotal": 7890123 * 1024, "HugePages_Total": 4}


def test_os_release() -> None:
    assert survey.parse_key_values('# x\nID=debian\nVERSION_ID="13"\n') == {"ID": "debian", "VERSION_ID": "13"}


def test_only_listening_sockets_count() -> None:
    text = (
        "  sl  local_address rem_address   st\n"
        "   0: 00000000:192B 00000000:0000 0A 0\n"
        "   1: 0100007F:280A 0100007F:9999 01 0\n"
        "   2: 00000000000000000000000000000000:0016 0:0 0A 0\n"
    )
    assert survey.parse_listening(text) == {6443, 22}


def test_networks_of_routes_are_those_of_the_site() -> None:
    """Not the default route. Whose the others are is not told by names of interfaces."""
    assert survey.parse_routes(ROUTES) == [
        {"cidr": "192.0.2.0/24", "interface": "eth0"},
        {"cidr": "10.16.0.0/16", "interface": "eth1"},
        {"cidr": "10.244.0.0/24", "interface": "cni0"},
        {"cidr": "10.244.1.0/24", "interface": "flannel.1"},
    ]
    assert survey.parse_routes("") == []


def test_networks_of_global_addresses() -> None:
    assert survey.parse_inet6(INET6) == [{"cidr": "2001:db8::/64", "interface": "eth0"}]


@pytest.mark.parametrize(
    ("manifest", "version"),
    [
        ("    image: registry.k8s.io/kube-apiserver:v1.36.3\n", "1.36.3"),
        ("    image: mirror:5000/registry.k8s.io/kube-apiserver:v1.37.0-rc.1@sha256:00\n", "1.37.0-rc.1"),
        ("    image: registry.k8s.io/kube-apiserver\n", ""),
        ("", ""),
    ],
)
def test_version_of_an_image(manifest: str, version: str) -> None:
    assert survey.parse_image_version(manifest, "kube-apiserver") == version


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30), ("5min 20s", 320), ("500ms", 0.5), ("1h", 3600), ("infinity", float("inf")), ("2 min", 120)],
)
def test_span(text: str, seconds: float) -> None:
    assert survey.parse_span(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "5 fortnights", "5s or so"])
def test_no_span(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time span"):
        survey.parse_span(text)


@pytest.mark.parametrize(
    ("delays", "seconds"),
    [
        ({}, 780),
        ({"/etc/systemd/logind.conf": "10"}, 780),
        ({"/usr/lib/systemd/logind.conf.d/unattended-upgrades-logind-maxdelay.conf": "30"}, 780),
        ({"/etc/systemd/logind.conf.d/zzz-site.conf": "30"}, 30),
        ({"/usr/lib/systemd/logind.conf.d/zzz.conf": "30", "/etc/systemd/logind.conf.d/zzz.conf": "20min"}, 1200),
        ({"/etc/systemd/logind.conf.d/zz-runnerfleet.conf": "5"}, 780),
    ],
    ids=["nothing", "main file", "Debian's", "behind ours", "etc wins over usr", "our own, from an earlier run"],
)
def test_which_file_decides_how_long_a_shutdown_waits(delays: dict[str, str], seconds: float) -> None:
    assert survey.inhibit_delay(delays, 780)[0] == seconds


@pytest.mark.parametrize(
    ("system", "like", "family"),
    [
        *(
            ("debian", "", "Debian"),
            ("ubuntu", "debian", "Debian"),
            ("linuxmint", "ubuntu debian", "Debian"),
            ("rhel", "", "RedHat"),
        ),
        *(
            ("ol", "fedora", "RedHat"),
            ("sles", "", "Suse"),
            ("opensuse-leap", "suse opensuse", "Suse"),
            ("arch", "", "Archlinux"),
        ),
        *(("flatcar", "coreos", "Flatcar"), ("nixos", "", "Nixos"), ("mine", "debian", "Debian"), ("", "", "")),
    ],
)
def test_family_of_a_system(system: str, like: str, family: str) -> None:
    assert survey.os_family(system, like) == family
