"""What turns swap on at boot, on a root directory that is made up."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host import probe_swap

ETC = "etc/systemd/system"
SWAPON, SWAPOFF = (
    "#!/bin/sh\n# sets up swap\nmkswap /dev/zram0\nswapon -p 5 /dev/zram0\n",
    "#!/bin/sh\n# undoes swapon\nswapoff -a\n",
)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty root directory."""
    monkeypatch.setattr(probe_swap, "ROOT", tmp_path)
    return tmp_path


def write(root: Path, path: str, content: str, mode: int = 0o644) -> None:
    """A file of the host."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(content)
    (root / path).chmod(mode)


def link(root: Path, path: str, target: str) -> None:
    """A link of the host."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).symlink_to(target)


def service(
    root: Path,
    name: str,
    start: str,
    wants: str = f"{ETC}/multi-user.target.wants",
    folder: str = "usr/lib/systemd/system",
) -> None:
    """A unit, and what asks for it."""
    write(root, f"{folder}/{name}", f"[Unit]\nDescription=x\n[Service]\n{start}\n")
    if wants:
        link(root, f"{wants}/{name}", f"/{folder}/{name}")


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("zramswap.service", "ExecStart=/usr/sbin/zramswap start"),
        ("zram-config.service", "ExecStart=/usr/bin/init-zram-swapping"),
        ("armbian-zram-config.service", "ExecStart=/usr/lib/armbian/armbian-zram-config start"),
        ("dphys-swapfile.service", "ExecStart=/sbin/dphys-swapfile swapon"),
        ("systemd-swap.service", "ExecStart=/usr/bin/systemd-swap start"),
        ("swapspace.service", "ExecStart=/usr/sbin/swapspace -d"),
        ("cloud-setup.service", "ExecStart=/bin/true\nExecStartPost=-/sbin/swapon /dev/vdb"),
        ("setup@data.service", "ExecStart=/bin/sh -c 'mkswap %i && swapon %i'"),
        ("script.service", "ExecStart=/bin/sh /opt/setup.sh"),
        ("data.swap", "What=/dev/vdb"),
    ],
)
def test_units_that_turn_swap_on(root: Path, name: str, start: str) -> None:
    service(root, name, start)
    write(root, "opt/setup.sh", SWAPON)
    (source,) = probe_swap.sources()
    assert (source.name, source.links) == (name, (f"/{ETC}/multi-user.target.wants/{name}",)) and source.why
    (root / f"{ETC}/multi-user.target.wants/{name}").unlink()
    assert not probe_swap.sources()


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("disable-swap.service", "ExecStart=/sbin/swapoff --all"),
        ("no-swap.service", "ExecStart=/opt/off.sh"),
        ("monitor.service", "ExecStart=/usr/bin/monitor --show-swap"),
        ("status.service", "ExecStart=/sbin/swapon --show"),
        ("kubelet.service", "ExecStart=/usr/local/bin/kubelet --fail-swap-on=true"),
    ],
)
def test_units_that_do_not(root: Path, name: str, start: str) -> None:
    service(root, name, start)
    write(root, "opt/off.sh", SWAPOFF)
    assert not probe_swap.sources()


def test_what_starts_a_unit(root: Path) -> None:
    service(root, "late.service", "ExecStart=/sbin/swapon -a", "")
    write(root, f"{ETC}/late.timer", "[Timer]\nOnBootSec=60\n")
    link(root, f"{ETC}/timers.target.wants/late.timer", f"/{ETC}/late.timer")
    service(root, "other.service", "ExecStart=/sbin/swapon -a", "usr/lib/systemd/system/sysinit.target.requires")
    service(root, "instance@.service", "ExecStart=/sbin/swapon /dev/%i", "")
    link(root, f"{ETC}/dev-vdb.device.wants/instance@vdb.service", "/usr/lib/systemd/system/instance@.service")
    service(root, "asleep.service", "ExecStart=/sbin/swapon -a", "")
    assert {source.name for source in probe_swap.sources()} == {"late.timer", "other.service", "instance@vdb.service"}
    for name in ("late.service", "other.service", "instance@vdb.service"):
        link(root, f"{ETC}/{name}", "/dev/null")
    assert not probe_swap.sources()


def test_a_drop_in_counts(root: Path) -> None:
    service(root, "app.service", "ExecStart=/usr/bin/app")
    write(root, f"{ETC}/app.service.d/swap.conf", "[Service]\nExecStartPre=/sbin/swapon -a\n")
    assert [source.name for source in probe_swap.sources()] == ["app.service"]


def test_what_goes_through_swap_target(root: Path) -> None:
    write(root, "etc/fstab", "/swapfile none swap sw 0 0\n")
    write(root, "etc/systemd/zram-generator.conf", "[zram0]\nzram-size = ram\n")
    link(root, "run/systemd/generator/swap.target.wants/dev-vda3.swap", "../dev-vda3.swap")
    link(root, f"{ETC}/swap.target.wants/data.swap", f"/{ETC}/data.swap")
    names = {source.name for source in probe_swap.sources()}
    assert names == {"/etc/fstab", "/etc/systemd/zram-generator.conf", "dev-vda3.swap", "data.swap"}
    assert all(source.links for source in probe_swap.sources())
    link(root, f"{ETC}/swap.target", "/dev/null")
    assert [source.name for source in probe_swap.sources()] == ["/etc/fstab"]


@pytest.mark.parametrize(
    ("path", "content", "fixed"),
    [
        ("etc/rc.local", SWAPON, True),
        ("etc/rc.local", SWAPOFF, None),
        ("etc/rc.d/rc.local", SWAPON, True),
        ("etc/cron.d/x", "@reboot root /opt/x && swapon -a\n", True),
        ("etc/cron.d/x", "5 4 * * * root swapon --show\n", None),
        ("etc/crontab", "# @reboot root swapon -a\n", None),
        ("etc/udev/rules.d/9.rules", 'RUN+="/sbin/swapon /dev/zram0"\n', True),
        ("etc/init.d/swapper", SWAPON, False),
        ("etc/init.d/other", SWAPOFF, None),
    ],
)
def test_scripts(root: Path, path: str, content: str, fixed: bool | None) -> None:
    write(root, path, content, 0o755)
    if path.startswith("etc/init.d/"):
        link(root, f"etc/rc3.d/S01{Path(path).name}", f"../init.d/{Path(path).name}")
    found = probe_swap.sources()
    assert [(source.name, not source.links) for source in found] == ([] if fixed is None else [(f"/{path}", fixed)])


def test_an_init_script_with_a_unit_of_its_own_is_the_unit(root: Path) -> None:
    write(root, "etc/init.d/zramswap", SWAPON, 0o755)
    link(root, "etc/rc3.d/S01zramswap", "../init.d/zramswap")
    service(root, "zramswap.service", "ExecStart=/usr/sbin/zramswap start")
    assert [source.name for source in probe_swap.sources()] == ["zramswap.service"]


def test_a_host_without_any(root: Path) -> None:
    assert not probe_swap.sources()
