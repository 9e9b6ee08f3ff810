"""How much of a track is measured: its cases counted per data set, the hours of training, the commits."""

from collections import Counter
from typing import Any

import pandas as pd

from lmmrec_core.flow import Result
from lmmrec_core.results.provenance import provenance
from lmmrec_core.results.store import Record
from lmmrec_core.study.cases import Case, reason_not_run
from lmmrec_core.study.study import Study

#: What becomes of a planned case; each is in one of these.
STATES = ("run", "not trained", "uncommitted", "not run", "left out")


def status(study: Study) -> dict[str, Any]:
    """Plain JSON values: ``track``, ``seeds``, ``commit`` and ``dirty`` of the code now; ``datasets`` and ``total``.

    Each entry counts cases, a model with its content at one seed: ``planned`` is the sum of :data:`STATES`. *Not
    trained* is told in ``Result.trained``, *uncommitted* in ``Results.withheld``; what the track leaves out or cannot
    run is *left out*. ``training hours`` are those of the runs counted as run or not trained, on the clock of their
    machine, each run once; ``commits`` says how many of these runs each commit made.
    """
    counted, withheld = study.sorted_records()
    states = {_case(record): "run" if _trained(record) else "not trained" for record in counted}
    states |= {_case(record): "uncommitted" for record in withheld}
    counts: dict[str, Counter[str]] = {name: Counter() for name in study.datasets}
    for case in study.cases():
        missing = "left out" if reason_not_run(case, study.track) else "not run"
        counts[case.dataset][states.get(_fields(case), missing)] += 1
    hours: Counter[str] = Counter()
    commits: Counter[str] = Counter()
    for record in {record.key: record for record in counted}.values():
        hours[record.case["dataset"]] += record.data["cost"].get("seconds", 0.0) / 3600
        commits[str(record.data["provenance"].get("commit"))] += 1
    code = provenance()
    return {
        "track": study.track.name,
        "seeds": list(study.seeds),
        "commit": code["commit"],
        "dirty": code["dirty"],
        "datasets": {name: _entry(found, hours[name]) for name, found in counts.items()},
        "total": _entry(sum(counts.values(), Counter()), sum(hours.values())),
        "commits": dict(commits.most_common()),
    }


def status_table(found: dict[str, Any]) -> pd.DataFrame:
    """The counts of :func:`status`: one row per data set, and their total."""
    return pd.DataFrame({**found["datasets"], "total": found["total"]}).T.astype(
        {name: int for name in ("planned", *STATES)}
    )


def _entry(counts: "Counter[str]", hours: float) -> dict[str, Any]:
    return {
        "planned": counts.total(),
        **{state: counts[state] for state in STATES},
        "training hours": round(hours, 3),
    }


def _case(record: Record) -> tuple[tuple[str, Any], ...]:
    return _fields(Case.build(record.case, "stored run"))


def _fields(case: Case) -> tuple[tuple[str, Any], ...]:
    return tuple(case.model_dump().items())


def _trained(record: Record) -> bool:
    return Result(record.case, pd.DataFrame(), {}, record.data).trained
