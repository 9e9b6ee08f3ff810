"""A claim of a paper, its readings, and the verdict that follows from them.

A sentence such as "significant in 79 % of the cases" can be counted in several reasonable ways. Every way is a
:class:`Reading`; the verdict comes from how many of them agree with the sentence, by one rule for all claims.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

Agreement = Literal["yes", "nearly", "no", "aside"]  # "aside": told for understanding, does not decide

NEARLY = 3.0  # percentage points by which a printed share may be missed and still be nearly right


@dataclass(frozen=True)
class Reading:
    """One way of reading a claim: in words, what the tables give, and whether that agrees with the claim."""

    words: str
    found: str
    agrees: Agreement


@dataclass(frozen=True)
class Claim:
    """A statement of the paper: a short name, its content, its section, the printed figure, and the readings of it."""

    name: str
    statement: str
    section: str
    printed: str
    readings: tuple[Reading, ...] = ()

    @property
    def verdict(self) -> str:
        """One of five, by the readings that decide.

        "holds" (all agree), "holds roughly" (all agree or nearly), "holds in some readings", "does not hold" (none does
        either), "not testable" (the tables hold nothing to read).
        """
        found = {reading.agrees for reading in self.readings} - {"aside"}
        if not found:
            return "not testable"
        if found == {"yes"}:
            return "holds"
        if found == {"no"}:
            return "does not hold"
        return "holds in some readings" if "no" in found else "holds roughly"


def share(part: int, whole: int) -> str:
    """``"83/120 = 69.2 %"``."""
    return f"{part}/{whole} = {100 * part / whole:.1f} %"


def percent(change: float) -> str:
    """``"+3.8 %"`` for 0.038."""
    return f"{100 * change:+.1f} %"


def counted(words: str, part: int, whole: int, printed: int) -> Reading:
    """A share against a printed whole percentage: equal after rounding, nearly, or not."""
    exact = 100 * part / whole
    agrees: Agreement = "yes" if round(exact) == printed else "nearly" if abs(exact - printed) <= NEARLY else "no"
    return Reading(words, share(part, whole), agrees)


def stated(words: str, found: str, agrees: bool) -> Reading:
    """A reading that is true or not."""
    return Reading(words, found, "yes" if agrees else "no")


def aside(words: str, found: str) -> Reading:
    """A figure that helps to understand the others and decides nothing."""
    return Reading(words, found, "aside")


VERDICTS = ("holds", "holds roughly", "holds in some readings", "does not hold", "not testable")


def verdicts_frame(claims: Sequence[Claim]) -> pd.DataFrame:
    """One row per claim, with the reading that comes first and how many of the readings that decide agree.

    Columns: claim, verdict, printed, recomputed, readings (``"1 of 3 agree, 1 nearly"``), section.
    """
    rows = []
    for claim in claims:
        deciding = [reading for reading in claim.readings if reading.agrees != "aside"]
        first = f"{deciding[0].found} ({deciding[0].words})" if deciding else ""
        agree, nearly = (sum(reading.agrees == word for reading in deciding) for word in ("yes", "nearly"))
        count = f"{agree} of {len(deciding)} agree" + (f", {nearly} nearly" if nearly else "") if deciding else ""
        rows.append((claim.statement, claim.verdict, claim.printed, first, count, claim.section))
    return pd.DataFrame(rows, columns=["claim", "verdict", "printed", "recomputed", "readings", "section"])


def verdicts_in_words(claims: Sequence[Claim]) -> str:
    """``"24 claims: 6 hold, …"``, in the order of :data:`VERDICTS`, those that nothing has left out."""
    found = [claim.verdict for claim in claims]
    counts = [f"{found.count(verdict)} {_PLURAL.get(verdict, verdict)}" for verdict in VERDICTS if verdict in found]
    return f"{len(claims)} claims: {', '.join(counts)}"


_PLURAL = {verdict: verdict.replace("holds", "hold").replace("does not", "do not") for verdict in VERDICTS}


def claims_frame(claims: Sequence[Claim]) -> pd.DataFrame:
    """One row per reading: claim, section, printed, reading, found, agrees, verdict."""
    rows = [
        {
            "claim": claim.statement, "section": claim.section, "printed": claim.printed, "reading": reading.words,
            "found": reading.found, "agrees": reading.agrees, "verdict": claim.verdict,
        }
        for claim in claims
        for reading in claim.readings or (Reading("", "", "aside"),)
    ]  # fmt: skip
    return pd.DataFrame(rows)
