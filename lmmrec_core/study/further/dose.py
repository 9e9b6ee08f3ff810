"""Does alignment decide? The same encoder, its features more and less aligned, in models that fuse modalities.

Alignment is measured on the features themselves (:mod:`lmmrec_core.metrics.alignment`), recommendation as in every
table. Features that were fine-tuned differ by seed; their alignment is the mean over what was measured.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from lmmrec_core.errors import unknown
from lmmrec_core.flow import Result
from lmmrec_core.names import BASELINE
from lmmrec_core.questions import Variant, trained
from lmmrec_core.report import figures
from lmmrec_core.report.alignment import ALIGNMENT_MEASURES, CHANCE
from lmmrec_core.report.html import ABSENT, Sentence, ShownTable, listing_or_words, shown_number, signed_percent
from lmmrec_core.report.labels import dataset_name, metric_name, model_name
from lmmrec_core.report.layout import by_case, trained_runs
from lmmrec_core.report.run_links import CellLinks, CellRuns, cell_runs, here
from lmmrec_core.results.pooling import per_seed, pooled_per_user
from lmmrec_core.significance.comparison import compare
from lmmrec_core.significance.crossed import means_variance
from lmmrec_core.significance.seed_noise import SeedNoise
from lmmrec_core.significance.units import crossed, runs_of
from lmmrec_core.study.comparisons import model_noise
from lmmrec_core.study.further.tracks import further_study
from lmmrec_core.study.study import Study

_NOTHING = "No features with another alignment have been tried on this track yet: **not run**."
_Cell = tuple[str, str, Variant]


@dataclass(frozen=True, eq=False)
class Dose:
    """What a page shows of a track's alignment question; everything says *not run* where the track has none."""

    study: Study | None  # the side track
    metrics: tuple[str, ...]
    measure: str  # dotted name of a diagnostics column

    @classmethod
    def open(
        cls, study: Study, metrics: Sequence[str] = ("recall@20", "ndcg@20"), measure: str = "shared.align"
    ) -> "Dose":
        """Of the side track of ``study``."""
        return cls(further_study("dose", study), tuple(metrics), measure)

    def run_missing(self, jobs: int = 2) -> None:
        """Compute what is missing; nothing where the track has no such question."""
        if self.study is not None:
            self.study.run_missing(jobs=jobs)

    @cached_property
    def _cells(self) -> dict[_Cell, list[Result]]:
        """The runs of each cell whose content is as it is, with the settings of all."""
        if self.study is None:
            return {}
        found = by_case(self.study.results())
        return {cell: list(kept.values()) for cell, runs in found.items()
                if cell[2].whole and (kept := trained_runs(runs))}  # fmt: skip

    @cached_property
    def lines(self) -> pd.DataFrame:
        """One line per data set, recommender and features that were run, in the order of the tables.

        dataset, model, variant, alignment with ``low``, ``high`` and ``chance`` (pictures with texts of other items),
        and for each metric its mean with 95 % interval over users and seeds (``<metric>``, ``<metric>.low``,
        ``<metric>.high``), seeds.
        """
        rows = []
        for (dataset, model, variant), runs in self._cells.items():
            row: dict[str, Any] = {"dataset": dataset, "model": model, "variant": variant, "seeds": len(runs)}
            row |= dict(zip(("alignment", "low", "high", "chance"), self._alignment(dataset, variant), strict=True))
            for metric in self.metrics:
                row |= _mean(metric, runs, self._noise(dataset, model, metric))
            rows.append(row)
        return pd.DataFrame(rows)

    def _noise(self, dataset: str, model: str, metric: str) -> SeedNoise | None:
        cells = {(m, v): runs for (name, m, v), runs in self._cells.items() if (name, m) == (dataset, model)}
        groups = pooled_per_user(next(iter(cells.values())), metric)[1]
        return model_noise([model], cells, metric, groups)[model]

    @cached_property
    def _diagnostics(self) -> pd.DataFrame:
        assert self.study is not None
        return self.study.diagnostics()

    def _alignment(self, dataset: str, variant: Variant) -> tuple[float, float, float, float]:
        known = self._diagnostics
        if not len(known):
            return (math.nan,) * 4
        if self.measure not in known:
            measured = [name for name in ALIGNMENT_MEASURES if name in known]
            raise unknown("measure of alignment", self.measure, measured)
        place = (known["dataset"] == dataset) & (known["encoder"] == variant.encoder)
        found = known[place & (known["paradigm"] == variant.paradigm)]
        chance = CHANCE.get(self.measure, "")
        names = (self.measure, f"{self.measure}.low", f"{self.measure}.high", str(chance))
        value, low, high, level = (float(found[name].mean()) if name in found else math.nan for name in names)
        return value, low, high, chance if isinstance(chance, float) else level

    def figure(self) -> Figure:
        """Quality over measured alignment: a panel per data set, recommender and metric. Grey: baseline, chance."""
        if self.lines.empty:
            return figures.nothing_drawn()
        panels_of = list(dict.fromkeys(zip(self.lines["dataset"], self.lines["model"], strict=True)))
        with figures.theme():
            size = (figures.WIDTH, 2.3 * len(panels_of) + 0.6)
            figure, panels = figures.plt.subplots(
                len(panels_of), len(self.metrics), figsize=size, squeeze=False, layout="constrained"
            )
            for i, place in enumerate(panels_of):
                part = self.lines[(self.lines["dataset"] == place[0]) & (self.lines["model"] == place[1])]
                for j, metric in enumerate(self.metrics):
                    _draw(panels[i, j], part, metric)
                    panels[i, j].set_title(f"{dataset_name(place[0])}, {model_name(place[1])}", fontsize=9)
                    panels[i, j].set_ylabel(metric_name(metric))
            for axes in panels[-1]:
                axes.set_xlabel(ALIGNMENT_MEASURES.get(self.measure, self.measure))
            return figures.closed(figure)

    def listing(self) -> ShownTable | Sentence:
        """The lines for readers."""
        if self.study is None or self.lines.empty:
            return Sentence(_NOTHING)
        labels, rows = self.study.labels, []
        for line in self.lines.to_dict("records"):
            row: dict[str, object] = {
                "system": labels.case(line["model"], line["variant"]), "data set": dataset_name(line["dataset"]),
                "alignment": _interval(line["alignment"], line["low"], line["high"]),
                "by chance": _interval(line["chance"], math.nan, math.nan),
            }  # fmt: skip
            for metric in self.metrics:
                row[metric_name(metric)] = _interval(line[metric], line[f"{metric}.low"], line[f"{metric}.high"])
            row |= {"seeds": line["seeds"]}
            rows.append({**row, "runs": CellLinks((here(line["dataset"], line["model"], line["variant"]),))})
        return listing_or_words(pd.DataFrame(rows), "dose", _NOTHING)

    def runs(self) -> CellRuns | Sentence:
        """The keys of all runs behind the page."""
        if self.study is None or not self._cells:
            return Sentence("")
        shown = {here(*cell).removeprefix("#") for cell in self._cells}
        return cell_runs(self.study.receipt(), labels=self.study.labels, only=shown)

    def verdict(self) -> tuple[str, str]:
        """(the word, a Markdown sentence): the features as pre-trained against those of the network that align least.

        Alignment is a distance: the least aligned features have the largest. Where the intervals of the two overlap,
        alignment did not move, and nothing is compared.
        """
        metric, told, unmoved = self.metrics[-1], [], []
        for (dataset, model), part in self.lines.groupby(["dataset", "model"], sort=False) if len(self.lines) else ():
            place = str(dataset), str(model)
            name = f"{dataset_name(place[0])}, {model_name(place[1])}"
            known = part[part["alignment"].notna()].sort_values("alignment", kind="stable").to_dict("records")
            whole = next((row for row in known if row["variant"] == trained("clip", "PT")), None)
            if whole is None or len(known) < 2:
                continue
            if not known[-1]["low"] > whole["high"]:
                unmoved.append(name)
                continue
            sides = [self._cells[*place, row["variant"]] for row in (whole, known[-1])]
            a, b = (per_seed(runs, metric) for runs in sides)
            noise = self._noise(*place, metric)
            told.append((name, compare(a, b, pooled_per_user(sides[0], metric)[1], (noise, noise))))
        still = f" Alignment did not move, so nothing is told: {'; '.join(unmoved)}." if unmoved else ""
        if not told:
            if unmoved:
                return "alignment did not move", f"**Nothing is told.**{still}"
            return "not run", f"**Not run.** {_NOTHING}"
        better, worse = sum(found.ci_low > 0 for _, found in told), sum(found.ci_high < 0 for _, found in told)
        shown = ["undefined" if one.relative is None else signed_percent(one.relative) for _, one in told]
        parts = [f"{named}: {change}" for (named, _), change in zip(told, shown, strict=True)]
        return f"{better} of {len(told)} better, {worse} worse", (
            f"**Aligned features are better in {better} of {len(told)} cases and worse in {worse}**; elsewhere the "
            f"interval holds zero. Change of {metric_name(metric)} from the least aligned features to those as "
            f"pre-trained: {'; '.join(parts)}.{still}"
        )


def _mean(metric: str, runs: Sequence[Result], noise: SeedNoise | None) -> dict[str, float]:
    """The mean of a cell with its 95 % interval over users and seeds; no interval where one seed cannot tell."""
    values = runs_of(metric, per_seed(runs, metric))
    pair = crossed(values, values, pooled_per_user(runs, metric)[1])
    variance = means_variance(pair, (noise, noise))
    if variance is None:
        return {metric: pair.mean_a, f"{metric}.low": np.nan, f"{metric}.high": np.nan}
    square, df = variance.of((1.0, 0.0))
    reach = float(stats.t.isf(0.025, df) * np.sqrt(max(square, 0.0)))
    return {metric: pair.mean_a, f"{metric}.low": pair.mean_a - reach, f"{metric}.high": pair.mean_a + reach}


def _draw(axes: Any, part: pd.DataFrame, metric: str) -> None:
    if (chance := part["chance"].dropna()).size:
        axes.axvline(float(chance.mean()), color=figures.GREY, linewidth=1, linestyle=":")
    for line in part.to_dict("records"):
        low, high = line[f"{metric}.low"], line[f"{metric}.high"]
        if line["variant"].encoder == BASELINE:
            axes.axhline(line[metric], color=figures.GREY, linewidth=1)
            continue
        if np.isnan(line["alignment"]):
            continue
        axes.plot([line["alignment"]] * 2, [low, high], color=figures.BLUE, linewidth=1.5)
        axes.plot([line["low"], line["high"]], [line[metric]] * 2, color=figures.BLUE, linewidth=1.5)
        axes.plot(line["alignment"], line[metric], "o", color=figures.BLUE, markersize=5)
        name = line["variant"].encoder
        shown = f"{name}-{line['variant'].paradigm}" if name == "clip" else name
        axes.annotate(shown, (line["alignment"], line[metric]), fontsize=7, xytext=(3, 3), textcoords="offset points")


def _interval(value: float, low: float, high: float) -> str:
    if np.isnan(value):
        return ABSENT
    ends = "" if np.isnan(low) or np.isnan(high) else f" [{shown_number(low, 4)}, {shown_number(high, 4)}]"
    return f"{shown_number(value, 4)}{ends}"
