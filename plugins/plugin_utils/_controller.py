# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the plays need of the controller itself, an execution environment or a workstation. Private to the
collection.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ansible.release import __version__ as core_version
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.findings import Finding

CORE, HELM, HELM_4_CORE = (2, 19), (3, 0), (6, 5)  # helm 4 speaks to kubernetes.core from 6.5.0 on
CONTROLLER = "the controller"


@dataclass(frozen=True)
class Tools:
    """What is there: versions, empty for what is not; `helm_error` where there is a program that does not say its
    version.
    """

    core: str
    kubernetes_core: str
    python_client: str
    helm: str
    helm_error: str = ""


def gather(helm: str) -> Tools:
    """This controller, with the helm that the roles will call."""
    path, version, problem = shutil.which(helm), "", ""
    if path:
        try:
            done = subprocess.run(
                [path, "version", "--template", "{{.Version}}"], capture_output=True, text=True, timeout=30, check=False
            )
            version, problem = (
                done.stdout.strip().lstrip("v"),
                "" if done.returncode == 0 else done.stderr.strip()[:200] or "no answer",
            )
        except (OSError, subprocess.SubprocessError) as error:
            problem = type(error).__name__
    return Tools(core_version, _collection(), _package("kubernetes"), version, problem)


def _package(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _collection() -> str:
    """Version of kubernetes.core; empty where it is not installed."""
    try:
        found = importlib.util.find_spec("ansible_collections.kubernetes.core")
        manifest = Path(next(iter(found.submodule_search_locations or ())), "MANIFEST.json") if found else None
        return str(json.loads(manifest.read_text(encoding="utf-8"))["collection_info"]["version"]) if manifest else ""
    except (ImportError, StopIteration):
        return ""
    except (OSError, ValueError, KeyError):
        return "unknown"


def findings(tools: Tools, helm: str) -> list[Finding]:
    """What a play would stumble over after hosts were changed."""
    found = []
    if _number(tools.core) < CORE:
        found.append(
            Finding(
                "core_too_old",
                CONTROLLER,
                f"ansible-core {tools.core}",
                "2.19 or later",
                "install a newer ansible-core there",
            )
        )
    if not tools.kubernetes_core:
        hint = "ansible-galaxy collection install kubernetes.core"
        found.append(
            Finding(
                "collection_missing", CONTROLLER, "no collection kubernetes.core", "the one that galaxy.yml names", hint
            )
        )
    if not tools.python_client:
        hint = "pip install kubernetes, for the Python that runs ansible-playbook"
        found.append(Finding("python_client_missing", CONTROLLER, "no Python package kubernetes", "31 or later", hint))
    if not tools.helm:
        what = f"{helm}, which does not run: {tools.helm_error}" if tools.helm_error else f"no program {helm}"
        hint = "install helm 3 there, or say with fleet_helm_binary where it is"
        found.append(Finding("helm_missing", CONTROLLER, what, "helm 3.0 or later", hint))
    elif _number(tools.helm) < HELM:
        found.append(
            Finding("helm_unsupported", CONTROLLER, f"helm {tools.helm}", "3.0 or later", "install a newer helm")
        )
    elif (
        _number(tools.helm) >= (4, 0)
        and tools.kubernetes_core not in ("", "unknown")
        and _number(tools.kubernetes_core) < HELM_4_CORE
    ):
        beside = f"helm {tools.helm} beside kubernetes.core {tools.kubernetes_core}"
        hint = "install kubernetes.core 6.5.0 or later, or helm 3"
        found.append(Finding("helm_unsupported", CONTROLLER, beside, "helm 3, or kubernetes.core 6.5.0 or later", hint))
    return found


def _number(version: str) -> tuple[int, ...]:
    """Major and minor; nothing where there is none, which is before all."""
    found = re.match(r"v?(\d+)\.(\d+)", version)
    return (int(found.group(1)), int(found.group(2))) if found else ()
