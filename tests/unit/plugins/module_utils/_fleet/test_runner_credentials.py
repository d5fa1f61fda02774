"""Which Secret a scale set proves itself with, and what is in it."""

from __future__ import annotations

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.runner_credentials import secrets

PEM = "-----BEGIN A-----\nabc\n-----END A-----\n"
APP = {"app_id": 7, "installation_id": 8, "private_key": PEM}


def test_entries_without_a_credential_share_one_secret() -> None:
    found = secrets([{"name": "small"}, {"name": "large", "credential": {"token": ""}}], {"token": " t0k3n\n"})
    assert found.names == {"small": "runners-github", "large": "runners-github"}
    assert found.data == {"runners-github": {"github_token": "t0k3n"}}


def test_an_entry_s_own_credential_is_a_secret_of_its_own() -> None:
    found = secrets([{"name": "small", "credential": APP}, {"name": "large"}], {"secret": "theirs"})
    assert found.names == {"small": "small-github", "large": "theirs"}
    assert found.data == {
        "small-github": {"github_app_id": "7", "github_app_installation_id": "8", "github_app_private_key": PEM}
    }


@pytest.mark.parametrize("end", ["\n", "\r\n", "  \n"])
def test_lines_of_a_key_end_as_pem_s_do(end: str) -> None:
    copied = f"\n{PEM}\n".replace("\n", end)
    found = secrets([{"name": "small"}], {**APP, "private_key": copied})
    assert found.data["runners-github"]["github_app_private_key"] == PEM


def test_what_is_in_a_secret_is_not_printed() -> None:
    assert "t0k3n" not in repr(secrets([{"name": "small"}], {"token": "t0k3n"}))
