"""Which cases can run, and in words why the others cannot."""

from collections.abc import Iterable

from lmmrec_core.names import PARADIGMS
from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.study.cases import Case
from lmmrec_core.study.track import TrackSettings

AVAILABLE_PARADIGMS: frozenset[str] = frozenset({"none", *PARADIGMS})


def reason_not_run(case: Case, track: TrackSettings) -> str | None:
    """None for a case that can run; else what is missing."""
    if case.model not in RECOMMENDERS:
        return f"recommender {case.model} is not in the package yet"
    if case.model not in track.models:
        return f"track {track.name} declares no settings for {case.model}"
    if case.encoder != "none" and case.encoder not in track.encoders:
        return f"track {track.name} declares no encoder {case.encoder}"
    if case.paradigm not in AVAILABLE_PARADIGMS:
        return f"paradigm {case.paradigm} is unknown ({', '.join(PARADIGMS)})"
    return None


def split_runnable(cases: Iterable[Case], track: TrackSettings) -> tuple[list[Case], list[Case]]:
    """(cases that can run, cases that cannot)."""
    runnable: list[Case] = []
    others: list[Case] = []
    for case in cases:
        (others if reason_not_run(case, track) else runnable).append(case)
    return runnable, others
