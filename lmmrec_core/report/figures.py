"""One function per figure. White ground, colours that colour-blind readers can tell apart, phone-sized text.

Data sets are stacked, so that a figure stays as narrow as a phone. Every function returns a closed
matplotlib figure, which a notebook shows as SVG; with nothing to draw the figure says *not run* in words.
"""

import functools
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from lmmrec_core.flow import Result, Table
from lmmrec_core.questions import ALPHA
from lmmrec_core.report.export import numbers_of
from lmmrec_core.report.figure_files import bundle_of, remember
from lmmrec_core.report.frames import history_frame, runs_frame
from lmmrec_core.report.labels import PAPER_LABELS, Labels, dataset_name, metric_name, model_name

NOTHING = "not run: there is nothing to draw yet"
WIDTH = 5.6  # inches; at 400 pixels the labels are still 11 pixels high
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#6E6E6E"  # of the Okabe-Ito palette, dark enough on white
STYLE = {
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.labelsize": 11,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid.axis": "x",
}


def seed_strip(results: Sequence[Result], metric: str = "ndcg@20", labels: Labels = PAPER_LABELS) -> Figure:
    """One dot per run, a bar at the mean of each case; one panel per data set."""
    frame = runs_frame(results, [metric], labels)
    if frame.empty:
        return nothing_drawn()
    with theme():
        figure, panels = stacked_panels(frame, rows_of=lambda part: part["label"].nunique())
        for axes, (name, part) in zip(panels, by_dataset(frame), strict=True):
            sns.stripplot(part, x=metric, y="label", color=BLUE, size=6, alpha=0.75, jitter=False, ax=axes)
            means = part.groupby("label", sort=False)[metric].mean()
            axes.plot(means, range(len(means)), linestyle="", marker="|", markersize=16, color="black", zorder=3)
            axes.set(title=name, xlabel="", ylabel="")
            axes.xaxis.set_major_locator(MaxNLocator(5))
        panels[-1].set_xlabel(f"{metric_name(metric)} (dot: one seed, bar: mean)")
        return closed(figure, frame[["dataset", "label", "split", "seed", metric]])


def forest(
    comparisons: pd.DataFrame, metric: str = "ndcg@20", alpha: float = ALPHA, labels: Labels = PAPER_LABELS
) -> Figure:
    """Difference a − b of each pair with its 95 % interval, one line per comparison, one panel per data set.

    ``comparisons``: dataset, model, metric, pair, difference, ci_low, ci_high, p_holm. A mark is filled orange if the
    adjusted p is below ``alpha``, else hollow.
    """
    chosen = comparisons[comparisons["metric"] == metric] if len(comparisons) else comparisons
    if chosen.empty:
        return nothing_drawn()
    rows = chosen.to_dict("records")
    frame = chosen.assign(
        dataset=[dataset_name(str(row["dataset"])) for row in rows],
        label=[_pair_label(row, labels) for row in rows],
        clear=chosen["p_holm"] < alpha,
    )
    with theme():
        figure, panels = stacked_panels(frame, rows_of=len)
        for axes, (name, part) in zip(panels, by_dataset(frame), strict=True):
            axes.axvline(0.0, color=GREY, linewidth=1)
            for y, row in enumerate(part.to_dict("records")):
                colour, fill = (ORANGE, ORANGE) if row["clear"] else (BLUE, "white")
                if math.isfinite(row["ci_low"]):  # one seed has no interval
                    axes.plot([row["ci_low"], row["ci_high"]], [y, y], color=colour, linewidth=2)
                axes.plot(row["difference"], y, marker="o", markersize=7, color=colour, markerfacecolor=fill)
            axes.set_yticks(range(len(part)), part["label"])
            axes.set(title=name, ylim=(len(part) - 0.5, -0.5))
            axes.xaxis.set_major_locator(MaxNLocator(5))
        panels[-1].set_xlabel(f"difference in {metric_name(metric)}, 95 % interval\n(filled: adjusted p < {alpha})")
        return closed(figure, frame[["dataset", "label", "metric", "difference", "ci_low", "ci_high", "p_holm"]])


def training_curves(results: Sequence[Result], labels: Labels = PAPER_LABELS) -> Figure:
    """Validation metric over epochs: a panel for each model, with median and range over the runs of each data set.

    At each epoch they are those of the runs that were still training then.
    """
    frame = history_frame(results, labels)
    if frame.empty:
        return nothing_drawn()
    with theme():
        models, datasets = list(frame["model"].unique()), list(frame["dataset"].unique())
        rows = math.ceil(len(models) / 2)
        size = (WIDTH, 1.7 * rows + 0.7)
        figure, panels = plt.subplots(rows, 2, figsize=size, squeeze=False, layout="constrained")
        drawn = []
        palette = dict(zip(datasets, sns.color_palette("colorblind", len(datasets)), strict=True))
        for axes, model in zip(panels.flat, models, strict=False):
            for name, part in by_dataset(frame[frame["model"] == model]):
                seen = part.groupby("epoch")["valid"].agg(["min", "median", "max"])
                drawn.append(seen.reset_index().assign(model=model, dataset=name))
                axes.fill_between(seen.index, seen["min"], seen["max"], color=palette[name], alpha=0.2, linewidth=0)
                axes.plot(seen.index, seen["median"], color=palette[name], linewidth=1.5, label=name)
            axes.set(title=model, ylim=(0, None))
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(4))
        for axes in panels.flat[len(models) :]:
            axes.set_axis_off()
        for axes in panels[:, 0]:
            axes.set_ylabel("validation")
        for axes in panels.flat[: len(models)][-2:]:
            axes.set_xlabel("epoch")
        named = {name: handle for axes in panels.flat
                 for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)}  # fmt: skip
        figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=2, frameon=False)
        return closed(figure, pd.concat(drawn)[["model", "dataset", "epoch", "min", "median", "max"]])


def coverage_and_cost(
    results: Sequence[Result], coverage: str = "coverage@20", labels: Labels = PAPER_LABELS
) -> Figure:
    """Share of items that reach anybody's list, and seconds of a run: means over data sets and seeds of each case."""
    frame = runs_frame(results, [coverage], labels)
    if frame.empty:
        return nothing_drawn()
    means = frame.groupby("label", sort=False)[[coverage, "seconds"]].mean().reset_index()
    with theme():
        height = 0.9 + 0.3 * len(means)
        figure, panels = plt.subplots(2, 1, figsize=(WIDTH, 2 * height), layout="constrained")
        sns.barplot(means, x=coverage, y="label", color=BLUE, ax=panels[0])
        panels[0].set(xlabel=f"{metric_name(coverage)} (share of items)", ylabel="")
        panels[0].set_xlim(0, 1)
        sns.barplot(means, x="seconds", y="label", color=ORANGE, ax=panels[1])
        panels[1].set(xlabel="seconds a run", ylabel="")
        return closed(figure, means)


def printed_and_measured(changes: Table, by_model: bool = True) -> Figure:
    """Relative changes of :func:`changes.change_table`: hollow dots printed, filled dots measured.

    One line per model and pair; not ``by_model``: one per pair, with the dots of all models.
    """
    values = changes.values
    lines = values.index.get_level_values("label")
    if not by_model:
        named = zip(values.index.get_level_values("group"), lines, strict=True)
        lines = pd.Index([str(line).removeprefix(f"{model}: ") for model, line in named])
    labels = list(dict.fromkeys(lines))
    places = pd.Index([labels.index(line) for line in lines])
    dot = "one data set" if by_model else "one model on one data set"
    with theme():
        line = 0.42 if any("\n" in label for label in labels) else 0.3
        figure, axes = plt.subplots(figsize=(WIDTH, 1.4 + line * len(labels)), layout="constrained")
        axes.axvline(0.0, color=GREY, linewidth=1)
        for source, fill, colour, shift in (("Printed", "white", GREY, -0.16), ("Measured", ORANGE, ORANGE, 0.16)):
            points = values[source].set_axis(places, axis=0).stack().dropna()
            heights = points.index.get_level_values(0) + shift
            drawn = source.lower() if len(points) else f"{source.lower()}: not run"
            axes.plot(points, heights, "o", markerfacecolor=fill, color=colour, markersize=6, label=drawn)
        axes.set_yticks(range(len(labels)), labels)
        axes.set(ylim=(len(labels) - 0.5, -0.5), xlabel=f"relative change (a dot: {dot})")
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.xaxis.set_major_locator(MaxNLocator(4))
        _legend(figure, axes, 2)
        return closed(figure, numbers_of(changes))


def _pair_label(test: Mapping[Any, Any], labels: Labels) -> str:
    return f"{model_name(str(test['model']))}: {' − '.join(test['pair'].words(labels.encoders))}"


def theme() -> AbstractContextManager[None]:
    """The look of every figure, for the length of a ``with`` block."""
    settings: dict[Any, Any] = {**sns.axes_style("whitegrid"), **STYLE}
    return plt.rc_context(settings)


def by_dataset(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """(title, rows) of each data set, in the order of first appearance."""
    return [(str(name), part) for name, part in frame.groupby("dataset", sort=False)]


def stacked_panels(frame: pd.DataFrame, rows_of: Callable[[pd.DataFrame], int]) -> tuple[Figure, list[Axes]]:
    """Panels below each other, each as high as its lines need."""
    heights = [0.8 + 0.3 * rows_of(part) for _, part in by_dataset(frame)]
    figure, panels = plt.subplots(
        len(heights), 1, figsize=(WIDTH, sum(heights) + 0.4), height_ratios=heights, squeeze=False, layout="constrained"
    )
    return figure, list(panels[:, 0])


def _legend(figure: Figure, axes: Axes, columns: int) -> None:
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=min(columns, 3), frameon=False)


def nothing_drawn(words: str = NOTHING) -> Figure:
    """A small figure that says in words why it is empty."""
    with theme():
        figure, axes = plt.subplots(figsize=(WIDTH, 1.0))  # a notebook shows no figure without axes
        axes.set_axis_off()
        axes.text(0.5, 0.5, words, ha="center", va="center", color=GREY, transform=axes.transAxes)
        return closed(figure)


def closed(figure: Figure, numbers: pd.DataFrame | None = None) -> Figure:
    """Take the figure out of pyplot's list, else a notebook shows it twice; ``numbers`` are those that it draws."""
    plt.close(figure)
    if numbers is not None:
        remember(figure, numbers)
    _show_as_svg()
    return figure


@functools.cache
def _show_as_svg() -> None:
    """In a notebook figures are drawn as SVG, sharp at any size, and twice alike: without a date and random ids.

    Their files are kept beside them (:mod:`lmmrec_core.report.figure_files`).
    """
    if "ipykernel" not in sys.modules:
        return
    from IPython.core.interactiveshell import InteractiveShell
    from matplotlib_inline.config import InlineBackend

    mpl.rcParams["svg.hashsalt"] = "lmmrec"
    shell = InteractiveShell.instance()
    backend = InlineBackend.instance(parent=shell)
    backend.shell = shell
    kept: dict[str, Any] = {**backend.print_figure_kwargs, "metadata": {"Date": None}}
    backend.print_figure_kwargs = kept
    backend.figure_formats = {"svg"}
    if shell.display_formatter is not None:
        shell.display_formatter.mimebundle_formatter.for_type(Figure, bundle_of)
