"""Figures of the calibration: p-values where nothing differs against what they should be, and power over effects."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator, PercentFormatter
from scipy import stats

from lmmrec_core.questions import ALPHA
from lmmrec_core.report.figures import BLUE, GREY, ORANGE, WIDTH, closed, nothing_drawn, theme
from lmmrec_core.report.labels import model_name

_COLOURS = (BLUE, ORANGE, GREY)


def p_value_figure(p_values: Mapping[str, Sequence[float]]) -> Figure:
    """Share of p-values below each level, one line per test, against the diagonal of a test that is right.

    The band holds 95 % of such lines at each level, if the p-values of the first test were independent. Both axes end
    at 0.2, where decisions are made.
    """
    given = {name: np.sort(np.asarray(values, dtype=np.float64)) for name, values in p_values.items() if len(values)}
    if not given:
        return nothing_drawn()
    most = 0.2
    levels = np.linspace(0.0, most, 201)
    n = len(next(iter(given.values())))
    with theme():
        figure, axes = plt.subplots(figsize=(WIDTH, 4.2), layout="constrained")
        low, high = (stats.binom.ppf(tail, n, levels) / n for tail in (0.025, 0.975))
        axes.fill_between(levels, low, high, color=GREY, alpha=0.2, linewidth=0, label="a right test, 95 %")
        axes.plot(levels, levels, color=GREY, linewidth=1)
        for (name, values), colour, dash in zip(given.items(), _COLOURS, ("-", "--", ":"), strict=False):
            below = np.searchsorted(values, levels, side="right") / len(values)
            axes.step(levels, below, where="post", color=colour, linestyle=dash, linewidth=2, label=name)
        axes.axvline(ALPHA, color="black", linewidth=1, linestyle=":")
        top = max(most, *(float(np.mean(values <= most)) for values in given.values()))
        axes.set(xlim=(0, most), ylim=(0, top * 1.05), xlabel="level", ylabel="share of p-values below it")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MultipleLocator(0.05))
            axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.legend(frameon=False, loc="upper left")
        parts = [pd.DataFrame({"test": name, "p": values}) for name, values in given.items()]
        return closed(figure, pd.concat(parts))


def power_figure(curve: pd.DataFrame) -> Figure:
    """Share of worlds in which content is found better, with 95 % intervals, over the planted effect.

    ``curve``: model, content (share of what users care for that the content shows), rate, low, high; one line a model.
    """
    if curve.empty:
        return nothing_drawn()
    with theme():
        figure, axes = plt.subplots(figsize=(WIDTH, 3.8), layout="constrained")
        axes.axhline(ALPHA, color="black", linewidth=1, linestyle=":")
        lines = list(curve.groupby("model", sort=False))
        for (model, part), colour, marker in zip(lines, _COLOURS, "os^", strict=False):
            # points of several models at one place stand side by side
            at = part["content"] + 0.012 * (len(axes.containers))
            spread = [part["rate"] - part["low"], part["high"] - part["rate"]]
            style = "-" if len(part) > 1 else ""
            axes.errorbar(
                at, part["rate"], yerr=np.array(spread), color=colour, marker=marker, linestyle=style, capsize=3,
                label=model_name(str(model)),
            )  # fmt: skip
        axes.set(xlim=(-0.03, 1.06), ylim=(-0.02, 1.03), xlabel="planted effect", ylabel="worlds in which it is found")
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.legend(frameon=False, loc="lower right")
        return closed(figure, curve)
