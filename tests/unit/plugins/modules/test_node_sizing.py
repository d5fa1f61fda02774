"""The module as a task calls it, its documentation included."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.findings import CODES
from ansible_collections.runnerfleet.baremetal.plugins.modules import node_sizing

Run = Callable[..., dict[str, Any]]
NAME = "runnerfleet.baremetal.node_sizing"
EXAMPLES = yaml.safe_load(node_sizing.EXAMPLES)
RETURN = yaml.safe_load(node_sizing.RETURN)
DRIVE = {"name": "nvme0n1", "size_bytes": "500GB"}
GOOD = {"vcpus": 8, "memory_bytes": "32GB", "drives": [DRIVE]}
SMALLER = {**GOOD, "vcpus": 2}


@pytest.mark.parametrize("check", [False, True], ids=["run", "check"])
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda task: task["name"])
def test_examples_run(run_module: Run, example: dict[str, Any], check: bool) -> None:
    result = run_module(node_sizing.main, example[NAME], check=check)
    assert "failed" not in result and result["changed"] is False
    assert set(result) - {"changed"} == set(RETURN)
    assert all(CODES[finding["code"]] == finding["severity"] for finding in result["findings"])


def test_the_purchase_of_the_examples(run_module: Run) -> None:
    result = run_module(node_sizing.main, EXAMPLES[1][NAME])
    assert result["ok"] and result["findings"] == []
    assert result["allocatable"] == {"cpu_millis": 31500, "memory_bytes": 128 * 10**9 - 1524 * 2**20, "pods": 110}
    assert [(runner["name"], runner["fits"], runner["limited_by"]) for runner in result["capacity"]["runners"]] == [
        ("small", 15, "cpu"),
        ("large", 5, "memory"),
    ]


def test_this_machine(run_module: Run) -> None:
    result = run_module(node_sizing.main, {"role": "support", "fail_on": "never"})
    assert (
        result["hardware"]["vcpus"] >= 1 and result["hardware"]["memory_bytes"] > 10**8 and result["capacity"] is None
    )
    assert {finding["subject"] for finding in result["findings"]} <= {platform.node()}


def test_what_is_returned_can_be_given_again(run_module: Run) -> None:
    first = run_module(node_sizing.main, {"role": "runner", "hardware": {**GOOD, "hugepages_bytes": "1Gi"}})
    again = run_module(node_sizing.main, {"role": "runner", "hardware": first["hardware"]})
    assert first == again and first["hardware"]["drives"][0]["size_bytes"] == 500 * 10**9


@pytest.mark.parametrize(
    ("hardware", "fail_on", "ok", "failed"),
    [
        (GOOD, "error", True, False),
        (GOOD, "warning", True, False),
        (SMALLER, "error", True, False),
        (SMALLER, "warning", False, True),
        (SMALLER, "never", True, False),
        ({**GOOD, "drives": []}, "error", False, True),
        ({**GOOD, "drives": []}, "warning", False, True),
        ({**GOOD, "drives": []}, "never", False, False),
        ({**GOOD, "vcpus_offline": 1}, "warning", True, False),
    ],
)
def test_what_fails(run_module: Run, hardware: dict[str, Any], fail_on: str, ok: bool, failed: bool) -> None:
    result = run_module(
        node_sizing.main, {"role": "runner", "hardware": hardware, "fail_on": fail_on, "subject": "box"}
    )
    assert (result["ok"], result.get("failed", False), result["changed"]) == (ok, failed, False)
    assert not failed or "box\n         found" in result["msg"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"plan": {"engine": {"memory": "lots"}}},
            "plan.engine.memory: found 'lots', expected a quantity such as 8GB, 7.5Gi or 1500m",
        ),
        (
            {"plan": {"runners": [{"name": "a", "cpu": "2GB", "memory": 1}]}},
            "plan.runners[0].cpu: found '2GB', expected a number of CPUs",
        ),
        ({"minimum": {"memory": "ten"}}, "minimum.memory: found 'ten'"),
        ({"recommended": {"nvme": "ten"}}, "recommended.nvme: found 'ten'"),
        ({"hardware": {"vcpus": 2, "memory_bytes": "8 gigs"}}, "hardware.memory_bytes: found '8 gigs'"),
        ({"hardware": {**GOOD, "ram": 1}}, "hardware.ram"),
    ],
    ids=["engine", "runner", "minimum", "recommended", "hardware", "a key that nobody reads"],
)
def test_nonsense_is_told_with_its_place(run_module: Run, options: dict[str, Any], told: str) -> None:
    result = run_module(node_sizing.main, {"role": "runner", "hardware": GOOD, **options})
    assert result["failed"] and told in result["msg"]


def test_floors_are_overridden_key_by_key(run_module: Run) -> None:
    options = {
        "role": "runner",
        "hardware": SMALLER,
        "minimum": {"vcpus": 4},
        "recommended": {"nvme": "1TB"},
        "fail_on": "never",
    }
    found = [finding["code"] for finding in run_module(node_sizing.main, options)["findings"]]
    assert found == ["vcpus_below_minimum", "nvme_below_recommended"]


def test_a_named_drive_of_another_kind_counts_with_a_warning(run_module: Run) -> None:
    hardware = {**GOOD, "drives": [{**DRIVE, "name": "sda", "transport": "sata"}, DRIVE]}
    result = run_module(node_sizing.main, {"role": "runner", "hardware": hardware, "drives": ["sda"]})
    assert [(finding["code"], finding["subject"]) for finding in result["findings"]] == [
        ("drive_not_nvme", f"{platform.node()} sda")
    ]


def test_documented_floors_are_those_of_the_code() -> None:
    documented = yaml.safe_load(node_sizing.DOCUMENTATION)["options"]
    assert (
        "2 vCPUs and 8 GB" in documented["minimum"]["description"][1]
        and "100 GB" in documented["minimum"]["description"][1]
    )
    assert (
        documented["role"]["choices"]
        == list(node_sizing.preflight_sizing.MINIMUM)
        == list(node_sizing.preflight_sizing.RECOMMENDED)
    )
