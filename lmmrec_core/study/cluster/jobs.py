"""Cases as jobs of a cluster: SLURM through submitit, an extra that nothing else needs.

The cases are dealt to the jobs of one array. A job runs its cases one after another, on one GPU, and stores each in the
results folder that all share. It is told two minutes before its time is over; then it saves its training at the end of
the epoch, and is queued again. A job that is lost costs what came after its last checkpoint: the next call deals anew
what is not stored. The engine ``local`` runs the same jobs as processes of this machine, to try them out.
"""

import importlib
import json
import re
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
from tqdm import tqdm

from lmmrec_core.disk import held_alone, write_file
from lmmrec_core.errors import ConfigError, LmmrecError, ResultError
from lmmrec_core.process import plain_warnings
from lmmrec_core.results.store import record_files
from lmmrec_core.study.cases import Case
from lmmrec_core.study.preview.selection import Shard
from lmmrec_core.study.run import is_done, plan
from lmmrec_core.study.schedule import Outcome, run_cases
from lmmrec_core.study.workspace import Workspace

_SUBMITIT = "submitit"
_MINUTES, _NOTICE, _AGAIN = 24 * 60, 120, 1000  # of a job; seconds before its end; how often it is queued again
_LOOK = {"slurm": 15.0, "local": 1.0}  # seconds between two looks at the jobs


@dataclass(frozen=True)
class JobPart:
    """The cases of one job, which calls this."""

    workspace: Workspace
    cases: tuple[Case, ...]

    def __call__(self) -> Outcome:
        with plain_warnings("lmmrec"):
            return run_cases(self.cases, self.workspace.quiet(), 1)

    def checkpoint(self) -> Any:
        """What submitit queues again when the job must end: the same, which goes on with what is stored."""
        return _submitit().helpers.DelayedSubmission(self)


def require_cluster(engine: str, options: Sequence[str]) -> dict[str, str]:
    """The options of sbatch by name, from words like ``partition=gpu``.

    Raises ConfigError, with the cure, where jobs of this engine cannot be submitted.
    """
    if find_spec(_SUBMITIT) is None:
        raise ConfigError(f"--engine {engine} needs {_SUBMITIT}: python -m pip install 'lmmrec[cluster]'")
    if engine == "slurm" and not (shutil.which("sbatch") and shutil.which("srun")):
        raise ConfigError("--engine slurm: no sbatch and srun here; log in where jobs are submitted, or --engine local")
    if options and engine != "slurm":
        raise ConfigError(f"--slurm has no effect with --engine {engine}; leave it out")
    found: dict[str, str] = {}
    for word in options:
        name, _, value = word.partition("=")
        if not (value and re.fullmatch(r"[a-z]+(-[a-z]+)*", name)):
            raise ConfigError(f"--slurm {word!r} is not NAME=VALUE; write sbatch's long options, such as partition=gpu")
        if found.setdefault(name, value) != value:
            raise ConfigError(f"--slurm {name} is given twice; leave one out")
    return found


def run_as_jobs(
    cases: Sequence[Case], workspace: Workspace, jobs: int, engine: str, options: Mapping[str, str]
) -> Outcome:
    """Run the given (runnable) cases, which are not stored, in at most ``jobs`` jobs; waits until all have ended.

    If jobs of an earlier call have not ended, those are waited for, and none is submitted. Raises ConfigError while
    another process waits for them, ResultError if nothing can be written. Jobs go on when the user stops the waiting.
    """
    folder = workspace.cache / "cluster" / workspace.track.name
    busy = f"{folder}: another lmmrec reproduce waits for the jobs of this track; stop that one, or wait there"
    with held_alone(folder / "waiting.lock", busy):
        note = folder / "jobs.json"
        engine, found = _under_way(note, engine)
        if found:
            print(f"{len(found)} jobs of an earlier call have not ended: they are waited for, none is submitted")
        elif cases:
            found = _submitted(cases, workspace, jobs, engine, options, folder)
            write_file(note, json.dumps({"engine": engine, "jobs": [job.job_id for job in found]}), ResultError)
            print(f"{len(found)} jobs submitted, {found[0].job_id} to {found[-1].job_id}; they write to {folder}")
        parts: list[JobPart] = [job.submission().function for job in found]
        _wait(found, parts, workspace, engine)
        outcomes = [_outcome(job, part) for job, part in zip(found, parts, strict=True)]
        note.unlink(missing_ok=True)
    return Outcome(
        sum(outcome.done_before for outcome in outcomes),
        sum(outcome.computed for outcome in outcomes),
        tuple(failure for outcome in outcomes for failure in outcome.failures),
    )


def _submitit() -> Any:
    return importlib.import_module(_SUBMITIT)


def _submitted(
    cases: Sequence[Case], workspace: Workspace, jobs: int, engine: str, options: Mapping[str, str], folder: Path
) -> list[Any]:
    count = min(jobs, len(cases))
    executor = _submitit().AutoExecutor(
        folder=folder / "%j", cluster=engine, slurm_max_num_timeout=_AGAIN, local_max_num_timeout=_AGAIN
    )
    own_gpu = any(name.startswith(("gpus", "gres")) for name in options)  # sbatch would refuse two answers
    executor.update_parameters(
        name=f"lmmrec-{workspace.track.name}",
        timeout_min=_MINUTES,  # sbatch takes an option of the user's instead
        mem_gb=None if any(name.startswith("mem") for name in options) else 32,
        cpus_per_task=8,
        gpus_per_node=None if own_gpu else 1,
        stderr_to_stdout=True,
        slurm_signal_delay_s=_NOTICE,
        slurm_array_parallelism=count,
        slurm_additional_parameters=dict(options) or None,
    )
    parts = [JobPart(workspace, Shard(number, count).take(cases)) for number in range(1, count + 1)]
    return list(executor.submit_array(parts))


def _under_way(note: Path, engine: str) -> tuple[str, list[Any]]:
    """The engine and the jobs of an earlier call, if one of them has not ended; else ``engine``, and none."""
    if not note.is_file():
        return engine, []
    try:
        said = json.loads(note.read_text(encoding="utf-8"))
        kind = {"slurm": "SlurmJob", "local": "LocalJob"}[said["engine"]]
        found = [getattr(_submitit(), kind)(note.parent / "%j", name) for name in said["jobs"]]
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"{note}: damaged; see whether jobs run still (squeue), then delete it") from None
    return (said["engine"], found) if not all(_ended(job, said["engine"]) for job in found) else (engine, [])


def _ended(job: Any, engine: str) -> bool:
    if engine != "local":
        return bool(job.done())
    number = int(job.job_id)  # of a process, which may be that of an earlier call
    try:
        alive = psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        alive = False
    return not alive or job.paths.result_pickle.exists()


def _wait(jobs: Sequence[Any], parts: Sequence[JobPart], workspace: Workspace, engine: str) -> None:
    """Until the jobs have ended; shows how many runs have been stored meanwhile."""
    root, track = workspace.store.root, workspace.track.name
    before, total = len(record_files(root, track)), sum(len(part.cases) for part in parts)
    try:
        with tqdm(total=total, desc=track, unit="run", disable=not workspace.progress) as bar:
            while True:
                ended = sum(_ended(job, engine) for job in jobs)
                bar.n = min(total, len(record_files(root, track)) - before)
                bar.set_postfix_str(f"{ended} of {len(jobs)} jobs have ended")
                if ended == len(jobs):
                    return
                time.sleep(_LOOK[engine])
    except KeyboardInterrupt:
        print("\nthe jobs go on; the same command waits for them again", file=sys.stderr)
        raise


def _outcome(job: Any, part: JobPart) -> Outcome:
    """What a job returned; of one that was lost, what it stored."""
    try:
        returned: Outcome = job.result()
        return returned
    except Exception as error:  # submitit's own for a lost job, and whatever the job itself ended with
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        why = f"job {job.job_id} ended early: {lines[-1] if lines else type(error).__name__}; its output is "
        why += f"{job.paths.stdout}; the same command goes on with what is left"
    left = tuple((case, why) for case in part.cases if not _is_stored(case, part.workspace))
    return Outcome(0, len(part.cases) - len(left), left)


def _is_stored(case: Case, workspace: Workspace) -> bool:
    try:
        return is_done(plan(case, workspace), workspace)
    except LmmrecError:
        return False
