"""Does the answer to RQ1 depend on how it was asked? The same comparison under other splits, settings and rankings.

Each comparison is one encoder under PT against the baseline, both sides under the same choice, tested as everywhere
(:mod:`lmmrec_core.significance.crossed`). The spread over seeds is learnt from the cells of the tables.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from lmmrec_core.errors import ResultError
from lmmrec_core.flow import Result, on_splits
from lmmrec_core.metrics.again import measured_masked
from lmmrec_core.names import LMM_ENCODERS, PAPER_MODELS
from lmmrec_core.questions import MODALITY_SPECIFIC, Pair, Variant, trained
from lmmrec_core.report import figures
from lmmrec_core.report.html import Sentence, ShownTable, listing_or_words
from lmmrec_core.report.labels import dataset_name, model_name
from lmmrec_core.report.layout import by_case, trained_runs
from lmmrec_core.report.run_links import CellLinks, CellRuns, cell_anchor, cell_runs, here
from lmmrec_core.results.pooling import per_run
from lmmrec_core.significance.comparison import Comparison, compare
from lmmrec_core.significance.components import Component, cell_squares, variance_components
from lmmrec_core.significance.seed_noise import SeedNoise
from lmmrec_core.study.comparisons import model_noise
from lmmrec_core.study.further.leaks import leak_of_cell
from lmmrec_core.study.further.tracks import further_study
from lmmrec_core.study.study import Study

AS_SET = "as the track is set"
_Cell = tuple[str, str, Variant]  # data set, recommender, variant
_Runs = Mapping[tuple[int, int], Result]  # (split, seed) → run
_FRACTIONS = ("change", "from", "to")


@dataclass(frozen=True)
class Asking:
    """One way to ask: what is changed, and to what. ``masked``: validation items are taken out of the ranking."""

    factor: str
    level: str
    arm: str = "none"
    split: int = 0
    rule: str = ""  # of a data set that is split by another rule
    masked: bool = False

    @property
    def words(self) -> str:
        return f"{self.factor}: {self.level}" if self.level else self.factor


_TABLES = Asking(AS_SET, "")
_CHOICES = (
    Asking("split rule", "the LATTICE authors'", rule="lattice"),
    Asking("feature rows", "as the encoder makes them", arm="raw"),
    Asking("vectors", "32 wide", arm="narrow"),
    Asking("vectors", "128 wide", arm="wide"),
    Asking("validation items", "not ranked", masked=True),
)
ON_TEST, ON_VALIDATION = Asking("chosen on", "the test part"), Asking("chosen on", "validation, same search")


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """What a page shows of a track: the map, its lines, and what the means vary with."""

    study: Study
    metric: str
    models: tuple[str, ...]
    encoders: tuple[str, ...]
    cells: Mapping[_Cell, _Runs]
    added: frozenset[_Cell]  # those of the side track

    @classmethod
    def open(
        cls,
        study: Study,
        results: Sequence[Result],
        metric: str = "ndcg@20",
        models: Sequence[str] = PAPER_MODELS,
        encoders: Sequence[str] = LMM_ENCODERS,
    ) -> "Sensitivity":
        """Of ``results``, those of RQ1, and of the cells that the track's side track adds."""
        own, side = by_case(results), further_study("effects", study)
        more = {} if side is None else by_case(side.results("rq1"))
        found = {cell: trained_runs(runs) for cell, runs in {**more, **own}.items()}
        cells = {cell: runs for cell, runs in found.items() if runs and not all(run.shared for run in runs.values())}
        added = frozenset(cell for cell in cells if cell not in own)
        return cls(study, metric, tuple(models), tuple(encoders), cells, added)

    @property
    def choices(self) -> tuple[Asking, ...]:
        """The track's way first, then every other; splits are those of the stored runs."""
        splits = sorted({split for runs in self.cells.values() for split, _ in runs if split})
        return (_TABLES, *(Asking("split", f"seed {split}", split=split) for split in splits), *_CHOICES)

    @cached_property
    def lines(self) -> pd.DataFrame:
        """One line per data set, recommender, encoder and choice of which both sides were run.

        dataset, model, encoder, choice, change (relative) with its 95 % interval *from* … *to*, seeds, runs.
        """
        rows = []
        for dataset in self.study.datasets:
            for model in self.models:
                noise = self._noise(dataset, model)
                for encoder in self.encoders:
                    found = {choice: self._compared(dataset, model, encoder, choice, noise) for choice in self.choices}
                    rows += [row for row in found.values() if row is not None]
                    rows += self._by_search(dataset, model, encoder)
        return pd.DataFrame(rows, columns=["dataset", "model", "encoder", "choice", *_FRACTIONS, "seeds", "runs"])

    def _noise(self, dataset: str, model: str) -> SeedNoise | None:
        cells = {(m, v): [run for (split, _), run in runs.items() if not split]
                 for (name, m, v), runs in self.cells.items()
                 if (name, m) == (dataset, model) and v.arm == "none"}  # fmt: skip
        cells = {side: runs for side, runs in cells.items() if runs}
        groups = [_groups(runs[0]) for runs in cells.values()]
        return model_noise([model], cells, self.metric, groups[0])[model] if cells else None

    def _sides(self, dataset: str, model: str, encoder: str, choice: Asking) -> list[_Cell]:
        name = f"{dataset}-{choice.rule}" if choice.rule else dataset
        pair = Pair(trained(encoder, "PT"), MODALITY_SPECIFIC)
        return [(name, model, replace(variant, arm=choice.arm)) for _, variant in pair.sides(model)]

    def _compared(
        self, dataset: str, model: str, encoder: str, choice: Asking, noise: SeedNoise | None
    ) -> dict[str, Any] | None:
        sides = self._sides(dataset, model, encoder, choice)
        runs = [
            {seed: run for (split, seed), run in self.cells.get(cell, {}).items() if split == choice.split}
            for cell in sides
        ]
        if not all(runs):
            return None
        try:
            a, b = ({seed: self._values(run, choice) for seed, run in side.items()} for side in runs)
        except (KeyError, ResultError):  # runs that do not tell where validation items stood, or lists too short
            return None
        found = compare(a, b, _groups(next(iter(runs[0].values()))), (noise, noise))
        links = CellLinks(tuple(here(*cell) if cell in self.added else cell_anchor(*cell) for cell in sides))
        return _line(dataset, model, encoder, choice, found, links)

    def _values(self, run: Result, choice: Asking) -> pd.Series:
        return measured_masked(run, self.metric) if choice.masked else run.values(self.metric)

    def _by_search(self, dataset: str, model: str, encoder: str) -> list[dict[str, Any]]:
        """What the comparison would be if the settings were chosen on the test part, from searches that measured it."""
        results = self.study.workspace.results
        track = self.study.track.name
        a, b = (leak_of_cell(results, track, dataset, model, v) for v in (trained(encoder, "PT"), MODALITY_SPECIFIC))
        if a is None or b is None:
            return []
        row = {"dataset": dataset, "model": model, "encoder": encoder, "from": np.nan, "to": np.nan, "seeds": 1}
        row["runs"] = f"{a.record}, {b.record}"
        both = ((ON_VALIDATION, a.honest, b.honest), (ON_TEST, a.leaky, b.leaky))
        return [{**row, "choice": choice, "change": one / two - 1} for choice, one, two in both if two]

    def map(self) -> Figure:
        """All comparisons in one figure: a row per choice, a column per recommender and encoder, a panel per data set.

        Bold: the interval excludes zero. Empty: not run.
        """
        if self.lines.empty:
            return figures.nothing_drawn()
        choices = [*self.choices, *(c for c in (ON_VALIDATION, ON_TEST) if c in set(self.lines["choice"]))]
        columns = [(model, encoder) for model in self.models for encoder in self.encoders]
        titles = self.study.labels.encoders
        datasets = list(dict.fromkeys(self.lines["dataset"]))
        with figures.theme():
            size = (figures.WIDTH, len(datasets) * (0.9 + 0.24 * len(choices)) + 1.2)
            figure, panels = figures.plt.subplots(
                len(datasets), 1, figsize=size, squeeze=False, layout="constrained", sharex=True
            )
            for axes, dataset in zip(panels[:, 0], datasets, strict=True):
                part = self.lines[self.lines["dataset"] == dataset]
                values = np.full((len(choices), len(columns)), np.nan)
                axes.grid(False)
                for row in part.to_dict("records"):
                    i, j = choices.index(row["choice"]), columns.index((row["model"], row["encoder"]))
                    values[i, j] = row["change"]
                    sure = row["from"] > 0 or row["to"] < 0
                    axes.text(j, i, f"{100 * row['change']:+.0f}".replace("-", "−"), ha="center", va="center",
                              fontsize=8, fontweight="bold" if sure else "normal")  # fmt: skip
                axes.imshow(values, cmap="PuOr", norm=TwoSlopeNorm(0, -1, 1), aspect="auto")
                axes.set_yticks(range(len(choices)), [choice.words for choice in choices], fontsize=8)
                axes.set_title(dataset_name(dataset))
            named = [f"{model_name(model)} {titles.get(encoder, encoder)}" for model, encoder in columns]
            panels[-1, 0].set_xticks(range(len(columns)), named, rotation=90, fontsize=8)
            return figures.closed(figure)

    def listing(self) -> ShownTable | Sentence:
        """The lines of the map for readers."""
        labels = self.study.labels
        shown = [
            {
                "comparison": labels.pair(row["model"], Pair(trained(row["encoder"], "PT"), MODALITY_SPECIFIC)),
                "data set": dataset_name(row["dataset"]),
                "asked": row["choice"].words,
                **{name: row[name] for name in (*_FRACTIONS, "seeds", "runs")},
            }
            for row in self.lines.to_dict("records")
        ]
        words = "No comparison of this question has been run yet: **not run**."
        return listing_or_words(pd.DataFrame(shown), "sensitivity", words, percent=_FRACTIONS)

    def side_runs(self) -> CellRuns | Sentence:
        """The runs of the side track's cells, which are on no receipt."""
        side = further_study("effects", self.study)
        if side is None or not self.added:
            return Sentence("")
        return cell_runs(side.receipt(), labels=side.labels, only={cell_anchor(*cell) for cell in self.added})

    def not_run(self) -> str:
        """The choices of which nothing was run, as a Markdown sentence; "" if something was run of each."""
        had = set(self.lines["choice"])
        missing = [choice.words for choice in (*self.choices, ON_TEST) if choice not in had]
        return f"*Not run*: {'; '.join(missing)}." if missing else ""

    def verdict(self) -> tuple[str, str]:
        """(the word, a Markdown sentence): how often another way to ask gives another answer."""
        base = {(row["dataset"], row["model"], row["encoder"]): row for row in self._rows(lambda c: c == _TABLES)}
        others = [(row, base[key]) for row in self._rows(lambda c: c != _TABLES)
                  if (key := (row["dataset"], row["model"], row["encoder"])) in base]  # fmt: skip
        if not others:
            return "not run", "**Not run.** No comparison of this question was run in two ways."
        turned = [(new, old) for new, old in others if new["change"] * old["change"] < 0]
        clear = sum(_side(new) * _side(old) < 0 for new, old in turned)
        word = f"{len(turned)} of {len(others)} change sign, {clear} clearly"
        return word, (
            f"**Asked otherwise, {len(turned)} of {len(others)} comparisons change sign.** In {clear} of them both "
            "answers are clear: neither interval holds zero."
        )

    def _rows(self, wanted: Callable[[Asking], bool]) -> Iterable[dict[Any, Any]]:
        return (row for row in self.lines.to_dict("records") if wanted(row["choice"]))

    def components(self) -> ShownTable | Sentence:
        """Per data set and recommender, over the baseline and the encoders: what one run's mean varies with."""
        rows = []
        for dataset in self.study.datasets:
            for model in self.models:
                variants = [MODALITY_SPECIFIC, *(trained(encoder, "PT") for encoder in self.encoders)]
                ran = {v: self.cells[dataset, model, v] for v in variants if (dataset, model, v) in self.cells}
                if not ran:
                    continue
                squares = []
                for runs in ran.values():
                    values = per_run(list(runs.values()), self.metric)
                    squares.append(cell_squares(_balanced(values), _groups(next(iter(runs.values())))))
                found = variance_components(squares)
                parts = {title: _shown(found[name]) for name, title in _PARTS.items()}
                links = CellLinks(tuple(cell_anchor(dataset, model, variant) for variant in ran))
                rows.append(
                    {"recommender": model_name(model), "data set": dataset_name(dataset), **parts, "runs": links}
                )
        return listing_or_words(pd.DataFrame(rows), "components", "Nothing has been run yet: **not run**.")


_PARTS = {"users": "other users", "seeds": "another seed", "splits": "another split"}


def _balanced(values: Mapping[tuple[int, int], pd.Series]) -> dict[tuple[int, int], pd.Series]:
    """The runs of the seeds that every split has; where there are none, those of the first split."""
    splits = {split for split, _ in values}
    return on_splits(values, splits) or on_splits(values, {min(splits)})


def _shown(part: Component | None) -> str:
    if part is None:
        return "not run"
    return f"{100 * part.deviation:.1f} % [{100 * part.low:.1f}, {100 * part.high:.1f}]"


def _groups(run: Result) -> pd.Series | None:
    return run.per_user["group"] if "group" in run.per_user.columns else None


def _side(row: Mapping[Any, Any]) -> int:
    """1 or −1 where the interval lies on one side of zero, else 0."""
    return int(row["from"] > 0) - int(row["to"] < 0)


def _line(
    dataset: str, model: str, encoder: str, choice: Asking, found: Comparison, links: CellLinks
) -> dict[str, Any] | None:
    if found.relative is None:
        return None
    low, high = (np.nan if end is None else end for end in (found.relative_low, found.relative_high))
    row = {"dataset": dataset, "model": model, "encoder": encoder, "choice": choice, "change": found.relative}
    return {**row, "from": low, "to": high, "seeds": found.seeds, "runs": links}
