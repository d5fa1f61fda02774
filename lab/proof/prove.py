"""Prove the fleet that LAB_FLEET names, and print its table: python -m lab prove."""

from __future__ import annotations

import json
import sys

from lab.process import LabError
from lab.proof.checks import examine, table
from lab.settings import Fleet, current_fleet


def prove(fleet: Fleet) -> int:
    """Prove the fleet and print its table; returns the exit code."""
    from lab.proof import (
        world as proof_world,
    )  # It needs the Kubernetes client, which the rest of the lab runs without.

    path = fleet.directory / "lab.json"
    try:
        facts = json.loads(path.read_text())
        proof = examine(proof_world.LiveWorld(fleet, facts), facts["drives"])
    except FileNotFoundError as error:
        print(f"lab: found no {error.filename}, expected a fleet that is up: run `make lab`", file=sys.stderr)
        return 1
    except (
        Exception
    ) as error:  # Whatever the network or the cluster throws is a proof that failed, and is said in one line.
        print(f"lab: fleet {fleet.name} could not be proved: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(table(proof.rows))
    for problem in proof.problems:
        print(f"! {problem}")
    print(proof.stand_ins)
    print(f"fleet {fleet.name}: " + ("proved" if proof.holds else "NOT proved, see the lines with !"))
    return 0 if proof.holds else 1


def main() -> int:
    """Prove the fleet that LAB_FLEET names."""
    try:
        return prove(current_fleet())
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
