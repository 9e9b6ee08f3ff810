"""What cases need before they can run, made in two rounds: weights that all data sets share, then features."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from functools import partial

from tqdm import tqdm

from lmmrec_core.digests import digest
from lmmrec_core.disk import held_in_turn
from lmmrec_core.errors import LmmrecError, ResultError, TrainingError
from lmmrec_core.names import WARM
from lmmrec_core.process import worker_task
from lmmrec_core.study.cases import Case
from lmmrec_core.study.datasets import store_statistics
from lmmrec_core.study.diagnostics import diagnostics_of
from lmmrec_core.study.features import load_features
from lmmrec_core.study.run import Plan, is_done, plan, start_of
from lmmrec_core.study.track import is_multimodal
from lmmrec_core.study.weights.making import make_shared_weights, needs_shared_weights
from lmmrec_core.study.workspace import Workspace
from lmmrec_core.training.joint.settings import EndToEndSettings

# (data set, encoder) for weights, (data set, encoder, paradigm) for features, with the seed for those of FT
Step = tuple[str, ...]
Make = Callable[[Workspace, Step], None]
Failed = Callable[[Step, Exception], None]
_FAULTS = (LmmrecError, ModuleNotFoundError)  # what one thing lacks, and others may have


def prepare_cases(
    cases: Sequence[Case], workspace: Workspace, pool: Executor | None = None
) -> tuple[list[Plan], list[tuple[Case, str]]]:
    """Read each data set once, plan every case, and make what those without a result need.

    Returns (the plans, the cases that cannot be run and why): what cannot be read or made costs only the cases that
    need it. With ``pool``, a step at a time in each of its processes. Raises only TrainingError, if a process of
    ``pool`` was killed; weights and features made until then stay.
    """
    failed: dict[Case, str] = {}
    for name in dict.fromkeys(case.dataset for case in cases):
        with _noted(failed, [case for case in cases if case.dataset == name]):
            store_statistics(workspace.dataset(name), workspace.track, workspace.results)
    using: dict[str, list[Case]] = {}
    for case in cases:
        using.setdefault(case.encoder, []).append(case)
    left = [case for case in cases if case not in failed]
    prepare_weights(left, workspace, pool, lambda step, error: _note(failed, using[step[1]], error))
    plans: list[Plan] = []
    for case in left:
        if case not in failed:
            with _noted(failed, [case]):
                plans.append(plan(case, workspace))
    readers: dict[Step, list[Case]] = {}
    for todo in plans:
        if _needs_features(todo, workspace):
            readers.setdefault(features_step(todo.case, todo.end_to_end), []).append(todo.case)
    make_all(
        "features", readers, _make_features, workspace, pool, lambda step, error: _note(failed, readers[step], error)
    )
    return [todo for todo in plans if todo.case not in failed], list(failed.items())


@contextmanager
def _noted(failed: dict[Case, str], needy: Iterable[Case]) -> Iterator[None]:
    """An error inside is that of the cases ``needy``."""
    try:
        yield
    except _FAULTS as error:
        _note(failed, needy, error)


def _note(failed: dict[Case, str], needy: Iterable[Case], error: Exception) -> None:
    for case in needy:
        failed.setdefault(case, reason_of(error))


def reason_of(error: Exception) -> str:
    """Why work came to nothing, in words."""
    if isinstance(error, LmmrecError):
        return str(error)
    if isinstance(error, BrokenProcessPool):
        return "its process was killed; run the same command again to continue (if memory ran out: with fewer JOBS)"
    if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("lmmrec_core"):
        return f"module {error.name!r} is not installed; install it, or the extra that brings it (lmmrec[encoders])"
    return f"unexpected {type(error).__name__}: {error}"


def features_step(case: Case, joint: EndToEndSettings | None = None) -> Step:
    """The features that a case reads. ETE starts from those of PT, unless ``joint``, its settings, says otherwise.

    Those of FT are another for each seed.
    """
    start = start_of(case, joint)
    paradigm = "PT" if start in ("ETE", WARM) else start
    return (case.dataset, case.encoder, paradigm, *([str(case.seed)] if paradigm == "FT" else []))


def prepare_weights(
    cases: Sequence[Case], workspace: Workspace, pool: Executor | None = None, failed: Failed | None = None
) -> None:
    """Make the weights that all data sets share and that these cases need; afterwards each can be planned.

    Encoders that are trained here from scratch are known by their weights, so theirs are always needed. Others are
    known by their recipe, so theirs are made only if a case has no result. What killed processes left half written is
    removed first. Raises what :func:`~lmmrec_core.study.weights.making.make_shared_weights` and
    :func:`~lmmrec_core.study.run.plan` raise; with ``failed`` as :func:`make_all`, and a case that cannot be planned
    is passed over.
    """
    workspace.remove_abandoned()
    steps: dict[str, Step] = {}  # encoder → the first data set that it is needed for, and its name
    for case in cases:
        if case.encoder == "none" or case.encoder in steps:
            continue
        try:
            if is_multimodal(workspace.track.encoder(case.encoder)):
                needed = _needs_features(plan(case, workspace), workspace)
            else:
                needed = needs_shared_weights(workspace, case.encoder)
        except _FAULTS:
            if failed is None:
                raise
            continue
        if needed:
            steps[case.encoder] = (case.dataset, case.encoder)
    make_all("weights", steps.values(), _make_weights, workspace, pool, failed)


def _make_weights(workspace: Workspace, step: Step) -> None:
    """Round one: the weights of an encoder that all data sets share."""
    dataset, encoder = step
    with _in_turn(workspace, "weights", encoder):
        make_shared_weights(workspace, encoder, workspace.dataset(dataset))


def _make_features(workspace: Workspace, step: Step) -> None:
    """Round two: features of a data set, fine-tuned weights if they need them, and the diagnostics of one seed's."""
    name, encoder, paradigm, *seeds = step
    dataset, seed = workspace.dataset(name), int(seeds[0]) if seeds else None
    with _in_turn(workspace, "features", *step):
        features = load_features(workspace, dataset, encoder, paradigm, seed)
    if seed in (None, workspace.track.seeds[0]):
        diagnostics_of(workspace, dataset, features, encoder, paradigm=paradigm)


def _in_turn(workspace: Workspace, *what: str) -> AbstractContextManager[None]:
    """Another process that makes the same in this folder is waited for, and what it made is used."""
    return held_in_turn(workspace.cache / "locks" / f"{digest([workspace.track.name, *what], 16)}.lock")


def _needs_features(todo: Plan, workspace: Workspace) -> bool:
    try:
        return todo.case.encoder != "none" and not is_done(todo, workspace)
    except ResultError:  # damaged, so it will not be run
        return False


def make_all(
    what: str,
    wanted: Iterable[Step],
    make: Make,
    workspace: Workspace,
    pool: Executor | None,
    failed: Failed | None = None,
) -> None:
    """Carry out steps, with ``pool`` several at a time; steps done until an error stay.

    A step that fails is told to ``failed``, and the others go on; without it, its error is raised. Raises TrainingError
    if a process of ``pool`` was killed.
    """
    steps = list(wanted)

    def carry_out(step: Step, act: Callable[[], object]) -> None:
        try:
            act()
        except BrokenProcessPool:
            told = f"{what} of {'/'.join(step)}: the process was killed; run the same command again"
            raise TrainingError(told) from None
        except _FAULTS as error:
            if failed is None:
                raise
            failed(step, error)

    if pool is None:  # one after another, each with bars of its own
        for step in steps:
            carry_out(step, partial(make, workspace, step))
        return
    futures = {pool.submit(in_worker, make, step): step for step in steps}
    off = not workspace.progress or not steps
    with tqdm(total=len(steps), desc=f"{workspace.track.name}: {what}", unit="step", disable=off) as bar:
        for future in as_completed(futures):
            carry_out(futures[future], future.result)
            bar.set_postfix_str("/".join(futures[future]))
            bar.update()


_here: Workspace | None = None  # the workspace of a worker process


def set_workspace(workspace: Workspace) -> None:
    """Called once in each worker process: what it reads is kept between its steps."""
    global _here
    _here = workspace


def in_worker(make: Make, step: Step) -> None:
    """Carry out a step with the workspace of this process."""
    with worker_task():
        make(worker_workspace(), step)


def worker_workspace() -> Workspace:
    """The workspace of this worker process."""
    assert _here is not None, "set_workspace is the initialiser of every worker"
    return _here
