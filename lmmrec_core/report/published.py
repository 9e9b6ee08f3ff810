"""The paper's printed tables as frames, with the names of this study."""

from functools import cache
from importlib.resources import files

import pandas as pd

from lmmrec_core.errors import ConfigError, unknown
from lmmrec_core.questions import Variant

DATASETS = ("sports", "clothing", "baby")  # the order of the printed columns
NUMBERS = (1, 3, 4, 5)  # the tables of results; Table 2 holds statistics


@cache
def _read(number: int) -> pd.DataFrame:
    source = files("lmmrec_core.report") / "published" / f"table{number}.csv"
    with source.open(encoding="utf-8") as file:
        # dtype=str: "none" is a name and 0.0310 a printed text, neither may be interpreted
        return pd.read_csv(file, dtype=str, keep_default_na=False)


def read_results(number: int) -> pd.DataFrame:
    """Table 1, 3, 4 or 5, one printed number a line.

    Columns: table (int), dataset, model, variant (a :class:`Variant`), metric ("ndcg@20"), value (float), starred
    (bool); names are those of a result's case. Raises ConfigError for another number.
    """
    if number not in NUMBERS:
        raise unknown("table of results", number, [str(known) for known in NUMBERS], "published tables")
    frame = _read(number).copy()
    frame["table"] = number
    for column in ("model", "encoder"):
        frame[column] = frame[column].str.lower()
    frame["modalities"] = frame.get("modalities", pd.Series("V&T", index=frame.index))
    frame["control"] = "none"
    variants = [Variant.of({str(name): value for name, value in row.items()}) for row in frame.to_dict("records")]
    frame["variant"] = pd.Series(variants, index=frame.index, dtype=object)
    frame["metric"] = frame["metric"].str.lower() + "@" + frame["k"]
    frame["value"] = frame["value"].astype(float)
    frame["starred"] = frame["starred"] == "1"
    return frame[["table", "dataset", "model", "variant", "metric", "value", "starred"]]


def printed_statistics() -> pd.DataFrame:
    """Table 2 as printed: rows are quantities, columns the data sets, cells text."""
    frame = _read(2).pivot(index="quantity", columns="dataset", values="value")
    order = _read(2)["quantity"].drop_duplicates()
    return frame.loc[order, list(DATASETS)].rename_axis(index=None, columns=None)


@cache
def _values() -> dict[tuple[str, str, Variant, str], float]:
    both = pd.concat([read_results(number) for number in NUMBERS])
    keys = zip(both["dataset"], both["model"], both["variant"], both["metric"], strict=True)
    return dict(zip(keys, both["value"].astype(float), strict=True))


def printed_value(dataset: str, model: str, variant: Variant, metric: str) -> float | None:
    """The printed number of a cell, whichever table holds it; None if the paper prints none.

    Numbers printed in two tables are equal in both (tested), so the table does not matter.
    """
    return _values().get((dataset, model, variant, metric))


def printed_count(quantity: str, dataset: str) -> float:
    """A number of Table 2, for instance ``("Users", "baby")``. Raises ConfigError for text such as 4096/768/544."""
    text = str(printed_statistics().loc[quantity, dataset])
    try:
        return float(text.replace(",", ""))
    except ValueError:
        raise ConfigError(f"table2.csv: {quantity!r} of {dataset!r} is {text!r}, which is not one number") from None
