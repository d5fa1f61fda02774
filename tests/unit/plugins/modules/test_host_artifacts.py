"""Release files on a host: nothing is put in place before every sum is right, and a second run does nothing."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import json
import os
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.modules import host_artifacts

RunModule = Callable[..., dict[str, Any]]


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a directory and counts requests."""

    requests: list[str] = []  # noqa: RUF012 - shared by the handlers of one server on purpose

    def do_GET(self) -> None:
        """Note the request."""
        self.requests.append(self.path)
        super().do_GET()

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path, list[str]]]:
    """A mirror: its address, its directory, and what it was asked for."""
    directory = tmp_path / "mirror"
    directory.mkdir()
    Handler.requests = []
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(directory))
    ) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", directory, Handler.requests
        running.shutdown()


def archive(members: dict[str, tuple[bytes, int]]) -> bytes:
    """A gzipped tar archive."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as tar:
        for name, (content, mode) in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), mode
            tar.addfile(info, io.BytesIO(content))
    return target.getvalue()


@pytest.fixture
def arguments(server: tuple[str, Path, list[str]], tmp_path: Path) -> dict[str, Any]:
    """A program and an archive of programs to install."""
    url, directory, _requests = server
    members = {"./bin/ctr": (b"ctr 1", 0o755), "./bin/shim": (b"shim", 0o755), "LICENSE": (b"l", 0o644)}
    files = {"runc": b"runc 1", "containerd.tgz": archive(members)}
    for name, content in files.items():
        (directory / name).write_bytes(content)
    artifacts = []
    for name, file in (("runc", "runc"), ("containerd", "containerd.tgz")):
        source = {
            "url": f"{url}/{file}",
            "upstream": f"https://upstream/{file}",
            "sha256": hashlib.sha256(files[file]).hexdigest(),
        }
        source["sum_from"] = "pinned"
        artifacts.append({"name": name, "version": "1.0", "sources": {"amd64": source, "arm64": source}})
    return {
        "artifacts": artifacts,
        "destinations": {
            "runc": {"path": str(tmp_path / "sbin/runc")},
            "containerd": {"path": str(tmp_path / "bin"), "unpack": True},
        },
        "state_file": str(tmp_path / "state/artifacts.json"),
        "timeout": 5,
    }


def tree(path: Path) -> dict[str, bytes]:
    """Files below a directory, without the mirror."""
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in path.rglob("*")
        if file.is_file() and "mirror" not in file.parts
    }


def test_check_mode_tells_and_touches_nothing(
    run_module: RunModule, arguments: dict[str, Any], server: Any, tmp_path: Path
) -> None:
    result = run_module(host_artifacts.main, arguments, check=True)
    assert result["changed"]
    assert [item["reason"] for item in result["installed"]] == ["not installed", "not installed"]
    assert "runc not installed" in result["diff"]["before"]
    assert "runc 1.0" in result["diff"]["after"]
    assert tree(tmp_path) == {}
    assert server[2] == []


def test_install_then_nothing(run_module: RunModule, arguments: dict[str, Any], server: Any, tmp_path: Path) -> None:
    assert run_module(host_artifacts.main, arguments)["changed"]
    assert (tmp_path / "sbin/runc").read_bytes() == b"runc 1"
    assert (tmp_path / "sbin/runc").stat().st_mode & 0o777 == 0o755
    assert sorted(file.name for file in (tmp_path / "bin").iterdir()) == ["ctr", "shim"]
    assert len(server[2]) == 2
    for check in (True, False):
        result = run_module(host_artifacts.main, arguments, check=check)
        assert not result["changed"]
        assert result["diff"]["before"] == result["diff"]["after"]
    assert len(server[2]) == 2


@pytest.mark.parametrize("damage", ["missing", "content", "mode"])
def test_drift_is_repaired(run_module: RunModule, arguments: dict[str, Any], tmp_path: Path, damage: str) -> None:
    run_module(host_artifacts.main, arguments)
    target = tmp_path / "bin/ctr"
    if damage == "missing":
        target.unlink()
    elif damage == "content":
        target.write_bytes(b"other")
    else:
        target.chmod(0o600)
    result = run_module(host_artifacts.main, arguments)
    assert [item["name"] for item in result["installed"]] == ["containerd"]
    assert target.read_bytes() == b"ctr 1"
    assert target.stat().st_mode & 0o777 == 0o755


def test_lost_state_does_not_download_a_program_again(
    run_module: RunModule, arguments: dict[str, Any], server: Any
) -> None:
    run_module(host_artifacts.main, arguments)
    state = Path(arguments["state_file"])
    state.write_text("{ half")
    result = run_module(host_artifacts.main, arguments)
    assert [item["name"] for item in result["installed"]] == ["containerd"]
    assert server[2].count("/runc") == 1
    assert set(json.loads(state.read_text())) == {"runc", "containerd"}


def test_wrong_content_stops_before_anything_is_in_place(
    run_module: RunModule, arguments: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "mirror/containerd.tgz").write_bytes(b"a login page")
    result = run_module(host_artifacts.main, arguments)
    found = hashlib.sha256(b"a login page").hexdigest()
    assert result["failed"]
    assert not result["changed"]
    expected = arguments["artifacts"][1]["sources"]["amd64"]["sha256"]
    for part in ("containerd 1.0", "containerd.tgz", expected, found, "fleet_mirror.checksums"):
        assert part in result["msg"]
    assert not [name for name in tree(tmp_path) if name.startswith(("bin", "sbin"))]


def test_mirror_down(run_module: RunModule, arguments: dict[str, Any], tmp_path: Path) -> None:
    for source in arguments["artifacts"][0]["sources"].values():
        source["url"] = "http://127.0.0.1:9/runc"
    result = run_module(host_artifacts.main, arguments)
    assert result["failed"]
    assert "http://127.0.0.1:9/runc" in result["msg"]
    assert "fleet_mirror.url" in result["msg"]
    assert not [name for name in tree(tmp_path) if name.startswith(("bin", "sbin"))]


def test_leftovers_of_a_killed_run_are_removed(
    run_module: RunModule, arguments: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "sbin").mkdir()
    (tmp_path / "sbin/.runnerfleet-abc").write_bytes(b"half")
    run_module(host_artifacts.main, arguments)
    assert sorted(file.name for file in (tmp_path / "sbin").iterdir()) == ["runc"]


def test_new_version_replaces(run_module: RunModule, arguments: dict[str, Any], tmp_path: Path) -> None:
    run_module(host_artifacts.main, arguments)
    (tmp_path / "mirror/runc").write_bytes(b"runc 2")
    arguments["artifacts"][0]["version"] = "2.0"
    for source in arguments["artifacts"][0]["sources"].values():
        source["sha256"] = hashlib.sha256(b"runc 2").hexdigest()
    result = run_module(host_artifacts.main, arguments)
    assert [item["reason"] for item in result["installed"]] == ["version 1.0 is installed"]
    assert (tmp_path / "sbin/runc").read_bytes() == b"runc 2"


@pytest.fixture
def published(arguments: dict[str, Any], https: Any, tmp_path: Path) -> dict[str, Any]:
    """The same, with the sum of runc only published."""
    total = hashlib.sha256(b"runc 1").hexdigest()
    (https.directory / "runc.sha256sum").write_text(f"{'0' * 64}  other\n{total}  runc\n")
    source = {
        "url": arguments["artifacts"][0]["sources"]["amd64"]["url"],
        "upstream": "https://upstream/runc",
        "sums": f"{https.url}/runc.sha256sum",
    }
    arguments["artifacts"][0]["sources"] = {"amd64": source, "arm64": source}
    return arguments


def test_a_published_sum_is_asked_for_once(
    run_module: RunModule, published: dict[str, Any], https: Any, tmp_path: Path
) -> None:
    result = run_module(host_artifacts.main, published)
    assert [item["sum_from"] for item in result["installed"]] == [f"{https.url}/runc.sha256sum", "pinned"]
    assert (tmp_path / "sbin/runc").read_bytes() == b"runc 1"
    for check in (True, False):
        assert not run_module(host_artifacts.main, published, check=check)["changed"]
    assert https.requests == ["/runc.sha256sum"]


def test_a_published_sum_that_does_not_fit_stops_everything(
    run_module: RunModule, published: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "mirror/runc").write_bytes(b"changed on its way")
    result = run_module(host_artifacts.main, published)
    assert result["failed"] and "has the wrong content" in result["msg"] and "/runc.sha256sum)" in result["msg"]
    assert not [name for name in tree(tmp_path) if name.startswith(("bin", "sbin"))]


@pytest.mark.parametrize("check", [True, False])
def test_without_any_sum_nothing_is_fetched(
    run_module: RunModule, published: dict[str, Any], https: Any, server: Any, tmp_path: Path, check: bool
) -> None:
    (https.directory / "runc.sha256sum").unlink()
    result = run_module(host_artifacts.main, published, check=check)
    assert result["failed"] and "404" in result["msg"] and "fleet_mirror.checksums" in result["msg"]
    assert server[2] == [] and not [name for name in tree(tmp_path) if name.startswith(("bin", "sbin"))]


def test_another_version_is_asked_for_anew(
    run_module: RunModule, published: dict[str, Any], https: Any, tmp_path: Path
) -> None:
    run_module(host_artifacts.main, published)
    (tmp_path / "mirror/runc").write_bytes(b"runc 2")
    (https.directory / "runc-2").write_text(hashlib.sha256(b"runc 2").hexdigest())
    published["artifacts"][0]["version"] = "2.0"
    for source in published["artifacts"][0]["sources"].values():
        source["sums"] = f"{https.url}/runc-2"
    assert [item["name"] for item in run_module(host_artifacts.main, published)["installed"]] == ["runc"]
    assert https.requests == ["/runc.sha256sum", "/runc-2"]
    assert (tmp_path / "sbin/runc").read_bytes() == b"runc 2"


def test_a_pinned_sum_replaces_a_repackaged_file_and_the_other_way(
    run_module: RunModule, published: dict[str, Any], https: Any, tmp_path: Path
) -> None:
    """A file that was installed by another sum of the same version is not taken for the published one."""
    repackaged = hashlib.sha256(b"repackaged").hexdigest()
    (tmp_path / "mirror/runc").write_bytes(b"repackaged")
    source = published["artifacts"][0]["sources"]["amd64"]
    source.update(sha256=repackaged, sum_from="fleet_mirror.checksums")
    run_module(host_artifacts.main, published)
    assert https.requests == []
    (tmp_path / "mirror/runc").write_bytes(b"runc 1")
    del source["sha256"], source["sum_from"]
    assert run_module(host_artifacts.main, published)["changed"]
    assert https.requests == ["/runc.sha256sum"]
    assert (tmp_path / "sbin/runc").read_bytes() == b"runc 1"


@pytest.mark.parametrize("file", ["sbin/runc", "bin/ctr"])
def test_a_file_that_keeps_its_size_and_time_is_found_when_asked(
    run_module: RunModule, arguments: dict[str, Any], tmp_path: Path, file: str
) -> None:
    run_module(host_artifacts.main, arguments)
    path = tmp_path / file
    kept, content = path.stat(), path.read_bytes()
    path.write_bytes(b"x" * len(content))
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert not run_module(host_artifacts.main, arguments)["changed"]
    foretold = run_module(host_artifacts.main, {**arguments, "verify": True}, check=True)
    assert (
        foretold["changed"]
        and "has other content" in foretold["installed"][0]["reason"]
        and path.read_bytes() != content
    )
    assert run_module(host_artifacts.main, {**arguments, "verify": True})["changed"] and path.read_bytes() == content
    assert not run_module(host_artifacts.main, {**arguments, "verify": True})["changed"]


def test_a_sum_that_was_changed_on_the_host_hides_nothing_when_asked(
    run_module: RunModule, arguments: dict[str, Any], tmp_path: Path
) -> None:
    run_module(host_artifacts.main, arguments)
    path, state = tmp_path / "sbin/runc", Path(arguments["state_file"])
    path.write_bytes(b"evil")
    path.chmod(0o755)
    record = json.loads(state.read_text())
    record["runc"]["files"][str(path)].update(
        sha256=hashlib.sha256(b"evil").hexdigest(), size=4, mtime_ns=path.stat().st_mtime_ns
    )
    state.write_text(json.dumps(record))
    assert not run_module(host_artifacts.main, arguments)["changed"]
    assert run_module(host_artifacts.main, {**arguments, "verify": True})["changed"] and path.read_bytes() == b"runc 1"
