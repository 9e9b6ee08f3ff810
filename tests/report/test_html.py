"""What a reader sees: rounding, marks, *not run*, two header levels, fixed ids."""

import math

import pandas as pd
import pytest
from bs4 import BeautifulSoup, Tag
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from lmmrec_core.flow import Table
from lmmrec_core.report import tables
from lmmrec_core.report.changes import change_table
from lmmrec_core.report.html import Sentence, plain_table, results_table
from tests.report.conftest import MakeResult


def cells(html: str) -> list[list[Tag]]:
    body = BeautifulSoup(html, "html.parser").find("tbody")
    assert isinstance(body, Tag)
    return [row.find_all("td") for row in body.find_all("tr")]


def build(values: list[list[float]], **parts: object) -> Table:
    index = pd.MultiIndex.from_tuples([("M", f"row {i}") for i in range(len(values))], names=["group", "label"])
    columns = pd.MultiIndex.from_tuples([("A", "x"), ("B", "x")][: len(values[0])])
    frame = pd.DataFrame(values, index=index, columns=columns)
    origin = frame.isna().map(lambda absent: "not run" if absent else "measured")
    return Table("trial", "", frame, origin, **parts)  # type: ignore[arg-type]


def test_ranks_come_from_unrounded_numbers() -> None:
    html = results_table(build([[0.12344], [0.12341], [0.1]])).to_html()
    assert [row[0].text for row in cells(html)] == ["0.1234", "0.1234", "0.1000"]
    classes = [row[0]["class"] for row in cells(html)]
    assert ["best" in c for c in classes] == [True, False, False]
    assert ["second" in c for c in classes] == [False, True, False]


def test_a_single_number_is_not_called_best() -> None:
    html = results_table(build([[0.3], [math.nan], [math.nan]])).to_html()
    assert "best" not in html
    assert [row[0].text for row in cells(html)] == ["0.3000", "not run", "not run"]
    assert "nan" not in html.lower()


def test_ties_share_the_first_place() -> None:
    html = results_table(build([[0.2], [0.2], [0.1]])).to_html()
    assert [("best" in row[0]["class"], "second" in row[0]["class"]) for row in cells(html)] == [
        (True, False),
        (True, False),
        (False, False),
    ]


def test_groups_are_ranked_apart() -> None:
    found = [row[0]["class"] for row in cells(results_table(tables.printed_table3()).to_html())]
    assert sum("best" in classes for classes in found) == 5  # Sports, Recall@10: one winner of each model


def test_spread_marks_and_not_run_stand_in_their_cells() -> None:
    table = build([[0.5, math.nan], [0.25, 0.125]])
    like = {"index": table.values.index, "columns": table.values.columns}
    marks = pd.DataFrame([["↑", ""], ["", ""]], **like)
    spread = pd.DataFrame([[0.0123, math.nan], [math.nan, 0.5]], **like)
    html = results_table(Table("trial", "", table.values, table.origin, marks, spread), digits=2).to_html()
    (first, absent), (second, last) = cells(html)
    assert str(first).endswith('0.50<sup class="stars">↑</sup><br/><span class="pm">±0.01</span></td>')
    assert absent.find("span", class_="notrun") is not None
    assert second.text == "0.25"
    assert last.text == "0.12±0.50"
    assert "edge" in absent["class"]
    assert "edge" not in first["class"]


def test_header_has_two_levels_and_no_name_row() -> None:
    soup = BeautifulSoup(results_table(tables.printed_table3()).to_html(), "html.parser")
    head = [[cell.text.strip() for cell in row.find_all("th")] for row in soup.find("thead").find_all("tr")]  # type: ignore[union-attr]
    assert len(head) == 2
    assert head[0] == ["Amazon Sports", "Amazon Clothing", "Amazon Baby"]  # the corner is an empty cell, and no head
    assert head[1] == ["Recall@10", "Recall@20", "NDCG@10", "NDCG@20"] * 3
    assert soup.find("table")["class"] == ["dataframe", "results"]  # type: ignore[index]
    assert len(soup.find_all("th", class_="row_heading")) == 15


def test_printed_numbers_never_look_measured(make_result: MakeResult) -> None:
    printed = cells(results_table(tables.printed_table5()).to_html())
    assert all("printed" in cell["class"] for row in printed for cell in row)
    assert "printed" not in results_table(tables.table5([make_result()], ["baby"])).to_html()


def test_equal_tables_give_equal_html() -> None:
    assert results_table(tables.printed_table4()).to_html() == results_table(tables.printed_table4()).to_html()


def test_names_of_readers_are_escaped(make_result: MakeResult) -> None:
    result = make_result(model="<b>x</b>", dataset="a<script>")
    html = results_table(tables.table3([result], ["a<script>"], ["<b>x</b>"])).to_html()
    assert "<script>" not in html
    assert "<b>" not in html
    assert "&lt;b&gt;x" in html


def test_changes_are_signed_per_cent_without_ranks() -> None:
    html = results_table(change_table("rq1", [], ["null"], ["vbpr"]), percent=True).to_html()
    assert [cell.text for cell in cells(html)[0]] == ["+6.9 %", "−4.0 %", "+5.2 %", "not run"]
    assert "best" not in html


def test_printed_statistics_stay_text() -> None:
    html = results_table(tables.printed_table2()).to_html()
    assert cells(html)[0][0].text == "35,598"
    assert cells(html)[3][2].text == "0.00012"
    assert "best" not in html


def test_listing_may_repeat_labels_and_may_be_empty() -> None:
    frame = pd.DataFrame({"name": ["x", "x"], "n": [1234, 5], "change": [0.051, math.nan], "text": ["a<b", ""]})
    html = plain_table(frame, "list", percent=("change",)).to_html()
    assert [[cell.text for cell in row] for row in cells(html)] == [["1,234", "+5.1 %", "a<b"], ["5", "", ""]]
    assert "nan" not in html
    assert cells(plain_table(frame.iloc[:0], "list").to_html()) == []


@pytest.mark.parametrize("value", [0.00004, 0.99996])
def test_rounding_is_to_the_stated_digits(value: float) -> None:
    html = results_table(build([[value]])).to_html()
    assert cells(html)[0][0].text == f"{round(value, 4):.4f}"


def test_three_significant_digits_for_statistics() -> None:
    html = results_table(build([[0.0011731], [8.2694]]), digits=None).to_html()
    assert [row[0].text for row in cells(html)] == ["0.00117", "8.27"]


def test_a_listing_names_its_first_column() -> None:
    html = plain_table(pd.DataFrame({"what & why": ["x"], "n": [1]}), "list").to_html()
    head = BeautifulSoup(html, "html.parser").find("thead")
    assert isinstance(head, Tag) and [cell.text for cell in head.find_all("th")] == ["what & why", "n"]


def test_no_head_is_empty() -> None:
    shown = [results_table(tables.printed_table3()), results_table(tables.printed_table2())]
    for html in [table.to_html() for table in shown]:
        head = BeautifulSoup(html, "html.parser").find("thead")
        assert isinstance(head, Tag) and all(cell.text.strip() for cell in head.find_all("th"))


def test_a_sentence_without_words_shows_nothing() -> None:
    InteractiveShell.instance()
    with capture_output() as caught:
        for sentence in (Sentence(""), Sentence("*Nothing.*")):
            sentence._ipython_display_()
    assert [output.data["text/markdown"] for output in caught.outputs] == ["*Nothing.*"]


def test_long_labels_wrap() -> None:
    frame = pd.DataFrame({"name": ["x", "y" * 50], "n": [1, 2]})
    assert "long-labels" in plain_table(frame, "list").to_html()
    assert "long-labels" not in plain_table(frame[:1], "list").to_html()
