"""Mount units and what is missing for them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.model import (
    Bind,
    Drive,
    Partition,
    Placed,
    System,
    Volume,
    unit_name,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.plan_mounts import (
    DIRECTORY,
    WANTS,
    plan_mounts,
    unit_files,
)

DRIVE = Drive("a", "/dev/nvme0n1", 1024**4)
ENGINE = Placed(
    Volume("engine", mount="/engine"),
    DRIVE,
    Partition(1, "runnerfleet-engine", 1, 2, "/dev/nvme0n1p1", "xfs", "U1", "259:1"),
)
PODS = Placed(
    Volume(
        "pods",
        filesystem="ext4",
        mount="/pods",
        options="noatime,prjquota",
        binds=(Bind("kubelet", "/var/lib/kubelet"),),
    ),
    DRIVE,
    Partition(2, "runnerfleet-pods", 3, 4, "/dev/nvme0n1p2", "ext4", "U2", "259:2"),
)
PLACED, SERVICES = [ENGINE, PODS], ["kubelet.service"]
FILES = unit_files(PLACED, SERVICES)
MOUNTS = {"/engine": ("259:1", "/"), "/pods": ("259:2", "/"), "/var/lib/kubelet": ("259:2", "/kubelet")}
LINKS = frozenset(f"{WANTS}/{u}" for u in ("engine.mount", "pods.mount", "var-lib-kubelet.mount"))
DONE = System(FILES, MOUNTS, LINKS)


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("/var/lib/kubelet", "var-lib-kubelet.mount"),
        ("/var/lib/a-b", "var-lib-a\\x2db.mount"),
        ("/.hidden/x_y:z", "\\x2ehidden-x_y:z.mount"),
        ("/ä", "\\xc3\\xa4.mount"),
    ],
)
def test_unit_names_are_those_of_systemd_escape(path: str, unit: str) -> None:
    assert unit_name(path) == unit


def test_files() -> None:
    engine, bind = FILES[f"{DIRECTORY}/engine.mount"], FILES[f"{DIRECTORY}/var-lib-kubelet.mount"]
    assert "What=/run/runnerfleet/drives/U1\nWhere=/engine\nType=xfs\nOptions=noatime,nofail\n" in engine
    assert "Requires=runnerfleet-drive@U1.service\nAfter=runnerfleet-drive@U1.service\n" in engine
    assert "What=/pods/kubelet\nWhere=/var/lib/kubelet\nType=none\nOptions=bind,rshared,nofail\n" in bind
    assert "AssertPathIsDirectory=/pods/kubelet\nRequiresMountsFor=/pods\n" in bind
    assert "Type=ext4\nOptions=noatime,prjquota,nofail\n" in FILES[f"{DIRECTORY}/pods.mount"]
    dropin = FILES[f"{DIRECTORY}/kubelet.service.d/10-runnerfleet-volumes.conf"]
    assert (
        dropin
        == "[Unit]\nRequiresMountsFor=/var/lib/kubelet\nWants=engine.mount pods.mount\nAfter=engine.mount pods.mount\n"
    )


def test_volumes_without_a_mount_need_no_unit() -> None:
    assert unit_files([replace(ENGINE, volume=Volume("engine"))], SERVICES) == {}
    assert plan_mounts([replace(ENGINE, volume=Volume("engine"))], SERVICES, System(fstrim=True)) == ([], [])


def test_fresh_host() -> None:
    steps, refusals = plan_mounts(PLACED, SERVICES, System(fstrim=True))
    assert not refusals
    assert [s.action for s in steps] == ["write"] * len(FILES) + ["mount", "mount", "bind", "enable", "enable"]
    assert [s.target for s in steps[len(FILES) :]] == [
        "/engine",
        "/pods",
        "/var/lib/kubelet",
        "local-fs.target",
        "timers.target",
    ]


@pytest.mark.parametrize(
    ("system", "actions"),
    [
        pytest.param(DONE, [], id="converged"),
        pytest.param(replace(DONE, links=frozenset()), ["enable"], id="not-enabled"),
        pytest.param(replace(DONE, fstrim=True), ["enable"], id="no-trim"),
        pytest.param(
            replace(DONE, mounts={k: v for k, v in MOUNTS.items() if k != "/engine"}), ["mount"], id="unmounted"
        ),
        pytest.param(
            replace(DONE, mounts={}, non_empty=frozenset({"/var/lib/kubelet"})),
            ["mount", "mount", "move", "bind"],
            id="data",
        ),
        pytest.param(
            replace(DONE, files={**FILES, f"{DIRECTORY}/engine.mount": "old"}), ["write", "remount"], id="other-options"
        ),
        pytest.param(
            replace(DONE, files={**FILES, f"{DIRECTORY}/var-lib-kubelet.mount": "old"}), ["write"], id="other-bind-unit"
        ),
        pytest.param(replace(DONE, wrong_owner=frozenset({"/engine"})), ["own"], id="other-owner"),
        pytest.param(
            replace(DONE, mounts={}, wrong_owner=frozenset({"/pods"})),
            ["mount", "mount", "own", "bind"],
            id="owner-after-the-mount",
        ),
    ],
)
def test_steps(system: System, actions: list[str]) -> None:
    steps, refusals = plan_mounts(PLACED, SERVICES, system)
    assert [s.action for s in steps] == actions and not refusals


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        pytest.param(
            replace(DONE, mounts={**MOUNTS, "/engine": ("8:1", "/")}), "/engine is a mount point already", id="taken"
        ),
        pytest.param(
            replace(DONE, mounts={}, non_empty=frozenset({"/engine"})),
            "/engine holds files on the root disk",
            id="hidden",
        ),
        pytest.param(
            replace(DONE, mounts={}, non_empty=frozenset({"/var/lib/kubelet"}), running=frozenset({"kubelet.service"})),
            "drain the node and stop kubelet.service",
            id="in-use",
        ),
    ],
)
def test_refusals(system: System, expected: str) -> None:
    assert expected in "\n".join(plan_mounts(PLACED, SERVICES, system)[1])
