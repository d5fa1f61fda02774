"""What a registry says of a manifest, asked of one on loopback."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._mirrors import registry as _registry
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._mirrors.registry import Reference, Reply

from tests.unit.plugins.registries import TOKEN, Registry, serving

DIGEST = "sha256:" + "a" * 64
PATH = "/v2/registry.k8s.io/pause/manifests/3"


@pytest.fixture
def registry() -> Iterator[Registry]:
    with serving(Registry()) as there:
        there.holds("registry.k8s.io/pause:3", f"registry.dagger.io/engine@{DIGEST}")
        yield there


def ask(registry: Registry, repository: str = "registry.k8s.io/pause", tag: str = "3") -> Reply:
    return _registry.ask(f"{registry.url}/v2", repository, tag)


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        ("registry.k8s.io/pause:3.10.2", ("registry.k8s.io", "pause", "3.10.2")),
        ("summerwind/actions-runner:v2", ("docker.io", "summerwind/actions-runner", "v2")),
        ("busybox", ("docker.io", "library/busybox", "latest")),
        ("localhost:5000/a/b/c", ("localhost:5000", "a/b/c", "latest")),
        (f"r.example.org:5000/a:1@{DIGEST}", ("r.example.org:5000", "a", DIGEST)),
        (f"r.example.org/a@{DIGEST}", ("r.example.org", "a", DIGEST)),
    ],
)
def test_an_image_in_parts(image: str, parts: tuple[str, str, str]) -> None:
    assert _registry.parse(image) == Reference(*parts)


def test_there_by_tag_and_by_digest_and_not_there(registry: Registry) -> None:
    assert ask(registry) == ask(registry, "registry.dagger.io/engine", DIGEST) == Reply(200)
    assert ask(registry, tag="4") == Reply(404)
    assert {method for method, _path in registry.asked} == {"HEAD"}, "the content of no manifest is needed"
    assert "application/vnd.oci.image.index.v1+json" in registry.headers[0]["Accept"]


def test_a_registry_that_knows_no_head(registry: Registry) -> None:
    registry.without_head = True
    assert (ask(registry).status, ask(registry, tag="4")) == (200, Reply(404))


def test_a_token_that_anybody_gets(registry: Registry) -> None:
    registry.login = "Bearer"
    assert (ask(registry), ask(registry, tag="4")) == (Reply(200), Reply(404))
    assert registry.tokens[0] == {"x": ["1"], "service": ["fleet"], "scope": ["repository:registry.k8s.io/pause:pull"]}
    assert [headers.get("Authorization") for headers in registry.headers] == [None, f"Bearer {TOKEN}"] * 2


def test_a_scope_that_the_registry_does_not_name(registry: Registry) -> None:
    registry.login, registry.challenge = "Bearer", 'Bearer realm="{url}/token"'
    registry.token = (200, {"access_token": TOKEN})
    registry.manifests.add("site/registry.k8s.io/pause/manifests/3")
    assert _registry.ask(f"{registry.url}/v2/site", "registry.k8s.io/pause", "3") == Reply(200)
    assert registry.tokens == [{"scope": ["repository:site/registry.k8s.io/pause:pull"]}]


@pytest.mark.parametrize("status", [401, 403])
def test_no_token_without_a_login(registry: Registry, status: int) -> None:
    registry.login, registry.token = "Bearer", (status, {})
    assert ask(registry) == Reply(status)


def test_a_login_that_is_no_token(registry: Registry) -> None:
    registry.login = "Basic"
    assert ask(registry) == Reply(401)
    assert registry.tokens == [] and len(registry.asked) == 1


def test_a_token_that_opens_nothing(registry: Registry) -> None:
    registry.login, registry.token = "Bearer", (200, {"token": "another"})
    assert ask(registry) == Reply(401)
    assert len(registry.asked) == 2, "asked once more, and not for ever"


@pytest.mark.parametrize(
    ("token", "problem"),
    [
        ((500, {}), "HTTP 500 Internal Server Error from {url}/token?x=1, where it sends for a token"),
        ((200, {"other": 1}), "no token from {url}/token?x=1, where it sends for one"),
        ((200, {"token": "a\r\nHost: b"}), "no token from {url}/token?x=1, where it sends for one"),
        (
            (200, b"<html>"),
            "no answer that can be read (JSONDecodeError) at {url}/token?x=1, where it sends for a token",
        ),
    ],
)
def test_a_token_that_is_none(registry: Registry, token: tuple[int, object], problem: str) -> None:
    registry.login, registry.token = "Bearer", token
    assert ask(registry) == Reply(0, problem.format(url=registry.url))


def test_a_registry_that_sends_to_a_file(registry: Registry, tmp_path: Path) -> None:
    """The address of the token is the registry's word: nothing of the controller goes there."""
    secret = tmp_path / "secret"
    secret.write_text(f'{{"token": "{TOKEN}"}}')
    registry.login, registry.challenge = "Bearer", f'Bearer realm="file://{secret}"'
    reply = ask(registry)
    assert (
        reply.status == 0
        and reply.problem.startswith("it sends to 'file:///")
        and reply.problem.endswith("no address of http or https")
    )
    assert len(registry.asked) == 1


def test_no_password_of_the_controller_is_sent(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password c4n4ry\n")
    monkeypatch.setenv("NETRC", str(netrc))
    registry.login = "Bearer"
    ask(registry)
    assert all("Basic" not in headers.get("Authorization", "") for headers in registry.headers)


def test_no_answer(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{unused.getsockname()[1]}/v2"
    reply = _registry.ask(nobody, "registry.k8s.io/pause", "3")
    assert reply.status == 0 and "Connection refused" in reply.problem
    monkeypatch.setattr(_registry, "TIMEOUT", 0.2)
    registry.slow[PATH] = 2
    assert ask(registry) == Reply(0, "timed out")


def test_something_that_speaks_no_http() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def talk() -> None:
            client, _address = server.accept()
            client.recv(1000)
            client.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")
            client.close()

        threading.Thread(target=talk, daemon=True).start()
        reply = _registry.ask(f"http://127.0.0.1:{server.getsockname()[1]}/v2", "a", "1")
    assert reply.status == 0 and reply.problem.startswith("no answer that can be read (")


def test_what_is_no_name_of_an_image_is_not_there(registry: Registry) -> None:
    assert ask(registry, "docker.io/library/a b", "1\r\nX: y") == Reply(404)
