"""The module on charts that lie on a server, in a registry and in a file."""

from __future__ import annotations

import hashlib
import http.server
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.modules import helm_chart

from tests.unit.conftest import Https
from tests.unit.plugins.registries import chart

RunModule = Callable[..., dict[str, Any]]
UPSTREAM = "https://example.org/charts/flannel.tgz"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def served(https: Https) -> tuple[Path, dict[str, Any]]:
    """The file that a mirror serves over TLS for UPSTREAM, and that mirror."""
    file = https.directory / "example.org/charts/flannel.tgz"
    file.parent.mkdir(parents=True)
    file.write_bytes(chart())
    return file, {"url": https.url}


@pytest.fixture
def arguments(tmp_path: Path, served: tuple[Path, dict[str, Any]]) -> dict[str, Any]:
    directory = tmp_path / "out"
    directory.mkdir()
    return {"chart": UPSTREAM, "name": "flannel", "version": "1.2.3", "mirror": served[1], "directory": str(directory)}


def test_a_chart_that_nobody_knows_is_remembered(
    run_module: RunModule, arguments: dict[str, Any], served: tuple[Path, Any]
) -> None:
    first = run_module(helm_chart.main, arguments, check=True)
    assert first["origin"] == "first seen" and Path(first["path"]).read_bytes() == chart() and not first["changed"]
    again = run_module(helm_chart.main, {**arguments, "recorded": first["record"]})
    assert again["origin"] == "recorded in the cluster" and again["record"] == first["record"]
    served[0].write_bytes(chart(version="1.2.3"))  # other bytes under the same version
    Path(first["path"]).unlink()
    refused = run_module(helm_chart.main, {**arguments, "recorded": first["record"]})
    assert refused["failed"] and sha256(chart()) in refused["msg"] and "recorded in the cluster" in refused["msg"]
    assert not Path(first["path"]).exists()


def test_another_version_may_have_another_sum(
    run_module: RunModule, arguments: dict[str, Any], served: tuple[Path, Any]
) -> None:
    served[0].write_bytes(chart(version="v1.2.4"))
    result = run_module(helm_chart.main, {**arguments, "version": "1.2.4", "recorded": f"1.2.3 sha256:{'a' * 64}"})
    assert result["origin"] == "first seen" and result["record"] == f"1.2.4 sha256:{sha256(chart(version='v1.2.4'))}"


def test_the_user_s_sum_decides(run_module: RunModule, arguments: dict[str, Any], served: tuple[Path, Any]) -> None:
    mirror = {**served[1], "checksums": {UPSTREAM: sha256(chart())}}
    assert run_module(helm_chart.main, {**arguments, "mirror": mirror})["origin"] == "fleet_mirror.checksums"
    result = run_module(helm_chart.main, {**arguments, "mirror": {**mirror, "checksums": {UPSTREAM: "b" * 64}}})
    assert result["failed"] and "b" * 64 in result["msg"] and "Nothing was deployed" in result["msg"]


EVIL = chart() + b"and more"  # the same name and version


@pytest.fixture
def over_http(served: tuple[Path, dict[str, Any]]) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """A mirror that speaks plain http and has an evil chart for UPSTREAM, and what it was asked for."""
    asked: list[str] = []

    class Evil(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            # As before, whatever it is.
            for name, value in (
                ("ETag", '"1"'),
                ("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT"),
                ("Content-Length", str(len(EVIL))),
            ):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(EVIL)

        def log_message(self, *_args: Any) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Evil) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield {"url": f"http://127.0.0.1:{server.server_port}"}, asked
        server.shutdown()


def test_an_evil_chart_of_a_mirror(
    run_module: RunModule, arguments: dict[str, Any], over_http: tuple[dict[str, Any], list[str]], tmp_path: Path
) -> None:
    """Refused before there is a file that helm could be given, and helm is not run."""
    program = helm(tmp_path, "exit 0")
    given = {**arguments, "mirror": {**over_http[0], "checksums": {UPSTREAM: sha256(chart())}}, "binary_path": program}
    result = run_module(helm_chart.main, given)
    assert result["failed"] and sha256(EVIL) in result["msg"] and f"expected {sha256(chart())}" in result["msg"]
    assert list(Path(arguments["directory"]).iterdir()) == [] and not (tmp_path / "asked").exists()


def test_a_chart_without_a_known_sum_is_not_taken_over_plain_http(
    run_module: RunModule, arguments: dict[str, Any], over_http: tuple[dict[str, Any], list[str]], tmp_path: Path
) -> None:
    """Not where the cluster recorded one either: that was taken as it came. Nobody is asked."""
    mirror, asked = over_http
    program = helm(tmp_path, "exit 0")
    plain = {"registry": "registry.example.org:5000", "registry_plain_http": True}
    for address, by, name in [
        (UPSTREAM, mirror, UPSTREAM),
        ("oci://ghcr.io/x/flannel", plain, "oci://ghcr.io/x/flannel:1.2.3"),
    ]:
        given = {
            **arguments,
            "chart": address,
            "mirror": by,
            "recorded": f"1.2.3 sha256:{sha256(EVIL)}",
            "binary_path": program,
        }
        result = run_module(helm_chart.main, given)
        assert (
            result["failed"] and f"fleet_mirror.checksums['{name}']" in result["msg"] and "plain http" in result["msg"]
        )
    assert asked == [] and not (tmp_path / "asked").exists() and list(Path(arguments["directory"]).iterdir()) == []


def test_a_site_of_tls_that_leads_elsewhere(
    run_module: RunModule, arguments: dict[str, Any], https: Https, over_http: tuple[dict[str, Any], list[str]]
) -> None:
    https.elsewhere.append(f"{over_http[0]['url']}/evil.tgz")
    result = run_module(helm_chart.main, {**arguments, "chart": f"{https.url}/elsewhere", "mirror": {}})
    assert (
        result["failed"]
        and "which is not https" in result["msg"]
        and list(Path(arguments["directory"]).iterdir()) == []
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (chart(version="1.2.4"), "found the chart flannel 1.2.4, expected flannel 1.2.3"),
        (chart(name="cilium"), "found the chart cilium v1.2.3, expected flannel 1.2.3"),
        (b"<html>", "no archive of a chart"),
        (None, "404"),
    ],
    ids=["other version", "other chart", "a web page", "not there"],
)
def test_what_is_not_the_chart(
    run_module: RunModule, arguments: dict[str, Any], served: tuple[Path, Any], content: bytes | None, said: str
) -> None:
    if content is None:
        served[0].unlink()
    else:
        served[0].write_bytes(content)
    result = run_module(helm_chart.main, arguments)
    assert result["failed"] and said in result["msg"] and list(Path(arguments["directory"]).iterdir()) == []


def test_a_chart_that_has_no_end(
    run_module: RunModule, arguments: dict[str, Any], served: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(helm_chart.helm_charts, "LARGEST", 20)
    result = run_module(helm_chart.main, arguments)
    assert result["failed"] and "larger than 20 bytes" in result["msg"]


def test_a_file_on_the_controller(run_module: RunModule, arguments: dict[str, Any], served: tuple[Path, Any]) -> None:
    assert run_module(helm_chart.main, {**arguments, "chart": str(served[0]), "mirror": {}})["sha256"] == sha256(
        chart()
    )


def helm(tmp_path: Path, script: str) -> str:
    program = tmp_path / "helm"
    program.write_text(f"#!/bin/sh\nprintf '%s ' \"$@\" > {tmp_path}/asked\n{script}\n")
    program.chmod(0o755)
    return str(program)


def test_a_chart_of_a_registry(
    run_module: RunModule, arguments: dict[str, Any], served: tuple[Path, Any], tmp_path: Path
) -> None:
    """helm speaks to the registry, behind the mirror too; the address is never given without the version."""
    program = helm(tmp_path, f'cp {served[0]} "$6/flannel-v1.2.3.tgz"')
    known = {"oci://ghcr.io/x/flannel:1.2.3": sha256(chart())}
    mirror = {"registry": "registry.example.org:5000", "registry_plain_http": True, "checksums": known}
    given = {**arguments, "chart": "oci://ghcr.io/x/flannel", "mirror": mirror, "binary_path": program}
    program_arguments = (
        "pull oci://registry.example.org:5000/ghcr.io/x/flannel --version 1.2.3 --destination "
        f"{arguments['directory']}/"
    )
    assert run_module(helm_chart.main, given)["sha256"] == sha256(chart())
    asked = (tmp_path / "asked").read_text()
    assert asked.startswith(program_arguments) and asked.endswith("--plain-http ")
    upstream = run_module(helm_chart.main, {**given, "mirror": {"registry_plain_http": True, "checksums": known}})
    assert not upstream.get("failed") and "--plain-http" not in (tmp_path / "asked").read_text(), (
        "that is a word on the mirror alone"
    )
    refused = run_module(
        helm_chart.main, {**given, "mirror": {**mirror, "checksums": {"oci://ghcr.io/x/flannel:1.2.3": "c" * 64}}}
    )
    assert refused["failed"] and "c" * 64 in refused["msg"]


def test_a_registry_that_refuses(run_module: RunModule, arguments: dict[str, Any], tmp_path: Path) -> None:
    program = helm(tmp_path, "echo 'Error: unauthorized' >&2; exit 1")
    result = run_module(
        helm_chart.main, {**arguments, "chart": "oci://ghcr.io/x/flannel", "mirror": {}, "binary_path": program}
    )
    assert result["failed"] and "helm pull ended with 1: Error: unauthorized" in result["msg"]


def members(path: str) -> dict[str, str]:
    """Files of an archive with their content."""
    with tarfile.open(path) as archive:
        return {member.name: archive.extractfile(member).read().decode() for member in archive}  # type: ignore[union-attr]


def test_files_of_the_chart_are_replaced_once_its_sum_is_known(
    run_module: RunModule, served: tuple[Path, dict[str, Any]], arguments: dict[str, Any]
) -> None:
    content, files = served[0].read_bytes(), {"Chart.yaml": "name: other\n"}
    recorded = f"1.2.3 sha256:{sha256(content)}"
    result = run_module(helm_chart.main, {**arguments, "recorded": recorded, "replace": files})
    assert (result["sha256"], result["record"]) == (sha256(content), recorded)  # of what was fetched
    assert members(result["path"]) == {"flannel/Chart.yaml": "name: other\n"}
    first = Path(result["path"]).read_bytes()
    assert Path(run_module(helm_chart.main, {**arguments, "replace": files})["path"]).read_bytes() == first


def test_a_file_that_the_chart_does_not_have_is_no_replacement(
    run_module: RunModule, arguments: dict[str, Any]
) -> None:
    result = run_module(helm_chart.main, {**arguments, "replace": {"templates/rbac.yaml": "x"}})
    assert result["failed"] and "found no templates/rbac.yaml in it, which is to be replaced" in result["msg"]
    assert not list(Path(arguments["directory"]).iterdir())
