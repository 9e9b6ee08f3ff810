"""What cases need before they can run, made in two rounds: weights that all data sets share, then features."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, as_completed
from concurrent.futures.process import BrokenProcessPool

from tqdm import tqdm

from lmmrec_core.errors import ResultError, TrainingError
from lmmrec_core.names import WARM
from lmmrec_core.process import worker_task
from lmmrec_core.study.cases import Case
from lmmrec_core.study.datasets import store_statistics
from lmmrec_core.study.diagnostics import diagnostics_of
from lmmrec_core.study.features import load_features
from lmmrec_core.study.run import Plan, is_done, plan
from lmmrec_core.study.track import is_multimodal
from lmmrec_core.study.weights.making import make_shared_weights, needs_shared_weights
from lmmrec_core.study.workspace import Workspace

# (data set, encoder) for weights, (data set, encoder, paradigm) for features, with the seed for those of FT
Step = tuple[str, ...]
Make = Callable[[Workspace, Step], None]


def prepare_cases(cases: Sequence[Case], workspace: Workspace, pool: Executor | None = None) -> list[Plan]:
    """Read each data set once, plan every case, and make what those without a result need.

    With ``pool``, a step at a time in each of its processes. Raises what
    :func:`~lmmrec_core.study.features.load_features` and :func:`~lmmrec_core.study.run.plan` raise, and TrainingError
    if a process of ``pool`` was killed; weights and features made until then stay.
    """
    for name in dict.fromkeys(case.dataset for case in cases):
        store_statistics(workspace.dataset(name), workspace.track, workspace.results)
    prepare_weights(cases, workspace, pool)
    plans = [plan(case, workspace) for case in cases]
    waiting = [todo.case for todo in plans if _needs_features(todo, workspace)]
    make_all("features", dict.fromkeys(map(features_step, waiting)), _make_features, workspace, pool)
    return plans


def features_step(case: Case) -> Step:
    """The features that a case reads. ETE starts from those of PT; those of FT are another for each seed."""
    paradigm = "PT" if case.paradigm in ("ETE", WARM) else case.paradigm
    return (case.dataset, case.encoder, paradigm, *([str(case.seed)] if paradigm == "FT" else []))


def prepare_weights(cases: Sequence[Case], workspace: Workspace, pool: Executor | None = None) -> None:
    """Make the weights that all data sets share and that these cases need; afterwards each can be planned.

    Encoders that are trained here from scratch are known by their weights, so theirs are always needed. Others are
    known by their recipe, so theirs are made only if a case has no result. What killed processes left half written is
    removed first. Raises as :func:`prepare_cases`.
    """
    workspace.remove_abandoned()
    steps: dict[str, Step] = {}  # encoder → the first data set that it is needed for, and its name
    for case in cases:
        if case.encoder == "none" or case.encoder in steps:
            continue
        if is_multimodal(workspace.track.encoder(case.encoder)):
            needed = _needs_features(plan(case, workspace), workspace)
        else:
            needed = needs_shared_weights(workspace, case.encoder)
        if needed:
            steps[case.encoder] = (case.dataset, case.encoder)
    make_all("weights", steps.values(), _make_weights, workspace, pool)


def _make_weights(workspace: Workspace, step: Step) -> None:
    """Round one: the weights of an encoder that all data sets share."""
    dataset, encoder = step
    make_shared_weights(workspace, encoder, workspace.dataset(dataset))


def _make_features(workspace: Workspace, step: Step) -> None:
    """Round two: features of a data set, fine-tuned weights if they need them, and the diagnostics of one seed's."""
    name, encoder, paradigm, *seeds = step
    dataset, seed = workspace.dataset(name), int(seeds[0]) if seeds else None
    features = load_features(workspace, dataset, encoder, paradigm, seed)
    if seed in (None, workspace.track.seeds[0]):
        diagnostics_of(workspace, dataset, features, encoder, paradigm=paradigm)


def _needs_features(todo: Plan, workspace: Workspace) -> bool:
    try:
        return todo.case.encoder != "none" and not is_done(todo, workspace)
    except ResultError:  # damaged, so it will not be run
        return False


def make_all(what: str, wanted: Iterable[Step], make: Make, workspace: Workspace, pool: Executor | None) -> None:
    """Carry out steps, with ``pool`` several at a time. Raises what ``make`` does; steps done until then stay."""
    steps = list(wanted)
    if pool is None:  # one after another, each with bars of its own
        for step in steps:
            make(workspace, step)
        return
    futures = {pool.submit(in_worker, make, step): step for step in steps}
    off = not workspace.progress or not steps
    with tqdm(total=len(steps), desc=f"{workspace.track.name}: {what}", unit="step", disable=off) as bar:
        for future in as_completed(futures):
            name = "/".join(futures[future])
            try:
                future.result()
            except BrokenProcessPool:
                raise TrainingError(f"{what} of {name}: the process was killed; run the same command again") from None
            bar.set_postfix_str(name)
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
