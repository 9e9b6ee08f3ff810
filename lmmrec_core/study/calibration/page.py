"""The calibration as its page shows it: tables and figures of whatever is stored, *not run* in words for the rest."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from lmmrec_core.errors import unknown
from lmmrec_core.home import default_home
from lmmrec_core.names import MODEL_TITLES
from lmmrec_core.questions import ALPHA, MARGIN
from lmmrec_core.report.calibration import p_value_figure, power_figure
from lmmrec_core.report.html import Sentence, ShownTable, listing_or_words
from lmmrec_core.report.labels import dataset_name, metric_name, model_name
from lmmrec_core.report.planted import CANNOT_TELL, FOUND, NOT_FOUND, PLANTED_CONTENT, PLANTED_FIRST
from lmmrec_core.results.provenance import ALLOW
from lmmrec_core.significance.rates import rate_of
from lmmrec_core.study.calibration import summary as figures
from lmmrec_core.study.calibration.reading import Stored, read_calibration
from lmmrec_core.study.calibration.simulated import BOOK_TEST, SEEDS_FIXED
from lmmrec_core.study.calibration.tables import (
    answering_tests,
    at_levels,
    between,
    candidate_rows,
    capacity_rows,
    in_percent,
    itself_by_dataset,
    itself_by_model,
    itself_on_worlds,
    planted_answers,
    told,
)
from lmmrec_core.study.calibration.words import (
    NOT_RUN_YET,
    bar_rows,
    coverage_in_words,
    itself_in_words,
    planted_in_words,
    verdict_in_words,
)
from lmmrec_core.study.calibration.world_tests import divisions_of
from lmmrec_core.study.calibration.worlds import KEPT_METRICS, WORLDS


@dataclass(frozen=True, eq=False)
class CalibrationPage:
    """What is stored of a calibration, judged on one metric."""

    stored: Stored
    metric: str = figures.METRIC

    @classmethod
    def open(cls, metric: str = figures.METRIC, home: Path | None = None) -> "CalibrationPage":
        """The calibration below ``home`` (default: ``home.default_home``). Raises ConfigError for an unknown metric."""
        if metric not in KEPT_METRICS:
            raise unknown("metric", metric, KEPT_METRICS)
        return cls(read_calibration((home or default_home()) / "results"), metric)

    def summary(self) -> str:
        """One Markdown paragraph: how much is stored, and what does not count."""
        parts = [f"{len(self.stored.worlds[part])} {part} worlds" for part in WORLDS]
        pairs = int(self._pairs["p"].notna().sum())
        simulated = 0 if self.stored.coverage is None else self.stored.coverage.rows["world"].nunique()
        text = f"Stored: {', '.join(parts)}, {pairs} pairs of seeds, {simulated} simulated worlds."
        text = " ".join([text, *self.stored.remarks()])
        if self.stored.uncommitted:
            text += (
                f" **{len(self.stored.uncommitted)} results are of uncommitted code** and stand in no table; commit "
                f"the code and run `make calibrate` again, or set {ALLOW}=1 to see them."
            )
        return text

    def bars(self) -> ShownTable:
        """What was asked of the tests before they were measured, and whether it holds."""
        shown = pd.DataFrame(bar_rows(self.stored, self.metric))
        return listing_or_words(shown, "calibration-bars", NOT_RUN_YET, prose=True)  # type: ignore[return-value]

    def against_itself(self) -> ShownTable | Sentence:
        """The A/A rates by data set and metric, of the book's test and of the one that takes seeds as fixed."""
        return listing_or_words(pd.DataFrame(itself_by_dataset(self.stored)), "against-itself", NOT_RUN_YET)

    def against_itself_by_model(self) -> ShownTable | Sentence:
        """The same by model, and how many cells and pairs could not be tested for want of others to learn from."""
        rows = itself_by_model(self.stored, self.metric)
        return listing_or_words(pd.DataFrame(rows), "against-itself-models", NOT_RUN_YET)

    def itself_in_words(self) -> str:
        """One Markdown paragraph on those rates: models outside the band, cells added later, how sure they are."""
        return itself_in_words(self.stored, self.metric)

    def against_itself_on_worlds(self) -> ShownTable | Sentence:
        """The A/A rates on the null worlds, by model and metric."""
        return listing_or_words(pd.DataFrame(itself_on_worlds(self.stored)), "against-itself-worlds", NOT_RUN_YET)

    def null_figure(self) -> Figure:
        """The p-values of the null worlds against those of a test that is right."""
        tests = self._null
        named = {"users and seeds (the book)": tests["p"], "users only": tests["p_users"]}
        return p_value_figure({name: values.tolist() for name, values in named.items()})

    def null_rates(self) -> ShownTable | Sentence:
        """How often each rule finds a difference on the null worlds, by model and metric."""
        rows = []
        for metric in KEPT_METRICS:
            tests = figures.null_tests(self.stored, metric)
            for model, part in [*tests.groupby("model", sort=False), ("both", tests)] if len(tests) else []:
                place = {"model": MODEL_TITLES.get(str(model), str(model)), "metric": metric_name(metric)}
                own = in_percent(float((part["p_own"] < ALPHA).mean()))
                rows.append({**place, "tests": len(part), **at_levels(figures.rejected, part), "own seeds only": own})
        return listing_or_words(pd.DataFrame(rows), "null-rates", NOT_RUN_YET)

    def divisions(self) -> ShownTable | Sentence:
        """The rate over divisions of the six runs of a null world, by what the sides share."""
        found = divisions_of(self.stored.worlds["null"], self.metric)
        kinds = {
            "content against shuffled (the book's)": found["planned"],
            "others with every seed on both sides": found["matched"] & ~found["planned"],
            "with a seed twice on one side": ~found["matched"],
        }
        rows = []
        for name, chosen in kinds.items():
            part = found[chosen.astype(bool)]
            if len(part):
                rate = rate_of((part["p"] < ALPHA).tolist(), figures.clusters(part))
                rows.append({"division": name, "tests": len(part), **told(rate)})
        return listing_or_words(pd.DataFrame(rows), "divisions", NOT_RUN_YET)

    @cached_property
    def curve(self) -> pd.DataFrame:
        """Power over planted effects: model, content, worlds, rate, low, high, and the median measured change."""
        tests = figures.power_tests(self.stored, self.metric)
        rows = []
        for (model, content), part in tests.groupby(["model", "content"], sort=False):
            rate = figures.power_of(part)
            assert rate is not None
            place = {"model": model, "content": content, "worlds": len(part), "change": part["relative"].median()}
            rows.append({**place, "rate": rate.rate, "low": rate.low, "high": rate.high})
        order = ["model", "content", "worlds", "change", "rate", "low", "high"]
        return pd.DataFrame(rows, columns=order).sort_values(["model", "content"], ascending=[False, True])

    def power(self) -> Figure:
        """The power curve."""
        return power_figure(self.curve)

    def power_listing(self) -> ShownTable | Sentence:
        """The numbers of the power curve."""
        rows = [
            {
                "planted": f"{row['content']:.0%}", "model": model_name(str(row["model"])), "worlds": row["worlds"],
                "measured change": row["change"], "found": in_percent(row["rate"]), "95 % interval": between(row),
            }
            for row in self.curve.to_dict("records")
        ]  # fmt: skip
        return listing_or_words(pd.DataFrame(rows), "power", NOT_RUN_YET, percent=("measured change",))

    def planted(self) -> ShownTable | Sentence:
        """The planted answers as rates over worlds, by the rule of the results' pages.

        Last the answer that redundant data had first, for reference.
        """
        rows, tests = [], answering_tests(self.stored, self.metric)
        for expected in (*PLANTED_CONTENT, *PLANTED_FIRST):
            words = f"within ±{MARGIN:.0%}" if expected.effect == "none" else expected.words
            words += " (first, not counted)" if expected in PLANTED_FIRST else ""
            for model, answers in planted_answers(tests, expected).items():
                said = answers["answer"].tolist()
                rate = rate_of([one == FOUND for one in said], figures.clusters(answers))
                rows.append(
                    {
                        "comparison": f"{model_name(model)}: {expected.pair}",
                        "data set": dataset_name(expected.dataset),
                        "planted": words,
                        "worlds": len(said), FOUND: in_percent(rate.rate), "95 % interval": between(vars(rate)),
                        NOT_FOUND: said.count(NOT_FOUND), CANNOT_TELL: said.count(CANNOT_TELL),
                    }
                )  # fmt: skip
        return listing_or_words(pd.DataFrame(rows), "planted-rates", NOT_RUN_YET)

    def planted_in_words(self) -> str:
        """One Markdown paragraph: which planted answers are seldom found, and why."""
        return planted_in_words(self.stored, self.metric)

    def capacity(self) -> ShownTable | Sentence:
        """What a second modality seems to add to MMGCN where content says nothing."""
        rows = capacity_rows(self.stored, self.metric)
        changes = ("median change", "lowest", "highest")
        return listing_or_words(pd.DataFrame(rows), "capacity", NOT_RUN_YET, percent=changes)

    def coverage(self) -> ShownTable | Sentence:
        """How often 95 % intervals hold the truth, by simulated world, the worst first."""
        rows = []
        for _, part in sorted(self._simulated.groupby("world", sort=False), key=lambda one: _share_covered(one[1])):
            book, fixed = (part[part["candidate"] == name].iloc[0] for name in (BOOK_TEST, SEEDS_FIXED))
            rows.append(
                {
                    "true change": in_percent(book["effect"]), "spread over seeds": in_percent(book["seed_cv"]),
                    "seeds": _seeds(book.to_dict()), "splits": int(book["splits"]),
                    "spread over splits": _moved_by_splits(book.to_dict()),
                    "mean": f"{book['level']:g}",
                    "users a person": f"{book['users_each']:g}",
                    "other cells": int(book["further"]), "the book": in_percent(book["covered"]),
                    "of the change": in_percent(book["covered_relative"]), "users only": in_percent(fixed["covered"]),
                }
            )  # fmt: skip
        return listing_or_words(pd.DataFrame(rows), "coverage", NOT_RUN_YET)

    def candidates(self) -> ShownTable | Sentence:
        """Every candidate test over all simulated worlds."""
        return listing_or_words(pd.DataFrame(candidate_rows(self.stored)), "candidates", NOT_RUN_YET)

    def coverage_in_words(self) -> str:
        """One Markdown paragraph: coverage in all and in the worst world, and false alarms."""
        return coverage_in_words(self.stored)

    def detectable(self) -> ShownTable | Sentence:
        """The minimum detectable effect by data set and question: median and range over its pairs."""
        rows = []
        for dataset, questions in (figures.detectable(self.stored, self.metric) or {}).items():
            for question, found in questions.items():
                rows.append(
                    {
                        "data set": dataset_name(dataset), "question": question, "pairs": found["pairs"],
                        "alone": in_percent(found["median"]), "range": _spread(found),
                        "with Holm": in_percent(found["holm"]["median"]), "range with Holm": _spread(found["holm"]),
                        "not testable": found["untestable"],
                    }
                )  # fmt: skip
        return listing_or_words(pd.DataFrame(rows), "detectable", NOT_RUN_YET)

    def quoted(self) -> dict[str, str]:
        """The headline figures as words, by their names in the summary."""
        found = figures.summary_of(self.stored)
        rates = [name.removesuffix("_interval") for name in found if name.endswith("_interval")]
        return {name: "not run" if found[name] is None else in_percent(found[name]) for name in rates} | {
            name: str(found[name]) for name in ("aa_pairs", "aa_worlds_pairs", "null_tests", "null_worlds")
        }

    def in_words(self) -> str:
        """The headline figures as a Markdown list."""
        return verdict_in_words(self.stored)

    @cached_property
    def _pairs(self) -> pd.DataFrame:
        return figures.pairs_of(self.stored, self.metric)

    @cached_property
    def _null(self) -> pd.DataFrame:
        return figures.null_tests(self.stored, self.metric)

    @property
    def _simulated(self) -> pd.DataFrame:
        listing = self.stored.coverage
        return pd.DataFrame(columns=["world"]) if listing is None else listing.rows


def _seeds(world: Mapping[Hashable, Any]) -> str:
    other = world["seeds_b"]
    return f"{world['seeds']:g}" if pd.isna(other) else f"{world['seeds']:g} and {other:g}"


def _moved_by_splits(world: Mapping[Hashable, Any]) -> str:
    """How a split moves the systems of a simulated world, in words."""
    if world["splits"] == 1:
        return ""
    unlike = ", unlike systems" if world["split_unlike"] else ""
    more = f", b {world['b_moves']:g} times that" if world["b_moves"] != 1 else ""
    rival = ", b of another recommender" if world["rival"] else ""
    return f"{in_percent(world['split_cv'])}{unlike}{more}{rival}"


def _share_covered(world: pd.DataFrame) -> float:
    return float(world.loc[world["candidate"] == BOOK_TEST, "covered"].iloc[0])


def _spread(found: Any) -> str:
    return f"{100 * found['lowest']:.0f}–{100 * found['highest']:.0f} %"
