"""The second modality is read at equal size, beside the paper's comparison."""

import pandas as pd
import pytest

from lmmrec_core.questions import MODALITY_SPECIFIC, PICTURES_ALONE, PICTURES_AND_NOISE, TEXTS_AND_NOISE, trained
from lmmrec_core.report.labels import Labels
from lmmrec_core.report.second_modality import SECOND_FRACTIONS, reading, second_modality
from tests.report.conftest import comparison

WHERE = ["complementary"]


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (0.01, 0.3, "helps"),
        (-0.3, -0.01, "hurts"),
        (-0.04, 0.04, "nothing of note"),
        (-0.04, 0.06, "cannot tell"),
        (None, None, "cannot tell"),
    ],
)
def test_the_interval_at_equal_size_decides(low: float | None, high: float | None, word: str) -> None:
    assert reading(comparison(relative_low=low, relative_high=high)) == word
    assert reading(None) == "not run"


def test_a_gain_of_size_alone_is_no_help() -> None:
    """V&T beats V, but not V with the texts of other items."""
    tests = pd.DataFrame(
        [
            comparison(pair=PICTURES_ALONE, relative=0.36, relative_low=0.3, relative_high=0.42),
            comparison(pair=PICTURES_AND_NOISE, relative=-0.06, relative_low=-0.15, relative_high=0.03),
            comparison(pair=TEXTS_AND_NOISE, relative=0.2, relative_low=0.1, relative_high=0.3),
        ]
    )
    shown = second_modality(tests, WHERE, ["vbpr", "lattice"])
    assert shown[("", "what is added")].tolist() == [
        "VBPR baseline: picture added to T", "VBPR baseline: text added to V",
    ]  # fmt: skip
    assert shown[("at equal size", "the second modality")].tolist() == ["helps", "cannot tell"]
    assert shown[("against one alone, as in the paper", "change")].tolist()[1] == 0.36
    assert pd.isna(shown[("against one alone, as in the paper", "change")].tolist()[0])
    assert set(SECOND_FRACTIONS) <= set(shown.columns)


def test_other_systems_have_lines_of_their_own() -> None:
    tests = pd.DataFrame([comparison(pair=PICTURES_AND_NOISE)])
    assert second_modality(tests, WHERE, ["vbpr"], both=trained("clip", "ETE")).empty
    assert second_modality(tests, ["null"], ["vbpr"]).empty and second_modality(pd.DataFrame(), WHERE).empty
    named = second_modality(tests, WHERE, ["vbpr"], both=MODALITY_SPECIFIC, labels=Labels({"baseline": "ours"}))
    assert named[("", "what is added")].tolist() == ["VBPR ours: text added to V"]
