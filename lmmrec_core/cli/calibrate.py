"""``lmmrec calibrate``: measure how often the tests are right, and print the rates."""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence

from lmmrec_core.errors import ConfigError
from lmmrec_core.names import CALIBRATION_PARTS, TRACKS
from lmmrec_core.study.calibration.files import part_path, read_lines
from lmmrec_core.study.calibration.reading import TRACK, Stored, read_calibration
from lmmrec_core.study.calibration.simulated import COVERAGE, calibrate_coverage
from lmmrec_core.study.calibration.stored_runs import AGAINST_ITSELF, DETECTABLE, calibrate_stored
from lmmrec_core.study.calibration.summary import write_summary_of
from lmmrec_core.study.calibration.worlds import CPU_SECONDS, WORLDS, DrawnWorld, worlds_of
from lmmrec_core.study.study import Study
from lmmrec_core.study.workspace import Workspace


def calibrate(arguments: argparse.Namespace) -> int:
    """Run the parts that were asked for, cheap ones first, and write the summary of all that is stored."""
    workspace = Workspace.open(TRACK)
    parts = arguments.parts or list(CALIBRATION_PARTS)
    if arguments.worlds is not None and not set(parts) & set(WORLDS):
        raise ConfigError(f"--worlds {arguments.worlds} has no effect: no worlds are drawn for {', '.join(parts)}")
    worlds = [world for part in parts if part in WORLDS for world in worlds_of(part, arguments.worlds)]
    if arguments.dry_run:
        _tell_cost(worlds, workspace)
        return 0
    for part in (AGAINST_ITSELF, DETECTABLE):
        for track in TRACKS if part in parts else ():
            count = calibrate_stored(part, Study.open(track))
            print(f"{part}, {track}: {'no stored runs, so no' if count is None else count} tests")
    if COVERAGE in parts:
        calibrate_coverage(workspace.results)
    failed = _run(worlds, workspace, arguments.jobs) if worlds else False
    _tell(read_calibration(workspace.results), workspace)
    return 1 if failed else 0


def renew_listings(study: Study) -> None:
    """Make anew what is made from a track's stored runs, if these changed, so that the book shows them as they are."""
    counts = {part: calibrate_stored(part, study) for part in (AGAINST_ITSELF, DETECTABLE)}
    if None not in counts.values():
        results = study.workspace.results
        write_summary_of(read_calibration(results), results)
        print(f"calibration: {counts[AGAINST_ITSELF]} tests of a system against itself, and detectable effects")


def _run(worlds: Sequence[DrawnWorld], workspace: Workspace, jobs: int) -> bool:
    """Run worlds; whether any failed. What is stored is summed up also when the user stops it."""
    from lmmrec_core.study.calibration.run_worlds import run_worlds

    try:
        outcome = run_worlds(worlds, workspace, jobs)
    except KeyboardInterrupt:
        write_summary_of(read_calibration(workspace.results), workspace.results)
        raise
    print(f"{outcome.done_before} were stored before, {outcome.computed} computed now, {len(outcome.failures)} failed.")
    for world, text in outcome.failures:
        print(f"failed: {world.part} {world.name}: {text}", file=sys.stderr)
    return bool(outcome.failures)


def _tell(stored: Stored, workspace: Workspace) -> None:
    if stored.uncommitted:
        print(f"{len(stored.uncommitted)} results are of uncommitted code and do not count", file=sys.stderr)
    for remark in stored.remarks():
        print(remark, file=sys.stderr)
    summary = write_summary_of(stored, workspace.results)
    for name in (name for name in summary if f"{name}_interval" in summary):
        print(f"{name:>20}  {_shown(summary[name], summary[f'{name}_interval'])}")


def _shown(rate: float | None, interval: Sequence[float] | None) -> str:
    return "not run" if interval is None else f"{rate:.3f}, 95 % interval {interval[0]:.3f} to {interval[1]:.3f}"


def _tell_cost(worlds: Sequence[DrawnWorld], workspace: Workspace) -> None:
    """How many worlds are to run, and the CPU time they need: as those that are stored did, else as we measured."""
    from lmmrec_core.study.calibration.run_worlds import waiting

    todo, total = waiting(worlds, workspace), 0.0
    print(f"{len(worlds) - len(todo)} of {len(worlds)} worlds are stored; to run:")
    for part, count in Counter(world.part for world in todo).items():
        known = [float(line["cpu_seconds"]) for line in read_lines(part_path(workspace.results, part))]
        each = sum(known) / len(known) if known else CPU_SECONDS[part]
        total += count * each
        print(f"  {part}: {count} worlds of about {each:.0f} CPU seconds")
    print(f"in all about {total / 60:.0f} CPU minutes; with --jobs 2 on two idle cores half of that by the clock")
