"""The audit of the printed numbers as listings and a figure; the frames come from the audit, labels are put on here."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lmmrec_core.names import ENCODER_TITLES, MODEL_TITLES
from lmmrec_core.report.figures import BLUE, GREY, ORANGE, WIDTH, closed, nothing_drawn, theme
from lmmrec_core.report.labels import dataset_name, metric_name, model_name


def labelled(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with titles for keys: in its columns model, encoder, dataset, metric, cell, and in its header."""
    words = {"model": model_name, "encoder": lambda key: ENCODER_TITLES.get(key, key)}
    words |= {"dataset": dataset_name, "metric": metric_name, "cell": _cell_title}
    titled = frame.assign(**{name: frame[name].map(word) for name, word in words.items() if name in frame})
    return titled.rename(columns={"dataset": "data set"}).rename(columns=metric_name)


def _cell_title(key: str) -> str:
    """``"MMGCL vlmo sports ndcg@20"`` → ``"MMGCL VLMo, Amazon Sports, NDCG@20"``."""
    model, encoder, dataset, metric = key.split(" ")
    title = MODEL_TITLES.get(model, model)
    return f"{title} {ENCODER_TITLES.get(encoder, encoder)}, {dataset_name(dataset)}, {metric_name(metric)}"


def change_listing(frame: pd.DataFrame, first: str, titles: Mapping[str, str] | None = None) -> pd.DataFrame:
    """A frame with its index as the column ``first``; models get their titles, columns those of ``titles``."""
    listing = frame.rename(columns=dict(titles or {}))
    listing.insert(0, first, [model_name(str(label)) for label in frame.index])
    return listing.reset_index(drop=True)


def gap_listing(gaps: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """How far the two encoders of a model are apart: mean gap per paradigm; of the last, greatest gap and equal cells.

    ``gaps`` maps a paradigm to a frame with rows (models) and columns ``mean``, ``max``, ``equal`` (cells of twelve).
    """
    last, final = list(gaps.items())[-1]
    columns: dict[str, list[object]] = {"model": [model_name(str(model)) for model in final.index]}
    columns |= {f"{paradigm}, mean": frame["mean"].tolist() for paradigm, frame in gaps.items()}
    columns[f"{last}, greatest"] = final["max"].tolist()
    columns[f"{last}, equal cells"] = [f"{count} of 12" for count in final["equal"]]
    return pd.DataFrame(columns)


def slope_figure(systems: pd.DataFrame, floor: float, ceiling: float, slack: float) -> Figure:
    """Growth of NDCG per growth of Recall from 10 to 20, with the region that no ranking reaches.

    ``systems``: one row per system and data set with ``recall growth``, ``slope``, ``impossible``, ``steep`` and the
    label in ``system`` and ``dataset``. ``floor`` and ``ceiling`` are the least and greatest slope, ``slack`` how far
    rounding may move each of the two growths. Allowed points are hollow blue, impossible ones filled orange squares, so
    that shape alone tells them apart.
    """
    if systems.empty:
        return nothing_drawn()
    with theme():
        figure, axes = plt.subplots(figsize=(WIDTH, 5.6), layout="constrained")
        right = float(systems["recall growth"].max()) * 1.08
        x = np.linspace(4 * slack, right, 400)
        least, greatest = (floor * (x - slack) - slack) / x, (ceiling * (x + slack) + slack) / x
        axes.fill_between(x, 0, least, color=ORANGE, alpha=0.15, linewidth=0, label="no ranking gives these")
        axes.plot(x, greatest, color=GREY, linewidth=1, linestyle="--", label="most with one held-out item")
        possible, found = systems[~systems["impossible"]], systems[systems["impossible"]]
        axes.plot(possible["recall growth"], possible["slope"], "o", color=BLUE, mfc="white", ms=5, label="possible")
        axes.plot(found["recall growth"], found["slope"], "s", color=ORANGE, markersize=7, label="impossible")
        _name_points(axes, found, right)
        axes.set(xlim=(0, right), ylim=(0.08, max(0.36, float(systems["slope"].max()) * 1.1)))
        axes.set(xlabel="growth of Recall from 10 to 20", ylabel="growth of NDCG / growth of Recall")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.grid(visible=False)
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
        return closed(figure, systems)


def _name_points(axes: Axes, found: pd.DataFrame, right: float) -> None:
    """A label beside each point, on the side with more room; labels of near points are moved apart."""
    lowest = 0.0
    for row in found.sort_values("slope").to_dict("records"):
        x, y = float(row["recall growth"]), float(row["slope"])
        lowest = max(y, lowest + 0.017)
        late = x > right / 2
        place = (x + right * (-0.025 if late else 0.025), lowest)
        text = f"{row['system']}, {dataset_name(str(row['dataset'])).removeprefix('Amazon ')}"
        line = {"arrowstyle": "-", "color": GREY, "linewidth": 0.7}
        side = "right" if late else "left"
        axes.annotate(text, (x, y), place, va="center", ha=side, fontsize=9, arrowprops=line)
