"""What end-to-end runs did to their encoders, from the notes that training leaves in the run record."""

from collections.abc import Iterable, Mapping
from statistics import fmean, median
from typing import Any

import pandas as pd

from lmmrec_core.flow import Result
from lmmrec_core.questions import Variant
from lmmrec_core.report.html import ABSENT, shown_number
from lmmrec_core.report.labels import PAPER_LABELS, Labels, dataset_name
from lmmrec_core.report.run_links import CellLinks, cell_anchor

_COLUMNS = ("runs of", "reading", "what trains", "gradient", "seeds", "not trained", "encoder updates", "mean step",
            "picture rows", "text rows")  # fmt: skip
_AGREEMENT = "cosine to exact"
_PARTS = {"all": "the whole encoder", "heads": "its heads", "lora": "low-rank factors (LoRA)"}
_CHANGES = {"visual": "picture rows", "textual": "text rows"}


def end_to_end_listing(results: Iterable[Result], labels: Labels = PAPER_LABELS) -> pd.DataFrame:
    """One line per data set, model and encoder, and per reading of Algorithm 1 that was run; no lines without notes.

    ``not trained``: the seeds whose kept state precedes the encoder's second update. ``encoder updates``: steps of the
    encoder's optimiser up to the kept state, mean over seeds. ``mean step``: how far a weight moves in an update, in
    learning rates, median over the recorded updates, mean over seeds. ``picture rows`` and ``text rows``: how far
    the features moved, ``|now - start| / |start|`` (Frobenius), mean over seeds. Where an approximate gradient was
    held against the exact one, ``cosine to exact`` is the median of all such measurements.
    """
    grouped: dict[tuple[str, str, str, str], list[Mapping[str, Any]]] = {}
    cells: dict[str, CellLinks] = {}
    for result in results:
        notes = (result.record.get("training") or {}).get("features")
        if notes:
            dataset, model, variant = (*(str(result.case[n]) for n in ("dataset", "model")), Variant.of(result.case))
            label = f"{dataset_name(dataset)}, {labels.case(model, variant)}"
            cells[label] = CellLinks((cell_anchor(dataset, model, variant),))
            key = (label, str(notes["reading"]).upper(), _what_trains(notes), _gradient(notes))
            grouped.setdefault(key, []).append(notes)
    rows = []
    for key, runs in grouped.items():
        row = dict(zip(_COLUMNS, key, strict=False)) | {
            "seeds": len(runs), "not trained": sum(not notes.get("trained", True) for notes in runs),
            "encoder updates": _updates(runs), "mean step": _mean_step(runs),
        }  # fmt: skip
        row |= {column: _change(runs, modality) for modality, column in _CHANGES.items()}
        cosines = [entry["cosine"] for notes in runs for entry in notes.get("against_exact", ())]
        row[_AGREEMENT] = shown_number(median(cosines), None) if cosines else ABSENT
        rows.append(row | {"runs": cells[key[0]]})
    frame = pd.DataFrame(rows, columns=[*_COLUMNS, _AGREEMENT, "runs"])
    return frame if (frame[_AGREEMENT] != ABSENT).any() else frame.drop(columns=_AGREEMENT)


def _what_trains(notes: Mapping[str, Any]) -> str:
    if notes["reading"] == "e0":
        return f"nobody; rows computed again: {notes['effect']}"
    if notes["reading"] == "e1":
        return "the feature rows"
    part = str(notes["settings"]["part"])
    return _PARTS.get(part, f"its last blocks and heads ({part})")


def _gradient(notes: Mapping[str, Any]) -> str:
    """exact, none, or what makes it an approximation."""
    if notes["reading"] == "e0":
        return "none"
    if notes["reading"] == "e1" or notes["settings"]["policy"] == "window":
        return "exact"
    return f"approximate: {notes['gradient']}"


def _updates(runs: list[Mapping[str, Any]]) -> str:
    counts = [notes.get("updates_before_kept", notes.get("updates")) for notes in runs]
    known = [float(count) for count in counts if count is not None]
    return shown_number(fmean(known), 0) if known else ABSENT


def _mean_step(runs: list[Mapping[str, Any]]) -> str:
    steps = [median(notes["update_record"]["mean_step"]) for notes in runs if notes.get("update_record")]
    return shown_number(fmean(steps), 2) if steps else ABSENT


def _change(runs: list[Mapping[str, Any]], modality: str) -> str:
    moved = [notes["feature_change"][modality] for notes in runs if modality in notes.get("feature_change", {})]
    return shown_number(fmean(moved), None) if moved else ABSENT
