"""Which images the preflight asks a mirror for: those that it misses in a registry that holds none. Prints them as
JSON.

asked_images.py <inventory>    in a checkout, with the environment of the scenario
"""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class Empty(http.server.BaseHTTPRequestHandler):
    """A registry that answers, and has nothing."""

    def do_GET(self) -> None:
        """For its root as for a manifest."""
        self.send_response(200 if self.path == "/v2/" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


def main(inventory: str) -> int:
    """The charts come from the fleet's own mirror: only what containerd would pull comes from the empty one."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Empty) as server, tempfile.TemporaryDirectory() as scratch:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        findings = Path(scratch, "findings.json")
        given = {
            "container_runtime_mirror": {"registry": f"127.0.0.1:{server.server_port}", "registry_plain_http": True},
            "preflight_findings_file": str(findings),
        }
        command = [
            "ansible-playbook",
            f"--inventory={inventory}",
            str(ROOT / "playbooks/preflight.yml"),
            "-e",
            json.dumps(given),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        server.shutdown()
        if not findings.exists():
            print(done.stdout + done.stderr, file=sys.stderr)
            return 1
        told = json.loads(findings.read_text())
        print(
            json.dumps(
                sorted(item["subject"].partition(" ")[0] for item in told if item["code"] == "mirror_image_missing")
            )
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
