"""The GitHub stand-in of a fleet, a container of its own on the fleet's network."""

from __future__ import annotations

import time

from lab.machine import is_reachable
from lab.machines import containers, rootfs
from lab.process import LabError
from lab.settings import Fleet
from lab.standins import build

# Not a secret: it opens nothing but the stand-in. It looks like one, so that the tests find it wherever it leaks.
TOKEN = "ghp_" + "runnerfleetlab".ljust(36, "0")


def start(fleet: Fleet) -> bool:
    """Run the stand-in on port 80; returns whether the container was made."""
    state = fleet.directory / "github"
    state.mkdir(parents=True, exist_ok=True)
    arguments = ["--volume", f"{build()['github']}:/usr/local/bin/github:ro", "--volume", f"{state}:/var/lib/github"]
    command = ["/usr/local/bin/github", "--listen", ":80", "--token", TOKEN, "--state", "/var/lib/github"]
    image = rootfs.podman_image(rootfs.SERVICES)
    made = containers.service(fleet, "github", fleet.github_address, image, arguments, *command)
    deadline = time.monotonic() + 20
    while not is_reachable(fleet.github_address, 80):
        if time.monotonic() > deadline:
            raise LabError(f"the GitHub stand-in does not answer: see `podman logs {fleet.container('github')}`")
        time.sleep(0.1)
    return made
