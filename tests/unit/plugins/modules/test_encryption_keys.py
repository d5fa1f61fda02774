"""The module on a file: made once, rotated in two steps, and never told."""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.encryption_keys import keys_of
from ansible_collections.runnerfleet.baremetal.plugins.modules import encryption_keys
from hypothesis import given
from hypothesis import strategies as st

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the file is to be. Each key has another name, as if some time had passed."""
    number = iter(range(10))
    original = encryption_keys.encryption.new_key
    monkeypatch.setattr(
        encryption_keys.encryption, "new_key", lambda now: {**original(now), "name": f"key-{next(number)}"}
    )
    return tmp_path / "runnerfleet/encryption.json"


def test_a_key_is_made_once_and_is_roots(path: Path, run_module: Run) -> None:
    foretold = run_module(encryption_keys.main, {"path": str(path)}, check=True)
    assert foretold["changed"] and not path.exists()
    made = run_module(encryption_keys.main, {"path": str(path)})
    assert made["changed"] and made["names"] == ["key-1"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    before = path.read_bytes()
    assert run_module(encryption_keys.main, {"path": str(path)})["changed"] is False
    assert path.read_bytes() == before and [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_what_the_api_server_reads(path: Path, run_module: Run) -> None:
    run_module(encryption_keys.main, {"path": str(path)})
    (entry,) = json.loads(path.read_text())["resources"]
    assert entry["resources"] == ["secrets"] and [list(provider) for provider in entry["providers"]] == [
        ["secretbox"],
        ["identity"],
    ]
    (key,) = entry["providers"][0]["secretbox"]["keys"]
    assert len(base64.b64decode(key["secret"])) == 32


def test_a_rotation(path: Path, run_module: Run) -> None:
    """A new key comes first and the old one stays; interrupted, it goes on with the same two; then the new one is
    alone.
    """
    run_module(encryption_keys.main, {"path": str(path)})
    added = run_module(encryption_keys.main, {"path": str(path), "state": "added"})
    assert added["changed"] and added["names"] == ["key-1", "key-0"]
    assert run_module(encryption_keys.main, {"path": str(path), "state": "added"})["changed"] is False
    assert run_module(encryption_keys.main, {"path": str(path)})["changed"] is False
    first = run_module(encryption_keys.main, {"path": str(path), "state": "first"})
    assert first["changed"] and first["names"] == ["key-1"]
    assert run_module(encryption_keys.main, {"path": str(path), "state": "first"})["changed"] is False


def test_no_key_is_in_a_result(path: Path, run_module: Run) -> None:
    results = [run_module(encryption_keys.main, {"path": str(path), "state": state}) for state in ("present", "added")]
    for key in keys_of(path.read_text()):
        assert key["secret"] not in json.dumps(results)


@pytest.mark.parametrize(
    "text",
    ["S3CRET", "{}", '{"resources": []}', '{"resources": [{"providers": [{"secretbox": {"keys": []}}]}]}', "[1]"],
)
def test_a_file_of_somebody_else_stays(path: Path, run_module: Run, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    refused = run_module(encryption_keys.main, {"path": str(path)})
    assert (
        refused["failed"]
        and "expected the file as this module wrote it" in refused["msg"]
        and "S3CRET" not in refused["msg"]
    )
    assert path.read_text() == text


@given(st.text())
def test_whatever_the_file_holds(text: str) -> None:
    try:
        assert keys_of(text) == [] and not text.strip()
    except ValueError as error:
        assert "EncryptionConfiguration" in str(error)
