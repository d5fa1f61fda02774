# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What modprobe's configuration and the kernel's command line let be loaded. No I/O. Private to the collection."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Iterable, Mapping

# Of two files with one name the first folder's is read.
FOLDERS = ("/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d")
LOADERS = ("modprobe", "insmod", "kmod")


def plain(name: str) -> str:
    """A module's name as the kernel has it."""
    return name.replace("-", "_")


def effective(files: Mapping[str, str]) -> list[tuple[str, str]]:
    """Path and text of the files that are read, in their order."""
    chosen: dict[str, str] = {}
    for folder in FOLDERS:
        for path in sorted(path for path in files if posixpath.dirname(path) == folder):
            chosen.setdefault(posixpath.basename(path), path)
    return [(chosen[name], files[chosen[name]]) for name in sorted(chosen)]


def install_line(name: str, files: Mapping[str, str]) -> tuple[str, str]:
    """The file and the command that modprobe runs instead of loading a module; nothing where it loads it."""
    for path, text in effective(files):
        for line in text.replace("\\\n", " ").splitlines():
            words = line.split()
            if len(words) > 2 and words[0] == "install" and fnmatch.fnmatchcase(plain(name), plain(words[1])):
                return path, " ".join(words[2:])
    return "", ""


def loads(command: str) -> bool:
    """Whether an install line's command loads the module after all, as one that sets something up first does."""
    return any(posixpath.basename(word) in LOADERS for word in re.split(r"[\s;&|()'\"]+", command))


def dependencies(name: str, modules_dep: str) -> list[str]:
    """The modules that have to be loaded before one, as modules.dep lists them."""
    for line in modules_dep.splitlines():
        path, _colon, others = line.partition(":")
        if file_name(path) == plain(name):
            return [file_name(other) for other in others.split()]
    return []


def file_name(path: str) -> str:
    """Name of the module in a file: kernel/net/bridge/br_netfilter.ko.zst."""
    return plain(posixpath.basename(path).split(".ko")[0])


def blacklisted(name: str, cmdline: str) -> str:
    """The word of the kernel's command line that forbids a module. (blacklist= and modprobe.blacklist= only forbid
    aliases.)
    """
    for word in cmdline.split():
        key, _equals, value = word.partition("=")
        if key == "module_blacklist" and plain(name) in map(plain, value.split(",")):
            return word
    return ""


def forbidden(names: Iterable[str], files: Mapping[str, str], cmdline: str, locked: bool) -> str:
    """What forbids to load a module together with those that it needs; `names` are those which the kernel lacks. Empty
    for nothing.
    """
    for name in names:
        path, command = install_line(name, files)
        if path and not loads(command):
            return f"{path}: install {name} {command}"
        if blacklisted(name, cmdline):
            return f"/proc/cmdline: {blacklisted(name, cmdline)}"
        if locked:
            return "kernel.modules_disabled = 1"
    return ""
