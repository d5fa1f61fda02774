"""Owner, group and mode of a volume's root, as they are and as they are desired."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.model import Volume
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.probe_mounts import owned, owner_of


@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        (Volume("a"), (-1, -1, -1)),
        (Volume("a", owner="root", group="0", mode="0750"), (0, 0, 0o750)),
        (Volume("a", owner="1234"), (1234, -1, -1)),
    ],
    ids=["nothing", "names", "number"],
)
def test_owner_of(volume: Volume, expected: tuple[int, int, int]) -> None:
    assert owner_of(volume) == expected


@pytest.mark.parametrize("key", ["owner", "group"])
def test_a_name_that_the_host_does_not_know(key: str) -> None:
    with pytest.raises(ValueError, match=r"volume a: .*no-such-name.* on this host: make it first, or give its number"):
        owner_of(Volume("a", **{key: "no-such-name"}))


def test_owned(tmp_path: Path) -> None:
    tmp_path.chmod(0o711)
    mount = str(tmp_path)
    assert owned(Volume("a", mount=mount), True) and owned(
        Volume("a", mount=mount, mode="711", owner=str(os.getuid())), True
    )
    assert not owned(Volume("a", mount=mount, mode="0700"), True)
    assert owned(Volume("a", mount=mount), False) and not owned(Volume("a", mount=mount, mode="711"), False)
