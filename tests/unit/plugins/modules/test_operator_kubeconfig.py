"""The module on a control plane whose API and kubeadm are told here. That real ones do it is tried by
molecule/control_plane.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import basic
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.operator import (
    BINDING,
    binding,
    group_of,
    new_group,
)
from ansible_collections.runnerfleet.baremetal.plugins.modules import operator_kubeconfig

Run = Callable[..., dict[str, Any]]


class Host:
    """A control plane with a binding, or none."""

    def __init__(self) -> None:
        self.binding: dict[str, Any] = {}
        self.signed: list[list[str]] = []
        self.error = ""

    def call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """Stands for the API."""
        if self.error:
            raise RuntimeError(self.error)
        if method == "POST":
            self.binding = dict(body)
        if path.endswith("/kubeadm-config"):
            return {"data": {"ClusterConfiguration": "kind: ClusterConfiguration"}}
        return self.binding

    def command(self, arguments: list[str], **_more: Any) -> tuple[int, str, str]:
        """Stands for kubeadm."""
        self.signed.append(arguments)
        config = next(part for part in arguments if part.startswith("--config=")).partition("=")[2]
        assert Path(config).read_text() == "kind: ClusterConfiguration"
        return 0, "kind: Config", ""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host()
    (tmp_path / "admin.conf").write_text("kind: Config # the administrator's")
    monkeypatch.setattr(operator_kubeconfig, "ADMIN", tmp_path / "admin.conf")
    monkeypatch.setattr(operator_kubeconfig, "Administrator", lambda _text: made)
    monkeypatch.setattr(basic.AnsibleModule, "get_bin_path", lambda _self, name, *_args, **_more: name)
    monkeypatch.setattr(basic.AnsibleModule, "run_command", lambda _self, *args, **more: made.command(*args, **more))
    return made


def test_the_first_call_makes_the_binding_and_later_ones_use_it(host: Host, run_module: Run) -> None:
    first = run_module(operator_kubeconfig.main, {"hours": 48})
    assert first["changed"] and first["kubeconfig"] == "kind: Config"
    assert (
        host.binding
        and host.binding["metadata"]["name"] == BINDING
        and host.binding["roleRef"]["name"] == "cluster-admin"
    )
    assert run_module(operator_kubeconfig.main, {})["changed"] is False
    group = group_of(host.binding)
    assert [arguments[4:] for arguments in host.signed] == [
        ["--client-name=runnerfleet", f"--org={group}", f"--validity-period={hours}h"] for hours in (48, 24)
    ]


def test_a_dry_run_makes_nothing(host: Host, run_module: Run) -> None:
    foretold = run_module(operator_kubeconfig.main, {}, check=True)
    assert foretold["changed"] and "administrator" in foretold["kubeconfig"] and host.binding == {}
    host.binding = binding(new_group())
    assert run_module(operator_kubeconfig.main, {}, check=True)["kubeconfig"] == "kind: Config"


def test_whoever_deletes_the_binding_ends_what_was_signed_for_it(host: Host, run_module: Run) -> None:
    run_module(operator_kubeconfig.main, {})
    before, host.binding = host.binding, {}
    run_module(operator_kubeconfig.main, {})
    assert before and host.binding and group_of(before) != group_of(host.binding)


def test_a_control_plane_that_is_not_made_yet_has_none(
    run_module: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator_kubeconfig, "ADMIN", tmp_path / "admin.conf")
    result = run_module(operator_kubeconfig.main, {})
    assert (result["changed"], result["kubeconfig"]) == (False, "")


def test_what_the_cluster_says_is_told(host: Host, run_module: Run) -> None:
    host.error = "connection refused"
    message = run_module(operator_kubeconfig.main, {})["msg"]
    assert "found RuntimeError: connection refused, expected the cluster of" in message


def test_an_admin_conf_that_was_cut_off_is_told(host: Host, run_module: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(operator_kubeconfig, "ADMIN", Path(__file__))
    assert "no kubeconfig was made: found " in run_module(operator_kubeconfig.main, {})["msg"]


@pytest.mark.parametrize(
    "subjects",
    [None, [], [{"kind": "User", "name": "runnerfleet:operators:x"}], [{"kind": "Group", "name": "system:masters"}]],
)
def test_a_binding_of_others_is_no_group_of_ours(subjects: Any) -> None:
    assert group_of({"subjects": subjects}) == ""
