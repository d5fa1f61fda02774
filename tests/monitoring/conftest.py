"""promtool: the machine's own, or the one of Debian's package, unpacked into the cache. No service is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ALERTS = ROOT / "roles/dagger_engine/files/alerts.yml"
RUNNER_ALERTS = ROOT / "roles/runner_controller/files/alerts.yml"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "runnerfleet" / "prometheus"


def unpacked() -> Path:
    """promtool in the cache, fetched at the first call."""
    program = CACHE / "promtool"
    if not program.exists():
        with tempfile.TemporaryDirectory() as scratch:
            download = ["apt-get", "download", "--quiet", "prometheus"]
            if subprocess.run(download, cwd=scratch, capture_output=True, check=False).returncode:
                subprocess.run(["apt-get", "update", "--quiet"], capture_output=True, check=True)
                subprocess.run(download, cwd=scratch, capture_output=True, check=True)
            (package,) = Path(scratch).glob("prometheus_*.deb")
            with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as listing:
                with tarfile.open(fileobj=listing.stdout, mode="r|") as tar:
                    data = next(read(tar, entry) for entry in tar if entry.name == "./usr/bin/promtool")
                listing.kill()  # the rest of the package is not wanted
        CACHE.mkdir(parents=True, exist_ok=True)
        fresh = CACHE / f"promtool.{os.getpid()}"
        fresh.write_bytes(data)
        fresh.chmod(0o755)
        fresh.rename(program)
    return program


def read(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    """The content of a file in an archive."""
    content = tar.extractfile(entry)
    assert content
    return content.read()


@pytest.fixture(scope="session")
def promtool() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run promtool with arguments."""
    program = shutil.which("promtool") or str(unpacked())
    return lambda *argv: subprocess.run([program, *argv], capture_output=True, text=True, check=False)


@pytest.fixture
def evaluate(promtool: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> Callable[..., None]:
    """Load series, let the rules run, and compare what expressions yield at a time: [(expression, {labels: value})]."""

    def check(
        series: dict[str, str], at: str, expected: list[tuple[str, dict[str, float]]], interval: str = "1m"
    ) -> None:
        test: dict[str, Any] = {
            "rule_files": [str(ALERTS), str(RUNNER_ALERTS)],
            "evaluation_interval": interval,
            "tests": [
                {
                    "interval": interval,
                    "input_series": [{"series": name, "values": values} for name, values in series.items()],
                    "promql_expr_test": [
                        {
                            "expr": query,
                            "eval_time": at,
                            "exp_samples": [{"labels": key, "value": value} for key, value in samples.items()],
                        }
                        for query, samples in expected
                    ],
                }
            ],
        }
        path = tmp_path / "test.yml"
        path.write_text(yaml.safe_dump(test), encoding="utf-8")
        done = promtool("test", "rules", str(path))
        assert done.returncode == 0, done.stdout + done.stderr

    return check
