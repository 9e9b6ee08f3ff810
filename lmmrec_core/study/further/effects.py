"""What the public code's choices do to results on these data: each measured beside its opposite, all else alike.

A choice is an arm of the side track, with its cell as the other side; validation items need no training of their own,
because runs keep where they stood; choosing on the test part is measured by searches.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from lmmrec_core.errors import ResultError
from lmmrec_core.flow import Result
from lmmrec_core.metrics.again import measured_masked
from lmmrec_core.questions import Variant
from lmmrec_core.report.html import Sentence, ShownTable, listing_or_words, signed_percent
from lmmrec_core.report.labels import dataset_name, metric_name
from lmmrec_core.report.layout import by_case, trained_runs
from lmmrec_core.report.run_links import CellLinks, CellRuns, cell_runs, here
from lmmrec_core.results.pooling import pooled_per_user
from lmmrec_core.significance.comparison import compare
from lmmrec_core.significance.seed_noise import SeedNoise
from lmmrec_core.study.comparisons import model_noise
from lmmrec_core.study.further.leaks import leak_of_cell
from lmmrec_core.study.further.tracks import further_study
from lmmrec_core.study.study import Study


@dataclass(frozen=True)
class SideArm:
    """The arm of the side track that takes one side of a difference; the cell itself takes the other."""

    arm: str
    public: bool = True  # whether the arm is the public code's side


#: Name of a difference in the ledger → how it is measured.
ARMS = {
    "rounded validation score": SideArm("rounded"),
    "ranking with vectors left from training": SideArm("stale"),
    "ranking by a sigmoid": SideArm("sigmoid"),
    "regulariser that is not squared": SideArm("squared", public=False),
    "features raw or of unit length": SideArm("raw"),
    "features as trained tables": SideArm("tables"),
    "gradients that are zero or absent": SideArm("unfilled", public=False),
    "encoders that get no gradient": SideArm("released"),
    "vectors twice as wide": SideArm("wide"),
}
MASKED, CHOSEN = "validation items at test time", "settings chosen on the test part"
MEASURABLE = (CHOSEN, MASKED, *ARMS)
_HEADS = ("public code", "otherwise", "change", "from", "to")
_FRACTIONS = ("change", "from", "to")
_Cell = tuple[str, str, Variant]


@dataclass(frozen=True, eq=False)
class Effects:
    """The measured effects, from the side track of one of the book's tracks."""

    study: Study
    metric: str

    @classmethod
    def open(cls, track: str = "films", metric: str = "recall@20") -> "Effects":
        """Of the side track of ``track``. Raises ConfigError for a track that has none."""
        side = further_study("effects", Study.open(track))
        assert side is not None, track
        return cls(side, metric)

    @cached_property
    def _cells(self) -> dict[_Cell, dict[int, Result]]:
        """The runs of each cell on its own split, seed → run."""
        found: dict[_Cell, dict[int, Result]] = {}
        for cell, runs in by_case(self.study.results()).items():
            kept = {seed: run for (split, seed), run in trained_runs(runs).items() if not split and not run.shared}
            if kept:
                found[cell] = kept
        return found

    @cached_property
    def lines(self) -> pd.DataFrame:
        """One line per difference and cell of which both sides were run.

        difference, model, variant, dataset, mean of the metric as the *public code* and *otherwise*, the relative
        change from the second to the first with its 95 % interval, seeds, runs.
        """
        rows: list[dict[str, Any] | None] = [*self._of_searches()]
        for cell, runs in self._cells.items():
            if cell[2].arm == "none":
                rows += self._masked(cell, runs)
        for name, side in ARMS.items():
            for cell, runs in self._cells.items():
                base = (cell[0], cell[1], replace(cell[2], arm="none"))
                if cell[2].arm == side.arm and base in self._cells:
                    both = (cell, runs), (base, self._cells[base])
                    rows.append(self._line(name, *(both if side.public else both[::-1])))
        heads = ["difference", "model", "variant", "dataset", *_HEADS, "seeds", "runs"]
        return pd.DataFrame([row for row in rows if row is not None], columns=heads)

    def _line(
        self, name: str, public: tuple[_Cell, Mapping[int, Result]], other: tuple[_Cell, Mapping[int, Result]]
    ) -> dict[str, Any] | None:
        a, b = ({seed: run.values(self.metric) for seed, run in runs.items()} for _, runs in (public, other))
        links = CellLinks((here(*public[0]), here(*other[0])))
        return self._compared(name, other[0], a, b, next(iter(public[1].values())), links)

    def _masked(self, cell: _Cell, runs: Mapping[int, Result]) -> Iterable[dict[str, Any] | None]:
        """Validation items in the ranking, as the public code has them, against a ranking without."""
        try:
            without = {seed: measured_masked(run, self.metric) for seed, run in runs.items()}
        except (KeyError, ResultError):  # runs that do not tell where these stood, or lists too short without them
            return []
        ranked = {seed: run.values(self.metric) for seed, run in runs.items()}
        first = next(iter(runs.values()))
        return [self._compared(MASKED, cell, ranked, without, first, CellLinks((here(*cell),)))]

    def _compared(
        self,
        name: str,
        cell: _Cell,
        public: Mapping[int, pd.Series],
        other: Mapping[int, pd.Series],
        one: Result,
        links: CellLinks,
    ) -> dict[str, Any] | None:
        groups = one.per_user["group"] if "group" in one.per_user.columns else None
        noise = self._noise(cell[0], cell[1])
        found = compare(public, other, groups, (noise, noise))
        if found.relative is None:
            return None
        low, high = (np.nan if end is None else end for end in (found.relative_low, found.relative_high))
        dataset, model, variant = cell
        row = {"difference": name, "model": model, "variant": variant, "dataset": dataset}
        values = (found.mean_a, found.mean_b, found.relative, low, high)
        return {**row, **dict(zip(_HEADS, values, strict=True)), "seeds": found.seeds, "runs": links}

    def _noise(self, dataset: str, model: str) -> SeedNoise | None:
        cells = {(m, v): list(runs.values()) for (name, m, v), runs in self._cells.items()
                 if (name, m) == (dataset, model)}  # fmt: skip
        groups = pooled_per_user(next(iter(cells.values())), self.metric)[1]
        return model_noise([model], cells, self.metric, groups)[model]

    def _of_searches(self) -> Iterable[dict[str, Any]]:
        """Of the same points of a search, the best by the test part against the best by validation; Recall@20."""
        track = self.study.track
        found = ((case.dataset, case.model, Variant.of(case.model_dump())) for case in self.study.cases())
        cells = dict.fromkeys(cell for cell in found if cell[2].whole)
        for dataset, model, variant in cells:
            leak = leak_of_cell(self.study.workspace.results, track.name, dataset, model, variant)
            if leak is not None and leak.honest:
                row = {"difference": CHOSEN, "model": model, "variant": variant, "dataset": dataset}
                values = (leak.leaky, leak.honest, leak.leaky / leak.honest - 1, np.nan, np.nan)
                yield {**row, **dict(zip(_HEADS, values, strict=True)), "seeds": 1, "runs": leak.record}

    def listing(self, names: Sequence[str] = MEASURABLE) -> ShownTable | Sentence:
        """The lines for readers, those of some differences of the ledger or of all."""
        labels = self.study.labels
        rows = [
            {
                "difference": row["difference"],
                "system": labels.case(row["model"], row["variant"]),
                "data set": dataset_name(row["dataset"]),
                **{name: row[name] for name in (*_HEADS, "seeds", "runs")},
            }
            for row in self.lines.to_dict("records")
            if row["difference"] in names
        ]
        words = "None of these choices has been run beside its opposite yet: **not run**."
        return listing_or_words(pd.DataFrame(rows), "effects", words, percent=_FRACTIONS)

    @cached_property
    def in_words(self) -> dict[str, str]:
        """Difference → what it does, in few words, for those that were measured."""
        told = {}
        for name, part in self.lines.groupby("difference", sort=False):
            sure = int(((part["from"] > 0) | (part["to"] < 0)).sum())
            low, high = signed_percent(float(part["change"].min())), signed_percent(float(part["change"].max()))
            span = low if len(part) == 1 else f"{low} to {high}"
            cells = "one cell" if len(part) == 1 else f"{len(part)} cells"
            told[str(name)] = f"{metric_name(self.metric)} {span} in {cells}; {sure} of them clear"
        return told

    def not_run(self) -> str:
        """What could be measured and was not, as a Markdown sentence; "" if all was."""
        missing = [name for name in MEASURABLE if name not in self.in_words]
        return f"*Not run*: {'; '.join(missing)}." if missing else ""

    def runs(self) -> CellRuns | Sentence:
        """The keys of the runs behind the listing."""
        if not self._cells:
            return Sentence("")
        shown = {anchor.removeprefix("#") for links in self.lines["runs"] if isinstance(links, CellLinks)
                 for anchor in links.anchors}  # fmt: skip
        return cell_runs(self.study.receipt(), labels=self.study.labels, only=shown)
