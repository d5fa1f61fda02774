"""One call that brings files, kernel settings and units into a state; the host is a directory here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host import apply_files as host_files
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host import (
    apply_settings,
    plan_settings,
    probe_swap,
)
from ansible_collections.runnerfleet.baremetal.plugins.modules import host_config

RunModule = Callable[..., dict[str, Any]]


class FakeHost:
    """/etc and /proc under a directory, and a systemd and modprobe that remember what they were asked."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.commands: list[list[str]] = []
        self.units: dict[str, dict[str, str]] = {}
        self.modules: set[str] = set()

    def path(self, path: str) -> str:
        """Where a path of the host lies."""
        return path if path.startswith(str(self.root)) else str(self.root) + path

    def write(self, path: str, content: str) -> None:
        """Give the host a file."""
        target = Path(self.path(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)

    def run(self, argv: list[str]) -> tuple[int, str, str]:
        """Stand in for run_command."""
        if argv[0] == "systemctl" and argv[1] == "show":
            blocks = []
            for name in argv[3:]:
                shown = {"Id": name, "LoadState": "not-found", "ActiveState": "inactive", **self.units.get(name, {})}
                blocks.append("\n".join(f"{key}={value}" for key, value in shown.items()))
            return 0, "\n\n".join(blocks), ""
        if "--dry-run" in argv:
            return (0 if argv[-1] in self.modules else 1), "", ""
        self.commands.append(argv)
        return 0, "", ""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    """A host to configure."""
    fake = FakeHost(tmp_path)
    read, file = host_files.read, host_files.HostFiles.file
    path = plan_settings.sysctl_path
    monkeypatch.setattr(apply_settings, "read", lambda name: read(fake.path(name)))
    monkeypatch.setattr(host_files.HostFiles, "file", lambda self, name, *rest: file(self, fake.path(name), *rest))
    monkeypatch.setattr(plan_settings, "sysctl_path", lambda key: fake.path(path(key)))
    monkeypatch.setattr(probe_swap, "ROOT", tmp_path)
    monkeypatch.setattr(apply_settings, "UNIT_DIRECTORY", fake.path("/etc/systemd/system"))
    monkeypatch.setattr(AnsibleModule, "run_command", lambda _self, argv: fake.run(argv))
    monkeypatch.setattr(AnsibleModule, "get_bin_path", lambda _self, name, **_options: name)
    return fake


def test_files(run_module: RunModule, host: FakeHost, tmp_path: Path) -> None:
    arguments = {
        "directories": [{"path": str(tmp_path / "d"), "mode": "0700"}],
        "files": [{"path": str(tmp_path / "a/b.conf"), "content": "x\n", "mode": "0600"}],
    }
    planned = run_module(host_config.main, arguments, check=True)
    assert list(tmp_path.iterdir()) == []
    done = run_module(host_config.main, arguments)
    assert planned["changes"] == done["changes"] == [str(tmp_path / "d"), str(tmp_path / "a/b.conf")]
    assert planned["diff"] == done["diff"]
    assert (tmp_path / "a/b.conf").read_text() == "x\n"
    assert (tmp_path / "a/b.conf").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "d").stat().st_mode & 0o777 == 0o700
    assert not run_module(host_config.main, arguments)["changed"]
    (tmp_path / "a/b.conf").chmod(0o644)
    assert run_module(host_config.main, arguments)["changes"] == [f"mode of {tmp_path}/a/b.conf"]


def test_a_secret_is_not_in_the_result(run_module: RunModule, host: FakeHost, tmp_path: Path) -> None:
    for content in ("s3cret", "s3cret-2"):
        result = run_module(
            host_config.main, {"files": [{"path": str(tmp_path / "key"), "content": content, "secret": True}]}
        )
        assert result["changed"]
        assert "s3cret" not in str(result)


def test_prune_removes_only_what_the_collection_wrote(run_module: RunModule, host: FakeHost, tmp_path: Path) -> None:
    host.write("/certs/old/hosts.toml", plan_settings.HEADER + "\n")
    host.write("/certs/own/hosts.toml", "server = 'mine'\n")
    kept = {"path": str(tmp_path / "certs/new/hosts.toml"), "content": plan_settings.HEADER + "\n"}
    arguments = {"files": [kept], "prune": [str(tmp_path / "certs/*/hosts.toml")]}
    run_module(host_config.main, arguments)
    assert sorted(path.parent.name for path in tmp_path.glob("certs/*/hosts.toml")) == ["new", "own"]
    assert not run_module(host_config.main, arguments)["changed"]


def test_sysctls(run_module: RunModule, host: FakeHost) -> None:
    host.write("/proc/sys/net/ipv4/ip_forward", "0\n")
    host.write("/proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n")
    arguments = {"name": "x", "sysctls": {"net.ipv4.ip_forward": 1, "net.ipv4.tcp_rmem": "4096 131072 6291456"}}
    planned = run_module(host_config.main, arguments, check=True)
    done = run_module(host_config.main, arguments)
    assert (
        planned["changes"] == done["changes"] == [host.path("/etc/sysctl.d/99-zz-x.conf"), "sysctl net.ipv4.ip_forward"]
    )
    assert Path(host.path("/proc/sys/net/ipv4/ip_forward")).read_text().strip() == "1"
    assert not run_module(host_config.main, arguments)["changed"]


def test_a_parameter_that_the_kernel_lacks(run_module: RunModule, host: FakeHost) -> None:
    arguments = {"sysctls": {"net.bridge.bridge-nf-call-iptables": 1}}
    assert run_module(host_config.main, arguments, check=True)["changed"]
    result = run_module(host_config.main, arguments)
    assert result["failed"]
    assert "cannot set net.bridge.bridge-nf-call-iptables to 1" in result["msg"]


def test_kernel_modules(run_module: RunModule, host: FakeHost) -> None:
    host.modules = {"nvme_fabrics_x", "nf_x"}
    host.write("/proc/filesystems", "nodev\toverlay\n")
    arguments = {
        "name": "x",
        "kernel_modules": ["overlay", "nvme_fabrics_x"],
        "kernel_modules_optional": ["nf_x", "nf_y"],
    }
    assert run_module(host_config.main, arguments)["changed"]
    assert host.commands == [["modprobe", "nvme_fabrics_x"], ["modprobe", "nf_x"]]
    assert Path(host.path("/etc/modules-load.d/x.conf")).read_text().splitlines()[1:] == ["nvme_fabrics_x", "nf_x"]


def test_a_module_that_the_kernel_lacks(run_module: RunModule, host: FakeHost) -> None:
    result = run_module(host_config.main, {"kernel_modules": ["no_such_module"]})
    assert result["failed"]
    assert not result["changed"]
    assert "has no no_such_module" in result["msg"]
    assert host.commands == []


def test_swap(run_module: RunModule, host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    host.write("/proc/swaps", "Filename Type Size Used Priority\n/swapfile file 1 0 -2\n")
    result = run_module(host_config.main, {"swap_off": True}, check=True)
    assert result["changes"] == ["swap", "swap.target"]
    assert host.commands == []
    assert run_module(host_config.main, {"swap_off": True})["changed"]
    assert ["swapoff", "--all"] in host.commands
    assert Path(host.path("/etc/systemd/system/swap.target")).readlink() == Path("/dev/null")
    host.write("/proc/swaps", "Filename Type Size Used Priority\n")
    assert not run_module(host_config.main, {"swap_off": True})["changed"]


UNIT = {"name": "x.service", "enabled": True, "state": "started"}


def test_units_on_a_fresh_host(run_module: RunModule, host: FakeHost) -> None:
    planned = run_module(host_config.main, {"units": [UNIT]}, check=True)
    assert planned["changes"] == ["enable x.service", "start x.service"]
    assert host.commands == []
    refused = run_module(host_config.main, {"units": [UNIT]})
    assert "x.service is not known to systemd" in refused["msg"]


def test_a_unit_that_runs_with_an_older_file_is_restarted(
    run_module: RunModule, host: FakeHost, tmp_path: Path
) -> None:
    loaded = {
        "LoadState": "loaded",
        "ActiveState": "active",
        "UnitFileState": "enabled",
        "ExecMainStartTimestampMonotonic": "1",
    }
    host.units = {"x.service": loaded}
    arguments = {
        "files": [{"path": str(tmp_path / "x.conf"), "content": "1"}],
        "units": [{**UNIT, "restart_on": [str(tmp_path / "*.conf"), str(tmp_path / "x.conf")]}],
    }
    assert "restart x.service" in run_module(host_config.main, arguments, check=True)["changes"]
    # As if a run had been killed between the file and the restart.
    host.write("/x.conf", "1")
    assert run_module(host_config.main, arguments)["changes"] == ["restart x.service"]
    assert ["systemctl", "restart", "x.service"] in host.commands


def test_changed_unit_files_are_reloaded_first(run_module: RunModule, host: FakeHost) -> None:
    host.units = {
        "x.service": {
            "LoadState": "loaded",
            "ActiveState": "inactive",
            "UnitFileState": "enabled",
            "NeedDaemonReload": "yes",
        }
    }
    run_module(host_config.main, {"units": [UNIT]})
    assert host.commands == [["systemctl", "daemon-reload"], ["systemctl", "start", "x.service"]]


def unit(
    host: FakeHost,
    name: str,
    start: str,
    wanted: str = "etc/systemd/system/multi-user.target.wants",
    where: str = "etc",
) -> None:
    """A unit that something asks for at boot."""
    folder = {"etc": "/etc/systemd/system", "usr": "/usr/lib/systemd/system"}[where]
    host.write(f"{folder}/{name}", f"[Service]\nExecStart={start}\n")
    link = Path(host.path(f"/{wanted}/{name}"))
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(f"{folder}/{name}")


def test_swap_that_units_turn_on_stays_off(run_module: RunModule, host: FakeHost) -> None:
    unit(host, "zramswap.service", "/usr/sbin/zramswap start")
    unit(
        host,
        "dphys-swapfile.service",
        "/sbin/dphys-swapfile swapon",
        "usr/lib/systemd/system/multi-user.target.wants",
        "usr",
    )
    unit(host, "swapfile.swap", "", "etc/systemd/system/local-fs.target.wants")
    unit(host, "kept.service", "/usr/bin/true")
    names = ["dphys-swapfile.service", "swapfile.swap", "zramswap.service"]
    planned = run_module(host_config.main, {"swap_off": True}, check=True)
    assert sorted(planned["changes"]) == sorted([*names, "swap.target"])
    assert not host.commands and len(probe_swap.sources()) == 3
    done = run_module(host_config.main, {"swap_off": True})
    assert done["changes"] == planned["changes"]
    assert not probe_swap.sources()
    wants = Path(host.path("/etc/systemd/system/multi-user.target.wants"))
    assert [link.name for link in wants.iterdir()] == ["kept.service"]
    assert Path(host.path("/etc/systemd/system/dphys-swapfile.service")).readlink() == Path("/dev/null")
    assert not run_module(host_config.main, {"swap_off": True})["changed"]


def test_a_unit_file_of_the_administrator_is_kept(run_module: RunModule, host: FakeHost) -> None:
    unit(host, "my-swap.service", "/sbin/swapon /dev/vdb", "usr/lib/systemd/system/multi-user.target.wants")
    run_module(host_config.main, {"swap_off": True})
    folder = Path(host.path("/etc/systemd/system"))
    assert (folder / "my-swap.service").readlink() == Path("/dev/null")
    assert "swapon" in (folder / "my-swap.service.disabled").read_text()
    assert not probe_swap.sources() and not run_module(host_config.main, {"swap_off": True})["changed"]


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/etc/rc.local", "#!/bin/sh\nswapon /swapfile\n"),
        ("/etc/cron.d/swap", "@reboot root /sbin/swapon -a\n"),
        ("/etc/udev/rules.d/99-zram.rules", 'KERNEL=="zram0", RUN+="/sbin/swapon /dev/zram0"\n'),
    ],
)
def test_swap_that_a_person_has_to_take_out(
    run_module: RunModule, host: FakeHost, path: str, content: str, check: bool
) -> None:
    host.write(path, content)
    Path(host.path(path)).chmod(0o755)
    arguments = {"swap_off": True, "directories": [{"path": host.path("/d")}]}
    result = run_module(host_config.main, arguments, check=check)
    assert result["failed"] and f"{path} calls swapon" in result["msg"] and not Path(host.path("/d")).exists()


def test_a_sysctl_in_two_notations(run_module: RunModule, host: FakeHost) -> None:
    values = {"net.ipv4.conf.bond0/101.rp_filter": 1, "net/ipv4/conf/bond0.101/rp_filter": 2}
    assert "are the same parameter" in run_module(host_config.main, {"sysctls": values})["msg"]
    host.write("/proc/sys/net/ipv4/conf/bond0.101/rp_filter", "0\n")
    arguments = {"name": "x", "sysctls": {"net.ipv4.conf.bond0/101.rp_filter": 2}}
    assert run_module(host_config.main, arguments)["changed"] and not run_module(host_config.main, arguments)["changed"]
    assert Path(host.path("/proc/sys/net/ipv4/conf/bond0.101/rp_filter")).read_text() == "2\n"


def test_bad_names_change_nothing(run_module: RunModule, host: FakeHost) -> None:
    arguments = {"sysctls": {"net.ipv4..ip_forward": 1}, "directories": [{"path": host.path("/d")}]}
    assert "is not the name of a kernel parameter" in run_module(host_config.main, arguments)["msg"]
    assert not Path(host.path("/d")).exists()
