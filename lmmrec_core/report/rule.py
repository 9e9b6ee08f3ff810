"""The rule of the verdicts: what one interval says about one printed change, and what many say about a claim.

Its values, its words and its sentence stand in ``report/verdict_rule.yaml``. Two errors are bounded, each for one
comparison at half of 1 − ``level``: to support a change that does not exist, and to contradict one that is exactly as
printed.
"""

import datetime
import math
from functools import cache
from importlib.resources import files
from typing import Literal

import yaml
from pydantic import Field
from scipy import stats

from lmmrec_core.config import Settings
from lmmrec_core.digests import digest

OutcomeName = Literal["for", "against", "open", "absent"]
OUTCOMES: tuple[OutcomeName, ...] = ("for", "against", "open", "absent")
_Words = tuple[str, str, str, str]  # in the order of OUTCOMES


class Change(Settings):
    """An entry of the rule's history: since ``date`` its digest has been ``digest``."""

    date: datetime.date
    digest: str
    reason: str = Field(min_length=20)


class Rule(Settings):
    """The content of ``verdict_rule.yaml``."""

    level: float = Field(gt=0.5, lt=1)
    margin: float = Field(gt=0)
    rounding: float = Field(ge=0)
    claim_level: float = Field(gt=0, lt=0.5)
    least_run: float = Field(ge=0, le=1)
    words: dict[Literal["paper", "elsewhere"], _Words]
    statement: str
    history: tuple[Change, ...] = Field(min_length=1)

    @property
    def digest(self) -> str:
        """Sixteen digits that stand for everything but the history."""
        return digest(self.model_dump(mode="json", exclude={"history"}))

    @property
    def wrong(self) -> float:
        """The chance of one comparison to be for (nothing exists) or against (the paper is right) by accident."""
        return (1 - self.level) / 2

    def word(self, outcome: OutcomeName, printed_here: bool) -> str:
        """The word for an outcome; ``printed_here``: whether the data set is the paper's."""
        return self.words["paper" if printed_here else "elsewhere"][OUTCOMES.index(outcome)]

    def outcome(self, direction: int, printed: float, low: float, high: float) -> OutcomeName:
        """What the interval [``low``, ``high``] of a relative change says to the ``printed`` one.

        ``direction``: sign of the printed change, 0 if it has none. An end that is NaN has no limit.
        """
        if direction == 0:
            return "open"
        low, high = (-math.inf if math.isnan(low) else low), (math.inf if math.isnan(high) else high)
        if direction < 0:
            low, high, printed = -high, -low, -printed
        if low > 0:
            return "for"
        if high < 0 or (high < printed and -self.margin < low and high < self.margin):
            return "against"
        return "open"

    def fewest(self, comparisons: int) -> int:
        """By how many the outcomes of one kind must outnumber the others, of this many comparisons.

        The least k for which a binomial count (n = ``comparisons``, p = :attr:`wrong`) reaches k with probability
        ``claim_level`` at most.
        """
        counts = range(1, comparisons + 2)
        return next(k for k in counts if stats.binom.sf(k - 1, comparisons, self.wrong) <= self.claim_level + 1e-12)

    def claim(self, favour: int, against: int, run: int, planned: int) -> OutcomeName:
        """What a claim's comparisons say together; ``run`` and ``planned`` count those with a printed direction."""
        if planned and run < self.least_run * planned:
            return "absent"
        if run == 0:
            return "open"
        if abs(favour - against) < self.fewest(run):
            return "open"
        return "for" if favour > against else "against"

    def sentence(self, printed_here: bool) -> str:
        """The rule in words, as Markdown, with its digest."""
        names = {outcome: self.word(outcome, printed_here) for outcome in OUTCOMES}
        told = self.statement.format(
            **names, level=_percent(self.level), margin=_percent(self.margin), wrong=_percent(self.wrong),
            claim=_percent(self.claim_level), least=_percent(self.least_run),
        )  # fmt: skip
        return f"{told} (Rule `{self.digest}`.)"


@cache
def read_rule() -> Rule:
    """The rule in force. Raises ConfigError if its file was damaged."""
    text = (files("lmmrec_core.report") / "verdict_rule.yaml").read_text(encoding="utf-8")
    return Rule.build(yaml.safe_load(text), "report/verdict_rule.yaml")


def _percent(share: float) -> str:
    return f"{100 * share:g} %"
