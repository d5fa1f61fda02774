"""What roles read of a kubeconfig."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.runnerfleet.baremetal.plugins.filter.kubeconfig_cluster import FilterModule

read = FilterModule().filters()["kubeconfig_cluster"]


def test_no_file_has_nothing() -> None:
    assert read("") == {"server": "", "certificate-authority-data": "", "clusters": 0}


def test_a_file_that_is_none_is_named_and_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "k").write_text("token: S3CRET: x")
    with pytest.raises(AnsibleFilterError) as error:
        read(str(tmp_path / "k"))
    assert "expected a kubeconfig" in str(error.value) and "S3CRET" not in str(error.value)
