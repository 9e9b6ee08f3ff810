"""The calibration as its page shows it: tables and figures of whatever is stored, *not run* in words for the rest."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler
from scipy.stats import binom

from lmmrec_core.errors import unknown
from lmmrec_core.home import default_home
from lmmrec_core.names import MODEL_TITLES
from lmmrec_core.questions import MARGIN
from lmmrec_core.report.calibration import p_value_figure, power_figure
from lmmrec_core.report.html import Sentence, listing_or_words
from lmmrec_core.report.labels import dataset_name, metric_name, model_name
from lmmrec_core.report.planted import CANNOT_TELL, FOUND, NOT_FOUND, PLANTED_CONTENT, PLANTED_FIRST
from lmmrec_core.results.provenance import ALLOW
from lmmrec_core.significance.rates import rate_of
from lmmrec_core.study.calibration import summary as figures
from lmmrec_core.study.calibration.reading import Stored, read_calibration
from lmmrec_core.study.calibration.simulated import BOOK_TEST, SEEDS_FIXED
from lmmrec_core.study.calibration.tables import (
    answering_tests,
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
from lmmrec_core.study.calibration.world_tests import divisions_of
from lmmrec_core.study.calibration.worlds import KEPT_METRICS, WORLDS

_NOT_RUN = "*Not run yet: `make calibrate`.*"
_LOWEST, _HIGHEST, _FEWEST, _POWER = 0.03, 0.07, 200, 0.95  # the bars; pairs and worlds, at least
_FEWEST_PLANTED = 20
_NOMINAL = 0.05


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

    def bars(self) -> Styler:
        """What was asked of the tests before they were measured, and whether it holds."""
        pairs, fresh = figures.aa_rate(self._pairs), figures.rejected(figures.world_pairs(self.stored, self.metric))
        null, power = figures.rejected(self._null), figures.power_of(self._planted_content)
        worlds, planted = self._null["world"].nunique(), self._planted_content["world"].nunique()
        by_chance = binom.ppf([0.025, 0.975], null.n, _NOMINAL) / null.n if null else (0.0, 0.0)
        within = f", {100 * by_chance[0]:.1f} to {100 * by_chance[1]:.1f} % by chance" if null else ""
        rows = [
            ("A system against itself is called different in 3 to 7 % of pairs: seeds of the study's stored runs",
             pairs, pairs and _judged(_LOWEST <= pairs.rate <= _HIGHEST, pairs.n >= _FEWEST)),
            ("The same: seeds of runs on fresh null worlds",
             fresh, fresh and _judged(_LOWEST <= fresh.rate <= _HIGHEST, fresh.n >= _FEWEST)),
            (f"Where content says nothing, it is called useful or harmful in 5 % of tests{within}", null,
             null and _judged(by_chance[0] <= null.rate <= by_chance[1], worlds >= _FEWEST)),
            ("The planted effect is found in at least 95 % of worlds",
             power, power and _judged(power.rate >= _POWER, planted >= _FEWEST_PLANTED)),
        ]  # fmt: skip
        shown = [{"asked": asked, **told(rate), "answer": said or "not run"} for asked, rate, said in rows]
        return listing_or_words(pd.DataFrame(shown), "calibration-bars", _NOT_RUN, prose=True)  # type: ignore[return-value]

    def against_itself(self) -> Styler | Sentence:
        """The A/A rates by data set and metric, of the book's test and of the one that takes seeds as fixed."""
        return listing_or_words(pd.DataFrame(itself_by_dataset(self.stored)), "against-itself", _NOT_RUN)

    def against_itself_by_model(self) -> Styler | Sentence:
        """The same by model, and how many cells and pairs could not be tested for want of others to learn from."""
        rows = itself_by_model(self.stored, self.metric)
        return listing_or_words(pd.DataFrame(rows), "against-itself-models", _NOT_RUN)

    def against_itself_on_worlds(self) -> Styler | Sentence:
        """The A/A rates on the null worlds, by model and metric."""
        return listing_or_words(pd.DataFrame(itself_on_worlds(self.stored)), "against-itself-worlds", _NOT_RUN)

    def null_figure(self) -> Figure:
        """The p-values of the null worlds against those of a test that is right."""
        tests = self._null
        named = {"users and seeds (the book)": tests["p"], "users only": tests["p_users"]}
        return p_value_figure({name: values.tolist() for name, values in named.items()})

    def null_rates(self) -> Styler | Sentence:
        """How often each rule finds a difference on the null worlds, by model and metric."""
        rows = []
        for metric in KEPT_METRICS:
            tests = figures.null_tests(self.stored, metric)
            for model, part in [*tests.groupby("model", sort=False), ("both", tests)] if len(tests) else []:
                place = {"model": MODEL_TITLES.get(str(model), str(model)), "metric": metric_name(metric)}
                others = {
                    name: in_percent(float((part[p] < _NOMINAL).mean()))
                    for name, p in (("own seeds only", "p_own"), ("users only", "p_users"))
                }
                rows.append({**place, "tests": len(part), **told(figures.rejected(part)), **others})
        return listing_or_words(pd.DataFrame(rows), "null-rates", _NOT_RUN)

    def divisions(self) -> Styler | Sentence:
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
                rate = rate_of((part["p"] < _NOMINAL).tolist(), figures.clusters(part))
                rows.append({"division": name, "tests": len(part), **told(rate)})
        return listing_or_words(pd.DataFrame(rows), "divisions", _NOT_RUN)

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

    def power_listing(self) -> Styler | Sentence:
        """The numbers of the power curve."""
        rows = [
            {
                "planted": f"{row['content']:.0%}", "model": model_name(str(row["model"])), "worlds": row["worlds"],
                "measured change": row["change"], "found": in_percent(row["rate"]), "95 % interval": between(row),
            }
            for row in self.curve.to_dict("records")
        ]  # fmt: skip
        return listing_or_words(pd.DataFrame(rows), "power", _NOT_RUN, percent=("measured change",))

    def planted(self) -> Styler | Sentence:
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
        return listing_or_words(pd.DataFrame(rows), "planted-rates", _NOT_RUN)

    def capacity(self) -> Styler | Sentence:
        """What a second modality seems to add to MMGCN where content says nothing."""
        rows = capacity_rows(self.stored, self.metric)
        changes = ("median change", "lowest", "highest")
        return listing_or_words(pd.DataFrame(rows), "capacity", _NOT_RUN, percent=changes)

    def coverage(self) -> Styler | Sentence:
        """How often 95 % intervals hold the truth, by simulated world, the worst first."""
        rows = []
        for _, part in sorted(self._simulated.groupby("world", sort=False), key=lambda one: _share_covered(one[1])):
            book, fixed = (part[part["candidate"] == name].iloc[0] for name in (BOOK_TEST, SEEDS_FIXED))
            rows.append(
                {
                    "true change": in_percent(book["effect"]), "spread over seeds": in_percent(book["seed_cv"]),
                    "seeds": int(book["seeds"]), "mean": f"{book['level']:g}",
                    "users a person": f"{book['users_each']:g}",
                    "other cells": int(book["further"]), "the book": in_percent(book["covered"]),
                    "of the change": in_percent(book["covered_relative"]), "users only": in_percent(fixed["covered"]),
                }
            )  # fmt: skip
        return listing_or_words(pd.DataFrame(rows), "coverage", _NOT_RUN)

    def candidates(self) -> Styler | Sentence:
        """Every candidate test over all simulated worlds."""
        return listing_or_words(pd.DataFrame(candidate_rows(self.stored)), "candidates", _NOT_RUN)

    def lowest_coverage(self) -> str:
        """One Markdown sentence on the world where fewest intervals hold the truth; it is the lowest of several by
        chance too."""
        lowest, whole = figures.lowest_coverage(self.stored.coverage), figures.coverage_of(self.stored.coverage)
        if lowest is None or whole is None:
            return _NOT_RUN
        return (
            f"In all, {in_percent(whole.rate)} of the intervals hold the truth ({between(vars(whole))}). In the worst "
            f"world, the first line, {in_percent(lowest.rate)} do ({between(vars(lowest))})."
        )

    def detectable(self) -> Styler | Sentence:
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
        return listing_or_words(pd.DataFrame(rows), "detectable", _NOT_RUN)

    def quoted(self) -> dict[str, str]:
        """The headline figures as words, by their names in the summary."""
        found = figures.summary_of(self.stored)
        rates = [name.removesuffix("_interval") for name in found if name.endswith("_interval")]
        return {name: "not run" if found[name] is None else in_percent(found[name]) for name in rates} | {
            name: str(found[name]) for name in ("aa_pairs", "aa_worlds_pairs", "null_tests", "null_worlds")
        }

    def in_words(self) -> str:
        """The headline figures as one Markdown sentence."""
        said = self.quoted()
        itself, fresh = (
            f"{said[f'{name}_rate']} of {said[f'{name}_pairs']} pairs" if int(said[f"{name}_pairs"]) else "not run"
            for name in ("aa", "aa_worlds")
        )
        null = f"{said['null_rate']} of {said['null_tests']} tests on {said['null_worlds']} worlds"
        return (
            f"**A system against itself is called different: in the stored runs {itself}, on null worlds {fresh}. "
            f"Content that says nothing is called useful or harmful: {null if int(said['null_tests']) else 'not run'}. "
            f"The planted effect is found: {said['power_complementary']}. Simulated intervals hold the truth: "
            f"{said['coverage']}, in the worst of the simulated worlds {said['coverage_lowest']}.**"
        )

    @cached_property
    def _pairs(self) -> pd.DataFrame:
        return figures.pairs_of(self.stored, self.metric)

    @cached_property
    def _null(self) -> pd.DataFrame:
        return figures.null_tests(self.stored, self.metric)

    @cached_property
    def _planted_content(self) -> pd.DataFrame:
        return figures.planted_tests(self.stored, self.metric)

    @property
    def _simulated(self) -> pd.DataFrame:
        listing = self.stored.coverage
        return pd.DataFrame(columns=["world"]) if listing is None else listing.rows


def _share_covered(world: pd.DataFrame) -> float:
    return float(world.loc[world["candidate"] == BOOK_TEST, "covered"].iloc[0])


def _judged(holds: bool, enough: bool = True) -> str:
    return ("holds" if holds else "does not hold") + ("" if enough else ", too few yet")


def _spread(found: Any) -> str:
    return f"{100 * found['lowest']:.0f}–{100 * found['highest']:.0f} %"
