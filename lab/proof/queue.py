"""Many jobs at once, and what became of each: python -m lab.proof.queue --jobs 200 --labels small,medium,large.

The fleet of LAB_FLEET has to be up and through site.yml with runners that take these labels, one label a job. It prints
one line of JSON, and ends with 1 unless every job ended well, each on a runner of its own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from lab.settings import Fleet, current_fleet

# Each job asks the engine of its node, and works for a moment.
SCRIPT = "dagger core version && sleep {seconds} && echo on $NODE_NAME"


class Service:
    """The stand-in of GitHub, asked as the lab asks it."""

    def __init__(self, fleet: Fleet) -> None:
        self.url = f"http://{fleet.github_address}/_lab"
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def call(self, method: str, path: str, content: Any = None) -> Any:
        """What it answers; None where that is nothing."""
        data = None if content is None else json.dumps(content).encode()
        with self._open(urllib.request.Request(self.url + path, data, method=method), timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def queue(self, repository: str, label: str, script: str) -> int:
        """Queue a job; returns its number."""
        wanted = {"name": f"queue-{label}", "repository": repository, "labels": [label], "script": script}
        return int(self.call("POST", "/jobs", wanted)["id"])


def queue_jobs(
    service: Service, repository: str, labels: Sequence[str], jobs: int, seconds: float, every: float = 0
) -> set[int]:
    """Queue jobs, one label after the other, with a pause between them; returns their numbers."""
    numbers = set()
    for index in range(jobs):
        time.sleep(every if index else 0)
        numbers.add(service.queue(repository, labels[index % len(labels)], SCRIPT.format(seconds=seconds)))
    return numbers


def wait(service: Service, numbers: set[int], patience: float, look: Callable[[Any], Any] = lambda _jobs: None) -> Any:
    """Wait until these jobs are completed, or patience ends; returns them. They are shown to `look` each second."""
    deadline = time.monotonic() + patience
    while True:
        found = [job for job in service.call("GET", "/jobs") if job["id"] in numbers]
        look(found)
        if all(job["status"] == "completed" for job in found) or time.monotonic() > deadline:
            return found
        time.sleep(1)


def summary(jobs: Sequence[Any], seconds: float) -> dict[str, Any]:
    """What became of the jobs, as it is printed."""
    waited = [moment(job["started_at"]) - moment(job["created_at"]) for job in jobs if job["started_at"]]
    runners = Counter(job["runner_name"] for job in jobs if job["runner_name"])
    return {
        "jobs": len(jobs),
        "conclusions": dict(Counter(job["conclusion"] or job["status"] for job in jobs)),
        "nodes": dict(Counter(job["node"] for job in jobs if job["node"])),
        "runners_with_two_jobs": sorted(name for name, count in runners.items() if count > 1),
        "seconds": round(seconds, 1),
        "seconds_until_started": {
            "median": round(statistics.median(waited), 1) if waited else None,
            "most": round(max(waited), 1) if waited else None,
        },
    }


def moment(text: str) -> float:
    """A time of the service in seconds. Its clocks write more digits than Python reads."""
    head, _dot, rest = text.partition(".")
    digits = rest.rstrip("Z").partition("+")[0]
    zone = "+00:00" if rest.endswith("Z") or not rest else rest[len(digits) :]
    return datetime.fromisoformat(f"{head.rstrip('Z')}{zone}").timestamp() + float(f"0.{digits or 0}")


def good(found: dict[str, Any]) -> bool:
    """Whether every job ended well, each on a runner of its own."""
    return found["conclusions"] == {"success": found["jobs"]} and not found["runners_with_two_jobs"]


def main() -> int:
    """Run it on the fleet of LAB_FLEET."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--labels", default="small")
    parser.add_argument("--repository", default="lab/example")
    parser.add_argument("--seconds", type=float, default=1, help="how long a job works")
    parser.add_argument("--every", type=float, default=0, help="seconds between two jobs that are queued")
    parser.add_argument("--patience", type=float, default=900, help="seconds, from when the last one is queued")
    given = parser.parse_args()
    service, start = Service(current_fleet()), time.monotonic()
    numbers = queue_jobs(service, given.repository, given.labels.split(","), given.jobs, given.seconds, given.every)
    found = summary(wait(service, numbers, given.patience), time.monotonic() - start)
    print(json.dumps(found))
    return 0 if good(found) else 1


if __name__ == "__main__":
    sys.exit(main())
