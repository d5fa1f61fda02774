# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a file on the controller is one that the next commit may take. Private to the collection."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.findings import Finding

TIMEOUT = 10


def kubeconfig_findings(path: str) -> list[Finding]:
    """A kubeconfig that lies, or will lie, in a git work tree that does not ignore it. `path`: empty where there is
    none.
    """
    if not path:
        return []
    file = Path(os.path.abspath(os.path.expanduser(path)))
    # Git takes a link for a file of its own: it may lie in one work tree, and what it leads to in another.
    places = dict.fromkeys([file.parent.resolve() / file.name, file.resolve()])
    for place in places:
        problem, tree = exposure(place)
        if tree:
            hint = (
                "set fleet_kubeconfig to a place outside of it, such as ~/.kube/runnerfleet-{{ fleet_name }}, or add "
                f"/{place.relative_to(tree)} to {tree}/.gitignore. It opens the whole cluster: if it was committed, it "
                "is known to all who have the repository"
            )
            found, expected = f"in the git work tree {tree}, {problem}", "a file that no commit takes"
            return [Finding("kubeconfig_in_work_tree", f"fleet_kubeconfig {path}", found, expected, hint)]
    return []


def exposure(path: Path) -> tuple[str, Path | None]:
    """Why a commit may take a file, and the root of the work tree; no root where none would. Where git cannot say, one
    would.
    """
    tree = next((folder for folder in path.parents if (folder / ".git").exists()), None)
    if tree is None:
        return "", None
    git = shutil.which("git")
    if not git:
        return "and there is no program git here that says whether it is ignored", tree
    # A caller's GIT_DIR would name another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = [git, "-C", str(tree), "-c", "core.fsmonitor=false", "check-ignore", "--quiet", "--", str(path)]
    try:
        done = subprocess.run(
            command,
            env={**environment, "LC_ALL": "C"},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"and git does not say whether it is ignored ({type(error).__name__})", tree
    if done.returncode == 0:
        return "", None
    if done.returncode == 1:
        return "which does not ignore it", tree
    said = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[0]
    return f"and git does not say whether it is ignored ({said[:200]})", tree
