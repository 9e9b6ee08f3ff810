"""Marks of doubt on a cell: seeds that disagree, and runs that their longest allowed training ended."""

from collections.abc import Iterable, Sequence

from lmmrec_core.flow import Result

DISAGREEMENT = 1.25  # largest over smallest value of a cell's seeds, above which they disagree
MOST_AT_CAP = 0.05  # share of runs that may end at the cap
DISAGREE, AT_CAP = "~", "c"
_NOTES = {
    DISAGREE: f"“{DISAGREE}”: the best seed is more than {DISAGREEMENT:g} times the worst.",
    AT_CAP: f"“{AT_CAP}”: a run ended at the longest training allowed, perhaps before its best.",
}


def seeds_disagree(values: Sequence[float]) -> bool:
    """Whether the largest of the values of a metric is more than 1.25 times the smallest."""
    return len(values) > 1 and max(values) > DISAGREEMENT * min(values)


def ended_at_cap(result: Result) -> bool:
    """Whether the longest allowed training ended the run, not its validation score."""
    return (result.record.get("training") or {}).get("stopped") == "cap"


def doubts(values: Sequence[float], runs: Iterable[Result]) -> str:
    """The marks of a cell whose runs have these values of a metric: "", "~", "c" or "~c"."""
    return DISAGREE * seeds_disagree(values) + AT_CAP * any(map(ended_at_cap, runs))


def doubts_note(shown: Iterable[str]) -> str:
    """The sentences of a caption that explain the marks which occur; begins with a blank."""
    found = "".join(shown)
    return "".join(f" {note}" for mark, note in _NOTES.items() if mark in found)
