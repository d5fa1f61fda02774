"""What every unit test needs: paths, and one way to run a module's main() without a host."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[2]

# CI tries the same examples each time, so that what lands depends on the change alone; elsewhere each run tries new ones. A machine that is
# busy is no failure.
settings.register_profile("runnerfleet", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("runnerfleet")


class ModuleExit(Exception):
    """The module ended; `result` is what it would have printed."""

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__(json.dumps(result, default=str))
        self.result = result


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture
def run_module(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Call a module's main() with arguments: `run_module(my_module.main, {"name": "x"}, check=True)` returns its result.

    The result of fail_json carries `failed: true`, as a task's does.
    """

    def leave(_module: basic.AnsibleModule, **result: Any) -> None:
        raise ModuleExit({"changed": False, **result})

    def fail(_module: basic.AnsibleModule, msg: str, **result: Any) -> None:
        raise ModuleExit({"changed": False, **result, "msg": msg, "failed": True})

    def call(main: Callable[[], None], arguments: dict[str, Any], *, check: bool = False, diff: bool = True) -> dict[str, Any]:
        monkeypatch.setattr(basic.AnsibleModule, "exit_json", leave)
        monkeypatch.setattr(basic.AnsibleModule, "fail_json", fail)
        with (
            patch_module_args({**arguments, "_ansible_check_mode": check, "_ansible_diff": diff}),
            pytest.raises(ModuleExit) as caught,
        ):
            main()
        return caught.value.result

    return call
