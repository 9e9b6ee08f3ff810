"""``lmmrec calibrate``: measure how often the tests are right, and print the rates."""

import argparse
import sys
from collections import Counter

from lmmrec_core.names import CALIBRATION_PARTS
from lmmrec_core.study.calibration.files import part_path, read_lines
from lmmrec_core.study.calibration.worlds import CPU_SECONDS, WORLDS, DrawnWorld, worlds_of
from lmmrec_core.study.workspace import Workspace


def calibrate(arguments: argparse.Namespace) -> int:
    """Run the parts that were asked for."""
    workspace = Workspace.open("controls")
    parts = arguments.parts or list(CALIBRATION_PARTS)
    worlds = [world for part in parts if part in WORLDS for world in worlds_of(part, arguments.worlds)]
    if arguments.dry_run:
        from lmmrec_core.study.calibration.run_worlds import waiting

        _tell_cost(waiting(worlds, workspace), len(worlds), workspace)
        return 0
    from lmmrec_core.study.calibration.run_worlds import run_worlds

    outcome = run_worlds(worlds, workspace, arguments.jobs)
    print(f"{outcome.done_before} were stored before, {outcome.computed} computed now, {len(outcome.failures)} failed.")
    for world, text in outcome.failures:
        print(f"failed: {world.part} {world.name}: {text}", file=sys.stderr)
    return 1 if outcome.failures else 0


def _tell_cost(todo: list[DrawnWorld], asked: int, workspace: Workspace) -> None:
    """How many worlds are to run, and the CPU time they need: as those that are stored did, else as we measured."""
    print(f"{asked - len(todo)} of {asked} worlds are stored; to run:")
    total = 0.0
    for part, count in Counter(world.part for world in todo).items():
        known = [float(line["cpu_seconds"]) for line in read_lines(part_path(workspace.results, part))]
        each = sum(known) / len(known) if known else CPU_SECONDS[part]
        total += count * each
        print(f"  {part}: {count} worlds of about {each:.0f} CPU seconds")
    print(f"in all about {total / 60:.0f} CPU minutes; with --jobs 2 on two idle cores half of that by the clock")
