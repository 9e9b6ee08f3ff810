"""A small forest plot as SVG inside a page: it takes the page's colours and its letters stay letters.

Units are pixels of a panel at its natural width, which fits a phone; the page may enlarge it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from lmmrec_core.report.abstract import DrawnLine, Printed

WIDE, LEFT, RIGHT = 240, 84, 232  # of a panel, and of the part with the axis
_TITLE, _HEAD, _LINE, _GAP, _AXIS = 19, 15, 11, 4, 20  # heights
_STEPS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True)
class Row:
    """The lines below one label, over what the paper prints."""

    label: str
    lines: Sequence[DrawnLine]
    printed: Printed | None = None


def panel(title: str, rows: Sequence[Row]) -> str:
    """One drawing: a row per claim, a line per place, zero in the middle, printed changes as a band with its median."""
    limit = _limit(rows)
    y = _TITLE
    parts = [f'<text class="title" x="{LEFT}" y="13">{escape(title)}</text>']
    marks = []
    for row in rows:
        top = y + _HEAD
        marks.append(f'<text class="label" x="2" y="{y + 11}">{escape(row.label)}</text>')
        height = _LINE * len(row.lines)
        if row.printed:
            low, high = _x(row.printed.low, limit), _x(row.printed.high, limit)
            marks.append(f'<rect class="band" x="{low}" y="{top}" width="{_round(high - low)}" height="{height}"/>')
            middle = _x(row.printed.median, limit)
            marks.append(f'<path class="printed" d="M{middle} {top}v{height}"/>')
        parts.append(f'<path class="axis" d="M{_x(0.0, limit)} {top - 2}v{height + 4}"/>')
        for i, line in enumerate(row.lines):
            marks += _drawn(line, top + _LINE * i + _LINE / 2, limit)
        y = top + height + _GAP
    parts.append(f'<path class="axis" d="M{LEFT} {y}H{RIGHT}"/>')
    step = max(step for step in _STEPS if step <= max(limit, _STEPS[0]))
    for tick in (-step, 0.0, step):
        at = _x(tick, limit)
        parts.append(f'<path class="axis" d="M{at} {y}v3"/>')
        parts.append(f'<text class="tick" x="{at}" y="{y + 14}">{_percent(tick)}</text>')
    return f'<svg viewBox="0 0 {WIDE} {y + _AXIS}" aria-hidden="true">{"".join([*parts, *marks])}</svg>'


def _drawn(line: DrawnLine, y: float, limit: float) -> list[str]:
    found = [f'<text class="place" x="8" y="{_round(y + 3.5)}">{escape(line.label)}</text>']
    if math.isnan(line.change):
        if line.words == "not run":
            found.append(f'<text class="place absent" x="{LEFT + 4}" y="{_round(y + 3.5)}">not run</text>')
        return found
    if not math.isnan(line.low) and not math.isnan(line.high):
        low, high = _x(line.low, limit), _x(line.high, limit)
        found.append(f'<path class="interval {line.mark}" d="M{low} {_round(y)}H{high}"/>')
    at = _x(line.change, limit)
    if line.mark == "none":  # a shape of its own
        found.append(f'<rect class="mark none" x="{_round(at - 3)}" y="{_round(y - 3)}" width="6" height="6"/>')
    else:
        found.append(f'<circle class="mark {line.mark}" cx="{at}" cy="{_round(y)}" r="3.5"/>')
    return found


def _limit(rows: Sequence[Row]) -> float:
    """The largest change that a panel shows: of the marks and of what is printed; intervals may run out of it."""
    marks = [abs(line.change) for row in rows for line in row.lines if not math.isnan(line.change)]
    ends = [abs(end) for row in rows for line in row.lines for end in (line.low, line.high) if not math.isnan(end)]
    printed = [row.printed.high for row in rows if row.printed]
    most = max([*marks, *printed, 0.02])
    return 1.1 * max(most, min(max([*ends, 0.0]), 1.5 * most))


def _x(change: float, limit: float) -> float:
    share = min(1.0, max(-1.0, change / limit))
    return _round((LEFT + RIGHT) / 2 + share * (RIGHT - LEFT) / 2)


def _round(value: float) -> float:
    return round(value, 1)


def _percent(share: float) -> str:
    return "0" if share == 0 else f"{100 * share:+.0f} %".replace("-", "−")
