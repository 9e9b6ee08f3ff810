"""Cases → plans. The encoders and features that cases without a result need are made on the way."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from tqdm import tqdm

from lmmrec_core.errors import TrainingError
from lmmrec_core.results.store import ResultStore
from lmmrec_core.study.cases import Case
from lmmrec_core.study.datasets import Prepared, prepare_dataset
from lmmrec_core.study.diagnostics import diagnostics_of
from lmmrec_core.study.features import load_features, make_shared_weights
from lmmrec_core.study.recipes import is_multimodal
from lmmrec_core.study.run import Plan, plan
from lmmrec_core.study.statistics import store_statistics
from lmmrec_core.study.track import TrackSettings
from lmmrec_core.study.workspace import Places


@dataclass(frozen=True)
class _Step:
    """Weights that all data sets share (``stage`` None), or features of one; ``then`` gives the steps it allows."""

    dataset: str
    encoder: str
    stage: str | None
    then: "Callable[[], list[_Step]]" = list

    def __str__(self) -> str:
        return f"{self.encoder} weights" if self.stage is None else f"{self.dataset}/{self.encoder} {self.stage}"


def plan_all(
    cases: Sequence[Case],
    track: TrackSettings,
    places: Places,
    data: Path | None,
    pool: Executor | None,
    progress: bool,
) -> list[Plan]:
    """Prepare each data set once, make the features that are missing (in ``pool`` where given), resolve every case.

    Raises what :func:`~lmmrec_core.study.features.load_features` and :func:`~lmmrec_core.study.run.plan` raise, and
    TrainingError where a process of ``pool`` was killed; weights and features made until then stay.
    """
    for name in dict.fromkeys(case.dataset for case in cases):
        store_statistics(prepared_of(track, name, places, data), track, places)
    store = ResultStore(places.results)
    plans: dict[int, Plan] = {}

    def planned(places_of_cases: Iterable[int]) -> list[_Step]:
        """Plan these cases; the features that those without a result read."""
        steps: dict[tuple[str, str], _Step] = {}
        for number in places_of_cases:
            case = cases[number]
            todo = plan(case, track, prepared_of(track, case.dataset, places, data), places)
            plans[number] = todo
            if case.encoder == "none" or store.path_of(todo.key, track.name, case.dataset, case.slug).is_dir():
                continue
            stage = "PT" if case.paradigm == "ETE" else case.paradigm  # end-to-end training starts from those of PT
            steps.setdefault((case.dataset, stage), _Step(case.dataset, case.encoder, stage))
        return list(steps.values())

    first: list[_Step] = []
    by_encoder: dict[str, list[int]] = {}
    for number, case in enumerate(cases):
        by_encoder.setdefault(case.encoder, []).append(number)
    for encoder, numbers in by_encoder.items():
        if encoder in track.encoders and not is_multimodal(track.encoders[encoder]):
            # the identity of such features is that of the weights: plan when they are there
            first.append(_Step(cases[numbers[0]].dataset, encoder, None, partial(planned, numbers)))
        elif steps := planned(numbers):
            first.append(_Step(steps[0].dataset, encoder, None, partial(list, steps)))
    if pool is None:
        _make_here(first, track, places, data, progress)
    else:
        _make_in(pool, first, track, places, data, progress)
    return [plans[number] for number in range(len(cases))]


def _make_here(steps: list[_Step], track: TrackSettings, places: Places, data: Path | None, progress: bool) -> None:
    for step in steps:
        _make(step.dataset, step.encoder, step.stage, track, places, data, progress)
        _make_here(step.then(), track, places, data, progress)


def _make_in(
    pool: Executor, first: list[_Step], track: TrackSettings, places: Places, data: Path | None, progress: bool
) -> None:
    waiting: dict[Future[None], _Step] = {}
    with tqdm(total=0, desc=f"{track.name}: encoders", unit="step", disable=not progress or not first) as bar:

        def submit(steps: list[_Step]) -> None:
            for step in steps:
                future = pool.submit(_make, step.dataset, step.encoder, step.stage, track, places, data, False)
                waiting[future] = step
            bar.total += len(steps)

        submit(first)
        while waiting:
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                step = waiting.pop(future)
                try:
                    future.result()
                except BrokenProcessPool:
                    raise TrainingError(f"{step}: its process was killed; run the same command again") from None
                bar.set_postfix_str(str(step))
                bar.update()
                submit(step.then())


def _make(
    dataset: str, encoder: str, stage: str | None, track: TrackSettings, places: Places, data: Path | None,
    progress: bool,
) -> None:  # fmt: skip
    prepared = prepared_of(track, dataset, places, data)
    if stage is None:
        make_shared_weights(prepared, encoder, track, places, progress)
        return
    features = load_features(prepared, encoder, track, places, progress, stage)
    diagnostics_of(prepared, features, encoder, track, places, stage=stage)


@lru_cache(maxsize=4)
def _prepared_cached(track_json: str, name: str, places: Places, data: Path | None) -> Prepared:
    track = TrackSettings.model_validate_json(track_json)
    return prepare_dataset(track.dataset(name), name, places, data)


def prepared_of(track: TrackSettings, name: str, places: Places, data: Path | None) -> Prepared:
    """A data set of a track, read once per process."""
    return _prepared_cached(track.model_dump_json(), name, places, data)
