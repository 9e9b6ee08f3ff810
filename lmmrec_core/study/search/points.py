"""Which points of a space are tried, and where the space is too narrow.

A space maps a setting to the values it may take. With fewer trials than points, each value of a setting comes equally
often, or once more (the margins of a Latin hypercube; McKay, Beckman and Conover, Technometrics 1979): so the ends of
every range are tried, which independent draws would not promise.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np

from lmmrec_core.seeds import numpy_stream
from lmmrec_core.study.search.grids import Choice, Point, combinations
from lmmrec_core.study.search.trials import points_to_try

Space = Mapping[str, tuple[Choice, ...]]
_ATTEMPTS = 1000  # draws until no point comes twice; one in three does in the smallest space of ours


def balanced_points(space: Space, trials: int, seed: int) -> list[Point]:
    """``trials`` different points, each value of a setting as often as the others or once more; all if there are fewer.

    The same space, number and seed give the same points. A space so small that no balanced draw is without repetition
    gets points at random.
    """
    everything = combinations(space)
    if trials >= len(everything):
        return list(everything)
    draw = numpy_stream(seed, "search/balanced")
    for _ in range(_ATTEMPTS):
        columns = [_column(len(values), trials, draw) for values in space.values()]
        rows = list(zip(*columns, strict=True))
        if len(set(rows)) == trials:
            return [{name: space[name][place] for name, place in zip(space, row, strict=True)} for row in rows]
    return points_to_try(everything, trials, seed)


def _column(values: int, trials: int, draw: np.random.Generator) -> list[int]:
    rounds = [draw.permutation(values) for _ in range(math.ceil(trials / values))]
    return [int(place) for place in draw.permutation(np.concatenate(rounds)[:trials])]


def beyond(values: tuple[Choice, ...], value: Choice) -> float | int | None:
    """The next value of a range past ``value``, one of its ends; None inside, without an order, or where it cannot go.

    The step is the ratio of the last two values: past 0.01 after 0.005 comes 0.02. Whole numbers stay whole, by their
    difference where the ratio gives none. Zero is the end of its range.
    """
    numbers = sorted(v for v in values if isinstance(v, int | float) and not isinstance(v, bool))
    if len(numbers) != len(values) or len(numbers) < 2 or value not in (numbers[0], numbers[-1]):
        return None
    last, before = (numbers[0], numbers[1]) if value == numbers[0] else (numbers[-1], numbers[-2])
    if last <= 0 or before <= 0:
        return None
    found = float(f"{last * last / before:.12g}")
    if all(isinstance(number, int) for number in numbers):
        found = found if found.is_integer() else 2 * last - before
        return int(found) if found > 0 else None
    return found


def edges(space: Space, best: Point, allowed: Callable[[Point], bool]) -> dict[str, Point]:
    """Settings whose best value is the end of their range → the point one step further; others are not in it.

    ``allowed``: whether the model takes a point; a range that its settings end is no edge.
    """
    found = {}
    for name, values in space.items():
        if (value := beyond(values, best[name])) is not None and allowed(point := {**best, name: value}):
            found[name] = point
    return found
