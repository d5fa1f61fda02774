"""The lab's commands: python -m lab <command>."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from lab import fleet, golang, machine
from lab.machines import containers, drives
from lab.process import LabError
from lab.programs import BuildError
from lab.settings import DEFAULT_NODES, current_fleet


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lab", description="A local fleet. LAB_FLEET names it (default: lab)."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("setup", help="install the packages that the lab needs")
    up = commands.add_parser("up", help="boot the fleet; run again, it changes nothing")
    up.add_argument("--nodes", default=",".join(DEFAULT_NODES), help="which nodes, by comma (default: %(default)s)")
    up.add_argument("--fresh-drives", action="store_true", help="nodes that are booted now get empty drives")
    down = commands.add_parser("down", help="remove all that `up` made")
    down.add_argument("--keep-drives", action="store_true", help="keep the drives' content for the next `up`")
    commands.add_parser("status", help="print what is there")
    swapped = commands.add_parser(
        "swap-drive", help="take a runner node's drive out and put a blank one in; prints its path"
    )
    swapped.add_argument("node", help="such as runner-1")
    swapped.add_argument("slot", type=int, help="number at the end of the old drive's name: 0 is the first")
    commands.add_parser("power-cut", help="kill a node and boot it").add_argument("node", help="such as runner-1")
    commands.add_parser("prove", help="queue jobs and check what came of them")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Run one command; the exit code says whether it worked."""
    chosen = _parser().parse_args(arguments)
    golang.use()
    try:
        if chosen.command == "setup":
            machine.setup()
        elif chosen.command == "up":
            fleet.up(current_fleet(), [node for node in chosen.nodes.split(",") if node], chosen.fresh_drives)
        elif chosen.command == "down":
            fleet.down(current_fleet(), chosen.keep_drives)
        elif chosen.command == "status":
            fleet.status(current_fleet())
        elif chosen.command == "swap-drive":
            print(drives.swap(current_fleet(), chosen.node, chosen.slot))
        elif chosen.command == "power-cut":
            containers.power_cut(current_fleet(), chosen.node)
        elif chosen.command == "prove":
            from lab.proof.prove import main as prove

            return int(prove())
    except (LabError, BuildError, ValueError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
