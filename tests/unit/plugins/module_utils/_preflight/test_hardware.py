"""Machines that are stated, and the kernel's text about limits."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight import hardware
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.hardware import (
    Hardware,
    HardwareDrive,
    hardware_from,
)
from hypothesis import given
from hypothesis import strategies as st

SMALL = {"vcpus": 2, "memory_bytes": "8GB"}
SIZES = st.integers(0, 10**15)
TEXTS = st.text("abcxyz0:/ ", max_size=8).filter(lambda text: text.lower() not in ("no", "yes", "true", "false"))
DRIVES = st.builds(HardwareDrive, TEXTS, SIZES, TEXTS, TEXTS, TEXTS, st.booleans())
MACHINES = st.builds(Hardware, SIZES, SIZES, st.lists(DRIVES).map(tuple), SIZES, SIZES, SIZES, SIZES)


def test_a_machine_in_few_words() -> None:
    given_drives = [
        {"name": "a", "size_bytes": "1.92TB"},
        {"name": "b", "size_bytes": 10**12, "transport": "SATA", "in_use": "swap"},
    ]
    assert hardware_from({**SMALL, "drives": given_drives, "hugepages_bytes": None}) == Hardware(
        2,
        8 * 10**9,
        (HardwareDrive("a", 1920 * 10**9, transport="nvme"), HardwareDrive("b", 10**12, "", "sata", "swap")),
    )


@pytest.mark.parametrize(
    ("in_use", "reason"),
    [(False, ""), (True, "in use"), ("", ""), ("no", ""), ("True", "in use"), ("swap", "swap")],
)
def test_in_use_is_a_truth_value_or_a_reason(in_use: Any, reason: str) -> None:
    (drive,) = hardware_from({**SMALL, "drives": [{"name": "a", "size_bytes": 1, "in_use": in_use}]}).drives
    assert drive.in_use == reason


@given(MACHINES)
def test_what_is_returned_can_be_given_again(machine: Hardware) -> None:
    assert hardware_from(machine.as_dict()) == machine


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ({"vcpus": 2}, "hardware.memory_bytes: found nothing"),
        ({"memory_bytes": 1}, "hardware.vcpus: found nothing"),
        ({**SMALL, "vcpus": "many"}, "hardware.vcpus: found 'many', expected a whole number"),
        ({**SMALL, "vcpus": True}, "hardware.vcpus: found True, expected a whole number"),
        ({**SMALL, "vcpus": 1.5}, "hardware.vcpus: found 1.5, expected a whole number"),
        ({**SMALL, "memory_bytes": "lots"}, "hardware.memory_bytes: found 'lots', expected a quantity such as 8GB"),
        ({**SMALL, "memory_bytes": -1}, "hardware.memory_bytes: found -1, expected a quantity"),
        (
            {**SMALL, "memory": "8GB"},
            "hardware.memory: found an unknown key, expected one of vcpus, memory_bytes, drives",
        ),
        ({**SMALL, "drives": "nvme0n1"}, "hardware.drives: found 'nvme0n1', expected a list"),
        (
            {**SMALL, "drives": ["nvme0n1"]},
            r"hardware.drives\[0\]: found 'nvme0n1', expected a mapping with name, size_bytes",
        ),
        ({**SMALL, "drives": [{"name": "a"}]}, r"hardware.drives\[0\].size_bytes: found nothing"),
        ({**SMALL, "drives": [{"name": "a", "size_bytes": "big"}]}, r"hardware.drives\[0\].size_bytes: found 'big'"),
        ({**SMALL, "drives": [{"name": "a", "size": 1}]}, r"hardware.drives\[0\].size: found an unknown key"),
        ({**SMALL, "hugepages_bytes": "x"}, "hardware.hugepages_bytes: found 'x'"),
        ([], r"hardware: found \[\], expected a mapping"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nonsense_is_told_with_its_key(stated: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        hardware_from(stated)


@pytest.mark.parametrize(
    ("quota", "period", "millis"),
    [
        ("200000", "100000", 2000),
        ("150000", "100000", 1500),
        ("max", "100000", 0),
        ("-1", "100000", 0),
        ("", "", 0),
        ("50000", "0", 0),
    ],
)
def test_cpu_limit_of_a_cgroup(quota: str, period: str, millis: int) -> None:
    assert hardware.cpu_limit_millis(quota, period) == millis


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("4294967296", 4294967296),
        ("max", 0),
        ("", 0),
        ("9223372036854771712", 0),
        ("8000000000", 0),
        ("7999999999", 7999999999),
    ],
)
def test_memory_limit_of_a_cgroup(limit: str, expected: int) -> None:
    assert hardware.memory_limit_bytes(limit, 8 * 10**9) == expected


@pytest.mark.parametrize(
    ("meminfo", "expected"),
    [
        ({"Hugetlb": 2**30, "HugePages_Total": 4, "Hugepagesize": 2**21}, 2**30),
        ({"HugePages_Total": 4, "Hugepagesize": 2**21}, 2**23),
        ({}, 0),
    ],
    ids=["all sizes", "an old kernel", "none"],
)
def test_huge_pages(meminfo: dict[str, int], expected: int) -> None:
    assert hardware.hugepages_bytes(meminfo) == expected


@pytest.mark.parametrize(
    ("machine", "millis", "memory"),
    [
        (Hardware(4, 100), 4000, 100),
        (Hardware(4, 100, cpu_limit_millis=1500, memory_limit_bytes=50), 1500, 50),
        (Hardware(4, 100, cpu_limit_millis=9000, memory_limit_bytes=500), 4000, 100),
        (Hardware(512, 2**42), 512000, 2**42),
    ],
    ids=["no limit", "limited", "limits above what there is", "512 cores"],
)
def test_what_can_really_be_had(machine: Hardware, millis: int, memory: int) -> None:
    assert (machine.cpu_millis, machine.usable_memory) == (millis, memory)
