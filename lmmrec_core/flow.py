"""The values that flow through the study, in order: Catalogue → Split → Features → Result → Table.

Each is frozen and holds NumPy arrays. A stage takes values from its left and returns the next one;
no stage imports another. Axes: ``user``, ``item``, ``edge`` (one interaction), ``dim``, ``k`` (rank).
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

import numpy as np
import numpy.typing as npt
import pandas as pd

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

Modality = Literal["visual", "textual"]
MODALITIES: tuple[Modality, ...] = ("visual", "textual")
Part = Literal["train", "valid", "test"]
PARTS: tuple[Part, ...] = ("train", "valid", "test")


@dataclass(frozen=True, eq=False)
class Catalogue:
    """Items with their content, users, and who interacted with what; ids are positions from 0.

    ``user_ids[u]`` and ``item_ids[i]`` are the ids of the source, always text (an ASIN of digits keeps
    its zeros). ``user`` and ``item`` [edge] hold one entry per distinct positive pair.
    """

    name: str
    user_ids: tuple[str, ...]
    item_ids: tuple[str, ...]
    user: IntArray
    item: IntArray
    texts: tuple[str, ...]  # one per item, fields joined; "" if there is none
    images: tuple[Path | None, ...]  # one per item; None if there is none
    label: IntArray | None = None  # [edge] 0 train, 1 valid, 2 test, if the source brings a split
    timestamp: IntArray | None = None  # [edge] seconds since 1970, if known
    user_group: IntArray | None = None  # [user] the person behind a pseudo-user, if known
    ready_features: Mapping[Modality, Float32Array] = field(default_factory=dict)  # [item, dim]
    counts: Mapping[str, int] = field(default_factory=dict)  # what was read, dropped, merged, missing

    @property
    def n_users(self) -> int:
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        return len(self.item_ids)

    @property
    def density(self) -> float:
        """Interactions / (users × items)."""
        return len(self.user) / (self.n_users * self.n_items)


@dataclass(frozen=True, eq=False)
class Interactions:
    """Pairs of one part of a split: ``user`` and ``item`` [edge], sorted by user, then item."""

    user: IntArray
    item: IntArray

    def __len__(self) -> int:
        return len(self.user)


@dataclass(frozen=True, eq=False)
class Split:
    """Train, valid and test interactions of one catalogue, with the rule and the seed that made them."""

    n_users: int
    n_items: int
    train: Interactions
    valid: Interactions
    test: Interactions
    rule: str
    seed: int | None
    fingerprint: str  # order-free digest of all (user, item, part) rows
    user_group: IntArray | None = None  # [user], carried over from the catalogue

    def part(self, name: Part) -> Interactions:
        return {"train": self.train, "valid": self.valid, "test": self.test}[name]

    def rows(self, name: Part) -> tuple[IntArray, IntArray]:
        """CSR form of a part: ``indptr`` [user + 1], ``items`` [edge]; u has items[indptr[u]:indptr[u + 1]]."""
        part = self.part(name)
        indptr = np.zeros(self.n_users + 1, dtype=np.int64)
        np.cumsum(np.bincount(part.user, minlength=self.n_users), out=indptr[1:])
        return indptr, part.item

    @cached_property
    def train_keys(self) -> IntArray:
        """Sorted ``user * n_items + item`` of the training rows, for membership by binary search."""
        return np.sort(self.train.user * self.n_items + self.train.item)


@dataclass(frozen=True, eq=False)
class Features:
    """One row per item and modality, with the card that says how they came to be.

    ``digest`` is the content digest of the matrices: everything derived from features is keyed by it.
    """

    matrices: Mapping[Modality, Float32Array]  # [item, dim]
    present: Mapping[Modality, BoolArray]  # [item] False where the missing rule was applied
    card: Mapping[str, Any]
    digest: str


@dataclass(frozen=True, eq=False)
class Epoch:
    """One line of a training history; ``valid`` is None if the epoch was not evaluated."""

    number: int
    loss: float
    valid: float | None
    seconds: float


def was_trained(record: Mapping[str, Any]) -> bool:
    """:attr:`Result.trained`, from the run record alone."""
    notes = (record.get("training") or {}).get("features") or {}
    return bool(notes.get("trained", True))


OWN_SPLIT = 0  # the number of the split that a data set has where no further ones are run
_Run = TypeVar("_Run")


def common_splits(cells: Iterable[Collection[tuple[int, int]]]) -> frozenset[int]:
    """The splits that all cells have, each given by the (split, seed) of its runs; cells without runs do not count.

    Where they have none in common, one has no seed that is on each of them, or nothing was run: the data set's own.
    """
    found = [numbers for numbers in cells if numbers]
    splits = [frozenset(split for split, _ in numbers) for numbers in found]
    shared = frozenset.intersection(*splits) if splits else frozenset[int]()
    if not all(on_splits(dict.fromkeys(numbers), shared) for numbers in found):
        shared = frozenset()
    return shared or frozenset({OWN_SPLIT})


def on_splits(runs: Mapping[tuple[int, int], _Run], splits: Collection[int]) -> dict[tuple[int, int], _Run]:
    """The runs, by (split, seed), on these splits, of the seeds that are on each: else one split would weigh more."""
    on_each = [{seed for split, seed in runs if split == one} for one in splits]
    seeds = set.intersection(*on_each) if on_each else set()
    return {number: run for number, run in runs.items() if number[0] in splits and number[1] in seeds}


@dataclass(frozen=True, eq=False)
class Result:
    """Per-user metrics of one run, in full precision, with its identity and provenance."""

    case: Mapping[str, Any]
    per_user: pd.DataFrame  # index: user; columns: "recall@20", "ndcg@10", ...; plus "group" if users share a person
    overall: Mapping[str, float]  # metrics of a whole run that no single user has, e.g. "coverage@20"
    record: Mapping[str, Any]  # run.json
    again: Callable[["Result", str], pd.Series] | None = None  # measures, from the kept hits, what was not stored

    @property
    def trained(self) -> bool:
        """False for an end-to-end run whose kept state precedes the second update of its encoder.

        Such a run is not of its paradigm: it is shown as *not trained*, and enters no mean and no test.
        """
        return was_trained(self.record)

    @property
    def number(self) -> tuple[int, int]:
        """Which run of its cell it is: its split (0: the data set's own) and seed."""
        return int(self.case.get("split", 0)), int(self.case["seed"])

    @property
    def shared(self) -> bool:
        """Whether it stands for an arm whose settings its cell has anyway: the run is that of the cell."""
        return bool(self.record.get("shared"))

    def values(self, metric: str) -> pd.Series:
        """One value per evaluated user: stored, or measured again. Raises KeyError for a metric that is neither."""
        if metric in self.per_user.columns:
            return self.per_user[metric]
        if self.again is None:
            raise KeyError(metric)
        return self.again(self, metric)

    def mean(self, metric: str) -> float:
        """Mean over evaluated users, unrounded; or the metric of the whole run. Raises as :meth:`values`."""
        if metric in self.overall:
            return float(self.overall[metric])
        return float(self.values(metric).mean())


class Results(Sequence[Result]):
    """Results that count, and beside them the ones that do not: those stand in no mean, test or figure.

    ``withheld`` come from code that was not committed; a table names their cells.
    """

    def __init__(self, counted: Iterable[Result], withheld: Iterable[Result] = ()) -> None:
        self.counted = tuple(counted)
        self.withheld = tuple(withheld)

    @overload
    def __getitem__(self, index: int) -> Result: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Result, ...]: ...
    def __getitem__(self, index: int | slice) -> Result | tuple[Result, ...]:
        return self.counted[index]

    def __len__(self) -> int:
        return len(self.counted)

    def __iter__(self) -> Iterator[Result]:
        return iter(self.counted)


@dataclass(frozen=True, eq=False)
class Table:
    """A table ready to be shown: numbers, their origin cell by cell, and the caption.

    ``origin`` has the shape of ``values``: "measured", "printed", "not printed", "not run",
    "not trained", "uncommitted" (run, but by code that nobody else has), "same run" (that of the cell that an arm
    repeats) or "derived".
    """

    name: str
    caption: str
    values: pd.DataFrame
    origin: pd.DataFrame
    marks: pd.DataFrame | None = None  # stars and the like, as text
    spread: pd.DataFrame | None = None  # standard deviation over seeds
    runs: pd.DataFrame | None = None  # cells behind a measured number: ids of rows of the receipt, blanks between
