"""The module on files and processes that are laid out here."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.modules import cis_facts

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with a kubelet, and a process that went."""
    drop_ins = tmp_path / "conf.d"
    drop_ins.mkdir()
    (tmp_path / "config.yaml").write_text("first")
    (drop_ins / "90.conf").write_text("third")
    (drop_ins / "50.conf").write_text("second")
    (drop_ins / "notes.txt").write_text("no drop-in")
    for number, line in (
        ("7", ["/usr/local/bin/kubelet", f"--config={tmp_path}/config.yaml", f"--config-dir={drop_ins}", "word"]),
        ("8", ["sh"]),
    ):
        (tmp_path / "proc" / number).mkdir(parents=True)
        (tmp_path / "proc" / number / "cmdline").write_bytes("\0".join(line).encode() + b"\0")
    (tmp_path / "proc/9").mkdir()
    (tmp_path / "proc/uptime").write_text("1")
    (tmp_path / "key").touch(mode=0o640)
    os.chmod(tmp_path / "key", 0o640)
    monkeypatch.setattr(cis_facts, "PROC", tmp_path / "proc")
    monkeypatch.setattr(cis_facts, "FILES", (f"{tmp_path}/k*", f"{tmp_path}/none"))
    return tmp_path


def test_what_it_says(host: Path, run_module: Run) -> None:
    result = run_module(cis_facts.main, {})
    assert not result["changed"]
    assert result["files"][f"{host}/k*"][f"{host}/key"]["mode"] == "0640" and result["files"][f"{host}/none"] == {}
    owned = os.stat(host / "proc/7").st_uid == 0
    assert result["kubelet_config"] == (["first", "second", "third"] if owned else [])
    assert set(result["commands"]) == ({"kubelet"} if owned else set())
    assert "word" not in str(result["commands"])
