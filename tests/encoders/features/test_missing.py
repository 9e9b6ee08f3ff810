import numpy as np
import pytest

from lmmrec_core.encoders.features.missing import fill_missing
from lmmrec_core.errors import ConfigError, FeatureError

ROWS = np.array([[1, 2], [99, 99], [3, 6]], dtype=np.float32)
PRESENT = np.array([True, False, True])
IDS = ("a", "b", "c")


def test_mean_of_the_present_rows():
    filled = fill_missing(ROWS, PRESENT, "mean", "visual", IDS)
    assert filled.tolist() == [[1, 2], [2, 4], [3, 6]]
    assert filled.dtype == np.float32
    assert ROWS[1, 0] == 99  # the input is left alone


def test_zero():
    assert fill_missing(ROWS, PRESENT, "zero", "visual", IDS)[1].tolist() == [0, 0]


def test_mean_of_many_large_rows_keeps_precision():
    rows = np.full((200_001, 1), 16_777_217.0 / 10, dtype=np.float32)
    present = np.ones(len(rows), dtype=bool)
    present[-1] = False
    assert fill_missing(rows, present, "mean", "visual", [str(i) for i in range(len(rows))])[-1, 0] == rows[0, 0]


def test_nothing_present_or_unknown_rule():
    for rule in ("mean", "zero"):
        with pytest.raises(FeatureError, match=r"none of the 3 items has textual content \(the first is 'a'\)"):
            fill_missing(ROWS, np.zeros(3, dtype=bool), rule, "textual", IDS)
    with pytest.raises(ConfigError, match="did you mean 'mean'"):
        fill_missing(ROWS, PRESENT, "means", "visual", IDS)
