"""How the encoders were trained: a listing, what they retrieve before and after, and the curves.

``records`` are those the study reads, one for each data set (None: shared by all), encoder, paradigm (under the key
``stage``) and, for FT, seed, with ``tuning`` (objectives, history, retrieval before and after) or ``alignment`` (heads
in closed form, no epochs). Of a record with the key ``withheld``, from uncommitted code, no number is shown.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lmmrec_core.report import figures
from lmmrec_core.report.html import ABSENT, shown_number
from lmmrec_core.report.labels import PAPER_LABELS, Labels, dataset_name

_ALL_SETS = "All data sets"
_WITHHELD = "uncommitted"
ONLY_WITHHELD = "uncommitted: the encoders were trained by code that nobody else has"
NO_CURVES = "no encoder was trained in epochs: there are no curves"
OBJECTIVES = {  # name, colour and mark: never told apart by colour alone
    "itc": ("ITC", figures.BLUE, "o"),
    "itm": ("ITM", figures.ORANGE, "s"),
    "mlm": ("MLM", "#009E73", "^"),
}
_MEASURES = {"recall@1": "Recall@1", "recall@10": "Recall@10", "recall@50": "Recall@50", "median_rank": "median rank"}
_DIRECTIONS = {"image_to_text": "picture to text", "text_to_image": "text to picture"}
_QUERIES = {"held_out": "held out", "everything": "all pairs, in-sample"}
_PANEL = 1.9  # inches


def training_listing(records: Sequence[Mapping[str, Any]], labels: Labels = PAPER_LABELS) -> pd.DataFrame:
    """One line per record: what was trained on what, for how long, and held-out retrieval "before → after (chance)".

    Retrieval is the mean of both directions. Chance is that of a random order of the candidates: k / candidates for
    Recall@k, (candidates + 1) / 2 for the median rank. Heads in closed form were chosen on Recall@10 among the held-out
    pairs alone, so their candidates are fewer and there is no value before.
    """
    columns = ["encoder", "objectives", "pairs", "held out", "steps", "best epoch", "seconds", "candidates"]
    columns += [_with_chance(measure) for measure in _MEASURES]
    rows = []
    for record in records:
        row: dict[str, Any] = {**dict.fromkeys(columns, ABSENT), "encoder": _label(record, labels)}
        if "withheld" in record:
            row = {**dict.fromkeys(columns, _WITHHELD), "encoder": row["encoder"]}
        elif "tuning" in record:
            row |= _tuned(record["tuning"])
        elif "alignment" in record:
            row |= _aligned(record["alignment"])
        else:  # an encoder of one modality, trained from scratch
            row |= {"objectives": "levels of the factors", "pairs": record.get("outside", {}).get("items", ABSENT)}
        rows.append(row)
    return pd.DataFrame(rows, columns=columns)


def retrieval_listing(records: Sequence[Mapping[str, Any]], labels: Labels = PAPER_LABELS) -> pd.DataFrame:
    """Each direction by itself, "before → after", for held-out queries and for all pairs, which training has seen.

    The candidates are all pairs in both. Records of heads in closed form have no line; of several seeds the first has.
    """
    rows = []
    for record in _first_seeds(records):
        if "tuning" not in record:
            continue
        for (queries, asked), (direction, words) in product(_QUERIES.items(), _DIRECTIONS.items()):
            before, after = (record["tuning"][when][queries][direction] for when in ("before", "after"))
            cells = {head: _change(name, before[name], after[name]) for name, head in _MEASURES.items()}
            if "withheld" in record:
                cells = dict.fromkeys(cells, _WITHHELD)
            rows.append({"encoder": _label(record, labels), "direction": words, "queries": asked, **cells})
    return pd.DataFrame(rows, columns=["encoder", "direction", "queries", *_MEASURES.values()])


def loss_curves(records: Sequence[Mapping[str, Any]], labels: Labels = PAPER_LABELS) -> Figure:
    """One row per encoder trained in epochs: loss of each objective, held-out Recall@10 (mean of both directions).

    Epoch 0 is the encoder before; the large mark is the epoch whose weights were kept, the grey line chance. Of several
    seeds the first is drawn.
    """
    every = [record for record in _first_seeds(records) if record.get("tuning", {}).get("history")]
    tuned = [record for record in every if "withheld" not in record]
    if not tuned:
        words = ONLY_WITHHELD if every else NO_CURVES if records else figures.NOTHING
        return figures.nothing_drawn(words)
    with figures.theme():
        size = (figures.WIDTH, _PANEL * len(tuned) + 0.9)
        figure, panels = plt.subplots(len(tuned), 2, figsize=size, squeeze=False, layout="constrained")
        for (left, right), record in zip(panels, tuned, strict=True):
            _draw_losses(left, record["tuning"])
            _draw_retrieval(right, record["tuning"])
            left.set_title(_label(record, labels), loc="left")
        for axes in panels.flat:
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(4))
        for axes in panels[-1]:
            axes.set_xlabel("epoch")
        handles: dict[str, Any] = {}
        for axes in panels.T.flat:  # objectives first
            for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
                handles.setdefault(name, handle)
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, frameon=False)
        return figures.closed(figure, _curves_frame(tuned, labels))


def _curves_frame(tuned: Sequence[Mapping[str, Any]], labels: Labels) -> pd.DataFrame:
    """The numbers of :func:`loss_curves`, one line per encoder and epoch; epoch 0 has no loss."""
    rows: list[dict[str, Any]] = []
    for record in tuned:
        tuning = record["tuning"]
        for epoch in ({"number": 0, "losses": {}, "standing": tuning["before"]}, *tuning["history"]):
            score = _mean(epoch["standing"]["held_out"], "recall@10")
            kept = epoch["number"] == tuning["best_epoch"]
            rows.append(
                {"encoder": _label(record, labels), "epoch": epoch["number"], "held-out recall@10": score, "kept": kept}
                | {f"{objective} loss": loss for objective, loss in epoch["losses"].items()}
            )
    return pd.DataFrame(rows)


def _draw_losses(axes: Axes, tuning: Mapping[str, Any]) -> None:
    epochs = [epoch["number"] for epoch in tuning["history"]]
    for objective in tuning["history"][0]["losses"]:
        name, colour, mark = OBJECTIVES.get(objective, (objective, figures.GREY, "x"))
        losses = [epoch["losses"][objective] for epoch in tuning["history"]]
        axes.plot(epochs, losses, color=colour, marker=mark, markersize=4, linewidth=1.5, label=name)
    axes.set(ylabel="training loss", xlim=(-0.3, epochs[-1] + 0.3))


def _draw_retrieval(axes: Axes, tuning: Mapping[str, Any]) -> None:
    standings = {0: tuning["before"], **{epoch["number"]: epoch["standing"] for epoch in tuning["history"]}}
    scores = {number: _mean(standing["held_out"], "recall@10") for number, standing in standings.items()}
    best = tuning["best_epoch"]
    chance = _chance("recall@10", tuning["before"]["held_out"]["candidates"])
    axes.axhline(chance, color=figures.GREY, linewidth=1, label="chance")
    axes.plot(list(scores), list(scores.values()), color="black", marker=".", linewidth=1.5, label="held-out Recall@10")
    axes.plot(best, scores[best], color="black", marker="D", markersize=7, linestyle="", label="epoch kept")
    axes.set(ylabel="Recall@10", xlim=(-0.3, max(scores) + 0.3), ylim=(0, None))


def _label(record: Mapping[str, Any], labels: Labels) -> str:
    dataset = record["dataset"]
    place = _ALL_SETS if dataset is None else dataset_name(str(dataset))
    seed = f", seed {record['seed']}" if "seed" in record else ""
    return f"{place}, {labels.features(str(record['encoder']), str(record['stage']))}{seed}"


def _first_seeds(records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The first record of each data set, encoder and paradigm."""
    first: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for record in records:
        first.setdefault((record["dataset"], record["encoder"], record["stage"]), record)
    return list(first.values())


def _tuned(tuning: Mapping[str, Any]) -> dict[str, Any]:
    before, after = tuning["before"]["held_out"], tuning["after"]["held_out"]
    objectives = [OBJECTIVES.get(name, (name,))[0] for name in tuning["settings"]["objectives"]]
    cells = {
        _with_chance(name): _change(name, _mean(before, name), _mean(after, name))
        + f" ({_number_of(name, _chance(name, after['candidates']))})"
        for name in _MEASURES
    }
    return {
        "objectives": ", ".join(objectives), "pairs": after["candidates"], "held out": after["queries"],
        "steps": tuning["steps"], "best epoch": f"{tuning['best_epoch']} of {len(tuning['history'])}",
        "seconds": shown_number(float(tuning["seconds"]), 1), "candidates": after["candidates"], **cells,
    }  # fmt: skip


def _aligned(note: Mapping[str, Any]) -> dict[str, Any]:
    """``choose_heads`` ranks each held-out picture among the held-out texts, and the other way round."""
    name = "recall@10"
    found, chance = float(note[f"held_out_{name}"]), _chance(name, note["held_out"])
    return {
        "objectives": f"closed form: {note['method']}", "pairs": note["pairs"], "held out": note["held_out"],
        "candidates": note["held_out"],
        _with_chance(name): f"{_number_of(name, found)} ({_number_of(name, chance)})",
    }  # fmt: skip


def _mean(retrieval: Mapping[str, Any], measure: str) -> float:
    return sum(float(retrieval[direction][measure]) for direction in _DIRECTIONS) / len(_DIRECTIONS)


def _chance(measure: str, candidates: int) -> float:
    kind, _, k = measure.partition("@")
    return min(1.0, int(k) / candidates) if kind == "recall" else (candidates + 1) / 2


def _with_chance(measure: str) -> str:
    return f"{_MEASURES[measure]} (chance)"


def _change(measure: str, before: float, after: float) -> str:
    return f"{_number_of(measure, before)} → {_number_of(measure, after)}"


def _number_of(measure: str, value: float) -> str:
    """Three digits of a recall; ranks are counts of items, with one decimal."""
    return shown_number(float(value), None if measure.startswith("recall") else 1)
