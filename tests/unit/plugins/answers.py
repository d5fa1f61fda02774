"""A server on loopback that answers as a test says."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

# Method, path, the header Authorization and the body; returns a status, what is answered (bytes as they are, None for
# nothing, all else as JSON) and more headers.
Answer = Callable[[str, str, str, bytes], tuple[int, Any, Mapping[str, str]]]


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """Its address, for as long as it is needed."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def _answer(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, said, headers = answer(self.command, self.path, self.headers.get("Authorization", ""), sent)
            content = said if isinstance(said, bytes) else b"" if said is None else json.dumps(said).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _answer

        def log_message(self, *_arguments: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
