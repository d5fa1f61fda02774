"""The module on files and processes that are laid out here."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
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
    (tmp_path / "secret").write_text("S3CRET")
    server = [
        f"--authentication-config={tmp_path}/authentication.yaml",
        f"--encryption-provider-config={tmp_path}/encryption",
    ]
    for number, namespace, line in (
        ("self", "pid:[1]", []),
        ("4", "pid:[2]", ["kubelet", f"--config={tmp_path}/secret"]),  # a job's
        (
            "7",
            "pid:[1]",
            ["/usr/local/bin/kubelet", "--config", f"{tmp_path}/config.yaml", f"--config-dir={drop_ins}", "word"],
        ),
        ("8", "pid:[1]", ["sh"]),
        ("10", "pid:[3]", ["kube-apiserver", "--profiling=false", *server]),
    ):
        (tmp_path / "proc" / number / "ns").mkdir(parents=True)
        (tmp_path / "proc" / number / "ns/pid").symlink_to(namespace)
        (tmp_path / "proc" / number / "cmdline").write_bytes("\0".join(line).encode() + b"\0")
    (tmp_path / "authentication.yaml").write_text("anonymous: {enabled: false}")
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
    assert "word" not in str(result["commands"]) and "S3CRET" not in str(result)
    assert result["authentication"] is None and result["encryption"] is None


ENTRIES = [
    {
        "resources": ["secrets"],
        "providers": [{"secretbox": {"keys": [{"name": "k", "secret": "S3CRET"}]}}, {"identity": {}}],
    }
]


@pytest.mark.skipif(os.getuid() != 0, reason="a control plane's processes are root's")
@pytest.mark.parametrize("write", [json.dumps, yaml.safe_dump], ids=["json", "yaml"])
def test_what_a_control_plane_says(host: Path, run_module: Run, write: Callable[[Any], str]) -> None:
    (host / "encryption").write_text(write({"kind": "EncryptionConfiguration", "resources": ENTRIES}))
    result = run_module(cis_facts.main, {"control_plane": True})
    assert "--profiling=false" in result["commands"]["kube-apiserver"]
    assert result["authentication"] == "anonymous: {enabled: false}"
    assert result["encryption"] == [{"resources": ["secrets"], "providers": ["secretbox", "identity"]}]
    assert "S3CRET" not in str(result)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '"text"',
        '{"resources": [{"resources": 1}]}',
        '{"resources": [{"resources": [], "providers": [{}]}]}',
    ],
)
def test_a_configuration_of_encryption_that_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "file").write_text(content)
    assert cis_facts.encryption(str(tmp_path / "file")) is None
    assert cis_facts.encryption(str(tmp_path / "missing")) is None


def test_yaml_on_a_host_whose_python_knows_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text(yaml.safe_dump({"resources": ENTRIES}))
    monkeypatch.setattr(cis_facts, "yaml", None)
    assert cis_facts.encryption(str(tmp_path / "file")) is None


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--a=b", "--c", "d", "--e", "--f"], ["--a=b", "--c=d", "--e", "--f"]),
        (["--a", "-b", "--c", ""], ["--a", "--c"]),
        ([], []),
    ],
)
def test_arguments_have_their_values(words: list[str], expected: list[str]) -> None:
    assert cis_facts.arguments(words) == expected
