"""What runners that follow the queue cost: `make bench-runners`, on a fleet of its own that site.yml has built.

How long a job waits until a runner begins it, with an idle runner and without one; and how many requests a fleet that
has nothing to do sends to GitHub: what each listener asks, and what each idle runner adds. A fleet of 100 nodes is
summed up from these two. What a runner itself asks is not in it: the stand-in of one waits in another way than a real
one.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import sys
import time
from collections import Counter
from datetime import UTC, datetime

from lab import fleet as fleets
from lab.bench.counted import ROOT
from lab.process import LabError, run
from lab.proof.queue import Service, moment
from lab.settings import Fleet

SETS = ROOT / "molecule/scale_sets/inventory"
SET, REPOSITORY = "set-small", "lab/example"
ROUNDS = 5
WINDOW = 300  # seconds: a listener asks anew about once a minute
FEW, MANY = 0, 6  # idle runners
NODES = 100
# GitHub counts the first kind against the hourly limit of a token, and the second by its own rules.
KINDS = {"REST": re.compile(r" /api/v3/"), "service": re.compile(r" /tenant/")}


def requests(fleet: Fleet, seconds: float) -> dict[str, int]:
    """How many requests came within so many seconds from now, by kind."""
    since = datetime.now(UTC).isoformat()
    time.sleep(seconds)
    lines = run("podman", "logs", "--since", since, fleet.container("github")).stdout.splitlines()
    return {kind: sum(bool(known.search(line)) for line in lines) for kind, known in KINDS.items()}


class Set:
    """The scale set that is measured."""

    def __init__(self, fleet: Fleet, kubeconfig: str) -> None:
        self.service = Service(fleet)
        self.env = {**os.environ, "KUBECONFIG": kubeconfig}

    def keep(self, idle: int) -> None:
        """Have that many runners wait for jobs."""
        patch = json.dumps({"spec": {"minRunners": idle, "maxRunners": MANY + 1}})
        what = ("-n", "arc-runners", "patch", "autoscalingrunnersets.actions.github.com", SET)
        run("kubectl", *what, "--type=merge", "--patch", patch, env=self.env)
        self.settle(idle)

    def settle(self, idle: int) -> None:
        """Wait until they are there, and no other."""
        deadline = time.monotonic() + 300
        phases: Counter[str] = Counter()
        while phases != ({"Running": idle} if idle else {}):
            if time.monotonic() > deadline:
                raise LabError(f"{SET} has {dict(phases)} runners after 300 s, expected {idle} that wait")
            time.sleep(1)
            what = ("-n", "arc-runners", "get", "pods", "-l", f"runnerfleet.dev/runner-pool={SET}", "-o", "json")
            pods = json.loads(run("kubectl", *what, env=self.env).stdout)["items"]
            phases = Counter(pod["status"]["phase"] for pod in pods)

    def start(self, idle: int) -> float:
        """Seconds from queued to started, the median of some jobs, one after the other."""
        self.keep(idle)
        found = []
        for _round in range(ROUNDS):
            number, job = self.service.queue(REPOSITORY, SET, "true"), {"status": ""}
            while job["status"] != "completed":
                time.sleep(0.5)
                job = self.service.call("GET", f"/jobs/{number}")
            found.append(moment(job["started_at"]) - moment(job["created_at"]))
            self.settle(idle)
        return statistics.median(found)


def main() -> int:
    """Measure, and print what was found as JSON."""
    fleet = Fleet("benchrunners")
    os.environ["LAB_FLEET"] = fleet.name
    try:
        fleets.up(fleet)
        inventories = ("-i", str(ROOT / "inventories/lab"), "-i", str(SETS))
        run("ansible-playbook", *inventories, str(ROOT / "playbooks/site.yml"))
        facts = json.loads((fleet.directory / "lab.json").read_text())
        one = Set(fleet, facts["kubeconfig"])
        sets = len(one.service.call("GET", "/sets"))
        cold, warm = one.start(0), one.start(1)
        hourly = {}
        for idle in (FEW, MANY):
            one.keep(idle)
            hourly[idle] = {kind: count * 3600 / WINDOW for kind, count in requests(fleet, WINDOW).items()}
    finally:
        fleets.down(fleet)
    each = {kind: hourly[FEW][kind] / sets for kind in KINDS}
    more = {kind: (hourly[MANY][kind] - hourly[FEW][kind]) / (MANY - FEW) for kind in KINDS}
    print(
        json.dumps(
            {
                "queued_to_started_seconds": {"no runner waits": round(cold, 1), "one waits": round(warm, 1)},
                "ratio": round(warm / cold, 2) if cold else None,
                "requests_an_hour_of_a_set": {kind: round(count, 1) for kind, count in each.items()},
                "requests_an_hour_of_an_idle_runner": {kind: round(count, 1) for kind, count in more.items()},
                f"requests_an_hour_of_{NODES}_nodes_with_3_sets_and_a_runner_each": {
                    kind: round(3 * each[kind] + NODES * max(0.0, more[kind])) for kind in KINDS
                },
            },
            indent=2,
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
