# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Brings kernel settings, swap and units of a host into one state. Private to the collection."""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host import plan_settings, probe_swap
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host.apply_files import HostError, HostFiles
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host.probe_files import read
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._host.probe_kernel import loadable, missing, present

UNIT_PROPERTIES = "Id,LoadState,ActiveState,UnitFileState,NeedDaemonReload,ExecMainStartTimestampMonotonic"
UNIT_DIRECTORY = "/etc/systemd/system"


class HostConfig(HostFiles):
    """The host's kernel settings, swap and units."""

    def kernel_modules(self, stem: str, required: list[str], optional: list[str]) -> None:
        """Load modules now and at boot."""
        known = {name for name in required + optional if loadable(self.module, name)}
        absent = [name for name in required + optional if not present(name)]
        lacking = missing(self.module, required)
        if lacking:
            named = ", ".join(f"{name} ({why})" if why else name for name, why in lacking.items())
            raise HostError(
                f"this kernel ({os.uname().release}) has no {named}: neither loaded, built in, nor known to modprobe "
                "and allowed to load. Install the kernel's full module package (for example linux-modules-extra or "
                "kernel-modules), boot another kernel, or take out the line that forbids it"
            )
        if required or optional:
            self.file(
                f"/etc/modules-load.d/{stem}.conf",
                plan_settings.modules_text([name for name in required + optional if name in known]),
            )
        for name in absent:
            if name in known:
                self.note(f"kernel module {name}", "not loaded\n", "loaded\n")
                if self.real:
                    self.command("modprobe", name)

    @staticmethod
    def check_sysctls(values: Mapping[str, Any]) -> None:
        """Every name is one, and no parameter is named in two notations."""
        paths = sorted((plan_settings.sysctl_path(key), key) for key in values)
        for (path, key), (other_path, other) in zip(paths, paths[1:]):
            if path == other_path:
                raise HostError(f"sysctls: {key} and {other} are the same parameter ({path}): keep one of them")

    def sysctls(self, stem: str, values: Mapping[str, Any]) -> None:
        """Set kernel parameters now and at boot, and look whether they took."""
        paths = {key: plan_settings.sysctl_path(key) for key in values}
        if values:  # behind the distribution's own 99-sysctl.conf, as later files win
            self.file(f"/etc/sysctl.d/99-zz-{stem}.conf", plan_settings.sysctls_text(values))
        for key, value in sorted(values.items()):
            wanted = plan_settings.sysctl_value(value)
            found = read(paths[key])
            if found is not None and plan_settings.sysctl_value(found) == wanted:
                continue
            self.note(f"sysctl {key}", f"{plan_settings.sysctl_value(found or 'absent')}\n", f"{wanted}\n")
            if self.real:
                self.set_sysctl(key, paths[key], wanted)

    @staticmethod
    def set_sysctl(key: str, path: str, wanted: str) -> None:
        """Write one parameter and read it back."""
        try:
            with open(path, "r+", encoding="utf-8") as parameter:
                parameter.write(wanted)
        except OSError as error:
            raise HostError(
                f"cannot set {key} to {wanted}: {error.strerror} ({path}). The kernel lacks it, its module is not "
                "loaded, or /proc/sys is read-only"
            ) from error
        found = plan_settings.sysctl_value(read(path) or "")
        if found != wanted:
            raise HostError(f"set {key} to {wanted}, and the kernel says {found}: the value is not one that it takes")

    @staticmethod
    def refuse_swap() -> None:
        """What no unit and no fstab stands behind has to be taken out by a person."""
        fixed = [f"{source.name} {source.why}" for source in probe_swap.sources() if not source.links]
        if fixed:
            raise HostError(
                f"swap would be on again after the next boot: {'; '.join(fixed)}. Take that out, or let kubelet run "
                "with swap"
            )

    def swap_off(self) -> None:
        """No swap, now and at boot."""
        sources = probe_swap.sources()
        for source in sources:
            self.silence(source)
        swaps = (read("/proc/swaps") or "").splitlines()[1:]
        if swaps:
            self.note("swap", "\n".join(swaps) + "\n", "off\n")
            if self.real:
                self.command("swapoff", "--all")
        fstab = read("/etc/fstab") or ""
        if plan_settings.without_swap(fstab) != fstab:
            self.file("/etc/fstab", plan_settings.without_swap(fstab), f"{os.stat('/etc/fstab').st_mode & 0o7777:04o}")
        self.mask("swap.target")  # systemd also finds swap by partition type and by zram-generator

    def silence(self, source: probe_swap.Source) -> None:
        """Stop a unit or init script that turns swap on, and let nothing start it again."""
        links = [link for link in source.links if link.startswith("/etc/") and os.path.islink(probe_swap.at(link))]
        if not links and not any(link.startswith(("/usr/", "/lib/", "/run/")) for link in source.links):
            return  # fstab and swap.target, which are dealt with as a whole
        self.note(source.name, f"starts at boot and {source.why}: {', '.join(source.links)}\n", "disabled\n")
        self.touched.update(source.links)
        unit = os.path.basename(source.name)
        if self.real:
            if os.path.isdir("/run/systemd/system"):
                self.module.run_command(["systemctl", "stop", unit])  # one that is not running, or no unit, is as good
            for link in links:
                os.unlink(probe_swap.at(link))
        if self.real and len(links) < len(source.links):  # what the distribution links is only held back by a mask
            self.link_to_nothing(unit)

    def mask(self, unit: str) -> None:
        """Let nothing start a unit."""
        path = f"{UNIT_DIRECTORY}/{unit}"
        if os.path.realpath(path) == "/dev/null":
            return
        self.note(unit, "not masked\n", "masked\n")
        self.touched.add(path)
        if self.real:
            self.link_to_nothing(unit)

    @staticmethod
    def link_to_nothing(unit: str) -> None:
        """What systemd calls masked."""
        path = f"{UNIT_DIRECTORY}/{unit}"
        os.makedirs(UNIT_DIRECTORY, exist_ok=True)
        if os.path.islink(path):
            os.unlink(path)
        elif os.path.exists(path):
            os.rename(path, f"{path}.disabled")  # somebody's own unit file: kept, and no unit any more
        os.symlink("/dev/null", path)

    def show(self, names: list[str]) -> dict[str, plan_settings.Unit]:
        """What systemd says of units."""
        units = plan_settings.parse_units(self.command("systemctl", "show", f"--property={UNIT_PROPERTIES}", *names))
        return {
            name: plan_settings.Unit.of(units.get(name, {}), time.clock_gettime(time.CLOCK_MONOTONIC)) for name in names
        }

    def units(self, wanted: list[dict[str, Any]]) -> None:
        """Enable, start and restart units."""
        names = [want["name"] for want in wanted]
        units = self.show(names) if names else {}
        written = any(path.startswith(UNIT_DIRECTORY) for path in self.touched)
        if self.real and (written or any(unit.stale or not unit.known for unit in units.values())):
            self.command("systemctl", "daemon-reload")
            units = self.show(names) if names else {}
        for want in wanted:
            self.unit(want, units[want["name"]])

    def unit(self, want: dict[str, Any], unit: plan_settings.Unit) -> None:
        """Enable, start or restart one unit."""
        paths = {path for pattern in want["restart_on"] for path in (glob.glob(pattern) or [pattern])}
        ages = [time.time() - os.stat(path).st_ctime for path in paths if os.path.exists(path)]
        # In a real run the files are written by now, and their age tells.
        planned = not self.real and bool(paths & self.touched)
        for action in plan_settings.unit_actions(want, unit, min(ages, default=None), planned):
            if self.real and (unit.masked or not unit.known):
                raise HostError(
                    f"{want['name']} is {'masked' if unit.masked else 'not known to systemd'}; expected a unit to "
                    f"{action}"
                )
            self.note(f"{action} {want['name']}", "", f"{action}\n")
            if self.real:
                try:
                    self.command("systemctl", action, want["name"])
                except HostError as error:
                    journal = self.module.run_command(
                        ["journalctl", "--no-pager", "--lines=20", f"--unit={want['name']}"]
                    )[1]
                    raise HostError(f"{error}. Its last lines:\n{journal.strip()}") from error
