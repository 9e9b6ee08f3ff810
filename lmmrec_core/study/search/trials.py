"""The trials of a search on disk: which points were tried, what came out, which comes next.

One SQLite file (through Optuna) per question asked, see ``search.py``. A trial is stored when it ends; one that
was running when its process died is tried again. The next point is a function of what is stored and of the seed, so
an interrupted search tries the same points as one that ran through.

Two ways to choose points: ``grid`` takes all of them, in order. ``tpe`` is for budgets smaller than the grid: Optuna's
tree-structured Parzen estimator, ten points at random, then more of them where good ones lay. We prefer it to random
points because a budget of about twenty is small, and it has no settings of its own that could favour a model.
"""

import fcntl
import sqlite3
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lmmrec_core.errors import ConfigError, ResultError
from lmmrec_core.seeds import derive, numpy_stream
from lmmrec_core.study.search.grids import Choice, Point, combinations

Sampler = Literal["grid", "tpe"]
SAMPLERS: tuple[Sampler, ...] = ("grid", "tpe")
_Key = tuple[Choice, ...]  # the values of a point, in the order of the search
_REPEATS = 10  # known points in a row after which an untried one is drawn
_ERROR, _REPEAT, _NOTES = "error", "repeat", "notes"  # attributes of a stored trial


@dataclass(frozen=True)
class Trial:
    """One point that was tried: ``valid`` is None, and ``error`` says why, where its training failed."""

    settings: Point
    valid: float | None
    error: str | None
    notes: Mapping[str, Any]  # what the caller wants to keep; plain JSON values


@contextmanager
def open_trials(
    path: Path, search: Mapping[str, tuple[Choice, ...]], sampler: Sampler, seed: int
) -> Iterator["TrialStore"]:
    """The trials stored in ``path``, which is made when absent; no second process may open it meanwhile.

    Raises ConfigError when another process has it open, ResultError for a file that cannot be read or written.
    """
    with _alone(path), _plain_errors(path), _quiet():
        from optuna import create_study
        from optuna.storages import RDBStorage
        from sqlalchemy.pool import StaticPool

        # "creator" instead of an address: a folder may be called anything
        storage = RDBStorage("sqlite://", engine_kwargs={"creator": lambda: _connect(path), "poolclass": StaticPool})
        try:
            studies: dict[str, Any] = {
                name: create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)
                for name in SAMPLERS
            }
            yield TrialStore(studies, search, sampler, seed)
        finally:
            storage.remove_session()
            storage.engine.dispose()


class TrialStore:
    """An open file of trials. Points tried under the other sampler are known here too, but not part of this search."""

    def __init__(
        self, studies: Mapping[str, Any], search: Mapping[str, tuple[Choice, ...]], sampler: Sampler, seed: int
    ) -> None:
        from optuna.distributions import CategoricalDistribution

        self._study, self._sampler, self._seed = studies[sampler], sampler, seed
        self._names = tuple(search)
        self._points = combinations(search)
        self._distributions = {name: CategoricalDistribution(list(choices)) for name, choices in search.items()}
        self._tried: dict[_Key, Trial] = {}
        self._elsewhere: dict[_Key, Trial] = {}
        self._history: list[bool] = []  # of every evaluated trial of this search: whether it repeated a known point
        self._interrupted: list[Point] = []
        self._waiting = False
        for name, study in studies.items():
            for trial in study.get_trials(deepcopy=False):
                self._take_in(trial, own=name == sampler)
                if trial.state == _state("RUNNING"):
                    study.tell(trial.number, state=_state("FAIL"))

    def tried(self) -> list[Trial]:
        """Distinct points of this search, in the order of their trials."""
        return list(self._tried.values())

    def start(self) -> Any | None:
        """The next trial, to be ended by :meth:`finish` or :meth:`fail`; its point is ``settings_of`` it.

        None when the point was known and has been answered from storage: look at :meth:`tried` again.
        """
        from optuna.samplers import TPESampler

        # one sampler per trial, seeded by the trials before it: so it does not matter in how many sittings they ran
        self._study.sampler = TPESampler(seed=derive(self._seed, f"tuning/{len(self._history)}") % 2**32)
        point = None if self._waiting else self._prescribed()
        if point is not None:
            self._study.enqueue_trial(point)
        trial = self._study.ask(self._distributions)
        self._waiting = False
        key = self._key(trial.params)
        known = self._tried.get(key) or self._elsewhere.get(key)
        if known is None:
            return trial
        trial.set_user_attr(_REPEAT, True)
        if known.valid is None:
            self.fail(trial, str(known.error), known.notes, repeat=True)
        else:
            self.finish(trial, known.valid, known.notes, repeat=True)
        return None

    def finish(self, trial: Any, valid: float, notes: Mapping[str, Any], repeat: bool = False) -> None:
        """End a trial with its validation score."""
        trial.set_user_attr(_NOTES, dict(notes))
        self._study.tell(trial, valid)
        self._remember(Trial(self.settings_of(trial), valid, None, dict(notes)), repeat)

    def fail(self, trial: Any, error: str, notes: Mapping[str, Any], repeat: bool = False) -> None:
        """End a trial whose training failed."""
        trial.set_user_attr(_NOTES, dict(notes))
        trial.set_user_attr(_ERROR, error)
        self._study.tell(trial, state=_state("FAIL"))
        self._remember(Trial(self.settings_of(trial), None, error, dict(notes)), repeat)

    def settings_of(self, trial: Any) -> Point:
        """The point of a started trial."""
        return {name: trial.params[name] for name in self._names}

    def _take_in(self, trial: Any, own: bool) -> None:
        """Sort in a trial found in the file; one that was running or waiting belongs to a dead process."""
        outcome = _outcome(trial)
        whole = len(trial.params) == len(self._names)  # a process may die while the point is being drawn
        if outcome and own:
            self._remember(Trial(self.settings_of(trial), *outcome), _REPEAT in trial.user_attrs)
        elif outcome:
            self._elsewhere.setdefault(self._key(trial.params), Trial(self.settings_of(trial), *outcome))
        elif own and trial.state == _state("WAITING"):
            self._waiting = True  # the next trial will be this one
        elif own and whole:
            self._interrupted.append(self.settings_of(trial))

    def _remember(self, trial: Trial, repeat: bool) -> None:
        self._tried.setdefault(self._key(trial.settings), trial)
        self._history.append(repeat)

    def _prescribed(self) -> Point | None:
        """The point that must come next; None leaves it to the sampler."""
        for point in self._interrupted:
            if self._key(point) not in self._tried:
                return point
        untried = [point for point in self._points if self._key(point) not in self._tried]
        if self._sampler == "grid":
            return untried[0]
        if len(self._history) >= _REPEATS and all(self._history[-_REPEATS:]):
            draw = numpy_stream(self._seed, f"tuning/untried/{len(self._history)}")
            return untried[int(draw.integers(len(untried)))]
        return None

    def _key(self, point: Mapping[str, Any]) -> _Key:
        return tuple(point[name] for name in self._names)


def _outcome(trial: Any) -> tuple[float | None, str | None, dict[str, Any]] | None:
    """Score, error and notes of a stored trial; None when it was never evaluated."""
    notes = trial.user_attrs.get(_NOTES, {})
    if trial.state == _state("COMPLETE"):
        return float(trial.value), None, notes
    if trial.state == _state("FAIL") and _ERROR in trial.user_attrs:
        return None, str(trial.user_attrs[_ERROR]), notes
    return None


def _state(name: str) -> Any:
    from optuna.trial import TrialState

    return TrialState[name]


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(str(path), timeout=60, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")  # with this, every end of a trial survives a kill without
    connection.execute("PRAGMA synchronous=NORMAL")  # waiting for the disk a dozen times
    return connection


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock beside ``path``; the system lets it go when the process dies."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_suffix(".lock").open("w")
    except OSError as error:
        raise ResultError(f"{path.parent}: cannot be written ({error.strerror}); allow writing there") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError("the same tuning is running in another process; wait for it, or stop it") from None
        yield


@contextmanager
def _plain_errors(path: Path) -> Iterator[None]:
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (StorageInternalError, SQLAlchemyError, sqlite3.Error) as error:
        cause = str(error.__cause__ or error).splitlines()[0]
        raise ResultError(
            f"{path}: the stored trials cannot be used ({cause}); free space, or delete the file to tune from the start"
        ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's own log lines and its notes on experimental arguments."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
