"""The paper's Tables 3 and 4 as comparable cells, and how they rise, tie and fall.

A *cell* is one printed comparison: model × encoder × data set × metric, 120 in all. A *run* is the four cells of one
trained system. Values are whole numbers of ten-thousandths, so that equal printed numbers are equal.
"""

from collections.abc import Sequence

import pandas as pd

from lmmrec_core.names import BASELINE, LMM_ENCODERS

UNIT = 1e-4  # of the last printed digit
_KEYS = ["model", "encoder", "dataset", "metric"]
STEPS = (("PT", "none"), ("FT", "PT"), ("ETE", "FT"), ("FT", "none"), ("ETE", "none"))  # what is compared with what


def paper_cells(table3: pd.DataFrame, table4: pd.DataFrame) -> pd.DataFrame:
    """One row per cell from the frames of ``report.published.read_results(3)`` and ``(4)``.

    Columns: model, encoder, dataset, metric; ``none`` (the modality-specific baseline), ``PT``, ``FT``, ``ETE`` in
    ten-thousandths; ``star`` (of Table 3: PT differs from the baseline) and ``star_PT``, ``star_FT``, ``star_ETE`` (of
    Table 4: the value differs from the best of the three).
    """
    old, trained = _flat(table3), _flat(table4)
    base = old[old["encoder"] == BASELINE].set_index(["model", "dataset", "metric"])["units"].rename(index="none")
    star = old.set_index(_KEYS)["starred"].rename(index="star")
    values = trained.pivot(index=_KEYS, columns="paradigm", values="units")
    stars = trained.pivot(index=_KEYS, columns="paradigm", values="starred").add_prefix("star_")
    cells = values.join(stars).join(star).reset_index().join(base, on=["model", "dataset", "metric"])
    return cells.rename_axis(columns=None)


def _flat(table: pd.DataFrame) -> pd.DataFrame:
    frame = table.assign(units=(table["value"] / UNIT).round().astype(int))
    for name in ("encoder", "paradigm", "modalities"):
        frame[name] = [getattr(variant, name) for variant in table["variant"]]
    return frame


def where(cells: pd.DataFrame, **wanted: str | Sequence[str]) -> pd.DataFrame:
    """The rows with these values, for instance ``where(cells, model="vbpr", dataset=["baby", "sports"])``."""
    for column, value in wanted.items():
        cells = cells[cells[column].isin([value] if isinstance(value, str) else list(value))]
    return cells


def moves(cells: pd.DataFrame, new: str, old: str) -> tuple[int, int, int]:
    """How many cells rise, tie and fall from paradigm ``old`` ("none": the baseline) to ``new``."""
    gain = cells[new] - cells[old]
    return int((gain > 0).sum()), int((gain == 0).sum()), int((gain < 0).sum())


def mean_change(cells: pd.DataFrame, new: str, old: str) -> float:
    """Mean relative change over cells, new / old − 1."""
    return float((cells[new] / cells[old] - 1).mean())


def effects(cells: pd.DataFrame, by: str) -> pd.DataFrame:
    """Mean relative change of each step (rows, ``"ETE / FT"``) within the values of column ``by``, and over all."""
    rows = {
        f"{new} / {old}": {
            **{str(name): mean_change(group, new, old) for name, group in cells.groupby(by, sort=False)},
            "all": mean_change(cells, new, old),
        }
        for new, old in STEPS
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def without_each_model(cells: pd.DataFrame, new: str, old: str) -> pd.DataFrame:
    """Share of cells that rise and mean relative change, with each model left out in turn: who carries a conclusion.

    Rows: "none" and the models; columns ``rise``, ``change``.
    """
    rest = {"none": cells, **{str(model): cells[cells["model"] != model] for model in cells["model"].unique()}}
    rows = {
        name: {"rise": moves(part, new, old)[0] / len(part), "change": mean_change(part, new, old)}
        for name, part in rest.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def encoder_gaps(cells: pd.DataFrame, paradigm: str) -> pd.DataFrame:
    """How far the two encoders of a model are apart: mean and greatest absolute gap, and how many cells are equal.

    Rows: models; columns ``mean``, ``max`` (in the metrics' own unit), ``equal``.
    """
    wide = cells.pivot(index=["model", "dataset", "metric"], columns="encoder", values=paradigm)
    gap = (wide[LMM_ENCODERS[0]] - wide[LMM_ENCODERS[1]]).abs()
    grouped = gap.groupby("model")
    frame = pd.DataFrame({"mean": grouped.mean() * UNIT, "max": grouped.max() * UNIT})
    return frame.assign(equal=(gap == 0).groupby("model").sum())


def fusion(table1: pd.DataFrame, table5: pd.DataFrame) -> pd.DataFrame:
    """NDCG@20 of V&T, V and T in ten-thousandths, from ``read_results(1)`` and ``(5)``.

    Rows: (dataset, model). Columns: ``old V&T`` … with the original encoders, ``new V&T`` … with CLIP end to end, and
    ``star V``, ``star T`` of the latter.
    """
    parts = []
    for name, column, table in (("old", "units", table1), ("new", "units", table5), ("star", "starred", table5)):
        wide = _flat(table).pivot(index=["dataset", "model"], columns="modalities", values=column)
        parts.append(wide.add_prefix(f"{name} "))
    return pd.concat(parts, axis=1)
