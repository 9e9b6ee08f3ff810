"""Does the second modality help? Read at equal size, beside the paper's own comparison.

V&T against V alone mixes what T says with the weights that T brings. Against V with the texts of other items the model
has the same size, so what remains is information.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from lmmrec_core.names import PAPER_MODELS, SHUFFLED_ALONE
from lmmrec_core.questions import MARGIN, MODALITY_SPECIFIC, Variant, controlled, single
from lmmrec_core.report.labels import PAPER_LABELS, Labels, dataset_name
from lmmrec_core.report.run_links import pair_links

HELPS, HURTS, NOTHING_OF_NOTE, CANNOT_TELL, NOT_RUN = "helps", "hurts", "nothing of note", "cannot tell", "not run"
_ALONE, _EQUAL = "against one alone, as in the paper", "at equal size"
_INTERVAL = {"change": "relative", "from": "relative_low", "to": "relative_high"}
_ADDED = {"visual": ("picture", "T"), "textual": ("text", "V")}  # modality → what it is, and the one it is added to
#: Columns of :func:`second_modality` that hold fractions.
SECOND_FRACTIONS = (*((part, name) for part in (_ALONE, _EQUAL) for name in _INTERVAL), (_EQUAL, "detectable"))


def second_modality(
    comparisons: pd.DataFrame,
    datasets: Sequence[str],
    models: Sequence[str] = PAPER_MODELS,
    metric: str = "ndcg@20",
    both: Variant = MODALITY_SPECIFIC,
    labels: Labels = PAPER_LABELS,
) -> pd.DataFrame:
    """One line per model, added modality and data set of which a comparison was run; ``both`` is the system with V&T.

    The relative change with its 95 % interval against one modality alone, and against that one with the other
    shuffled, which decides: *helps* or *hurts* if the interval excludes zero, *nothing of note* if it lies within
    ±``MARGIN``, else *cannot tell*.
    """
    tests = {(t["dataset"], t["model"], t["metric"], t["pair"]): t for t in comparisons.to_dict("records")}
    rows = []
    for dataset in datasets:
        for model in models:
            for control, modality in SHUFFLED_ALONE.items():
                added, kept = _ADDED[modality]
                place = (dataset, model, metric)
                alone, equal = tests.get((*place, single(both, kept))), tests.get((*place, controlled(both, control)))
                if alone is None and equal is None:
                    continue
                detectable = equal["mde"] if equal is not None and math.isfinite(equal["mde"]) else math.nan
                name = f"{labels.case(model, both)}: {added} added to {kept}"
                tested = [t["pair"] for t in (alone, equal) if t is not None]
                row = [name, dataset_name(dataset), *_interval(alone), *_interval(equal), detectable, reading(equal)]
                rows.append([*row, pair_links(dataset, model, *tested)])
    heads = [
        ("", "what is added"),
        ("", "data set"),
        *((part, name) for part in (_ALONE, _EQUAL) for name in _INTERVAL),
    ]
    heads += [(_EQUAL, "detectable"), (_EQUAL, "the second modality"), ("", "runs")]
    return pd.DataFrame(rows, columns=pd.MultiIndex.from_tuples(heads))


def reading(test: Mapping[Any, Any] | None) -> str:
    """What a comparison at equal size says of the second modality."""
    if test is None:
        return NOT_RUN
    _, low, high = _interval(test)
    if low > 0:
        return HELPS
    if high < 0:
        return HURTS
    return NOTHING_OF_NOTE if low > -MARGIN and high < MARGIN else CANNOT_TELL


def _interval(test: Mapping[Any, Any] | None) -> list[float]:
    values = [None if test is None else test[name] for name in _INTERVAL.values()]
    return [float(value) if value is not None and math.isfinite(value) else math.nan for value in values]
