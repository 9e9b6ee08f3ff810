"""The listing of comparisons: what is shown of a test, and how an absent number looks."""

import math

import pandas as pd

from lmmrec_core.report.compared import FRACTIONS, compared_listing
from lmmrec_core.report.html import plain_table
from tests.report.conftest import comparison


def test_a_line_holds_the_interval_the_share_of_users_and_what_could_be_found() -> None:
    listed = compared_listing(pd.DataFrame([comparison(), comparison(metric="recall@20")]))
    assert len(listed) == 1
    line = listed.iloc[0].to_dict()
    assert line["comparison"] == "VBPR: baseline real / shuffled"
    assert [line[name] for name in FRACTIONS] == [0.2, 0.1, 0.3, 0.6, 0.15, 0.2]
    assert (line["effect"], line["users"], line["persons"], line["seeds"], line["df"]) == (0.1, 1000, 800, 3, "12.0")


def test_what_is_not_defined_is_left_empty_and_what_is_not_testable_says_so() -> None:
    lost = comparison(relative=None, relative_low=None, relative_high=None, share_gained=None)
    single = comparison(testable=False, p=1.0, p_holm=1.0, se=math.inf, df=0.0, mde=math.inf, mde_holm=math.inf)
    listed = compared_listing(pd.DataFrame([lost, single]))
    assert listed[["change", "from", "to", "users gained"]].iloc[0].isna().all()
    assert listed[["p", "adjusted p"]].iloc[1].tolist() == ["not testable"] * 2
    assert math.isnan(listed["detectable"][1]) and listed["df"][1] == ""
    assert "nan" not in plain_table(listed, "compared", percent=FRACTIONS).to_html()


def test_nothing_compared_is_an_empty_listing_with_the_same_columns() -> None:
    empty = compared_listing(pd.DataFrame())
    assert empty.empty and list(empty) == list(compared_listing(pd.DataFrame([comparison()])))
    assert plain_table(empty, "compared", percent=FRACTIONS).to_html()
