"""The module as a task sees it, on drives that are made up; tests/devices runs it on real ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.model import Drive
from ansible_collections.runnerfleet.baremetal.plugins.modules import nvme_layout

from tests.unit.plugins.drives import reason

Run = Callable[..., dict[str, Any]]
VOLUMES = [{"name": "engine", "size": "60%"}, {"name": "containers"}]
BLANK = Drive("eui.1", "/dev/nvme0n1", 1 << 40)


@pytest.fixture(autouse=True)
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tool is there, and none may be run."""
    monkeypatch.setattr(AnsibleModule, "get_bin_path", lambda _module, tool, *_a, **_k: f"/usr/sbin/{tool}")
    monkeypatch.setattr(AnsibleModule, "run_command", lambda *_a, **_k: pytest.fail("a check ran a command"))


def found(monkeypatch: pytest.MonkeyPatch, *drives: Drive) -> None:
    """What the host has."""
    known = {d.identity: d for d in drives}
    monkeypatch.setattr(nvme_layout.Drives, "read", lambda _self, identity, held=None: known[identity])


def test_check_mode_shows_the_whole_plan(monkeypatch: pytest.MonkeyPatch, run_module: Run) -> None:
    found(monkeypatch, BLANK)
    result = run_module(nvme_layout.main, {"drives": ["eui.1"], "volumes": VOLUMES}, check=True)
    assert result["changed"] and result["destructive"] == []
    assert [s["action"] for s in result["plan"]] == ["partition", "format", "format"]
    assert "  empty" in result["diff"][0]["before"] and "  runnerfleet-engine xfs" in result["diff"][0]["after"]
    assert [v["node"] for v in result["volumes"]] == ["/dev/nvme0n1p1", "/dev/nvme0n1p2"]


@pytest.mark.parametrize("check", [True, False])
def test_refusal_shows_plan_and_what_would_be_lost(
    monkeypatch: pytest.MonkeyPatch, run_module: Run, check: bool
) -> None:
    found(monkeypatch, Drive("eui.1", "/dev/nvme0n1", 1 << 40, found=(reason("signature: xfs"),)))
    result = run_module(nvme_layout.main, {"drives": ["eui.1"], "volumes": VOLUMES}, check=check)
    assert result["failed"] and not result["changed"] and 'wipe: ["eui.1"]' in result["msg"]
    assert result["destructive"] == [
        {"drive": "eui.1", "node": "/dev/nvme0n1", "found": ["signature: xfs"], "consented": False}
    ]
    assert result["plan"][0]["text"].startswith("WIPE and partition")


def test_missing_tool_names_its_package(monkeypatch: pytest.MonkeyPatch, run_module: Run) -> None:
    monkeypatch.setattr(
        AnsibleModule, "get_bin_path", lambda _module, tool, *_a, **_k: None if tool == "mkfs.xfs" else tool
    )
    result = run_module(nvme_layout.main, {"drives": ["eui.1"], "volumes": VOLUMES})
    assert result["failed"] and result["msg"] == "mkfs.xfs is not installed: install package xfsprogs"


def test_all_drives_that_do_not_exist_are_named_at_once(run_module: Run) -> None:
    result = run_module(nvme_layout.main, {"drives": ["eui.absent1", "eui.absent2"], "volumes": VOLUMES})
    assert result["failed"] and len(result["msg"].splitlines()) == 2
