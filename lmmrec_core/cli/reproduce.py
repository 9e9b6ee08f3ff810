"""``lmmrec reproduce``: run the grid or a part of it, or say what that would do."""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TextIO

from lmmrec_core.cli.calibrate import renew_listings
from lmmrec_core.cli.options import names_in, seed_numbers
from lmmrec_core.cli.reading import refuse_data
from lmmrec_core.errors import ConfigError
from lmmrec_core.names import TRACKS, WARM
from lmmrec_core.study.cases import Case
from lmmrec_core.study.cluster.jobs import require_cluster, run_as_jobs
from lmmrec_core.study.declared.track_file import read_track
from lmmrec_core.study.energy import require_meter
from lmmrec_core.study.preview.costs import Bill, CostEstimate
from lmmrec_core.study.preview.outlook import Outlook, cost_of, outlook
from lmmrec_core.study.preview.selection import CHOSEN_BY, Shard, choose
from lmmrec_core.study.study import COMMIT_CURE, Study

_GIB = 2**30


def reproduce(arguments: argparse.Namespace) -> int:
    """``lmmrec reproduce``: the grid, one question of it, or the cases that are named."""
    if arguments.json and not arguments.dry_run:
        raise ConfigError("--json prints what --dry-run says; add it, or leave --json out")
    study = Study.open(arguments.track or "controls", seeds=seed_numbers(arguments.seeds) or None, data=arguments.data)
    refuse_data(arguments, study.track)
    if arguments.energy:
        require_meter()
    if arguments.slurm and arguments.engine == "processes":
        raise ConfigError("--slurm has no effect without --engine slurm; leave it out, or add that")
    here = arguments.engine == "processes" or arguments.dry_run  # a dry run may be asked for anywhere
    options = {} if here else require_cluster(arguments.engine, arguments.slurm)
    workspace = study.workspace.keeping_encoders(arguments.keep_encoder)
    study = replace(study, workspace=workspace.measuring_energy(arguments.energy))
    asked = _asked(study, arguments)
    if arguments.keep_encoder is not None and not any(_leaves_encoder(case, study) for case in asked):
        option = "--keep-encoder" if arguments.keep_encoder else "--no-keep-encoder"
        none = "none of these cases trains an encoder that can be kept"
        raise ConfigError(f"{option} has no effect: {none}; leave it out")
    seen = outlook(study, asked)
    if arguments.dry_run and arguments.json:
        told = {"track": study.track.name, **seen.plain(), "estimate": cost_of(study, seen).plain()}
        print(json.dumps(told, indent=1, ensure_ascii=False))
        return 1 if seen.faults else 0
    print(f"{study.track.title}: {_counts(seen)}.")
    _tell_needs(seen, sys.stdout if arguments.dry_run else sys.stderr)
    _tell_lacking(seen, sys.stdout if arguments.dry_run else sys.stderr)
    if arguments.dry_run:
        for reason, cases in {**seen.left_out, **seen.impossible}.items():
            print(f"{cases:6}  {reason}")
        if seen.ready or seen.waiting:
            print(f"{len(seen.ready) + len(seen.waiting):6}  not computed yet: {study.track.where}")
            _tell_costs(cost_of(study, seen))
            _tell_memory(study, seen, arguments.jobs, sys.stdout)
        _tell_uncommitted(study)
        for line in _faults_told(seen):
            print(line, file=sys.stderr)
        return 1 if seen.faults else 0
    return _run(study, seen, arguments.jobs, arguments.engine, options)


def _leaves_encoder(case: Case, study: Study) -> bool:
    """Whether a case trains an encoder that can be written to a file."""
    if case.paradigm not in ("ETE", WARM):
        return False
    from lmmrec_core.study.joint.attach import can_be_kept

    return can_be_kept(study.track.encoder(case.encoder)["encoder"])


def _run(study: Study, seen: Outlook, jobs: int, engine: str, options: Mapping[str, str]) -> int:
    if seen.faults:
        raise ConfigError("\n".join([*_faults_told(seen), "nothing was started"]))
    if not (seen.ready or seen.stored) and seen.waiting:
        raise ConfigError("nothing can run: every case waits for what is named above; --dry-run says the same")
    if engine == "processes":
        _tell_memory(study, seen, jobs, sys.stderr)
        outcome = study.run_missing(jobs=jobs, progress=True, cases=(*seen.stored, *seen.ready))
    else:
        outcome = run_as_jobs(seen.ready, study.workspace, jobs, engine, options)
        outcome = replace(outcome, done_before=outcome.done_before + len(seen.stored))
    _tell_uncommitted(study)
    if left := study.workspace.left_checkpoints():
        print(f"note: {left}", file=sys.stderr)
    print(
        f"{outcome.done_before} were stored before, {outcome.computed} computed now, {len(outcome.failures)} failed"
        + (f", {len(seen.waiting)} still wait for what is named above." if seen.waiting else ".")
    )
    alike: dict[str, list[Case]] = {}
    for case, text in outcome.failures:
        alike.setdefault(text, []).append(case)
    for text, cases in alike.items():
        names = [f"{case.dataset}/{case.slug}" for case in cases]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        print(f"failed: {', '.join(names[:3])}{more}: {text}", file=sys.stderr)
    if study.track.name in TRACKS:
        renew_listings(_of_the_book(study))
    return 1 if outcome.failures else 0


def _of_the_book(study: Study) -> Study:
    """The book's own track of this name, whose runs a file that starts from it may have added to."""
    if study.track == read_track(study.track.name):
        return study
    return Study.open(study.track.name, home=study.workspace.results.parent)


def _asked(study: Study, arguments: argparse.Namespace) -> tuple[Case, ...]:
    """The cases that are named, then this shard of them. Raises ConfigError for a name that no case has."""
    wanted = {field: names_in(getattr(arguments, field), f"--{field}") for field in CHOSEN_BY}
    cases = choose(study.cases(arguments.rq), wanted, f"track {study.track.name!r}")
    return Shard.read(arguments.shard).take(cases) if arguments.shard else cases


def _counts(seen: Outlook) -> str:
    omitted, impossible = sum(seen.left_out.values()), sum(seen.impossible.values())
    faulty = sum(map(len, seen.faults.values()))
    wrong = f", {faulty} have a wrong setting" if faulty else ""
    return (
        f"{seen.planned} cases planned: {len(seen.stored)} are stored, {len(seen.ready)} can run now, "
        f"{len(seen.waiting)} wait for what is not here, {omitted} are left out by the track, {impossible} cannot yet"
        f"{wrong}"
    )


def _tell_needs(seen: Outlook, stream: TextIO) -> None:
    for need, cases in seen.needs.items():
        verb = "will be fetched" if need.fetched else "is not here"
        print(f"{len(cases):6}  need {need.what}: {verb}; {need.get}", file=stream)


def _tell_lacking(seen: Outlook, stream: TextIO) -> None:
    """What becomes of stored results without the encoder that is asked for."""
    stay = sum(case in seen.stored for case in seen.lacking)
    if again := len(seen.lacking) - stay:
        print(f"{again:6}  are stored without their encoder: --keep-encoder trains them again", file=stream)
    if stay:
        told = "they stay as they are, because results of uncommitted code would not count"
        print(f"{stay:6}  are stored without their encoder: {told}; {COMMIT_CURE}", file=stream)


def _faults_told(seen: Outlook) -> list[str]:
    return [
        f"{len(cases)} cases have a wrong setting: {fault}; correct the track file, or leave these cases out"
        for fault, cases in seen.faults.items()
    ]


def _tell_costs(found: CostEstimate) -> None:
    print("what the cases without a result cost, one after another:")
    if found.stored.cases:
        print(f"  {found.stored.cases} cases: {_amount(found.stored)}, the mean of {found.stored.source}")
    for bill in found.machines:
        machine = bill.source.partition(" (")[0]
        if bill.cases:
            part = f", {bill.extrapolated} of them extrapolated to their size" if bill.extrapolated else ""
            tuned = f" and {bill.tunings} fine-tunings of encoders" if bill.tunings else ""
            print(f"  {bill.cases} cases{tuned}, as measured on {bill.source}{part}: at most {_amount(bill)}")
        for count, what in ((bill.unknown, "cases"), (bill.tunings_unknown, "fine-tunings of encoders")):
            if count:
                print(f"  {count} {what}: no estimate for {machine}, nothing was measured")
    for what, size in found.disk.items():
        print(f"  disk: {size / _GIB:.1f} GiB of {what}")
    print("  not counted: reading data, making and storing features, the disk that results take")


def _tell_memory(study: Study, seen: Outlook, jobs: int, stream: TextIO) -> None:
    """The cases that take most memory, on the device of this machine, and what is free here."""
    from lmmrec_core.study.memory.plans import demands_of_cases
    from lmmrec_core.study.memory.room import room

    workspace = study.workspace
    try:
        device = workspace.device
    except ConfigError:  # told when it would run
        device = "cpu"
    known = demands_of_cases((*seen.ready, *seen.waiting), workspace, device)
    demands = sorted(known, key=lambda d: (d.device_bytes, d.host_bytes), reverse=True)
    if not demands:
        return
    print(f"  memory of the largest case, {demands[0].what}, estimated: {demands[0].told()}", file=stream)
    together = sorted((d.host_bytes for d in demands), reverse=True)[:jobs]
    if len(together) > 1:
        print(f"  of the {len(together)} largest at once: {sum(together) / _GIB:.1f} GiB of memory", file=stream)
    print(f"  here {room(device).told()}", file=stream)


def _amount(bill: Bill) -> str:
    memory = [
        f"{size / _GIB:.1f} GiB of {what} where it was measured"
        for size, what in ((bill.host_bytes, "memory"), (bill.device_bytes, "GPU memory"))
        if size is not None
    ]
    return ", ".join([f"{bill.seconds / 3600:.1f} hours", *memory])


def _tell_uncommitted(study: Study) -> None:
    if note := study.uncommitted().replace("*", ""):
        print(note, file=sys.stderr)
