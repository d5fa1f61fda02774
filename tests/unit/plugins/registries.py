"""A registry on loopback: what it holds, how it answers, and what it was asked; and a chart."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import json
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "t0ken-of-anybody"


def chart(name: str = "flannel", version: str = "v1.2.3") -> bytes:
    """A chart's archive, the same each time: gzip notes the second."""
    text = f"name: {name}\nversion: {version}\n".encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        member = tarfile.TarInfo(f"{name}/Chart.yaml")
        member.size = len(text)
        made.addfile(member, io.BytesIO(text))
    return gzip.compress(buffer.getvalue(), mtime=0)


def digest_of(content: bytes) -> str:
    """As registries call it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Registry:
    """`manifests`: paths behind /v2/ that are there; `contents`: what they are. `without_digest`: no header tells of
    that.

    `statuses`: other answers, by path. `login`: what it wants (Bearer or Basic).
    """

    def __init__(self) -> None:
        self.manifests: set[str] = set()
        self.contents: dict[str, bytes] = {}
        self.without_digest = False
        self.statuses: dict[str, int] = {}
        self.slow: dict[str, float] = {}
        self.login = ""
        self.challenge = 'Bearer realm="{url}/token?x=1",service="fleet",scope="repository:{name}:pull"'
        self.token: tuple[int, Any] = (200, {"token": TOKEN})
        self.without_head = False
        self.asked: list[tuple[str, str]] = []
        self.tokens: list[dict[str, list[str]]] = []
        self.headers: list[dict[str, str]] = []
        self.address = ""

    @property
    def url(self) -> str:
        """Its root."""
        return f"http://{self.address}"

    @property
    def mirror(self) -> dict[str, Any]:
        """As fleet_mirror names it."""
        return {"registry": self.address, "registry_plain_http": True}

    def holds(self, *images: str) -> None:
        """Images behind the mirror, each by its upstream name with a tag or a digest."""
        for image in images:
            name, at, digest = image.partition("@")
            repository, _colon, tag = (name, "", "") if at else name.rpartition(":")
            self.manifests.add(f"{repository}/manifests/{digest or tag}")

    def tags(self, image: str, content: str) -> str:
        """Let a tag of an image name this manifest; returns its digest."""
        self.holds(image)
        repository, _colon, tag = image.rpartition(":")
        self.contents[f"{repository}/manifests/{tag}"] = content.encode()
        return digest_of(content.encode())

    def images(self) -> list[str]:
        """What manifests were asked for, by path."""
        return [path.removeprefix("/v2/") for _method, path in self.asked if "/manifests/" in path]


class Handler(http.server.BaseHTTPRequestHandler):
    """What a registry answers; `registry` is that of its server."""

    registry: Registry

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = urlsplit(self.path).path
        if path == "/token":
            self.registry.tokens.append(parse_qs(urlsplit(self.path).query))
            self.reply(*self.registry.token)
            return
        self.registry.asked.append((self.command, path))
        self.registry.headers.append(dict(self.headers))
        time.sleep(self.registry.slow.get(path, 0))
        if self.registry.login and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.challenge(path)
        elif path in self.registry.statuses:
            self.reply(self.registry.statuses[path], {})
        elif self.command == "HEAD" and self.registry.without_head:
            self.reply(405, {})
        else:
            name = path.removeprefix("/v2/")
            content, headers = self.registry.contents.get(name, b"{}"), {}
            if name in self.registry.contents and not self.registry.without_digest:
                headers["Docker-Content-Digest"] = digest_of(content)
            self.reply(200 if path == "/v2/" or name in self.registry.manifests else 404, content, headers)

    def challenge(self, path: str) -> None:
        name = path.removeprefix("/v2/").partition("/manifests/")[0]
        challenge = self.registry.challenge if self.registry.login == "Bearer" else 'Basic realm="fleet"'
        self.reply(401, {}, {"WWW-Authenticate": challenge.format(url=self.registry.url, name=name)})

    def reply(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_arguments: Any) -> None:
        return


@contextmanager
def serving(registry: Registry) -> Iterator[Registry]:
    """Answer for as long as the block lasts."""

    handler = type("Bound", (Handler,), {"registry": registry})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        registry.address = f"127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield registry
        server.shutdown()
